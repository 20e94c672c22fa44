//! Files that are not what their names say, or that stand beside others: each case was once answered wrongly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::recorded::Recording;

/// An archive that is put together file by file, and a home for what walproof keeps.
struct Yard(tempfile::TempDir);

impl Yard {
    fn new() -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        fs::create_dir(yard.archive()).unwrap();
        yard
    }

    fn archive(&self) -> PathBuf {
        self.0.path().join("archive")
    }

    /// Copies files out of a recorded archive; `1-7` is segment 7 of timeline 1.
    fn put(&self, version: &str, names: &[&str]) {
        for name in names.iter().map(|name| long(name)) {
            fs::copy(Recording::of(version).archive().join(&name), self.archive().join(&name)).unwrap();
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.archive().join(name), bytes).unwrap();
    }

    fn ask(&self, command: &str, arguments: &[&str]) -> (i32, Value) {
        let mut walproof = Command::new(env!("CARGO_BIN_EXE_walproof"));
        walproof.arg(command).arg(self.archive()).args(["--format", "json"]).args(arguments);
        walproof.env("XDG_CACHE_HOME", self.0.path().join("cache"));
        walproof.env("XDG_STATE_HOME", self.0.path().join("state"));
        let output = walproof.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(said.into_owned()));
        (output.status.code().unwrap(), answer)
    }

    /// Exit status and the codes of errors and warnings.
    fn verify(&self) -> (i32, Vec<String>) {
        let (status, answer) = self.ask("verify", &["--no-catalog"]);
        let findings = answer["findings"].as_array().unwrap().iter();
        let loud = findings.filter(|finding| finding["severity"] != "info");
        (status, loud.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect())
    }

    /// What resolve says of the end of the archive, from the first backup of that version.
    fn latest(&self, version: &str, timeline: &str) -> Value {
        let backup = Recording::of(version).backup("b1");
        let backup = backup.to_str().unwrap();
        self.ask(
            "resolve",
            &["--no-catalog", "--backup", backup, "--target-latest", "--target-timeline", timeline],
        )
        .1
    }
}

fn gzip(path: &Path) -> PathBuf {
    assert!(Command::new("gzip").arg(path).status().unwrap().success());
    format!("{}.gz", path.display()).into()
}

fn long(name: &str) -> String {
    match name.split_once('-') {
        Some((timeline, number)) => format!("{timeline:0>8}00000000{number:0>8}"),
        None => name.to_owned(),
    }
}

fn codes(status: i32, codes: &[&str]) -> (i32, Vec<String>) {
    (status, codes.iter().map(|code| (*code).to_owned()).collect())
}

/// Everything of timelines 1 and 2 of that recording that a recovery from its first backup needs.
const TWO_TIMELINES: [&str; 6] = ["1-5", "1-6", "2-6", "2-7", "2-8", "00000002.history"];

/// A restore command that fails at the last byte delivers nothing, though all the WAL came out of it before.
#[test]
fn a_packed_segment_that_does_not_unpack_to_its_end_is_no_segment() {
    let yard = Yard::new();
    yard.put("16", &TWO_TIMELINES);
    assert_eq!(yard.latest("16", "2")["feasible"], true);
    let packed = gzip(&yard.archive().join(long("2-7")));
    assert_eq!(yard.latest("16", "2")["feasible"], true);
    let mut bytes = fs::read(&packed).unwrap();
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    fs::write(&packed, bytes).unwrap();
    assert_eq!(yard.verify(), codes(1, &["unreadable"]));
    let answer = yard.latest("16", "2");
    assert_eq!(answer["feasible"], false);
    assert_eq!(answer["segments"]["damaged"], serde_json::json!([long("2-7")]));
}

/// It may have been a key that was lacking: what could not be decoded is tried again.
#[test]
fn what_could_not_be_decoded_is_not_remembered_as_such() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6", "1-7"]);
    let packed = gzip(&yard.archive().join(long("1-6")));
    let sound = fs::read(&packed).unwrap();
    let modified = fs::metadata(&packed).unwrap().modified().unwrap();
    let rewrite = |bytes: &[u8]| {
        fs::write(&packed, bytes).unwrap();
        fs::File::options().write(true).open(&packed).unwrap().set_modified(modified).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
    };
    let mut spoiled = sound.clone();
    spoiled[sound.len() / 2] ^= 1;
    rewrite(&spoiled);
    assert_eq!(yard.ask("verify", &["--incremental"]).0, 1);
    let second = yard.ask("index", &[]).1;
    assert_eq!((&second["segments"]["scanned"], &second["segments"]["reused"]), (&1.into(), &2.into()));
    rewrite(&sound);
    assert_eq!(yard.ask("verify", &["--incremental"]).0, 0);
}

