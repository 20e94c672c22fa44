//! A recorded archive to do harm to: its files are links to the recording's, and what is written replaces the link.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use walproof::wal::crc;

use super::recorded::Recording;

const PAGE: usize = 8192;

/// An archive that can be harmed.
pub struct Replica {
    folder: TempDir,
}

/// What `verify` says of it.
pub struct Verdict {
    pub status: i32,
    pub json: Value,
    pub stderr: String,
}

impl Verdict {
    /// The findings of this severity as `code segment`, in order.
    pub fn told(&self, severity: &str) -> Vec<String> {
        let of_kind = |finding: &&Value| finding["severity"] == severity;
        let text = |finding: &Value| {
            let place = finding["segment"].as_str().unwrap_or("-");
            format!("{} {place}", finding["code"].as_str().unwrap())
        };
        self.json["findings"].as_array().unwrap().iter().filter(of_kind).map(text).collect()
    }

    /// The finding with this code; there is exactly one.
    pub fn only(&self, code: &str) -> &Value {
        let mut all = self.json["findings"].as_array().unwrap().iter().filter(|f| f["code"] == code);
        let found = all.next().unwrap_or_else(|| panic!("no {code}: {:#}", self.json["findings"]));
        assert!(all.next().is_none(), "{code} twice: {:#}", self.json["findings"]);
        found
    }
}

impl Replica {
    /// The archive that was recorded with `version`.
    pub fn of(version: &str) -> Self {
        let replica = Self::empty();
        replica.take_from(version, |_| true);
        replica
    }

    /// A directory without anything in it.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("archive")).unwrap();
        Self { folder }
    }

    /// Adds the files of another recording whose names are `wanted`, and replaces those of the same name.
    pub fn take_from(&self, version: &str, wanted: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(Recording::of(version).archive()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if wanted(&name) {
                let _ = fs::remove_file(self.path(&name));
                symlink(entry.path(), self.path(&name)).unwrap();
            }
        }
    }

    /// The archive.
    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// The file of this name.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.archive().join(name)
    }

    /// Its bytes.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Puts a file there, instead of the one of that name.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let _ = fs::remove_file(self.path(name));
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Removes every file whose name is not `kept`.
    pub fn keep(&self, kept: impl Fn(&str) -> bool) {
        for name in self.names() {
            if !kept(&name) {
                self.remove(&name);
            }
        }
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.archive()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        self.write(to, &self.read(from));
    }

    /// Changes a file's bytes.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(name);
        change(&mut bytes);
        self.write(name, &bytes);
    }

    /// Runs `walproof` where the archive lies, as `archive`.
    pub fn walproof(&self, command: &str, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_walproof"))
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("NO_COLOR", "1")
            .args([command, "archive"])
            .args(options)
            .output()
            .unwrap()
    }

    /// The verdict, in JSON. A run that could not be done has none.
    pub fn verify(&self, options: &[&str]) -> Verdict {
        let output = self.walproof("verify", &[&["--format", "json"], options].concat());
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Verdict {
            status: output.status.code().unwrap(),
            json,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The verdict as people read it, without the seconds that it took.
    pub fn report(&self) -> String {
        let output = self.walproof("verify", &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let took = lines.get_mut(1).unwrap();
        *took = took.rsplit_once(" in ").unwrap().0.to_owned();
        lines.join("\n") + "\n"
    }
}

/// The starts of the records that lie whole on one page each, from `from` to `to` in a segment's bytes.
pub fn records_within(bytes: &[u8], from: usize, to: usize) -> Vec<usize> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut starts = Vec::new();
    for page in (0..to.min(bytes.len())).step_by(PAGE) {
        let header = if page == 0 { 40 } else { 24 };
        let mut at = (page + header + number(page + 16)).next_multiple_of(8);
        while at + 24 <= page + PAGE {
            let length = number(at);
            if length < 24 || at + length > page + PAGE {
                break;
            }
            if at >= from && at + length <= to {
                starts.push(at);
            }
            at = (at + length).next_multiple_of(8);
        }
    }
    starts
}

/// Changes the last byte of the record at `at` and gives it the right checksum again: other WAL that is whole.
pub fn forge(bytes: &mut [u8], at: usize) {
    let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let record = &mut bytes[at..at + length];
    *record.last_mut().unwrap() ^= 1;
    let sum = crc::record_checksum(crc::Portable, record).unwrap();
    record[20..24].copy_from_slice(&sum.to_le_bytes());
}

/// `bytes`, compressed as `gzip` does.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
