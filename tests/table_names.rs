//! Names of tables and databases, as a server knew them, out of its WAL or of a base backup's files; and how many rows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::recorded::{Recording, VERSIONS};
use support::{Server, account, tools};

/// Exit status and answer of `walproof find`.
fn find(archive: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
    command.arg("find").arg(archive).args(["--no-catalog", "--format", "json"]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// The names of the tables of each event.
fn tables(answer: &Value) -> Vec<Vec<&str>> {
    let events = answer["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["tables"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
        .collect()
}

#[test]
fn dropped_tables_of_every_version_have_their_names() {
    for version in VERSIONS {
        let recording = Recording::of(version);
        let (status, answer) = find(&recording.archive(), &["--kind", "drop"]);
        assert_eq!(status, 0, "{version}");
        let found = tables(&answer);
        assert!(found.iter().all(|names| names.len() == 1), "{version}: {found:?}");
        assert!(found.contains(&vec!["precious"]), "{version}: {found:?}");
        let (status, of_table) = find(&recording.archive(), &["--table", "precious", "--kind", "drop"]);
        assert_eq!((status, tables(&of_table)), (0, vec![vec!["precious"]]), "{version}");
    }
}

/// What is done to the tables whose names are looked for, after `before` the backup.
fn history(server: &Server) {
    server.sql(
        "ALTER TABLE sales.orders RENAME TO sold;
         ALTER TABLE sales.replacement RENAME TO orders;
         INSERT INTO sales.orders SELECT g FROM generate_series(1, 100) g;
         DELETE FROM sales.sold WHERE id <= 30",
    );
    server.sql("BEGIN; ALTER TABLE sales.sold RENAME TO never; ROLLBACK");
    server.sql("VACUUM FULL sales.sold");
    server.sql("TRUNCATE sales.orders");
    server.sql("DROP TABLE sales.sold");
    server.sql("DROP TABLE sales.\"odd \"\"name\"\"\"");
}

fn names_on(major: u32, settings: &[(&str, &str)]) {
    let server =
        settings.iter().fold(Server::create(major), |server, (name, value)| server.set(name, value)).start();
    server.sql(
        "CREATE SCHEMA sales;
         CREATE TABLE sales.orders (id int PRIMARY KEY, note text);
         CREATE TABLE sales.replacement (id int);
         CREATE TABLE sales.\"odd \"\"name\"\"\" (id int);
         INSERT INTO sales.orders SELECT g FROM generate_series(1, 50) g",
    );
    server.sql("CREATE DATABASE shop");
    let mut shop = server.client_of("shop");
    shop.batch_execute("CREATE TABLE basket (id int); INSERT INTO basket VALUES (1)").unwrap();
    let before = server.archive_everything();
    server.sql("CHECKPOINT");
    let backup = server.backup("names");
    history(&server);
    server.archive_everything();

    let check = |archive: &Path, more: &[&str], what: &str| {
        let ask = |question: &[&str]| find(archive, &[more, question].concat());
        let (status, answer) = ask(&["--kind", "drop"]);
        let mut dropped = tables(&answer);
        dropped.sort_unstable();
        assert_eq!((status, dropped), (0, vec![vec!["sales.odd \"name\""], vec!["sales.sold"]]), "{what}");
        let (_, answer) = ask(&["--table", "sales.orders", "--kind", "truncate"]);
        assert_eq!(tables(&answer), [["sales.orders"]], "{what}");
        // Both are called orders, one after the other.
        let (_, answer) = ask(&["--table", "orders", "--order", "rows", "--limit", "1"]);
        assert_eq!(answer["events"][0]["rows"]["inserted"], 100, "{what}: {answer}");
        let (_, answer) = ask(&["--table", "sales.sold", "--order", "rows", "--limit", "1"]);
        assert_eq!(answer["events"][0]["rows"]["deleted"], 30, "{what}: {answer}");
        let (_, answer) = ask(&["--kind", "rewrite"]);
        assert_eq!(tables(&answer), [["sales.sold"]], "{what}");
        assert_eq!(ask(&["--table", "never"]).0, 1, "{what}: it was rolled back");
    };
    check(server.archive(), &[], &format!("{major} {settings:?}"));
    let (status, answer) = find(server.archive(), &["--database", "shop", "--table", "basket"]);
    assert_eq!(status, 0, "{major}");
    assert!(tables(&answer).iter().all(|names| names.iter().all(|name| name.ends_with("basket"))));
    assert!(answer["events"].as_array().unwrap().iter().any(|event| event["rows"]["inserted"] == 1));
    assert_eq!(find(server.archive(), &["--database", "nowhere"]).0, 3);

    // Without the WAL of the CREATE TABLEs, the backup knows.
    let rest = account::temporary_directory();
    for entry in std::fs::read_dir(server.archive()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap() > before.as_str() {
            std::fs::copy(entry.path(), rest.path().join(entry.file_name())).unwrap();
        }
    }
    let directory = backup.path().display().to_string();
    check(rest.path(), &["--backup", &directory], &format!("{major} with its backup"));
    let tar = account::temporary_directory();
    let packed = tar.path().join("base.tar.gz");
    tools::run(Command::new("tar").arg("-C").arg(backup.path()).arg("-czf").arg(&packed).arg("."));
    let tar = tar.path().display().to_string();
    check(rest.path(), &["--backup", &tar], &format!("{major} with its backup in a tar"));
}

/// A migration drops a table and makes another in one transaction; what only rewrites stays what it is.
fn drop_beside_create_on(major: u32) {
    let server = Server::create(major).start();
    server.sql(
        "CREATE TABLE precious (id int PRIMARY KEY, note text);
         INSERT INTO precious SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g;
         CREATE TABLE kept (id int PRIMARY KEY, note text);
         INSERT INTO kept SELECT * FROM precious",
    );
    server.sql("VACUUM FULL kept");
    server.sql("CLUSTER kept USING kept_pkey");
    server.sql("TRUNCATE kept");
    server.sql("REINDEX TABLE kept");
    server.sql("BEGIN; CREATE TABLE brief (id int); DROP TABLE brief; CREATE TABLE other (id int); COMMIT");
    let migrate = "BEGIN; DROP TABLE precious; CREATE TABLE successor (id int PRIMARY KEY); COMMIT";
    server.sql("CHECKPOINT");
    server.sql(migrate);
    // The row in pg_class moves before it goes.
    server.sql("BEGIN; ALTER TABLE successor RENAME TO last; SAVEPOINT s; DROP TABLE last; CREATE TABLE more (id int); COMMIT");
    server.archive_everything();
    let (status, answer) = find(server.archive(), &["--kind", "drop"]);
    assert_eq!(status, 0, "{major}");
    let dropped = tables(&answer);
    assert_eq!(dropped.len(), 2, "{major}: {answer}");
    assert!(dropped[0].contains(&"precious"), "{major}: {answer}");
}

macro_rules! drops {
    ($($name:ident: $major:literal;)*) => {
        $(
            #[test]
            fn $name() {
                drop_beside_create_on($major);
            }
        )*
    };
}

drops! {
    a_drop_beside_a_create_on_10: 10;
    a_drop_beside_a_create_on_11: 11;
    a_drop_beside_a_create_on_12: 12;
    a_drop_beside_a_create_on_13: 13;
    a_drop_beside_a_create_on_14: 14;
    a_drop_beside_a_create_on_15: 15;
    a_drop_beside_a_create_on_18: 18;
}

macro_rules! names {
    ($($name:ident: $major:literal, $settings:expr;)*) => {
        $(
            #[test]
            fn $name() {
                names_on($major, &$settings);
            }
        )*
    };
}

names! {
    names_10: 10, [];
    names_11: 11, [("wal_compression", "on")];
    names_12: 12, [];
    names_13: 13, [("wal_compression", "on")];
    names_14: 14, [("wal_level", "logical")];
    names_15: 15, [("wal_compression", "pglz")];
    names_16: 16, [("full_page_writes", "off")];
    names_17_lz4: 17, [("wal_compression", "lz4")];
    names_17_zstd: 17, [("wal_compression", "zstd")];
    names_18: 18, [];
}

/// Each record has the rows of one page, and their number at its end, which may lie on the next page of the WAL.
#[test]
fn rows_of_a_copy_are_all_counted() {
    let server = Server::create(15).start();
    server.sql("CREATE TABLE copied (id int, note text)");
    server.sql("COPY copied (id) FROM PROGRAM 'seq 1 200000'");
    server.archive_everything();
    let (_, answer) = find(server.archive(), &["--table", "copied", "--order", "rows", "--limit", "1"]);
    assert_eq!(answer["events"][0]["rows"]["inserted"], 200_000, "{answer}");
}
