//! The base backups that an archive itself tells of: backup history files among the WAL, the tools' catalogs, and backups
//! that lie in it.

use super::base::{BaseBackup, Source, SourceKind, merge};
use super::catalog::{self, CatalogError, Catalogued};
use super::label::{LABEL_BYTES_MAX, LabelFile};
use super::load::{load, load_stored};
use super::manifest::Manifest;
use crate::archive::{Archive, BackupKind, BackupObject, Inventory, Object, ReadError};
use crate::wal::WalFileName;
use std::path::{Path, PathBuf};

/// No catalog or manifest that is read into memory is larger.
const DESCRIPTION_BYTES_MAX: usize = 1 << 28;

/// What an archive tells of base backups.
#[derive(Debug, Default)]
pub struct Discovered {
    /// The backups, accounts of one put together, in order of their start.
    pub backups: Vec<BaseBackup>,
    /// What could not be made use of.
    pub problems: Vec<Problem>,
}

/// Why an object did not become a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProblemKind {
    /// Its bytes could not be obtained: the answer is incomplete.
    Unread,
    /// Its bytes are not what they should be: it tells of a backup, and nobody knows what that needs.
    Damaged,
    /// It is known, and no backup that needs WAL: taken offline, or ended before it began.
    NotPlaced,
}

/// An object that did not become a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What kind of problem.
    pub kind: ProblemKind,
    /// The object.
    pub path: PathBuf,
    /// What is wrong, in one clause.
    pub message: String,
}

/// Reads everything in the archive that describes base backups.
pub fn discover(archive: &Archive, inventory: &Inventory) -> Discovered {
    let mut found = Discovered::default();
    for entry in inventory.entries.iter().filter(|entry| matches!(entry.name, WalFileName::Backup(..))) {
        let path = &entry.object.path;
        match archive.read_small(entry, LABEL_BYTES_MAX) {
            Ok(bytes) => match LabelFile::parse(&bytes) {
                Ok(label) => {
                    let source = Source { kind: SourceKind::HistoryFile, path: path.clone() };
                    let group = inventory.groups.get(usize::from(entry.group));
                    let group = group.filter(|name| !name.is_empty()).cloned();
                    found.backups.push(BaseBackup { group, ..BaseBackup::from_label(&label, source) });
                }
                Err(error) => found.add(ProblemKind::Damaged, path, &error),
            },
            Err(error) => found.unread(path, &error),
        }
    }
    for object in &inventory.backups {
        found.take(archive, object);
    }
    found.backups = merge(std::mem::take(&mut found.backups));
    found
}

impl Discovered {
    fn add(&mut self, kind: ProblemKind, path: &Path, message: &impl ToString) {
        self.problems.push(Problem { kind, path: path.to_owned(), message: message.to_string() });
    }

    fn unread(&mut self, path: &Path, error: &ReadError) {
        let kind = match error {
            ReadError::Unobtainable(_) => ProblemKind::Unread,
            _ => ProblemKind::Damaged,
        };
        self.add(kind, path, error);
    }

    /// Reads one object.
    fn take(&mut self, archive: &Archive, backup: &BackupObject) {
        let path = &backup.object.path;
        let tool = match backup.kind {
            BackupKind::WalGSentinel => SourceKind::WalG,
            BackupKind::PgBackRestInfo => SourceKind::PgBackRest,
            BackupKind::BarmanInfo => SourceKind::Barman,
            BackupKind::PgProbackupControl => SourceKind::PgProbackup,
            BackupKind::PgRmanIni => SourceKind::PgRman,
            BackupKind::Manifest | BackupKind::Label | BackupKind::BaseTar | BackupKind::DataDirectory => {
                return self.take_backup(archive, backup);
            }
        };
        let (path, read) = match described(archive, backup, tool) {
            Ok(read) => read,
            Err(error) => return self.unread(path, &error),
        };
        match read {
            Ok(mut catalogued) => {
                self.apply_keep(archive, backup, &mut catalogued);
                self.apply_metadata(archive, backup, &mut catalogued);
                self.backups.extend(catalogued.backups);
                for (label, reason) in catalogued.skipped {
                    self.add(ProblemKind::NotPlaced, path, &format!("backup {label}: {reason}"));
                }
                for (label, reason) in catalogued.unclear {
                    self.add(ProblemKind::Damaged, path, &format!("backup {label}: {reason}"));
                }
            }
            Err(error) => self.add(ProblemKind::Damaged, path, &error),
        }
    }

