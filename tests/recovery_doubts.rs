//! Archives that look whole to a server, or nearly: what may be said of them and what may not.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::recorded::Recording;
use tempfile::TempDir;
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::backup::BaseBackup;
use walproof::backup::control::State;
use walproof::clock::Clock;
use walproof::recovery::{Library, Request, Target, predict};
use walproof::scan::Detail;
use walproof::timeline::TimelineTarget;
use walproof::wal::{Lsn, TimelineId, Xid, crc};

/// A copy of a recorded archive, to be damaged.
struct Copy(TempDir);

impl Copy {
    fn of(version: &str) -> Self {
        Self::with(version, |_| true)
    }

    /// Only the files with names that are wanted.
    fn with(version: &str, wanted: impl Fn(&str) -> bool) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for entry in fs::read_dir(Recording::of(version).archive()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if wanted(&name) {
                fs::copy(entry.path(), copy.file(&name)).unwrap();
            }
        }
        copy
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn resolve(&self, arguments: &[&str]) -> Value {
        ask("resolve", self.0.path(), arguments)
    }
}

fn ask(command: &str, archive: &Path, arguments: &[&str]) -> Value {
    let mut walproof = Command::new(env!("CARGO_BIN_EXE_walproof"));
    walproof.arg(command).arg(archive).args(arguments).args(["--format", "json", "--no-catalog"]);
    let output = walproof.env("TZ", "UTC").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"))
}

fn resolve(version: &str, arguments: &[&str]) -> Value {
    ask("resolve", &Recording::of(version).archive(), arguments)
}

fn is_feasible(answer: &Value) -> bool {
    answer["feasible"].as_bool().unwrap()
}

