//! What `find`, `timelines` and `resolve` say to people: which relations were lost, what an answer leaves out, and commands
//! that can be copied.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::recorded::Recording;
use support::{Server, account};

/// Exit status and standard output of a command about an archive.
fn ask(command: &str, archive: &Path, arguments: &[&str]) -> (i32, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
    program.arg(command).arg(archive).args(arguments);
    let output = program.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The same of `find` without a catalog.
fn find(archive: &Path, arguments: &[&str]) -> (i32, String) {
    ask("find", archive, &[&["--no-catalog"], arguments].concat())
}

fn json(archive: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&find(archive, &[&["--format", "json"], arguments].concat()).1).unwrap()
}

/// The one line of `text` that has `part`.
fn line<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no \"{part}\" in\n{text}"))
}

/// The tables of the story.
const TABLES: &str = "
    CREATE SCHEMA \"My Schema\";
    CREATE TABLE \"My Schema\".\"Big Table\" (id int);
    CREATE TABLE aaa_innocent (id int);
    CREATE TABLE victim (id int PRIMARY KEY);
    CREATE TABLE emptied (id int);
    INSERT INTO emptied VALUES (1);
    CREATE TABLE moved (id int);
    INSERT INTO moved VALUES (1);
    CREATE VIEW vv AS SELECT 1 AS one";

/// Drops, a truncation, and rows beside them, in two databases.
fn story(major: u32) -> Server {
    let server = Server::create(major).set("autovacuum", "off").start();
    server.sql("CREATE DATABASE shop");
    server.sql(TABLES);
    tell(&server);
    server
}

fn tell(server: &Server) {
    server.sql("SELECT pg_create_restore_point('it''s \"quoted\"')");
    server.sql("BEGIN; INSERT INTO aaa_innocent VALUES (1); DROP TABLE victim; TRUNCATE emptied; COMMIT");
    server
        .sql("BEGIN; ALTER TABLE moved ALTER id TYPE bigint; DROP TABLE \"My Schema\".\"Big Table\"; COMMIT");
    server.sql("DROP VIEW vv");
    server.client_of("shop").batch_execute("CREATE TABLE sales (id int)").unwrap();
    server.client_of("shop").batch_execute("DROP TABLE sales").unwrap();
    server.archive_everything();
}

fn losses_are_named_first_on(major: u32) {
    let server = story(major);
    let archive = server.archive();
    let answer = json(archive, &["--kind", "drop"]);
    let told = |key: &str| -> Vec<Value> {
        answer["events"].as_array().unwrap().iter().map(|event| event[key].clone()).collect()
    };
    let names = |names: &[&str]| Value::from(names.to_vec());
    // Up to 14 nothing in the WAL tells a view that is dropped from rows of catalogs that are deleted.
    let view: &[&str] = if major >= 15 { &["public.vv"] } else { &[] };
    // Up to 14 a new database is copied file by file: nothing in the WAL tells its schemas.
    let sales = if major >= 15 { "public.sales" } else { "sales" };
    let all: [&[&str]; 4] = [&["public.victim"], &["My Schema.Big Table"], view, &[sales]];
    let dropped: Vec<&[&str]> = all.into_iter().filter(|names| !names.is_empty()).collect();
    assert_eq!(
        told("dropped_relations"),
        dropped.iter().map(|one| names(one)).collect::<Vec<_>>(),
        "{major}"
    );
    let mut truncated = vec![names(&[]); dropped.len()];
    truncated[0] = names(&["public.emptied"]);
    assert_eq!(told("truncated_relations"), truncated, "{major}");
    let databases = told("database_name");
    assert_eq!((&databases[0], databases.last()), (&"postgres".into(), Some(&"shop".into())), "{major}");

    let (_, text) = find(archive, &["--kind", "drop"]);
    let of_victim = line(&text, "public.victim;");
    let also = of_victim.find("the transaction also: ").unwrap();
    assert!(of_victim.find("aaa_innocent").is_some_and(|at| at > also), "{of_victim}");
    assert!(of_victim.find("rows: 1 inserted").is_some_and(|at| at > also), "{of_victim}");
    assert!(of_victim.contains("truncate of public.emptied"), "{of_victim}");
    assert!(line(&text, sales).contains("  shop  "), "{text}");
    // One blank line in front of the commands, none between them.
    assert_eq!(text.matches("\n\n").count(), 2, "{text}");

    // What is asked for is shown, wherever it stands.
    let (_, text) = find(archive, &["--kind", "drop", "--table", "aaa_innocent"]);
    assert!(line(&text, "public.victim").contains("public.aaa_innocent"), "{text}");
    let (status, quoted) = find(archive, &["--kind", "drop", "--table", "\"My Schema\".\"Big Table\""]);
    assert!(status == 0 && quoted.contains("My Schema.Big Table"), "{quoted}");
}

#[test]
fn losses_are_named_first_on_12() {
    losses_are_named_first_on(12);
}

#[test]
fn losses_are_named_first_on_17() {
    losses_are_named_first_on(17);
}

#[test]
fn a_view_that_was_dropped_has_its_name() {
    let server = story(15);
    let (status, text) = find(server.archive(), &["--table", "vv", "--kind", "drop"]);
    assert!(status == 0 && line(&text, "  drop  ").ends_with("public.vv"), "{text}");
}