    /// Barman's keep annotation: `full` keeps the WAL after the backup too, `standalone` only what makes it consistent.
    fn apply_keep(&mut self, archive: &Archive, backup: &BackupObject, catalogued: &mut Catalogued) {
        for keep in backup.beside.iter().filter(|_| backup.kind == BackupKind::BarmanInfo) {
            let content = match archive.read_object(keep, 64) {
                Ok(content) => content,
                Err(error) => return self.unread(&keep.path, &error),
            };
            for backup in &mut catalogued.backups {
                backup.permanent = true;
                // Any other word than `standalone` is `full`, or one that nobody knows: more is kept then.
                backup.keeps_wal_behind = content.trim_ascii() != b"standalone";
                if !backup.keeps_wal_behind {
                    backup.cautions.push("Barman keeps it standalone, without the WAL after it".to_owned());
                }
            }
        }
    }

    /// WAL-G's `metadata.json`, which alone knows whether the backup was marked as permanent since it was made.
    fn apply_metadata(&mut self, archive: &Archive, backup: &BackupObject, catalogued: &mut Catalogued) {
        for metadata in backup.beside.iter().filter(|_| backup.kind == BackupKind::WalGSentinel) {
            let content = match archive.read_object(metadata, DESCRIPTION_BYTES_MAX) {
                Ok(content) => content,
                Err(error) => return self.unread(&metadata.path, &error),
            };
            for backup in &mut catalogued.backups {
                if let Err(error) = catalog::complete_wal_g(backup, &content) {
                    self.add(ProblemKind::Damaged, &metadata.path, &error);
                }
            }
        }
    }

    /// A backup that lies in the archive itself.
    fn take_backup(&mut self, archive: &Archive, backup: &BackupObject) {
        let path = &backup.object.path;
        if let Some(root) = archive.backup_store().local_root() {
            let whole = root.join(path);
            // What lies beside a base.tar belongs to it.
            let place = match backup.kind {
                BackupKind::BaseTar => whole.parent().unwrap_or(&whole),
                _ => &whole,
            };
            match load(place) {
                Ok(backups) => self.backups.extend(backups),
                Err(error) => self.add(error.problem_kind(), path, &error),
            }
            return;
        }
        match backup.kind {
            BackupKind::BaseTar => {
                return match load_stored(archive.backup_store(), &backup.object) {
                    Ok(backup) => self.backups.push(backup),
                    Err(error) => self.add(error.problem_kind(), path, &error),
                };
            }
            BackupKind::Manifest | BackupKind::Label => {}
            _ => {
                let message =
                    "a data directory in an object store is read through its manifest or its label only";
                return self.add(ProblemKind::NotPlaced, path, &message);
            }
        }
        let bytes = match archive.read_description(&backup.object, DESCRIPTION_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => return self.unread(path, &error),
        };
        let source = |kind| Source { kind, path: path.clone() };
        let read = if backup.kind == BackupKind::Label {
            let label = LabelFile::parse(&bytes).map_err(|error| error.to_string());
            label.map(|label| BaseBackup::from_label(&label, source(SourceKind::Label)))
        } else {
            let manifest = Manifest::read(bytes.as_slice());
            let read = manifest.and_then(|manifest| manifest.backup(source(SourceKind::Manifest)));
            read.map_err(|error| error.to_string())
        };
        match read {
            Ok(backup) => self.backups.push(backup),
            Err(message) => self.add(ProblemKind::Damaged, path, &message),
        }
    }
}

/// What a tool's file tells, and which file that is: pgBackRest goes by the copy of its `backup.info` where the file itself
/// is damaged.
fn described<'a>(
    archive: &Archive,
    backup: &'a BackupObject,
    tool: SourceKind,
) -> Result<(&'a Path, Result<Catalogued, CatalogError>), ReadError> {
    let read = |object: &'a Object| {
        let bytes = archive.read_object(object, DESCRIPTION_BYTES_MAX)?;
        Ok((object.path.as_path(), catalog::read(tool, &backup.label, &object.path, &bytes)))
    };
    let first = read(&backup.object);
    let is_damaged = match &first {
        Ok((_, read)) => read.is_err(),
        Err(error) => !matches!(error, ReadError::Unobtainable(_)),
    };
    if is_damaged && tool == SourceKind::PgBackRest {
        for copy in &backup.beside {
            if let Ok((path, Ok(catalogued))) = read(copy) {
                tracing::warn!("{} is damaged; its copy is used", backup.object.path.display());
                return Ok((path, Ok(catalogued)));
            }
        }
    }
    first
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