fn problems(answer: &Value) -> Vec<&str> {
    answer["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}

/// The first 24 digits of `name` are at least those of `other`.
fn is_from(name: &str, other: &str) -> bool {
    name.get(..24) >= Some(other)
}

/// The time of a checkpoint is that of its start: commits of later times stand in front of its record.
#[test]
fn a_checkpoint_does_not_prove_what_was_committed_before_its_record() {
    let time = ["--target-time", "2026-11-21 09:25:06.2+00"];
    let whole = resolve("17", &[&time[..], &["--backup-label", "b2", "--target-timeline", "1"]].concat());
    assert_eq!(problems(&whole), ["target-before-backup"]);
    let cut =
        Copy::with("17", |name| name.starts_with("00000001") && is_from(name, "00000001000000000000000B"));
    let answer = cut.resolve(&time);
    assert!(!is_feasible(&answer), "{answer:#}");
    assert_eq!(problems(&answer), ["target-before-backup"]);
}

/// "syntax error in history file": the server dies, it does not go on as if there were no parents.
#[test]
fn a_history_that_a_server_refuses_is_not_one_without_parents() {
    let copy = Copy::with("15", |name| !name.starts_with("00000003") && !name.starts_with("00000004"));
    copy.write("00000002.history", "garbage\n");
    for arguments in [&["--target-latest"][..], &["--backup-label", "b1", "--target-timeline", "2"]] {
        let answer = copy.resolve(arguments);
        assert!(!is_feasible(&answer), "{answer:#}");
        assert_eq!(answer["server"]["message"], "syntax error in history file: garbage");
        assert_eq!(problems(&answer), ["timeline-not-found"]);
    }
    copy.write("00000002.history", "2\t0/100\n");
    let answer = copy.resolve(&["--target-timeline", "2"]);
    assert_eq!(answer["server"]["message"], "invalid data in history file \"00000002.history\"");
    assert!(is_feasible(&copy.resolve(&["--target-timeline", "1", "--target-xid", "750"])), "it is not read");
}

/// Only the target timeline's own file is read, and an empty one is as good as none for whose bytes are whose.
#[test]
fn an_empty_history_does_not_matter_to_a_descendant() {
    let copy = Copy::of("15");
    let asked = ["--backup-label", "b1", "--target-timeline", "4"];
    copy.write("00000002.history", "");
    let answer = copy.resolve(&asked);
    assert!(is_feasible(&answer), "{answer:#}");
    let verified = ask("verify", copy.0.path(), &[]);
    let findings = verified["findings"].as_array().unwrap();
    let of_file = findings.iter().find(|finding| finding["segment"] == "00000002.history").unwrap();
    assert_eq!(
        (&of_file["code"], &of_file["severity"]),
        (&"timeline-history-invalid".into(), &"error".into())
    );
    let from_parent = copy.resolve(&["--backup-label", "b1", "--target-timeline", "2"]);
    assert!(!is_feasible(&from_parent), "a server takes timeline 2 for one without parents");
    fs::remove_file(copy.file("00000002.history")).unwrap();
    assert!(is_feasible(&copy.resolve(&asked)));
}

/// A history tells where its timeline began: up to there WAL was written, in the archive or not.
#[test]
fn wal_that_a_history_proves_is_missed() {
    let copy = Copy::with("15", |name| {
        name.starts_with("00000001") && !is_from(name, "000000010000000000000007")
            || name == "00000002.history"
    });
    let answer = copy.resolve(&["--target-latest"]);
    assert!(!is_feasible(&answer), "{answer:#}");
    assert_eq!(problems(&answer), ["segment-missing"]);
    assert_eq!(answer["segments"]["missing"], serde_json::json!(["000000020000000000000007"]));
    assert!(
        is_feasible(&copy.resolve(&["--target-latest", "--target-timeline", "1"])),
        "1 has no fork on its way"
    );
}

/// Positions of a history need not increase: a timeline's own line is not all that ends it.
#[test]
fn a_newer_timeline_that_began_earlier_ends_its_ancestors() {
    let copy = Copy::with("15", |name| {
        let (timeline, rest) = name.split_at(8);
        timeline == "00000001" && !is_from(name, "000000010000000000000008")
            || timeline == "00000002" && rest == ".history"
    });
    copy.write("00000003.history", "1\t0/E1CB88\tx\n\n2\t0/E0B060\ty\n");
    let answer = copy.resolve(&["--target-xid", "750"]);
    assert!(!is_feasible(&answer), "{answer:#}");
    assert_eq!(answer["timeline"]["resolved"], 3);
    let violation = &answer["owner_violations"][0];
    assert_eq!((&violation["from_lsn"], &violation["owner"]), (&"0/E0B060".into(), &3.into()));
    assert!(problems(&answer).contains(&"wrong-timeline-replayed"));
}

/// The record in front of which a server stops tells it to stop: it must be the right timeline's.
#[test]
fn a_stop_by_a_record_of_another_timeline_is_none() {
    let copy = Copy::with("15", |name| !(name.starts_with("00000003") && name.ends_with('D')));
    let answer = copy.resolve(&["--target-timeline", "3", "--target-xid", "791", "--exclusive"]);
    assert!(!is_feasible(&answer), "{answer:#}");
    assert_eq!(problems(&answer), ["segment-missing", "wrong-timeline-replayed"]);
    assert!(!answer["owner_violations"].as_array().unwrap().is_empty());
}

/// What is left of a timeline is often in a file that no server asks for by its name.
#[test]
fn a_partial_file_is_told_of_where_its_segment_is_missed() {
    let copy = Copy::with("15", |name| name.starts_with("00000001"));
    let mut names: Vec<String> = fs::read_dir(copy.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.len() == 24);
    let last = names.iter().max().unwrap();
    let number = u64::from_str_radix(&last[16..], 16).unwrap();
    let within = format!("0/{:X}", (number << 21) + 0x1000);
    let asked = ["--target-timeline", "1", "--target-lsn", &within];
    fs::rename(copy.file(last), copy.file("away")).unwrap();
    let told = |answer: &Value| {
        let problems = answer["problems"].as_array().unwrap();
        assert!(problems.iter().any(|problem| problem["code"] == "target-not-reached"), "{answer:#}");
        problems.iter().any(|problem| problem["message"].as_str().unwrap().contains(".partial"))
    };
    assert!(!told(&copy.resolve(&asked)));
    fs::rename(copy.file("away"), copy.file(&format!("{last}.partial"))).unwrap();
    assert!(told(&copy.resolve(&asked)));
}

/// `pg_basebackup -X fetch`: a server finds in the backup itself what the archive does not have.
#[test]
fn wal_that_the_backup_carries_is_told_of() {
    let recording = Recording::of("15");
    let asked = ["--target-immediate", "--target-timeline", "1", "--backup-label", "b1", "--backup"];
    let own = recording.backup("b1").display().to_string();
    let whole = ask("resolve", &recording.archive(), &[&asked[..], &[own.as_str()]].concat());
    assert!(is_feasible(&whole), "{whole:#}");
    let first = whole["segments"]["needed"][0].as_str().unwrap().to_owned();
    let copy = Copy::with("15", |name| !name.starts_with(&first));
    let backup = tempfile::tempdir().unwrap();
    fs::create_dir(backup.path().join("global")).unwrap();
    for file in ["PG_VERSION", "backup_label", "global/pg_control"] {
        fs::copy(recording.backup("b1").join(file), backup.path().join(file)).unwrap();
    }
    let carried = backup.path().display().to_string();
    let resolve = || copy.resolve(&[&asked[..], &[carried.as_str()]].concat());
    let told =
        |answer: &Value| answer["problems"][0]["message"].as_str().unwrap().contains("of its own in pg_wal");
    let answer = resolve();
    assert_eq!((problems(&answer), told(&answer)), (vec!["segment-missing"], false), "{answer:#}");
    fs::create_dir(backup.path().join("pg_wal")).unwrap();
    fs::copy(recording.archive().join(&first), backup.path().join("pg_wal").join(&first)).unwrap();
    let answer = resolve();
    assert_eq!((problems(&answer), told(&answer)), (vec!["segment-missing"], true), "{answer:#}");
}

/// The record at `lsn` of a recorded archive (its segments have 2 MiB) is changed, and its checksum with it.
fn forge(copy: &Copy, segment: &str, lsn: u64, change: impl Fn(&mut [u8])) {
    let mut bytes = fs::read(copy.file(segment)).unwrap();
    let at = usize::try_from(lsn % (2 << 20)).unwrap();
    let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let record = &mut bytes[at..at + usize::try_from(length).unwrap()];
    change(record);
    let covered = [&record[24..], &record[..20]].concat();
    record[20..24].copy_from_slice(&crc::checksum(&covered).to_le_bytes());
    fs::write(copy.file(segment), bytes).unwrap();
}

/// A restore point becomes a change of parameters, all of them zero: wal_level is minimal.
fn make_minimal(record: &mut [u8]) {
    assert_eq!(record[16] & 0xF0, 0x70, "a restore point");
    record[16] = 0x60;
    record[26..].fill(0);
}

/// "WAL was generated with wal_level=minimal": a server dies of it from 14 on, and warns before.
#[test]
fn no_recovery_goes_across_minimal_wal() {
    for (version, segment, lsn, words) in [
        ("13", "00000001000000000000000B", 0x0173_FF20, None),
        ("15", "00000001000000000000000A", 0x0154_0168, Some("wal_level=minimal")),
        ("17", "000000010000000000000007", 0x00E0_AD00, Some("\"wal_level=minimal\"")),
    ] {
        let copy = Copy::of(version);
        let asked = ["--target-timeline", "1", "--backup-label", "b1"];
        let to = format!("0/{lsn:X}");
        let before = [&asked[..], &["--target-lsn", &to, "--exclusive"]].concat();
        let to_end = copy.resolve(&asked);
        assert!(is_feasible(&to_end), "{to_end:#}");
        forge(&copy, segment, lsn, make_minimal);
        let answer = copy.resolve(&asked);
        assert!(!is_feasible(&answer), "{version}: {answer:#}");
        assert_eq!(problems(&answer), ["wal-level-minimal"], "{version}");
        let message =
            words.map(|words| format!("WAL was generated with {words}, cannot continue recovering"));
        assert_eq!(answer["server"]["message"].as_str(), message.as_deref());
        assert!(is_feasible(&copy.resolve(&before)), "{version}: in front of it nothing is wrong");
        let windows = ask("timelines", copy.0.path(), &[]);
        let of_b1 =
            windows["windows"].as_array().unwrap().iter().find(|w| w["backup"] == "b1" && w["timeline"] == 1);
        assert_eq!(of_b1.unwrap()["end_lsn"].as_str(), Some(to.as_str()), "{version}");
    }
}

/// A restore point becomes the removal of database 77777's files, by a transaction that never ends.
fn make_drop(record: &mut [u8]) {
    assert_eq!(record[16] & 0xF0, 0x70, "a restore point");
    record[4..8].copy_from_slice(&1_000_000_u32.to_le_bytes());
    (record[16], record[17]) = (0x20, 4);
    record[26..].fill(0);
    record[26..30].copy_from_slice(&77_777_u32.to_le_bytes());
}

/// DROP DATABASE takes effect before its commit: a stop between the two is in front of the drop by the clock alone.
#[test]
fn a_database_that_is_half_dropped_at_the_stop_is_told() {
    let copy = Copy::of("17");
    forge(&copy, "000000010000000000000007", 0x00E0_AD00, make_drop);
    let asked = ["--target-timeline", "1", "--backup-label", "b1"];
    let cautions = |answer: &Value| {
        let all = answer["backup"]["cautions"].as_array().unwrap().iter();
        all.filter(|caution| caution.as_str().unwrap().contains("OID 77777")).count()
    };
    let behind = copy.resolve(&asked);
    assert!(is_feasible(&behind), "{behind:#}");
    assert_eq!(cautions(&behind), 1, "{behind:#}");
    let before = copy.resolve(&[&asked[..], &["--target-lsn", "0/E0AD00", "--exclusive"]].concat());
    assert_eq!(cautions(&before), 0, "{before:#}");
}

/// The backup that is chosen may start behind the first of two restore points of one name.
#[test]
fn a_restore_point_in_front_of_the_backup_makes_its_name_ambiguous_too() {
    let copy = Copy::of("15");
    forge(&copy, "00000001000000000000000D", 0x01A0_8D08, |record| {
        record[34..].copy_from_slice(&{
            let mut name = [0; 64];
            name[..3].copy_from_slice(b"dup");
            name
        });
    });
    let answer = copy.resolve(&["--target-timeline", "1", "--target-name", "dup"]);
    assert!(is_feasible(&answer), "{answer:#}");
    assert_eq!(answer["stop"]["record_lsn"], "0/1A08D08");
    assert_eq!(problems(&answer), ["ambiguous-name"]);
}

/// What is near a transaction may be near it from another backup than the latest.
#[test]
fn the_nearest_transaction_is_looked_for_from_every_backup() {
    let answer = resolve("15", &["--target-xid", "739"]);
    assert!(!is_feasible(&answer));
    assert_eq!(answer["nearest"]["after"], serde_json::json!({"kind": "xid", "value": "740"}));
    assert!(is_feasible(&resolve("15", &["--target-xid", "740"])));
}

/// What the model says of the recorded backup b1 of 15, changed, on timeline 1.
fn predicted(
    target: &Target,
    change: impl Fn(&mut BaseBackup),
) -> (Option<String>, Option<Lsn>, Lsn, Option<Lsn>) {
    let recording = Recording::of("15");
    let archive = Archive::open(recording.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let options = Options { detail: Detail::Ends, ..Options::default() };
    let plan = plan(&archive, &options).unwrap();
    let library = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
    let mut backup = walproof::backup::load(&recording.backup("b1")).unwrap().remove(0);
    change(&mut backup);
    let timeline = TimelineTarget::Number(TimelineId(1));
    let clock = Clock::utc();
    let request = Request { target, inclusive: true, timeline, major: library.major, clock: &clock };
    let prediction = predict(&library, &backup, &request).unwrap();
    let stop = prediction.stop.as_ref().map(|stop| stop.end);
    (prediction.fatal, prediction.consistent, prediction.applied_to, stop)
}

/// `recoveryStopsAfter` looks at consistency behind a transaction's end, which is applied by then.
#[test]
fn a_commit_that_makes_the_data_consistent_is_applied() {
    let (_, _, end, stop) = predicted(&Target::Xid(Xid(750)), |_| {});
    assert_eq!(stop, Some(end));
    let (fatal, consistent, applied_to, stop) = predicted(&Target::Immediate, |backup| {
        backup.from_standby = Some(true);
        let control = backup.control.as_mut().unwrap();
        (control.state, control.min_recovery_point) = (State::InArchiveRecovery, end);
        control.min_recovery_timeline = TimelineId(1);
    });
    assert_eq!((fatal, consistent, applied_to, stop), (None, Some(end), end, Some(end)));
}

/// The control file of a server that wrote minimal WAL is enough.
#[test]
fn no_recovery_begins_with_minimal_wal() {
    let minimal = |backup: &mut BaseBackup| backup.control.as_mut().unwrap().wal_level = 0;
    let (fatal, consistent, ..) = predicted(&Target::Latest, minimal);
    assert_eq!(
        fatal.as_deref(),
        Some("WAL was generated with wal_level=minimal, cannot continue recovering")
    );
    assert_eq!(consistent, None);
}

#[test]
fn a_file_that_is_included_may_set_the_target() {
    let copy = Copy::of("15");
    copy.write("rec.conf", "recovery_target_xid = 750\n");
    copy.write("postgresql.conf", "include 'rec.conf'\n");
    let status = |name: &str| {
        let mut walproof = Command::new(env!("CARGO_BIN_EXE_walproof"));
        walproof
            .arg("resolve")
            .arg(copy.0.path())
            .arg("--from-conf")
            .arg(copy.file(name))
            .arg("--no-catalog");
        walproof.output().unwrap().status.code()
    };
    assert_eq!(status("postgresql.conf"), Some(2));
    assert_ne!(status("rec.conf"), Some(2));
}