#[test]
fn histories_that_differ_are_no_history() {
    let yard = Yard::new();
    yard.put("16", &TWO_TIMELINES);
    let history = yard.archive().join("00000002.history");
    let text = fs::read(&history).unwrap();
    gzip(&history);
    yard.write("00000002.history", &text);
    assert_eq!(yard.verify(), codes(0, &[]));
    assert_eq!(yard.latest("16", "2")["feasible"], true);
    yard.write("00000002.history", b"1\t0/C00000\tno recovery target specified\n");
    assert_eq!(yard.verify(), codes(1, &["timeline-history-invalid", "duplicate-differs"]));
    let answer = yard.latest("16", "2");
    assert_eq!(
        (&answer["feasible"], &answer["problems"][0]["code"]),
        (&false.into(), &"timeline-not-found".into())
    );
}

/// The first record of a timeline names the one that it goes on from.
#[test]
fn a_history_that_lost_a_line_is_told() {
    let yard = Yard::new();
    yard.put("16", &["1-6", "1-7", "2-7", "2-8", "4-8", "00000002.history", "00000004.history"]);
    let text = fs::read_to_string(yard.archive().join("00000004.history")).unwrap();
    let switch = text.lines().find_map(|line| line.strip_prefix("2\t")).unwrap();
    fs::remove_file(yard.archive().join(long("2-8"))).unwrap();
    let before = yard.verify();
    yard.write("00000004.history", format!("1\t{switch}\n").as_bytes());
    let (status, told) = yard.verify();
    assert_ne!(before.1, told);
    assert!(status == 1 && told.contains(&"timeline-history-invalid".to_owned()), "{told:?}");
}

/// What an earlier cluster left under the name of a missing segment does not stand in for it.
#[test]
fn an_earlier_cluster_hides_no_gap() {
    let yard = Yard::new();
    yard.put("18", &["1-5", "1-8", "1-9"]);
    for older in ["000000010000000000000006", "000000010000000000000007"] {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
        fs::copy(demo.join(older), yard.archive().join(older)).unwrap();
    }
    let (status, told) = yard.verify();
    assert_eq!((status, told), codes(1, &["segment-missing", "earlier-cluster"]));
}

/// The first segment of an upgraded cluster stands behind all that was before.
#[test]
fn one_segment_of_a_later_version_behind_all_others_is_the_newest_cluster() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6", "1-7"]);
    yard.put("17", &["1-8"]);
    assert_eq!(yard.verify(), codes(0, &["earlier-cluster"]));
    let (_, answer) = yard.ask("timelines", &["--no-catalog"]);
    assert_eq!(answer["timelines"][0]["first_segment"], long("1-8").as_str());
}

/// A backup of a standby would stay one.
#[test]
fn a_standby_signal_is_minded() {
    let yard = Yard::new();
    yard.put("16", &TWO_TIMELINES);
    let data = yard.0.path().join("data");
    fs::create_dir_all(data.join("global")).unwrap();
    for file in ["backup_label", "PG_VERSION", "global/pg_control"] {
        fs::copy(Recording::of("16").backup("b1").join(file), data.join(file)).unwrap();
    }
    let standby = data.join("standby.signal");
    fs::write(&standby, "").unwrap();
    let data = data.to_str().unwrap();
    let asked = ["--no-catalog", "--backup", data, "--target-latest"];
    let (status, answer) = yard.ask("resolve", &asked);
    assert_eq!((status, answer["backup"]["cautions"].as_array().unwrap().len()), (0, 1));
    assert!(answer["backup"]["cautions"][0].as_str().unwrap().contains("standby.signal"));
    let write = ["--settings", data, "--restore-command", "cp /archive/%f %p"];
    let (status, _) = yard.ask("resolve", &[&asked[..], &write].concat());
    assert_eq!(
        (status, standby.exists(), Path::new(data).join("recovery.signal").exists()),
        (3, true, false)
    );
    let (status, _) = yard.ask("resolve", &[&asked[..], &write, &["--force"]].concat());
    assert_eq!(
        (status, standby.exists(), Path::new(data).join("recovery.signal").exists()),
        (0, false, true)
    );
}

