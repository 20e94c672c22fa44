//! Prepared transactions that a data directory holds as files of their own: those that stood when the checkpoint was
//! written, and whose records may lie in front of all WAL that is left.
//!
//! A file is named by the transaction's number in hexadecimal, with the epoch in front from 17 on, and holds what the
//! record of the prepare holds, and a checksum.
//!
//! PostgreSQL: `TwoPhaseFilePath`, `restoreTwoPhaseData` in `src/backend/access/transam/twophase.c`, 9.5 to 19.

use super::directory::read_small;
use super::load::LoadError;
use crate::wal::payload::xact::Prepare;
use crate::wal::{Major, PgTime, Xid, byte_text};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Bytes read of a file: the header, the name and some 950 subtransactions.
pub(super) const FILE_BYTES_MAX: usize = 4096;

/// Files taken at most: far more transactions than anybody leaves prepared.
pub(super) const FILES_MAX: usize = 10_000;

/// A transaction that stands prepared in a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StandingPrepared {
    /// The transaction.
    pub xid: Xid,
    /// Its name; `None` where the file does not tell.
    pub gid: Option<String>,
    /// When it was prepared.
    pub at: Option<PgTime>,
}

/// The prepared transactions in the data directory at `path`, in order of their numbers.
pub(super) fn read(path: &Path, major: Option<Major>) -> Result<Vec<StandingPrepared>, LoadError> {
    let folder = path.join("pg_twophase");
    let failed = |source| LoadError::Read { path: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut standing = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let entry = entry.map_err(failed)?;
        let Some(xid) = entry.file_name().to_str().and_then(xid) else { continue };
        let bytes = read_small(&entry.path(), FILE_BYTES_MAX)?.unwrap_or_default();
        standing.push(told_by(xid, &bytes, major));
    }
    standing.sort_by_key(|prepared| prepared.xid);
    Ok(standing)
}

/// The same from the beginnings of such files, by their names.
pub(super) fn of_files(files: &BTreeMap<String, Vec<u8>>, major: Option<Major>) -> Vec<StandingPrepared> {
    let told = files.iter().filter_map(|(name, bytes)| Some(told_by(xid(name)?, bytes, major)));
    let mut standing: Vec<StandingPrepared> = told.collect();
    standing.sort_by_key(|prepared| prepared.xid);
    standing
}

fn told_by(xid: Xid, bytes: &[u8], major: Option<Major>) -> StandingPrepared {
    let prepare = major.and_then(|major| Prepare::read(bytes, major)).filter(|file| file.xid == xid);
    StandingPrepared {
        xid,
        gid: prepare.map(|file| byte_text::shown(file.gid)),
        at: prepare.map(|file| file.prepared_at),
    }
}

/// The transaction that a file is named after.
fn xid(name: &str) -> Option<Xid> {
    let is_hex = name.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = name.get(name.len().checked_sub(8)?..)?;
    (is_hex && matches!(name.len(), 8 | 16)).then(|| u32::from_str_radix(digits, 16).ok().map(Xid))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn files_are_named_with_and_without_an_epoch() {
        assert_eq!(xid("00000241"), Some(Xid(0x241)));
        assert_eq!(xid("00000002FFFFFFE7"), Some(Xid(0xFFFF_FFE7)));
        assert_eq!((xid("0241"), xid("00000241.tmp"), xid("0000024Z")), (None, None, None));
    }

    #[test]
    fn what_a_file_does_not_tell_is_not_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path(), Some(Major::V15)).unwrap(), []);
        fs::create_dir(directory.path().join("pg_twophase")).unwrap();
        fs::write(directory.path().join("pg_twophase/00000241"), "not that").unwrap();
        fs::write(directory.path().join("pg_twophase/note"), "").unwrap();
        let unknown = StandingPrepared { xid: Xid(0x241), gid: None, at: None };
        assert_eq!(read(directory.path(), Some(Major::V15)).unwrap(), [unknown]);
    }
}
