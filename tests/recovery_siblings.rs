//! Recoveries across forks, on real servers: what stands prepared where a timeline is left, and backups of a timeline that
//! the way does not go through.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::{Backup, Recovery, Server};

fn ask(command: &str, archive: &Path, backup: &Backup, arguments: &[&str]) -> Value {
    let mut walproof = Command::new(env!("CARGO_BIN_EXE_walproof"));
    walproof.arg(command).arg(archive).args(["--no-catalog", "--format", "json", "--backup"]);
    let output = walproof.arg(backup.path()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"))
}

/// A server with a table and a base backup.
fn begun(major: u32) -> (Server, Backup) {
    let server = Server::create(major).set("max_prepared_transactions", "5").start();
    server.sql("CREATE TABLE t (i int)");
    let backup = server.backup("first");
    server.sql("INSERT INTO t VALUES (1)");
    (server, backup)
}

/// A server promoted at the restore point, which archives.
fn forked(server: &Server, backup: &Backup, name: &str) -> Server {
    let recovery = Recovery::of(backup, server.archive()).set("recovery_target_name", name);
    recovery.set("recovery_target_timeline", "1").keep_archiving().run().promoted()
}

fn dies_of_what_stands_prepared(major: u32) {
    let (server, backup) = begun(major);
    server.sql("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'p'");
    server.sql("SELECT pg_create_restore_point('fork')");
    server.archive_everything();
    let fork = forked(&server, &backup, "fork");
    fork.sql("INSERT INTO t VALUES (3)");
    fork.archive_everything();

    let ask = |timeline: &str| {
        ask("resolve", server.archive(), &backup, &["--target-latest", "--target-timeline", timeline])
    };
    let run = |timeline: &str, hot_standby: bool| {
        let recovery = Recovery::of(&backup, server.archive()).set("recovery_target_timeline", timeline);
        if hot_standby { recovery.hot_standby().run() } else { recovery.run() }
    };
    let answer = ask("2");
    let recovered = run("2", true);
    assert_eq!(answer["server"]["message"].as_str(), recovered.fatal(), "{major}: {}", recovered.log);
    assert_eq!((&answer["feasible"], &answer["stop"]), (&false.into(), &Value::Null), "{major}");
    let problem = answer["problems"][0]["message"].as_str().unwrap();
    assert!(problem.contains("hot_standby = off"), "{major}: {problem}");
    // As it says, and on its own timeline there is nothing to look for elsewhere.
    assert!(run("2", false).server.is_some(), "{major}");
    assert_eq!(ask("1")["feasible"], true, "{major}");
    assert!(run("1", true).server.is_some(), "{major}");
}

#[test]
fn a_prepared_transaction_that_stands_at_a_fork() {
    for major in [10, 12, 14, 16, 18] {
        dies_of_what_stands_prepared(major);
    }
}

/// Two timelines that left a third at one place have their checkpoints at the same positions.
#[test]
fn a_backup_of_a_sibling_is_none_of_this_timeline() {
    let major = 13;
    let (server, backup) = begun(major);
    server.sql("SELECT pg_create_restore_point('fork')");
    server.archive_everything();
    let backups: Vec<Backup> = ["second", "third"]
        .into_iter()
        .map(|label| {
            let fork = forked(&server, &backup, "fork");
            fork.sql("SELECT pg_switch_wal()");
            let backup = fork.backup(label);
            fork.sql("INSERT INTO t VALUES (4)");
            fork.archive_everything();
            backup
        })
        .collect();
    let [second, third] = &backups[..] else { panic!("two backups") };
    assert_eq!(second.start_lsn(), third.start_lsn(), "chosen so that they are the same");
    let ask = |backup: &Backup, timeline: &str| {
        let label = ["--backup-label", backup.label()];
        let target = ["--target-latest", "--target-timeline", timeline];
        ask("resolve", server.archive(), backup, &[&target[..], &label[..]].concat())
    };
    assert_eq!(ask(second, "2")["feasible"], true);
    assert_eq!(ask(third, "3")["feasible"], true);
    let answer = ask(third, "2");
    assert_eq!(
        (&answer["feasible"], &answer["problems"][0]["code"]),
        (&false.into(), &"timeline-not-descendant".into())
    );
    // The server promotes all the same, by the other timeline's checkpoint.
    let recovery = Recovery::of(third, server.archive()).set("recovery_target_timeline", "2").run();
    assert_eq!(answer["server"]["outcome"] == "promotes", recovery.server.is_some(), "{}", recovery.log);

    let windows = self::ask("timelines", server.archive(), third, &[])["windows"].clone();
    let pairs: Vec<(&str, u64)> = windows
        .as_array()
        .unwrap()
        .iter()
        .map(|window| (window["backup"].as_str().unwrap(), window["timeline"].as_u64().unwrap()))
        .filter(|(label, _)| ["second", "third"].contains(label))
        .collect();
    assert_eq!(pairs, [("second", 2), ("third", 3)]);
}
