//! What must not pass for whole, and what must not pass for damage: each case was once answered wrongly.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::recorded::Recording;

/// Of a segment of that recording.
const SIZE: usize = 2 << 20;

/// Copies of some segments of the recorded archive of 16, and a home for what walproof keeps.
struct Yard(tempfile::TempDir);

impl Yard {
    fn of(segments: &[&str]) -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        fs::create_dir(yard.archive()).unwrap();
        for short in segments {
            yard.put(short);
        }
        yard
    }

    fn archive(&self) -> PathBuf {
        self.0.path().join("archive")
    }

    fn place(&self, short: &str) -> PathBuf {
        self.archive().join(name(short))
    }

    fn put(&self, short: &str) {
        fs::copy(Recording::of("16").archive().join(name(short)), self.place(short)).unwrap();
    }

    fn overwrite(&self, short: &str, offset: usize, bytes: &[u8]) {
        let file = File::options().write(true).open(self.place(short)).unwrap();
        file.write_all_at(bytes, offset as u64).unwrap();
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut walproof = Command::new(env!("CARGO_BIN_EXE_walproof"));
        walproof.arg(command).arg(self.archive()).args(arguments);
        walproof.env("XDG_CACHE_HOME", self.0.path().join("cache"));
        walproof.env("XDG_STATE_HOME", self.0.path().join("state"));
        walproof.output().unwrap()
    }

    /// Exit status and the codes of errors and warnings.
    fn verify(&self, arguments: &[&str]) -> (i32, Vec<String>) {
        let output = self.run("verify", &[arguments, &["--format", "json"]].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = answer["findings"].as_array().unwrap().iter();
        let loud = findings.filter(|finding| finding["severity"] != "info");
        let codes = loud.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
        (output.status.code().unwrap(), codes)
    }

    fn feasible(&self, arguments: &[&str]) -> bool {
        let output = self.run("resolve", &[arguments, &["--format", "json"]].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["feasible"].as_bool().unwrap()
    }
}

/// `1-7` is segment 7 of timeline 1.
fn name(short: &str) -> String {
    let (timeline, number) = short.split_once('-').unwrap();
    format!("{timeline:0>8}00000000{number:0>8}")
}

fn damaged(code: &str) -> (i32, Vec<String>) {
    (1, vec![code.to_owned()])
}

const WHOLE: (i32, Vec<String>) = (0, Vec::new());

/// The record at 0/E00E30 goes through 1-E and ends in 1-F… : of this recording 1-8 lies inside one that spans 7 to 9.
#[test]
fn wal_that_ends_inside_a_record_that_spans_segments_is_an_end_too_early() {
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-9", "1-A"]);
    let whole = fs::read(yard.place("1-8")).unwrap();
    assert_eq!(yard.verify(&[]), WHOLE);
    for offset in [8192, 3 * 8192, 8192 + 4000, SIZE - 8192] {
        yard.overwrite("1-8", 0, &whole);
        yard.overwrite("1-8", offset, &vec![0; SIZE - offset]);
        let (status, codes) = yard.verify(&[]);
        assert!(status == 1 && !codes.is_empty(), "{offset}: {status} {codes:?}");
    }
}

#[test]
fn a_bound_that_is_named_must_be_there() {
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-A"]);
    let nine = name("1-9");
    assert_eq!(yard.verify(&[]), damaged("segment-missing"));
    for bounds in [&["--from", &nine][..], &["--to", &nine], &["--from", &name("1-5"), "--to", &nine]] {
        assert_eq!(yard.verify(bounds), damaged("segment-missing"), "{bounds:?}");
        let with_timeline = [bounds, &["--timeline", "1"]].concat();
        assert_eq!(yard.verify(&with_timeline), damaged("segment-missing"), "{with_timeline:?}");
    }
    assert_eq!(yard.verify(&["--from", &name("1-5"), "--to", &name("1-8")]), WHOLE);
    // Another timeline's file of the number is none of this one's.
    let other = Yard::of(&["1-5", "1-6", "2-6", "2-7", "2-8"]);
    other.put_file("00000002.history");
    assert_eq!(other.verify(&[]), WHOLE);
    for bounds in [("1-7", "1-7"), ("1-7", "1-8")] {
        let bounds = ["--from", &name(bounds.0), "--to", &name(bounds.1)];
        assert_eq!(other.verify(&bounds), damaged("segment-missing"), "{bounds:?}");
    }
    assert_eq!(yard.verify(&["--from", &name("1-4")]), (1, vec!["segment-missing".to_owned(); 2]));
}

/// A walreceiver writes what it was sent: behind that the recycled file's older use shows, in mid-page.
#[test]
fn older_use_of_the_last_file_is_the_end_of_the_wal() {
    let yard = Yard::of(&["1-5", "1-6"]);
    let (older, newer) = (fs::read(yard.place("1-5")).unwrap(), fs::read(yard.place("1-6")).unwrap());
    let lsn_of = |line: &str| line.split("lsn: ").nth(1).and_then(|rest| rest.get(..10)).map(str::to_owned);
    let dump = yard.run("dump", &["--from", "0/C00000", "--to", "0/E00000"]);
    let text = String::from_utf8(dump.stdout).unwrap();
    let starts: Vec<usize> = text
        .lines()
        .filter_map(lsn_of)
        .map(|lsn| usize::from_str_radix(lsn.trim_start_matches("0/").trim_end_matches(','), 16).unwrap())
        .filter(|lsn| *lsn > 0xC0_2000)
        .map(|lsn| lsn - 0xC0_0000)
        .collect();
    assert!(starts.len() > 200);
    let commits = |yard: &Yard| {
        let output = yard.run("find", &["--kind", "commit", "--no-catalog", "--format", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["events"].as_array().unwrap().iter().map(|event| event["lsn"].to_string()).collect::<Vec<_>>()
    };
    let all = commits(&yard);
    let mut whole = 0;
    for end in starts.iter().step_by(starts.len() / 60) {
        yard.overwrite("1-6", 0, &newer[..*end]);
        yard.overwrite("1-6", *end, &older[*end..]);
        let (status, codes) = yard.verify(&["--no-catalog"]);
        whole += usize::from((status, codes.is_empty()) == (0, true));
        assert!(codes.len() <= 1, "one end, not many wounds: {end:X} {codes:?}");
        assert!(commits(&yard).iter().all(|lsn| all.contains(lsn)), "phantoms at {end:X}");
    }
    assert!(whole > 50, "{whole} of some 60");
    yard.overwrite("1-6", 0, &newer[..starts[100]]);
    yard.overwrite("1-6", starts[100], &older[starts[100]..]);
    yard.put("1-7");
    assert_eq!(yard.verify(&["--no-catalog"]), damaged("segment-ends-early"));
}

#[test]
fn rot_that_a_full_verify_finds_is_not_answered_over() {
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-9"]);
    fs::copy(
        Recording::of("16").archive().join("000000010000000000000005.00000028.backup"),
        yard.archive().join("000000010000000000000005.00000028.backup"),
    )
    .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(yard.run("index", &[]).status.code(), Some(0));
    assert!(yard.feasible(&[]));
    let place = yard.place("1-7");
    let before = fs::metadata(&place).unwrap().modified().unwrap();
    yard.overwrite("1-7", 25_982, &[0xAA]);
    File::options().write(true).open(&place).unwrap().set_modified(before).unwrap();
    assert_eq!(yard.verify(&[]).0, 1);
    assert_eq!(yard.verify(&["--incremental"]).0, 1);
    assert!(!yard.feasible(&[]));
}

#[test]
fn what_was_accepted_is_that_loss_and_no_other() {
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-9", "1-A"]);
    let lost = name("1-6");
    let ack = |yard: &Yard| yard.run("ack", &["--segment", &lost, "--reason", "test"]).status.code();
    assert_eq!(ack(&yard), Some(2), "nothing is wrong with it");
    yard.overwrite("1-6", 25_982, &[0xAA]);
    assert_eq!(ack(&yard), Some(0));
    assert_eq!(yard.verify(&[]), WHOLE);
    assert_eq!(yard.run("timelines", &[]).status.code(), Some(0));
    assert_eq!(yard.run("index", &[]).status.code(), Some(0));
    yard.overwrite("1-6", 200_000, &[0xAA; 64]);
    assert_eq!(yard.verify(&[]).0, 1, "damage elsewhere");
    fs::remove_file(yard.place("1-6")).unwrap();
    assert_eq!(yard.verify(&[]), damaged("segment-missing"));
    assert_eq!(ack(&yard), Some(0));
    assert_eq!(yard.verify(&[]), WHOLE);
    fs::remove_file(yard.place("1-7")).unwrap();
    assert_eq!(yard.verify(&[]), damaged("segment-missing"), "a longer gap");
}

#[test]
fn a_partial_is_good_up_to_its_first_damage() {
    let yard = Yard::of(&["1-5", "1-6"]);
    let partial = yard.archive().join(name("1-7") + ".partial");
    fs::copy(Recording::of("16").archive().join(name("1-7")), &partial).unwrap();
    let told = |yard: &Yard| String::from_utf8(yard.run("verify", &["--no-catalog"]).stdout).unwrap();
    assert!(told(&yard).contains("with WAL up to") && !told(&yard).contains("damaged:"));
    File::options().write(true).open(&partial).unwrap().write_all_at(&[0xFF; 64], 2000).unwrap();
    assert!(told(&yard).contains("damaged:"), "{}", told(&yard));
}

#[test]
fn the_catalog_of_another_archive_gives_no_answer() {
    let (one, other) = (Yard::of(&["1-5", "1-6"]), Yard::of(&["1-5"]));
    let catalog = one.0.path().join("catalog");
    let catalog = catalog.to_str().unwrap();
    assert_eq!(one.run("index", &["--catalog", catalog]).status.code(), Some(0));
    assert_eq!(one.run("find", &["--catalog", catalog, "--offline"]).status.code(), Some(0));
    assert_eq!(other.run("find", &["--catalog", catalog, "--offline"]).status.code(), Some(3));
    assert_eq!(one.run("verify", &["--catalog", catalog, "--offline"]).status.code(), Some(0));
}

#[test]
fn dump_tells_of_a_gap() {
    let yard = Yard::of(&["1-5", "1-6", "1-8"]);
    let output = yard.run("dump", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no WAL from 0/E00000 to 0/1000000"));
}

#[test]
fn a_restore_command_is_one_that_works_or_none() {
    let yard = Yard::of(&["1-5"]);
    let backup = "000000010000000000000005.00000028.backup";
    fs::copy(Recording::of("16").archive().join(backup), yard.archive().join(backup)).unwrap();
    let command_of = |yard: &Yard| {
        let output = yard.run("resolve", &["--no-catalog", "--format", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["settings"]["restore_command"].as_str().map(ToOwned::to_owned)
    };
    let fetch = |command: &str, name: &str, to: &Path| {
        let command = command.replace("%f", name).replace("%p", to.to_str().unwrap());
        Command::new("sh").arg("-c").arg(&command).status().unwrap().success()
    };
    let fetched = |yard: &Yard| {
        let to = yard.0.path().join("fetched");
        let command = command_of(yard)?;
        assert!(fetch(&command, &name("1-5"), &to), "{command}");
        Some(fs::read(to).unwrap())
    };
    let whole = fs::read(yard.place("1-5")).unwrap();
    assert_eq!(fetched(&yard).as_ref(), Some(&whole));
    let pack = |how: &[&str], path: &Path| {
        assert!(Command::new(how[0]).args(&how[1..]).arg(path).status().unwrap().success(), "{how:?}");
    };
    pack(&["gzip"], &yard.place("1-5"));
    assert_eq!(fetched(&yard).as_ref(), Some(&whole));
    // Both, beside one another: whichever is asked for.
    for (short, packed) in [("1-6", true), ("1-7", false)] {
        yard.put(short);
        if packed {
            pack(&["gzip"], &yard.place(short));
        }
    }
    yard.put_file("00000002.history");
    pack(&["gzip"], &yard.archive().join("00000002.history"));
    let command = command_of(&yard).unwrap();
    for asked in ["00000002.history".to_owned(), name("1-5"), name("1-6"), name("1-7")] {
        let to = yard.0.path().join(format!("{asked} again"));
        assert!(fetch(&command, &asked, &to), "{command}");
        assert_eq!(fs::read(to).unwrap(), fs::read(Recording::of("16").archive().join(&asked)).unwrap());
    }
    let to = yard.0.path().join("nothing");
    assert!(!fetch(&command, &name("1-9"), &to) && !to.exists(), "{command}");
    for gone in ["1-6.gz", "1-7"] {
        fs::remove_file(yard.archive().join(name(gone.trim_end_matches(".gz")) + &gone[3..])).unwrap();
    }
    fs::remove_file(yard.archive().join("00000002.history.gz")).unwrap();
    // Under its own name it is no segment, and nothing tells how to unpack it.
    fs::rename(yard.place("1-5").with_extension("gz"), yard.place("1-5")).unwrap();
    assert_eq!(fetched(&yard), None);
    let settings = yard.0.path().join("settings");
    let output = yard.run("resolve", &["--no-catalog", "--settings", settings.to_str().unwrap()]);
    assert_eq!((output.status.code(), settings.exists()), (Some(2), false));
}

impl Yard {
    fn put_file(&self, name: &str) {
        fs::copy(Recording::of("16").archive().join(name), self.archive().join(name)).unwrap();
    }

    /// What is said of missing segments, and how loud.
    fn missed(&self) -> Vec<(String, String)> {
        let output = self.run("verify", &["--no-catalog", "--format", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = answer["findings"].as_array().unwrap().iter();
        let missed = findings.filter(|finding| finding["code"] == "segment-missing");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        missed.map(|finding| (text(&finding["severity"]), text(&finding["message"]))).collect()
    }
}

/// The server archives a backup history file behind the segments that the backup needs.
#[test]
fn wal_that_a_backup_history_file_tells_of_is_missed() {
    const FIRST: &str = "000000010000000000000005.00000028.backup";
    const SECOND: &str = "00000001000000000000000C.00000028.backup";
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-9"]);
    yard.put_file(FIRST);
    assert_eq!(yard.verify(&[]), WHOLE);
    assert!(yard.feasible(&["--target-latest"]));
    yard.put_file(SECOND);
    let [(severity, message)] = &yard.missed()[..] else { panic!("{:?}", yard.missed()) };
    assert_eq!(severity, "error");
    let expected = format!(
        "3 segments are missing: {} to {}; {SECOND} tells that WAL up to 0/1800100 was written",
        name("1-A"),
        name("1-C")
    );
    assert_eq!(*message, expected);
    assert_eq!(yard.verify(&["--to", &name("1-9")]), WHOLE, "nothing was asked of what is behind");
    assert!(!yard.feasible(&["--target-latest"]));
    // Off the way to the newest timeline somebody may have pruned it.
    for short in ["2-6", "2-7"] {
        yard.put(short);
    }
    yard.put_file("00000002.history");
    let [(severity, message)] = &yard.missed()[..] else { panic!("{:?}", yard.missed()) };
    assert_eq!(severity, "warning");
    assert!(message.contains("does not lead to timeline 2"), "{message}");
    assert_eq!(yard.run("verify", &[]).status.code(), Some(0));
    for gone in ["2-6", "2-7"] {
        fs::remove_file(yard.place(gone)).unwrap();
    }
    fs::remove_file(yard.archive().join("00000002.history")).unwrap();
    // Unreadable, its name still tells where the backup began.
    fs::write(yard.archive().join(SECOND), "START\n").unwrap();
    let [(_, message)] = &yard.missed()[..] else { panic!("{:?}", yard.missed()) };
    assert!(message.ends_with(&format!("; {SECOND} tells that WAL was written")), "{message}");
    for short in ["1-A", "1-B", "1-C"] {
        yard.put(short);
    }
    yard.put_file(SECOND);
    assert_eq!(yard.verify(&[]), WHOLE);
}

/// A file without its own WAL still tells that a segment of its name was archived, and those in front of it before.
#[test]
fn a_hole_in_front_of_a_file_of_no_use_is_seen() {
    let misnamed = fs::read(Recording::of("16").archive().join(name("1-6"))).unwrap();
    let zeros = vec![0; SIZE];
    let other = vec![b'x'; SIZE];
    for (what, bytes) in
        [("misnamed", misnamed.as_slice()), ("zeros", &zeros), ("empty", &[]), ("other", &other)]
    {
        let yard = Yard::of(&["1-5", "1-6"]);
        yard.put_file("000000010000000000000005.00000028.backup");
        assert!(yard.feasible(&["--target-latest"]));
        fs::write(yard.place("1-8"), bytes).unwrap();
        let (status, codes) = yard.verify(&["--no-catalog"]);
        assert!(status == 1 && codes.contains(&"segment-missing".to_owned()), "{what}: {codes:?}");
        assert!(!yard.feasible(&["--no-catalog", "--target-latest"]), "{what}");
        // A server keeps such files in its pg_wal.
        fs::create_dir(yard.archive().join("archive_status")).unwrap();
        if ["misnamed", "zeros"].contains(&what) {
            assert!(yard.feasible(&["--no-catalog", "--target-latest"]), "{what} in pg_wal");
        }
    }
}

/// Where a child's files stand behind a gap nothing is in doubt, whatever else tells of it, and it is told once.
#[test]
fn a_witness_takes_nothing_from_a_gap_that_files_prove() {
    let yard = Yard::of(&["1-5", "1-6", "1-7", "1-8", "1-9", "2-6", "2-7", "2-8", "3-D", "4-8"]);
    for name in ["00000002.history", "00000003.history", "00000004.history"] {
        yard.put_file(name);
    }
    let without = yard.missed();
    let [(severity, message)] = &without[..] else { panic!("{without:?}") };
    assert_eq!(severity, "error");
    assert_eq!(*message, format!("3 segments are missing: {} to {}", name("1-A"), name("1-C")));
    yard.put_file("00000001000000000000000C.00000028.backup");
    assert_eq!(yard.missed(), without);
    assert_eq!(yard.run("verify", &[]).status.code(), Some(1));
}

/// A timeline that has a history began where its parent's WAL ended.
#[test]
fn wal_in_front_of_a_fork_is_missed_before_the_child_has_any() {
    let yard = Yard::of(&["1-4"]);
    yard.put_file("00000002.history");
    let [(severity, message)] = &yard.missed()[..] else { panic!("{:?}", yard.missed()) };
    assert_eq!(severity, "error");
    let expected = format!(
        "segment {} is missing; 00000002.history tells that WAL up to 0/C48798 was written",
        name("1-5")
    );
    assert_eq!(*message, expected);
    // The fork's own segment may be on its way.
    yard.put("1-5");
    let [(severity, message)] = &yard.missed()[..] else { panic!("{:?}", yard.missed()) };
    assert_eq!(severity, "warning");
    assert!(message.starts_with(&format!("segment {} is not there yet", name("2-6"))), "{message}");
    assert_eq!(yard.run("verify", &[]).status.code(), Some(0));
    let partial = yard.archive().join(format!("{}.partial", name("1-6")));
    fs::copy(Recording::of("16").archive().join(name("1-6")), &partial).unwrap();
    assert_eq!(yard.missed(), []);
    fs::remove_file(partial).unwrap();
    yard.put("2-6");
    assert_eq!(yard.verify(&[]), WHOLE);
    // What stands in front of the first segment was cleaned up.
    yard.put("2-7");
    for gone in ["1-4", "1-5", "2-6"] {
        fs::remove_file(yard.place(gone)).unwrap();
    }
    yard.put_file("000000010000000000000005.00000028.backup");
    assert_eq!(yard.verify(&[]), WHOLE);
}

/// A number that is missing among the histories hides the timelines behind it from a server that looks for the newest.
#[test]
fn a_history_that_hides_later_timelines_is_told() {
    let older = ["1-5", "1-6", "1-7", "1-8", "1-9", "1-A", "1-B", "1-C", "1-D", "2-6", "2-7", "2-8"];
    let yard = Yard::of(&older);
    yard.put("4-8");
    for name in ["00000002.history", "00000003.history", "00000004.history"] {
        yard.put_file(name);
    }
    assert_eq!(yard.verify(&[]), WHOLE);
    let newest = |yard: &Yard| {
        let backup = Recording::of("16").backup("b1");
        let backup = ["--backup", backup.to_str().unwrap()];
        let output = yard.run("resolve", &[&backup[..], &["--target-latest", "--format", "json"]].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["timeline"]["resolved"].clone()
    };
    assert_eq!(newest(&yard), 4);
    fs::remove_file(yard.archive().join("00000003.history")).unwrap();
    assert_eq!(yard.verify(&[]), (0, vec!["timeline-history-missing".to_owned()]));
    assert_eq!(newest(&yard), 2);
    // The numbers in front of all that is left were cleaned up.
    for gone in older {
        fs::remove_file(yard.place(gone)).unwrap();
    }
    fs::remove_file(yard.archive().join("00000002.history")).unwrap();
    assert_eq!(yard.verify(&[]), WHOLE);
}
