//! A cleanup that does not know of every backup what it needs removes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha1::{Digest, Sha1};
use support::recorded::Recording;

/// The recorded archive of 16, with its WAL in the folder `wal`.
struct Yard {
    folder: tempfile::TempDir,
    wal: &'static str,
}

const BACKUPS: [(&str, u64, u64); 3] = [
    ("000000010000000000000005", 0x00A0_0028, 0x00A0_0100),
    ("00000001000000000000000C", 0x0180_0028, 0x0180_0100),
    ("000000020000000000000007", 0x00E0_0028, 0x00E0_0100),
];
const POLICIES: [[&str; 2]; 3] = [
    ["--keep-backups", "1"],
    ["--oldest-kept", "000000020000000000000007"],
    ["--keep-since", "2026-11-21 00:00:00"],
];

impl Yard {
    fn new(wal: &'static str) -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap(), wal };
        for entry in fs::read_dir(Recording::of("16").archive()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if wal.is_empty() || !name.ends_with(".backup") {
                yard.put(&yard.place(name), &fs::read(&path).unwrap());
            }
        }
        yard
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Where a WAL file is kept, as the tool names it.
    fn place(&self, name: &str) -> String {
        match self.wal {
            "wals" if !name.ends_with(".history") => format!("wals/{}/{name}", &name[..16]),
            "archive/main/16-1" if name.len() == 24 => {
                let bytes = fs::read(Recording::of("16").archive().join(name)).unwrap();
                format!("{}/{}/{name}-{}", self.wal, &name[..16], hexadecimal(&bytes))
            }
            "" => name.to_owned(),
            wal => format!("{wal}/{name}"),
        }
    }

    /// Refused by every policy, for the reason that `file` is not understood; nothing is removed.
    fn expect_refused(&self, file: &str) {
        for policy in POLICIES {
            let before = listing(&self.root());
            let (answer, status) = self.cleanup(&[policy[0], policy[1], "--execute"]);
            let refused = answer["refused"].as_str().unwrap_or_else(|| panic!("{policy:?}: {answer:#}"));
            assert!(refused.contains(file) && refused.contains("cannot be understood"), "{refused}");
            assert!(refused.contains("repair the file, or remove it"), "{refused}");
            assert_eq!((status, &answer["remove"]), (1, &Value::Array(Vec::new())), "{policy:?}");
            assert_eq!(listing(&self.root()), before, "{policy:?}");
        }
    }

    fn expect_planned(&self) {
        let (answer, status) = self.cleanup(&POLICIES[0]);
        assert_eq!((status, &answer["refused"]), (0, &Value::Null), "{answer:#}");
        assert!(!answer["remove"].as_array().unwrap().is_empty(), "{answer:#}");
    }

    fn cleanup(&self, options: &[&str]) -> (Value, i32) {
        let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
            .arg("cleanup")
            .arg(self.root())
            .args(options)
            .args(["--format", "json"])
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{options:?}: {said}"));
        (answer, output.status.code().unwrap())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha1::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn a_backup_history_file_that_cannot_be_read_may_be_of_any_backup() {
    let file = "000000010000000000000005.00000028.backup";
    for content in ["", "nonsense", "START WAL LOCATION: 0/"] {
        let yard = Yard::new("");
        yard.expect_planned();
        yard.put(file, content.as_bytes());
        yard.expect_refused(file);
        // Its backup is gone, and a person says so.
        fs::remove_file(yard.root().join(file)).unwrap();
        yard.expect_planned();
    }
}

#[test]
fn a_sentinel_of_wal_g_that_was_cut() {
    let yard = Yard::new("wal_005");
    for (segment, start, stop) in BACKUPS {
        let text = format!(r#"{{"LSN":{start},"PgVersion":160000,"FinishLSN":{stop}}}"#);
        yard.put(&format!("basebackups_005/base_{segment}_backup_stop_sentinel.json"), text.as_bytes());
    }
    yard.expect_planned();
    for content in [r#"{"LSN":"#, "", "{}", r#"{"LSN":null}"#] {
        let name = format!("base_{}_backup_stop_sentinel.json", BACKUPS[0].0);
        yard.put(&format!("basebackups_005/{name}"), content.as_bytes());
        yard.expect_refused(&name);
    }
}

#[test]
fn a_backup_info_of_barman_that_was_cut_and_one_of_a_backup_that_failed() {
    let yard = Yard::new("wals");
    let info = |index: usize| format!("base/20261121T092{index}00/backup.info");
    let text = |(segment, start, stop): (&str, u64, u64)| {
        format!(
            "begin_wal={segment}\nbegin_xlog=0/{start:X}\nend_wal={segment}\nend_xlog=0/{stop:X}\nstatus=DONE\n"
        )
    };
    for (index, backup) in BACKUPS.into_iter().enumerate() {
        yard.put(&info(index), text(backup).as_bytes());
    }
    yard.expect_planned();
    yard.put("base/20261120T000000/backup.info", b"begin_xlog=None\nerror=disk full\nstatus=FAILED\n");
    yard.expect_planned();
    let whole = text(BACKUPS[0]);
    for end in [0, 10, 45, whole.len() - 3, whole.len() - 1] {
        yard.put(&info(0), &whole.as_bytes()[..end]);
        yard.expect_refused(&info(0));
    }
    yard.put(&info(0), whole.replace("status=DONE", "status=DO").as_bytes());
    yard.expect_refused(&info(0));
}

/// pgBackRest's `backup.info`, with its checksum.
fn pgbackrest_info(backups: &[(&str, u64, u64)]) -> String {
    let entry = |(index, (segment, start, stop)): (usize, &(&str, u64, u64))| {
        let value = format!(
            r#"{{"backup-archive-start":"{segment}","backup-lsn-start":"0/{start:X}","backup-lsn-stop":"0/{stop:X}","backup-timestamp-start":{},"db-id":1}}"#,
            1_795_252_000 + index
        );
        (format!("20261121-09200{index}F"), value)
    };
    let entries: Vec<(String, String)> = backups.iter().enumerate().map(entry).collect();
    let pairs: Vec<String> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    let content =
        format!(r#"{{"backrest":{{"backrest-format":5}},"backup:current":{{{}}}}}"#, pairs.join(","));
    let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!(
        "[backrest]\nbackrest-format=5\n\n[backup:current]\n{}\n[backrest]\nbackrest-checksum=\"{}\"\n",
        lines.concat(),
        hexadecimal(content.as_bytes())
    )
}

#[test]
fn pgbackrest_goes_by_the_copy_of_its_catalog_and_without_one_nothing_is_known() {
    let yard = Yard::new("archive/main/16-1");
    yard.put("archive/main/archive.info", b"[backrest]\nbackrest-format=5\n");
    let (file, copy) = ("backup/main/backup.info", "backup/main/backup.info.copy");
    let whole = pgbackrest_info(&BACKUPS);
    yard.put(file, whole.as_bytes());
    yard.expect_planned();
    let damaged = [String::new(), "garbage".to_owned(), whole.replace("0/A00028", "0/E00028")];
    for content in &damaged {
        yard.put(file, content.as_bytes());
        yard.expect_refused(file);
    }
    yard.put(copy, b"garbage as well");
    yard.expect_refused(file);
    yard.put(copy, whole.as_bytes());
    yard.expect_planned();
    fs::remove_file(yard.root().join(file)).unwrap();
    yard.expect_planned();
}
