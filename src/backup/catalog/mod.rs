//! The catalogs in which backup tools keep what they know of their base backups.
//!
//! Each reader takes the bytes of one file and gives the backups in it. A backup that cannot be placed in the WAL (taken
//! offline, or without a start position) is told as skipped, with the reason: a person who looks for it should find it.

mod barman;
mod pg_probackup;
mod pg_rman;
mod pgbackrest;
mod wal_g;

use super::base::{BaseBackup, Source, SourceKind};
use super::label::LabelError;
use crate::clock::Clock;
use crate::wal::{Major, PgTime};
use std::path::Path;

/// What a catalog holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Catalogued {
    /// Backups that can be placed in the WAL, usable or not.
    pub backups: Vec<BaseBackup>,
    /// Others, by their identifiers, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Of which backups it cannot be told what WAL they need, with the reason: more than is known here may depend on
    /// them, whether they stand among `backups` or not.
    pub unclear: Vec<(String, String)>,
}

/// A catalog that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is no text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is no JSON, or not that of the tool.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A line that has not the form of the tool's files.
    #[error("line {line} is not of the form \"key=value\": {text:?}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The file's own checksum does not match: it was changed or cut.
    #[error("its checksum is {stored}, its content has {computed}")]
    Checksum {
        /// As the file says.
        stored: String,
        /// Of the content.
        computed: String,
    },
    /// Something that must be there is not.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// It tells of a backup, and not what that needs.
    #[error("backup {label}: {reason}")]
    Unclear {
        /// The backup.
        label: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// The label in it is broken.
    #[error(transparent)]
    Label(#[from] LabelError),
}

/// Reads the catalog file of a tool. `label` is the backup's identifier where the file's path tells it, `path` where the
/// file is, for messages.
pub fn read(kind: SourceKind, label: &str, path: &Path, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let source = Source { kind, path: path.to_owned() };
    match kind {
        SourceKind::WalG => wal_g::read(label, source, bytes),
        SourceKind::PgBackRest => pgbackrest::read(&source, bytes),
        SourceKind::Barman => barman::read(label, source, bytes),
        SourceKind::PgProbackup => pg_probackup::read(label, source, bytes),
        SourceKind::PgRman => pg_rman::read(label, source, bytes),
        _ => Ok(Catalogued::default()),
    }
}

/// Completes a backup of WAL-G's by the `metadata.json` beside its sentinel, `bytes`.
pub(super) fn complete_wal_g(backup: &mut BaseBackup, bytes: &[u8]) -> Result<(), CatalogError> {
    wal_g::complete(backup, bytes)
}

/// Tells a tool's file by its name and its beginning.
pub(super) fn recognise(name: &str, bytes: &[u8]) -> Option<SourceKind> {
    let begins = |with: &[u8]| bytes.trim_ascii_start().starts_with(with);
    match name {
        "backup.info" if begins(b"[backrest]") => Some(SourceKind::PgBackRest),
        "backup.info.copy" if begins(b"[backrest]") => Some(SourceKind::PgBackRest),
        "backup.info" => Some(SourceKind::Barman),
        "backup.control" => Some(SourceKind::PgProbackup),
        "backup.ini" => Some(SourceKind::PgRman),
        _ if name.ends_with("-backup.info") => Some(SourceKind::Barman),
        _ if name.ends_with(wal_g::SENTINEL) => Some(SourceKind::WalG),
        _ => None,
    }
}

/// The major version of a `server_version_num`: 150018, 90624.
const fn major_of_version_number(number: u64) -> Option<Major> {
    match number {
        90_500..90_600 => Some(Major::V9_5),
        90_600..90_700 => Some(Major::V9_6),
        _ => match number / 10_000 {
            10 => Some(Major::V10),
            11 => Some(Major::V11),
            12 => Some(Major::V12),
            13 => Some(Major::V13),
            14 => Some(Major::V14),
            15 => Some(Major::V15),
            16 => Some(Major::V16),
            17 => Some(Major::V17),
            18 => Some(Major::V18),
            19 => Some(Major::V19),
            _ => None,
        },
    }
}

/// A time with its offset; `None` where the zone is not told.
fn time(text: &str) -> Option<PgTime> {
    Clock::utc().read(text).ok().filter(|reading| !reading.bare).map(|reading| reading.time)
}

/// The text of a file.
fn text(bytes: &[u8]) -> Result<&str, CatalogError> {
    std::str::from_utf8(bytes).map_err(|_| CatalogError::NotText)
}

/// Lines of `key = value`, blank ones and comments left out.
fn pairs(text: &str) -> impl Iterator<Item = Result<(&str, &str), CatalogError>> {
    text.lines().enumerate().filter_map(|(i, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let wrong = || CatalogError::Line { line: i + 1, text: line.chars().take(80).collect() };
        Some(line.split_once('=').map(|(key, value)| (key.trim(), value.trim())).ok_or_else(wrong))
    })
}

/// The statuses that a tool gives to backups.
struct Statuses {
    /// The backup is complete.
    complete: &'static [&'static str],
    /// It is not, or not any more.
    others: &'static [&'static str],
}

impl Statuses {
    /// Why nobody can tell from the file `bytes` whether its backup needs WAL, and which: it was cut, its status is none,
    /// or the backup is complete and has no start. These tools write the status behind the positions.
    fn doubt(&self, bytes: &[u8], status: &str, has_start: bool) -> Option<String> {
        let is_complete = self.complete.contains(&status);
        if !bytes.ends_with(b"\n") {
            Some("it ends in the middle of a line".to_owned())
        } else if status.is_empty() {
            Some("it gives no status, as a file that was cut".to_owned())
        } else if !is_complete && !self.others.contains(&status) {
            Some(format!("nobody knows what its status {status:?} means"))
        } else {
            (is_complete && !has_start).then(|| format!("it has no start position (status {status})"))
        }
    }
}

/// What is known of a backup that has no start: that it needs nothing, or that nobody can tell.
fn without_start(label: String, status: &str, unclear: Vec<(String, String)>) -> Catalogued {
    let reason = || format!("it has no start position (status {status})");
    let skipped = if unclear.is_empty() { vec![(label, reason())] } else { Vec::new() };
    Catalogued { skipped, unclear, ..Catalogued::default() }
}

/// A value without the quotes around it.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests;
