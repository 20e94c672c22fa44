//! Backups that are kept with their own WAL only, and the gaps behind them: expected where retention made them, losses
//! everywhere else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use support::asked::{asked, removed};
use support::recorded::Recording;

/// Label, start segment, start and stop of the recording's backups, oldest first.
const BACKUPS: [(&str, &str, u64, u64); 3] = [
    ("b1", "000000010000000000000005", 0x00A0_0028, 0x00A0_0100),
    ("b2", "00000001000000000000000C", 0x0180_0028, 0x0180_0100),
    ("b_tl2", "000000020000000000000007", 0x00E0_0028, 0x00E0_0100),
];

struct Yard {
    folder: tempfile::TempDir,
    wal: &'static str,
}

impl Yard {
    /// The recorded archive, with its WAL in the folder `wal`.
    fn new(wal: &'static str) -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap(), wal };
        fs::create_dir_all(yard.root().join(wal)).unwrap();
        for entry in fs::read_dir(Recording::of("16").archive()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            fs::copy(&path, yard.place(name)).unwrap();
        }
        yard
    }

    /// WAL-G's layout; `permanent` are the backups that it keeps for ever.
    fn wal_g(permanent: &[&str]) -> Self {
        let yard = Self::new("wal_005");
        for (minute, (label, segment, start, stop)) in BACKUPS.into_iter().enumerate() {
            let text = format!(
                r#"{{"LSN":{start},"PgVersion":160000,"FinishLSN":{stop},"StartTime":"2026-11-21T09:2{minute}:00Z","FinishTime":"2026-11-21T09:2{minute}:10Z","IsPermanent":{}}}"#,
                permanent.contains(&label)
            );
            yard.put(&format!("basebackups_005/base_{segment}_backup_stop_sentinel.json"), &text);
        }
        yard
    }