/// Where a receiver has begun a segment it had all that is in front of it.
#[test]
fn a_begun_segment_tells_of_those_in_front_of_it() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6", "1-7", "1-8", "1-9"]);
    let begun = format!("{}.partial", long("1-A"));
    yard.write(&begun, &fs::read(Recording::of("16").archive().join(long("1-A"))).unwrap());
    assert_eq!(yard.verify(), codes(0, &["partial-only"]));
    assert_eq!(yard.latest("16", "1")["feasible"], true);
    let last = yard.archive().join(long("1-9"));
    let mut bytes = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    assert_eq!(yard.verify(), codes(1, &["segment-missing", "partial-only"]));
    let answer = yard.latest("16", "1");
    assert_eq!(
        (&answer["feasible"], &answer["segments"]["missing"][0]),
        (&false.into(), &long("1-9").into())
    );
    bytes[900_000..].fill(0);
    fs::write(&last, bytes).unwrap();
    let (status, told) = yard.verify();
    assert!(status == 1 && told[0] != "partial-only", "{told:?}");
    assert_eq!(yard.latest("16", "1")["feasible"], false);
}

/// A target that is spelled wrong in a file would be none, and everything would be recovered.
#[test]
fn what_a_server_does_not_know_in_its_configuration_is_not_passed_over() {
    let yard = Yard::new();
    yard.put("16", &TWO_TIMELINES);
    let conf = yard.0.path().join("conf");
    let backup = Recording::of("16").backup("b1");
    let ask = |text: &str, more: &[&str]| {
        fs::write(&conf, text).unwrap();
        let file =
            ["--no-catalog", "--backup", backup.to_str().unwrap(), "--from-conf", conf.to_str().unwrap()];
        yard.ask("resolve", &[&file[..], more].concat())
    };
    for wrong in ["recovery_target_tme = 'x'", "\u{feff}recovery_target_xid = '766'", "standby_mode = on"] {
        let (status, said) = ask(wrong, &[]);
        assert!(status == 2 && said.to_string().contains("unrecognized configuration parameter"), "{said}");
    }
    let (_, answer) =
        ask("recovery_target_action = shutdown\nrecovery_target_xid = '766'\nmy.own = 1\n", &["--exclusive"]);
    assert_eq!(
        (&answer["target"]["inclusive"], &answer["stop"]["position"]),
        (&false.into(), &"before".into())
    );
    assert_eq!(answer["settings"]["recovery_target_action"], "shutdown");
}

/// What is named must be there, for `verify` as for every command.
#[test]
fn a_backup_that_is_given_to_verify_must_be_there() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6", "1-7"]);
    let (status, said) = yard.ask("verify", &["--no-catalog", "--backup", "/no/such/backup"]);
    assert!(status == 3 && said.as_str().unwrap().contains("/no/such/backup"), "{status} {said}");
    let backup = Recording::of("16").backup("b1");
    assert_eq!(yard.ask("verify", &["--no-catalog", "--backup", backup.to_str().unwrap()]).0, 0);
}

/// A server takes the first number without a history for its new timeline.
#[test]
fn a_new_timeline_that_has_files_already_is_minded() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6", "2-6", "2-7", "00000002.history"]);
    let minds = |answer: &Value| {
        let cautions = answer["backup"]["cautions"].as_array().unwrap().iter();
        cautions.filter(|caution| caution.as_str().unwrap().contains("promotes to timeline 2")).count()
    };
    assert_eq!(minds(&yard.latest("16", "1")), 0);
    fs::remove_file(yard.archive().join("00000002.history")).unwrap();
    let answer = yard.latest("16", "1");
    assert_eq!(minds(&answer), 1, "{answer:#}");
}

/// A transaction that was prepared in front of all WAL that is left stands in a file of the backup's own.
#[test]
fn what_stands_prepared_in_the_backup_is_told() {
    let yard = Yard::new();
    yard.put("16", &["1-5", "1-6"]);
    let backup = yard.0.path().join("backup");
    fs::create_dir_all(backup.join("global")).unwrap();
    fs::create_dir(backup.join("pg_twophase")).unwrap();
    for file in ["backup_label", "global/pg_control", "PG_VERSION"] {
        fs::copy(Recording::of("16").backup("b1").join(file), backup.join(file)).unwrap();
    }
    let (xid, gid) = (600_u32, b"left\0");
    let mut state = vec![0; 72];
    state[0..4].copy_from_slice(&0x57F9_4534_u32.to_le_bytes());
    state[8..12].copy_from_slice(&xid.to_le_bytes());
    state[54..56].copy_from_slice(&u16::try_from(gid.len()).unwrap().to_le_bytes());
    state.extend([&gid[..], &[0; 3]].concat());
    fs::write(backup.join("pg_twophase/00000258"), state).unwrap();
    let asked = ["--no-catalog", "--backup", backup.to_str().unwrap(), "--target-immediate"];
    let (status, answer) = yard.ask("resolve", &asked);
    let prepared = answer["prepared"].as_array().unwrap();
    assert_eq!((status, prepared.len()), (0, 1), "{answer:#}");
    assert_eq!((&prepared[0]["xid"], &prepared[0]["gid"]), (&Value::from(600), &Value::from("left")));
}
