//! Where `find` says to stop before a database goes, and when databases went, on real servers; and transactions whose numbers
//! are given again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::recovery::Recovery;
use support::{Server, account};

/// Exit status and answer of `walproof find`.
fn find(archive: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
    command.arg("find").arg(archive).args(["--format", "json"]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A database is dropped while others are vacuumed, which writes over their rows in place, too. `image`: its row was not
/// changed since a checkpoint, so that the page is in the record.
fn a_database_goes_on(major: u32, image: bool) {
    let server = Server::create(major).set("autovacuum", "off").start();
    server.sql("CREATE DATABASE shop");
    server.sql("CREATE DATABASE other");
    let mut shop = server.client_of("shop");
    shop.batch_execute("CREATE TABLE sales (id int); INSERT INTO sales VALUES (1), (2)").unwrap();
    drop(shop);
    let backup = server.backup("before");
    server.sql("CREATE TABLE late AS SELECT 1 AS id");
    let mut other = server.client_of("other");
    if !image {
        other.batch_execute("VACUUM FREEZE").unwrap();
    }
    let early = server.value("SELECT clock_timestamp() AT TIME ZONE 'UTC'");
    server.sql("DROP DATABASE shop");
    let late = server.value("SELECT clock_timestamp() AT TIME ZONE 'UTC'");
    other.batch_execute("VACUUM FREEZE").unwrap();
    server.archive_everything();

    let what = format!("{major}, image: {image}");
    let window = ["--since", early.as_str(), "--until", late.as_str(), "--no-catalog"];
    let (status, answer) = find(server.archive(), &[&window[..], &["--kind", "drop-database"]].concat());
    let events = answer["events"].as_array().unwrap();
    assert_eq!((status, events.len()), (0, 1), "{what}: {answer}");
    assert_eq!(events[0]["name"], "shop", "{what}");
    let options: Vec<&str> = events[0]["stop_before"].as_str().unwrap().split(' ').collect();
    assert_eq!((options[0], options[2]), ("--target-lsn", "--exclusive"), "{what}");
    // Who asks for drops hears of it.
    let (_, drops) = find(server.archive(), &[&window[..], &["--kind", "drop"]].concat());
    let notes = drops["notes"].to_string();
    assert!(notes.contains("--kind drop-database"), "{what}: {notes}");

    let recovered = Recovery::of(&backup, server.archive())
        .set("recovery_target_lsn", options[1])
        .set("recovery_target_inclusive", "off")
        .run()
        .promoted();
    let rows = recovered.client_of("shop").query_one("SELECT count(*) FROM sales", &[]).unwrap();
    assert_eq!(rows.get::<_, i64>(0), 2, "{what}");
    // What was committed before is there.
    assert_eq!(recovered.value("SELECT count(*) FROM late"), "1", "{what}");
}

macro_rules! databases {
    ($($name:ident: $major:literal, $image:literal;)*) => {
        $(
            #[test]
            fn $name() {
                a_database_goes_on($major, $image);
            }
        )*
    };
}

databases! {
    a_database_goes_on_10: 10, true;
    a_database_goes_on_11: 11, false;
    a_database_goes_on_11_with_an_image: 11, true;
    a_database_goes_on_13: 13, false;
    a_database_goes_on_14: 14, true;
    a_database_goes_on_15: 15, false;
    a_database_goes_on_15_with_an_image: 15, true;
    a_database_goes_on_17: 17, false;
    a_database_goes_on_18: 18, true;
}

/// The record of a database tells no time. The catalog's bounds of its file do not, either, where its transaction ends in
/// the next one.
#[test]
fn a_database_is_found_by_time_in_the_catalog_alone() {
    let server = Server::create(15).set("autovacuum", "off").start();
    let folder = account::temporary_directory();
    let mut times = Vec::new();
    for number in 0..6 {
        server.sql(&format!("CREATE DATABASE d{number}"));
        times.push(server.value("SELECT clock_timestamp() AT TIME ZONE 'UTC'"));
        server.archive_everything();
        server.sql(&format!("DROP DATABASE d{number}"));
        server.archive_everything();
    }
    let catalog = folder.path().join("catalog").display().to_string();
    let mut index = Command::new(env!("CARGO_BIN_EXE_walproof"));
    assert!(
        index.arg("index").arg(server.archive()).args(["--catalog", &catalog]).status().unwrap().success()
    );
    let ask = |kind: &str, more: &[&str]| {
        let (_, answer) = find(server.archive(), &[&["--catalog", &catalog, "--kind", kind], more].concat());
        let names = answer["events"].as_array().unwrap().iter().map(|event| event["name"].clone());
        names.map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let window = ["--since", times[1].as_str(), "--until", times[3].as_str()];
    let offline = [&window[..], &["--offline"]].concat();
    for more in [&window[..], &offline] {
        assert_eq!(ask("drop-database", more), ["d1", "d2"]);
        assert_eq!(ask("create-database", more), ["d2", "d3"]);
    }
}

/// Two transactions of number 701, 2³² apart: one drops a table, the other only writes to one. The two segments of 1 MiB are
/// put together by hand: a checkpoint with its epoch, an insert, and a commit.
#[test]
fn a_number_that_is_given_again_is_another_transaction() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/numbers-again");
    let (status, answer) = find(&archive, &["--no-catalog", "--xid", "701"]);
    let files = |event: &Value| event["unnamed_files"].clone();
    let told: Vec<(Value, Value)> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (files(event), event["rows"]["inserted"].clone()))
        .collect();
    assert_eq!(status, 0);
    let expected = [
        (serde_json::json!(["base/5/19999", "base/5/20001"]), 1.into()),
        (serde_json::json!(["base/5/20002"]), 1.into()),
    ];
    assert_eq!(told, expected, "{answer}");
}