    /// Barman's layout; `keep` is what it says of the first backup.
    fn barman(keep: &str) -> Self {
        let yard = Self::new("wals");
        for (minute, (_, segment, start, stop)) in BACKUPS.into_iter().enumerate() {
            let text = format!(
                "begin_time=2026-11-21 09:2{minute}:00+00:00\nbegin_wal={segment}\nbegin_xlog=0/{start:X}\n\
                 end_time=2026-11-21 09:2{minute}:10+00:00\nend_wal={segment}\nend_xlog=0/{stop:X}\nstatus=DONE\n"
            );
            yard.put(&format!("base/20261121T092{minute}00/backup.info"), &text);
        }
        yard.put("base/20261121T092000/annotations/keep", keep);
        yard
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// Where a WAL file is kept: Barman sorts segments into folders.
    fn place(&self, name: &str) -> PathBuf {
        let folder = self.root().join(self.wal);
        if self.wal != "wals" || name.ends_with(".history") {
            return folder.join(name);
        }
        let folder = folder.join(&name[..16]);
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, command: &str, options: &[&str]) -> Value {
        asked(command, &self.root(), &self.folder.path().join("state"), options)
    }

    fn names(&self, options: &[&str]) -> Vec<String> {
        removed(&self.run("cleanup", options))
    }

    /// Verdict, count of missing segments, and each gap's first segment with its severity and whether it is accepted.
    fn verdict(&self) -> (String, u64, Vec<(String, String, bool)>) {
        let answer = self.run("verify", &[]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings = answer["findings"].as_array().unwrap().iter();
        let gaps = findings.filter(|finding| finding["code"] == "segment-missing");
        let gap = |f: &Value| (text(&f["segment"]), text(&f["severity"]), f["acknowledged"] == true);
        let missing = answer["segments"]["missing"].as_u64().unwrap();
        (text(&answer["verdict"]), missing, gaps.map(gap).collect())
    }
}

fn gap(segment: &str, severity: &str, accepted: bool) -> (String, String, bool) {
    (segment.to_owned(), severity.to_owned(), accepted)
}

#[test]
fn a_permanent_backup_keeps_its_own_wal_and_the_gap_behind_it_is_expected() {
    let yard = Yard::wal_g(&["b1"]);
    let expected = ["000000010000000000000004", "000000010000000000000006", "000000020000000000000006"];
    assert_eq!(yard.names(&["--keep-backups", "1", "--execute"]), expected);
    let gaps =
        vec![gap("000000010000000000000006", "info", false), gap("000000020000000000000006", "info", false)];
    assert_eq!(yard.verdict(), ("ok".to_owned(), 0, gaps));
    let answer = yard.run("verify", &[]);
    let message = answer["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("no loss") && message.contains("base_000000010000000000000005"), "{message}");
    // The permanent backup itself can still be recovered from, and nothing more is to be done.
    let windows = yard.run("timelines", &[])["windows"].clone();
    let of_island = windows.as_array().unwrap().iter().find(|w| w["timeline"] == 1).unwrap();
    assert_eq!(of_island["backup"], "base_000000010000000000000005", "{windows:#}");
    assert_eq!(yard.names(&["--keep-backups", "1"]), Vec::<String>::new());
}

#[test]
fn a_true_gap_is_never_taken_for_one_of_retention() {
    let cleaned = |permanent: &[&str]| {
        let yard = Yard::wal_g(permanent);
        yard.names(&["--keep-backups", "1", "--execute"]);
        yard
    };
    let errors = |yard: &Yard| -> Vec<String> {
        let (verdict, missing, gaps) = yard.verdict();
        let errors: Vec<String> = gaps
            .into_iter()
            .filter(|(_, severity, _)| severity == "error")
            .map(|(name, _, _)| name)
            .collect();
        assert_eq!((verdict == "damaged", missing > 0), (!errors.is_empty(), !errors.is_empty()));
        errors
    };
    // Behind the start of a backup that is not permanent.
    let yard = cleaned(&["b1"]);
    fs::remove_file(yard.place("00000001000000000000000D")).unwrap();
    assert_eq!(errors(&yard), ["00000001000000000000000D"]);
    // In the place where a backup that is not permanent begins: the gap has grown into what is needed.
    let yard = cleaned(&["b1"]);
    fs::remove_file(yard.place("000000020000000000000007")).unwrap();
    assert_eq!(errors(&yard), ["000000020000000000000006"]);
    // WAL in front of the island, which no retention would have left.
    let yard = Yard::wal_g(&["b1"]);
    for lost in ["000000010000000000000006", "000000020000000000000006"] {
        fs::remove_file(yard.place(lost)).unwrap();
    }
    assert_eq!(errors(&yard), ["000000010000000000000006", "000000020000000000000006"]);
    // The same gap behind a backup that nobody keeps for ever.
    fs::remove_file(yard.place("000000010000000000000004")).unwrap();
    assert_eq!(errors(&yard), Vec::<String>::new());
    let yard = Yard::wal_g(&[]);
    for lost in ["000000010000000000000004", "000000010000000000000006", "000000020000000000000006"] {
        fs::remove_file(yard.place(lost)).unwrap();
    }
    assert_eq!(errors(&yard), ["000000010000000000000006", "000000020000000000000006"]);
}

#[test]
fn barman_keeps_a_backup_alone_or_with_all_that_follows() {
    let yard = Yard::barman("standalone");
    let expected = ["000000010000000000000004", "000000010000000000000006", "000000020000000000000006"];
    assert_eq!(yard.names(&["--keep-backups", "1", "--execute"]), expected);
    let (verdict, missing, gaps) = yard.verdict();
    assert_eq!((verdict.as_str(), missing, gaps.len()), ("ok", 0, 2), "{gaps:?}");

    let yard = Yard::barman("full");
    assert_eq!(yard.names(&["--keep-backups", "1", "--execute"]), expected[..1]);
    assert_eq!(yard.verdict(), ("ok".to_owned(), 0, Vec::new()));
    // Where WAL behind it is missing nonetheless, that is a loss.
    for lost in &expected[1..] {
        fs::remove_file(yard.place(lost)).unwrap();
    }
    assert_eq!(yard.verdict().0, "damaged");
}

/// A backup that is kept, but not for ever, keeps its own WAL too. That a cleanup made the gap behind it only the cleanup
/// knows, and says so in the baseline.
#[test]
fn gaps_that_a_cleanup_made_are_known_to_verify_and_no_others() {
    let yard = Yard::new("");
    let options = ["--oldest-kept", "000000020000000000000007"];
    let plan = yard.run("cleanup", &options);
    assert_eq!(
        plan["accepted_gaps"],
        serde_json::json!(["000000010000000000000006", "000000020000000000000006"])
    );
    yard.names(&[options[0], options[1], "--execute"]);
    let accepted = |name: &str| gap(name, "info", true);
    let gaps = vec![accepted("000000010000000000000006"), accepted("000000020000000000000006")];
    assert_eq!(yard.verdict(), ("ok".to_owned(), 2, gaps));
    // The gap grows by a segment that no cleanup took.
    fs::remove_file(yard.place("000000010000000000000007")).unwrap();
    let (verdict, missing, gaps) = yard.verdict();
    assert_eq!((verdict.as_str(), missing), ("damaged", 3));
    assert_eq!(gaps[0], gap("000000010000000000000006", "error", false));
}
