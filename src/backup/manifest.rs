//! `backup_manifest`, the list that pg_basebackup leaves beside a backup.
//!
//! JSON: the version (1 for 13 to 16, 2 since 17 with the system identifier, a number above 2^53), one object for each
//! file, the WAL that the backup needs (newest timeline first), and last the SHA-256 of every byte before the last line.
//! A manifest of a large cluster has hundreds of megabytes: it is read as a stream, its files are counted and
//! forgotten.
//!
//! PostgreSQL: `src/backend/backup/backup_manifest.c` (`replication/backup_manifest.c` up to 14), `src/common/parse_manifest.c`
//! (`json_parse_manifest`, `verify_manifest_checksum`).

use super::base::{BaseBackup, Source, WalRange};
use crate::wal::{Lsn, Major, SystemId, TimelineId};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};

/// What a manifest says, without its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// 1 (13 to 16) or 2 (17 and later).
    pub version: u64,
    /// The cluster (version 2).
    pub system_identifier: Option<SystemId>,
    /// WAL needed, newest timeline first.
    pub wal_ranges: Vec<WalRange>,
    /// Files listed.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
    /// Files of an incremental backup are among them.
    pub incremental: bool,
    /// The checksum over the manifest itself holds; `None` where it has none.
    pub sound: Option<bool>,
}

/// The manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not that of a manifest; or the reading failed.
    #[error("backup manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// A later format.
    #[error("backup manifest has version {0}; 1 and 2 are known")]
    Version(u64),
    /// It names no WAL, or a position that is none.
    #[error("backup manifest names no usable WAL range")]
    NoRanges,
}

/// The document, with the names that PostgreSQL gives.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u64,
    #[serde(rename = "System-Identifier")]
    system_identifier: Option<u64>,
    #[serde(rename = "Files", default)]
    files: Files,
    #[serde(rename = "WAL-Ranges", default)]
    ranges: Vec<Range>,
    #[serde(rename = "Manifest-Checksum")]
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN", deserialize_with = "lsn")]
    start: Lsn,
    #[serde(rename = "End-LSN", deserialize_with = "lsn")]
    end: Lsn,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size", default)]
    size: u64,
}

impl File {
    /// Whether it holds only what changed since another backup. A path that is not UTF-8, and every one with
    /// `--manifest-force-encode`, stands there in hexadecimal.
    fn is_incremental(&self) -> bool {
        const MARK: &str = "INCREMENTAL.";
        const ENCODED: &str = "494e4352454d454e54414c2e";
        let plain = self.path.as_deref().and_then(|path| path.rsplit('/').next());
        let marked = |encoded: &str| {
            let name = encoded.as_bytes().chunks(2).rev().take_while(|digits| *digits != b"2f");
            let digits = name.count() * 2;
            encoded.get(encoded.len().saturating_sub(digits)..).is_some_and(|name| name.starts_with(ENCODED))
        };
        plain.is_some_and(|name| name.starts_with(MARK))
            || self.encoded_path.as_deref().map(str::to_ascii_lowercase).is_some_and(|path| marked(&path))
    }
}

fn lsn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lsn, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// What is kept of the list of files.
#[derive(Default)]
struct Files {
    count: u64,
    bytes: u64,
    incremental: bool,
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Files, A::Error> {
                let mut files = Files::default();
                while let Some(file) = list.next_element::<File>()? {
                    files.count += 1;
                    files.bytes = files.bytes.saturating_add(file.size);
                    files.incremental |= file.is_incremental();
                }
                Ok(files)
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

impl Manifest {
    /// Reads a manifest to its end.
    pub fn read(reader: impl Read) -> Result<Self, ManifestError> {
        let mut reader = io::BufReader::with_capacity(1 << 16, Hashing::new(reader));
        let mut json = serde_json::Deserializer::from_reader(&mut reader);
        let document = Document::deserialize(&mut json)?;
        json.end()?;
        drop(json);
        if !(1..=2).contains(&document.version) {
            return Err(ManifestError::Version(document.version));
        }
        let computed = reader.into_inner().finish();
        let sound = document.checksum.map(|stored| stored.eq_ignore_ascii_case(&computed));
        let range = |r: Range| WalRange { timeline: TimelineId(r.timeline), start: r.start, end: r.end };
        Ok(Self {
            version: document.version,
            system_identifier: document.system_identifier.map(SystemId),
            wal_ranges: document.ranges.into_iter().map(range).collect(),
            files: document.files.count,
            bytes: document.files.bytes,
            incremental: document.files.incremental,
            sound,
        })
    }

    /// The backup that it belongs to: begun where the oldest range begins, ended where the newest ends.
    pub fn backup(&self, source: Source) -> Result<BaseBackup, ManifestError> {
        let (Some(newest), Some(oldest)) = (self.wal_ranges.first(), self.wal_ranges.last()) else {
            return Err(ManifestError::NoRanges);
        };
        let unsound = || "its manifest does not match its own checksum".to_owned();
        let incremental = "its files are those of an incremental backup".to_owned();
        Ok(BaseBackup {
            stop_lsn: Some(newest.end),
            stop_timeline: Some(newest.timeline),
            system_identifier: self.system_identifier,
            wal_ranges: self.wal_ranges.clone(),
            cautions: (self.sound == Some(false)).then(unsound).into_iter().collect(),
            unusable: self.incremental.then_some(incremental),
            ..BaseBackup::new(oldest.start, oldest.timeline, source)
        })
    }

    /// The versions that write manifests of this form.
    pub const fn majors(&self) -> (Major, Major) {
        if self.version == 1 { (Major::V13, Major::V16) } else { (Major::V17, Major::NEWEST) }
    }
}

/// Bytes that are held back, because the last line does not count. It has less than a hundred.
const HELD_BYTES: usize = 4096;

/// Passes bytes on and computes the SHA-256 of all lines but the last.
struct Hashing<R> {
    inner: R,
    held: Vec<u8>,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, held: Vec::with_capacity(4 * HELD_BYTES), hash: Sha256::new() }
    }

    /// The checksum in hexadecimal, after everything has been read.
    fn finish(mut self) -> String {
        let without_last = self.held.strip_suffix(b"\n").unwrap_or(&self.held);
        let end = without_last.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.hash.update(self.held.get(..end).unwrap_or_default());
        super::hexadecimal(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.held.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if self.held.len() > 2 * HELD_BYTES {
            let done = self.held.len() - HELD_BYTES;
            self.hash.update(self.held.get(..done).unwrap_or_default());
            self.held.drain(..done);
        }
        Ok(count)
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
