//! The settings that are written for a version are accepted by a real server of that version, which stops where they say:
//! whatever is in a restore point's name or in the path of the archive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Backup, Server, account, backup, server, tools};
use walproof::clock::Clock;
use walproof::recovery::fetch::copy_command;
use walproof::recovery::settings::{files, settings, write};
use walproof::recovery::{Action, TargetSetting, Wanted};
use walproof::timeline::TimelineTarget;
use walproof::wal::Xid;

/// Everything that quoting can get wrong, in a name and in a path.
const NAME: &str = "it's a \"b\\c\" = '%f'\n\t# \u{e9} \\101";
const FOLDER: &str = "it's 100% \"archive\" \\n $HOME `x`";

/// Restores `backup` with the settings of `target` written by walproof, and gives the server's log: it shuts down by itself at
/// the target.
fn recover(backup: &Backup, archive: &Path, target: &TargetSetting, inclusive: bool) -> String {
    let directory = account::temporary_directory();
    let data = directory.path().join("data");
    backup::copy_tree(&backup.path(), &data, true);
    let command = copy_command(archive);
    let wanted = Wanted {
        target: Some(target),
        inclusive,
        timeline: TimelineTarget::Current,
        action: Action::Shutdown,
        restore_command: Some(&command),
    };
    let major = backup.major().to_string().parse().unwrap();
    let map = settings(&wanted, major).unwrap();
    // A new cluster has a postgresql.auto.conf already.
    for path in write(&data, &files(&map, major), true).unwrap() {
        account::give(&path);
    }
    let sockets = directory.path().display().to_string();
    let mut own =
        vec![("unix_socket_directories", sockets.as_str()), ("archive_mode", "off"), ("hot_standby", "off")];
    // What a recovery before the backup has left in the configuration.
    if backup.major() >= 12 {
        own.extend([("recovery_target_name", "long ago"), ("recovery_target_inclusive", "off")]);
    }
    let own: Vec<(String, String)> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    server::append_settings(&data, &own);
    let log = directory.path().join("log");
    let output = File::create(&log).unwrap();
    let mut command = account::command(&tools::program(backup.major(), "postgres"));
    command.arg("-D").arg(&data).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut process = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("the server does not stop:\n{}", fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned()
}

fn accepted_by(major: u32) {
    let server = Server::create(major).start();
    server.sql("CREATE TABLE t (i int)");
    let backup = server.backup("first");
    let mut client = server.client();
    let xid: i64 = client.query_one("INSERT INTO t VALUES (1) RETURNING txid_current()", &[]).unwrap().get(0);
    let time = server.value("SELECT clock_timestamp()");
    client.execute("SELECT pg_create_restore_point($1)", &[&NAME]).unwrap();
    let lsn = server.insert_lsn();
    client.execute("INSERT INTO t VALUES (2)", &[]).unwrap();
    server.archive_everything();
    let folder = account::temporary_directory();
    let archive = folder.path().join(FOLDER);
    symlink(server.archive(), &archive).unwrap();

    let clock = Clock::utc();
    let xid = Xid(u32::try_from(xid).unwrap());
    let cases = [
        (
            TargetSetting::Name(NAME.to_owned()),
            true,
            format!("recovery stopping at restore point \"{NAME}\", time "),
        ),
        (
            TargetSetting::Xid(xid),
            true,
            format!("recovery stopping after commit of transaction {xid}, time "),
        ),
        (
            TargetSetting::Xid(xid),
            false,
            format!("recovery stopping before commit of transaction {xid}, time "),
        ),
        (
            TargetSetting::Time(clock.server(clock.read(&time).unwrap().time)),
            true,
            "recovery stopping before commit of transaction ".to_owned(),
        ),
        (
            TargetSetting::Lsn(lsn.parse().unwrap()),
            false,
            format!("recovery stopping before WAL location (LSN) \"{lsn}\""),
        ),
        (TargetSetting::Immediate, true, "recovery stopping after reaching consistency".to_owned()),
    ];
    for (target, inclusive, expected) in cases {
        let log = recover(&backup, &archive, &target, inclusive);
        // The log sets every line but the first of a message in by a tab.
        assert!(log.replace("\n\t", "\n").contains(&expected), "{target:?}: no {expected:?} in\n{log}");
        assert!(log.contains("shutdown at recovery target"), "{target:?}:\n{log}");
    }
}

macro_rules! accepted {
    ($($name:ident $major:literal)*) => {
        $(#[test]
        fn $name() {
            assert!(tools::STARTABLE.contains(&$major));
            accepted_by($major);
        })*
    };
}

accepted! {
    accepted_by_10 10
    accepted_by_11 11
    accepted_by_12 12
    accepted_by_13 13
    accepted_by_14 14
    accepted_by_15 15
    accepted_by_16 16
    accepted_by_17 17
    accepted_by_18 18
}

/// Two names that differ in bytes which are no UTF-8 are two names, and the server gets the bytes.
#[test]
fn a_name_in_another_encoding() {
    let server = Server::create(15).start();
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let backup = server.backup("before");
    let mut latin = server.client_of("latin");
    for code in [232, 233] {
        latin.execute(&format!("SELECT pg_create_restore_point('caf' || chr({code}))"), &[]).unwrap();
    }
    server.archive_everything();
    let walproof = |command: &str, arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
        program.arg(command).arg(server.archive()).args(["--no-catalog", "--format", "json"]).args(arguments);
        let output = program.output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let found = walproof("find", &["--name", "caf\\xe9"]);
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["events"][0]["name"], "caf\\xE9");
    let path = backup.path().display().to_string();
    let resolved = walproof("resolve", &["--backup", &path, "--target-name", "caf\\xE9"]);
    assert_eq!(resolved["stop"]["record_lsn"], found["events"][0]["lsn"], "{resolved}");
    let files = resolved["files"].to_string();
    assert!(files.contains("caf\\\\351"), "{files}");
    let log = recover(&backup, server.archive(), &TargetSetting::Name("caf\\xE9".to_owned()), true);
    let stopping = log.lines().find(|line| line.contains("recovery stopping at restore point"));
    assert!(stopping.is_some_and(|line| line.contains("caf\u{fffd}")), "{log}");
}
