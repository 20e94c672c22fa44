//! Archives that look whole to a server, or nearly: what may be said of them and what may not.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

#[path = "support/recorded.rs"]
mod recorded;

use recorded::Recording;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

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
