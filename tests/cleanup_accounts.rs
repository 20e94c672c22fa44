//! A cleanup that does not know of every backup what it needs removes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        let output = self.cleanup_at(&self.root(), options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{options:?}: {said}"));
        (answer, output.status.code().unwrap())
    }

    /// The same where the archive is reached by another path.
    fn cleanup_at(&self, path: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
        command.arg("cleanup").arg(path).args(options).args(["--format", "json", "--no-catalog"]);
        command.env("XDG_STATE_HOME", self.folder.path().join("state"));
        command
    }

    /// The sentinels of all backups, the first of which is permanent.
    fn put_sentinels(&self) {
        for (segment, start, stop) in BACKUPS {
            let permanent = segment == BACKUPS[0].0;
            let text = format!(
                r#"{{"LSN":{start},"PgVersion":160000,"FinishLSN":{stop},"IsPermanent":{permanent}}}"#
            );
            let name = format!("basebackups_005/base_{segment}_backup_stop_sentinel.json");
            self.put(&name, text.as_bytes());
        }
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

/// `wal-g backup-mark` writes the metadata and leaves the sentinel as it was.
#[test]
fn a_backup_that_wal_g_marked_as_permanent_later_keeps_its_wal() {
    let yard = Yard::new("wal_005");
    let (first, start, stop) = BACKUPS[0];
    for (segment, start, stop) in BACKUPS {
        let text = format!(r#"{{"LSN":{start},"PgVersion":160000,"FinishLSN":{stop},"IsPermanent":false}}"#);
        yard.put(&format!("basebackups_005/base_{segment}_backup_stop_sentinel.json"), text.as_bytes());
    }
    let goes = |yard: &Yard| {
        let (answer, _) = yard.cleanup(&POLICIES[0]);
        answer["remove"].as_array().unwrap().iter().any(|file| file["name"] == first)
    };
    assert!(goes(&yard));
    let file = format!("basebackups_005/base_{first}/metadata.json");
    let text = format!(r#"{{"start_lsn":{start},"finish_lsn":{stop},"is_permanent":true}}"#);
    yard.put(&file, text.as_bytes());
    assert!(!goes(&yard));
    yard.put(&file, &text.as_bytes()[..40]);
    yard.expect_refused("metadata.json");
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

/// What a run takes, by the names of the segments.
fn gone(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(answer["refused"], Value::Null, "{answer:#}");
    let names = answer["remove"].as_array().unwrap().iter();
    names.map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// A folder of WAL may be a link to a volume of its own, or be reached by a link: the catalog beside it counts.
#[test]
fn a_tool_s_catalog_is_found_whatever_links_lead_to_its_wal() {
    let yard = Yard::new("wal_005");
    yard.put_sentinels();
    let (big, wal) = (yard.folder.path().join("big"), yard.root().join("wal_005"));
    let link = yard.folder.path().join("link");
    symlink(&wal, &link).unwrap();
    let options = ["--keep-backups", "1"];
    let expected = gone(&yard.cleanup_at(&yard.root(), &options).output().unwrap());
    assert!(expected.len() > 1 && !expected.iter().any(|name| *name == BACKUPS[0].0), "{expected:?}");
    let same = |command: &mut Command| assert_eq!(gone(&command.output().unwrap()), expected);
    for is_linked in [false, true] {
        if is_linked {
            fs::rename(&wal, &big).unwrap();
            symlink(&big, &wal).unwrap();
        }
        for path in [&yard.root(), &wal, &link] {
            same(&mut yard.cleanup_at(path, &options));
        }
        same(yard.cleanup_at(Path::new("wal_005"), &options).current_dir(yard.root()));
        // A shell says by which path its user came.
        for place in [&wal, &link] {
            same(yard.cleanup_at(Path::new("."), &options).current_dir(place).env("PWD", place));
        }
    }
    // What the dry run says is done, in the folder that the link leads to; the trash must not lie there.
    let inside = format!("--trash={}", big.join("trash").display());
    let refused = yard.cleanup(&[options[0], options[1], &inside]).0;
    assert!(refused["refused"].as_str().unwrap().contains("lies in the archive"), "{refused:#}");
    same(&mut yard.cleanup_at(&yard.root(), &[options[0], options[1], "--execute"]));
    assert!(expected.iter().all(|name| !big.join(name).exists()) && big.join(BACKUPS[0].0).exists());
}

#[test]
fn paths_that_lead_to_the_catalogs_of_two_archives_are_refused() {
    let yard = Yard::new("wal_005");
    yard.put_sentinels();
    let other = yard.folder.path().join("other");
    fs::create_dir_all(other.join("basebackups_005")).unwrap();
    symlink(yard.root().join("wal_005"), other.join("wal_005")).unwrap();
    let output = yard.cleanup_at(&other.join("wal_005"), &["--keep-backups", "1"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && told.contains("name the archive's own directory"), "{told}");
}

#[test]
fn a_backup_that_pg_probackup_keeps_until_later_keeps_its_wal() {
    let yard = Yard::new("wal/main");
    yard.put("backups/main/pg_probackup.conf", b"pgdata = /x\n");
    let control = |index: usize, more: &str| {
        let (segment, start, stop) = BACKUPS[index];
        let timeline = &segment[7..8];
        let text = format!(
            "backup-mode = FULL\nstream = false\nserver-version = 16\ntimelineid = {timeline}\nstart-lsn = 0/{start:X}\n\
             stop-lsn = 0/{stop:X}\n{more}status = OK\n"
        );
        yard.put(&format!("backups/main/T3F2X{index}/backup.control"), text.as_bytes());
    };
    (0..BACKUPS.len()).for_each(|index| control(index, ""));
    let goes = |now: &str| {
        let output = yard.cleanup_at(&yard.root(), &["--keep-backups", "1", "--now", now]).output().unwrap();
        gone(&output).contains(&BACKUPS[0].0.to_owned())
    };
    assert!(goes("2026-12-01 00:00:00+00"));
    control(0, "expire-time = '2026-12-31 00:00:00+00'\n");
    assert!(!goes("2026-12-01 00:00:00+00"));
    assert!(goes("2027-01-01 00:00:00+00"));
}
