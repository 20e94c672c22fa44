//! The test harness itself: every installed server starts, archives, is backed up, and recovers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{Recovery, Server, tools};

/// One server's whole life: archive, back up, recover to a restore point, fork to timeline 2.
fn life(major: u32) {
    let server = Server::create(major).start();
    assert!(server.value("SHOW server_version").starts_with(&major.to_string()));
    server.sql("CREATE TABLE t (i int)");
    let backup = server.backup("first");
    server.sql("INSERT INTO t VALUES (1)");
    server.sql("SELECT pg_create_restore_point('one')");
    server.sql("INSERT INTO t VALUES (2)");
    server.archive_everything();

    let recovered =
        Recovery::of(&backup, server.archive()).set("recovery_target_name", "one").keep_archiving().run();
    let fork = recovered.server.as_ref().unwrap_or_else(|| panic!("{}", recovered.log));
    assert_eq!(fork.value("SELECT string_agg(i::text, ',') FROM t"), "1");
    fork.archive_everything();
    assert!(server.archive().join("00000002.history").exists());
    assert!(
        recovered
            .logged("recovery stopping ")
            .is_some_and(|rest| rest.starts_with("at restore point \"one\""))
    );
    assert!(
        server.archive().read_dir().unwrap().any(|e| e
            .unwrap()
            .path()
            .extension()
            .is_some_and(|x| x == "backup"))
    );
    assert!(!backup.start_lsn().is_empty() && !backup.stop_lsn().is_empty());

    let lost = Recovery::of(&backup, server.archive())
        .set("recovery_target_name", "never")
        .set("recovery_target_timeline", "1")
        .run();
    // Up to version 12 a server that does not meet its target promotes all the same.
    assert_eq!(lost.server.is_some(), major <= 12, "{}", lost.log);
    assert_eq!(lost.fatal().is_some(), major >= 13, "{}", lost.log);
}

macro_rules! lives {
    ($($name:ident $major:literal)*) => {
        $(#[test]
        fn $name() {
            assert!(tools::STARTABLE.contains(&$major));
            life($major);
        })*
    };
}

lives! {
    server_10_lives 10
    server_11_lives 11
    server_12_lives 12
    server_13_lives 13
    server_14_lives 14
    server_15_lives 15
    server_16_lives 16
    server_17_lives 17
    server_18_lives 18
}

#[test]
fn every_recording_unpacks() {
    for version in support::recorded::VERSIONS {
        let recording = support::recorded::Recording::of(version);
        assert_eq!(recording.oracle["major"].to_string(), version);
        assert!(recording.archive().read_dir().unwrap().count() > 5);
        assert!(recording.backup("b1").join("backup_label").exists());
    }
}