/// An answer says what it leaves out, and what it is the answer to.
#[test]
fn what_is_not_shown_is_told() {
    let server = story(15);
    let archive = server.archive();
    let notes = |arguments: &[&str]| json(archive, arguments)["notes"].to_string();
    assert!(notes(&["--kind", "drop", "--limit", "1"]).contains("1 of 4 events shown: --limit 1"));
    assert!(!notes(&["--kind", "drop", "--limit", "4"]).contains("shown"));
    assert_eq!(find(archive, &["--limit", "0"]).0, 2);

    let (status, typo) = find(archive, &["--table", "typo"]);
    assert!(status == 1 && typo.contains("which table is \"typo\"?"), "{typo}");
    assert!(notes(&["--table", "nosuch.victim"]).contains("tells of a schema \\\"nosuch\\\""));
    assert!(!notes(&["--table", "public.victim"]).contains("schema"));

    let (status, unknown) = find(archive, &["--name", "it is"]);
    assert_eq!(status, 1);
    assert!(
        unknown.contains(r#"nothing is called "it is"; restore points are: "it's \"quoted\"""#),
        "{unknown}"
    );

    let point = json(archive, &["--kind", "restore-point"])["events"][0]["lsn"].as_str().unwrap().to_owned();
    assert!(!notes(&["--lsn", &point]).contains("nearest"));
    assert!(notes(&["--lsn", "0/1"]).contains("no event's record holds 0/1; nearest to it:"));
    let long_ago = notes(&["--time", "2001-01-01"]);
    assert!(long_ago.contains("nothing at 2001-01-01T00:00:00.000000+00:00; nearest to it:"), "{long_ago}");

    assert_eq!(find(archive, &["--since", "2030-01-02", "--until", "2030-01-01"]).0, 2);
    let count = |kinds: &[&str]| json(archive, kinds)["events"].as_array().unwrap().len();
    let both = count(&["--kind", "drop"]) + count(&["--kind", "restore-point"]);
    assert_eq!(count(&["--kind", "drop,restore-point"]), both);
    assert_eq!(count(&["--kind", "drop", "--kind", "restore-point"]), both);
}

/// A command that is printed to be copied asks the same archive in the same way, whatever is in its name.
#[test]
fn printed_commands_can_be_copied() {
    let recording = Recording::of("15");
    let folder = account::temporary_directory();
    let archive = folder.path().join("it's $HOME `x`");
    std::os::unix::fs::symlink(recording.archive(), &archive).unwrap();
    let catalog = folder.path().join("a catalog").display().to_string();
    let given = ["--catalog", &catalog, "--timezone", "Europe/Berlin", "--layout", "plain"];
    let (_, text) = ask("find", &archive, &[&given[..], &["--kind", "drop"]].concat());
    let command = line(&text, "to stop just before").split_once("walproof ").unwrap().1;
    let run = |command: &str| {
        let program = env!("CARGO_BIN_EXE_walproof");
        let output = Command::new("sh").arg("-c").arg(format!("{program} {command}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let resolved = run(command);
    assert!(resolved.contains(&format!("{}: recovery to xid", archive.display())), "{command}\n{resolved}");
    for word in ["--timezone Europe/Berlin", "--layout plain", "--catalog '"] {
        assert!(command.contains(word), "{command}");
    }
}

/// An answer from the catalog alone says how old it is.
#[test]
fn an_answer_from_the_catalog_tells_its_age() {
    let recording = Recording::of("15");
    let folder = account::temporary_directory();
    let catalog = folder.path().join("catalog").display().to_string();
    let given = ["--catalog", catalog.as_str()];
    assert_eq!(ask("index", &recording.archive(), &given).0, 0);
    for command in ["find", "timelines", "resolve", "verify"] {
        let offline = [&given[..], &["--offline"]].concat();
        let (_, text) = ask(command, &recording.archive(), &offline);
        assert!(
            text.contains("\nread from the catalog alone, which was last brought up to date at 2"),
            "{text}"
        );
        let document = |how: &[&str]| {
            let (_, text) = ask(command, &recording.archive(), &[how, &["--format", "json"]].concat());
            serde_json::from_str::<Value>(&text).unwrap()["catalog_updated"].clone()
        };
        assert!(document(&offline).is_string(), "{command}");
        assert!(document(&given).is_null(), "{command}");
    }
}

/// Where the settings went is said, and that there are none.
#[test]
fn settings_are_told() {
    let recording = Recording::of("15");
    let folder = account::temporary_directory();
    let directory = folder.path().join("settings").display().to_string();
    let more = ["--no-catalog", "--settings", &directory];
    let (status, text) =
        ask("resolve", &recording.archive(), &[&more[..], &["--target-xid", "999999"]].concat());
    assert_eq!(status, 1);
    assert!(
        text.ends_with(&format!("no settings written to {directory}: the target is not feasible\n")),
        "{text}"
    );
    assert!(!Path::new(&directory).exists());
    let (status, text) = ask("resolve", &recording.archive(), &[&more[..], &["--target-immediate"]].concat());
    assert_eq!(status, 0, "{text}");
    assert!(line(&text, "settings written: ").contains(&directory), "{text}");
    assert!(!text.contains("the other at"), "{text}");
}
