//! A data directory, or a part of one that was set aside.
//!
//! PostgreSQL: `src/backend/access/transam/xlogrecovery.c` (`InitWalRecovery`: the label counts more than the control
//! file), `src/include/access/xlog.h` (`BACKUP_LABEL_FILE`), 9.5 to 19.

use super::base::{BaseBackup, Source, SourceKind};
use super::control::{CONTROL_BYTES_MAX, ControlFile, State};
use super::label::{LABEL_BYTES_MAX, LabelFile};
use super::load::LoadError;
use super::manifest::Manifest;
use super::prepared::{self, StandingPrepared};
use crate::archive;
use crate::wal::{Major, SegmentName};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The small files that describe a backup, wherever they were found.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// `backup_label`.
    pub(super) label: Option<Vec<u8>>,
    /// `global/pg_control`.
    pub(super) control: Option<Vec<u8>>,
    /// `PG_VERSION`.
    pub(super) version: Option<Vec<u8>>,
    /// Segments in pg_wal.
    pub(super) wal: Vec<SegmentName>,
    /// The manifest beside it.
    pub(super) manifest: Option<Manifest>,
    /// Transactions that stand prepared in it.
    pub(super) prepared: Vec<StandingPrepared>,
    /// There is a `standby.signal`.
    pub(super) of_standby: bool,
}

impl Parts {
    /// The backup that the parts describe. A label alone is enough, and so is a control file alone; what contradicts it or
    /// is damaged makes it unusable, with the reason.
    pub(super) fn backup(self, source: Source) -> Result<BaseBackup, LoadError> {
        let path = source.path.clone();
        let is_directory = self.version.is_some() || self.control.is_some();
        let label = self.label.map(|bytes| LabelFile::parse(&bytes)).transpose();
        let label = label.map_err(|source| LoadError::Label { path: path.clone(), source })?;
        let control = self.control.map(|bytes| ControlFile::parse(&bytes)).transpose();
        let mut backup = match (&label, &control) {
            (Some(label), _) => BaseBackup::from_label(label, source),
            (None, Ok(Some(control))) => without_label(control, source),
            (None, Ok(None)) => return Err(LoadError::NoBackup { path }),
            (None, Err(_)) => {
                return Err(match control {
                    Err(source) => LoadError::Control { path, source },
                    Ok(_) => LoadError::NoBackup { path },
                });
            }
        };
        match control {
            Ok(Some(control)) => backup = backup.with_control(control),
            Ok(None) if is_directory => backup.unusable = Some("global/pg_control is missing".to_owned()),
            Ok(None) => {}
            Err(error) => backup.unusable = Some(error.to_string()),
        }
        if let Some(version) = self.version.as_deref().and_then(major) {
            if backup.control.is_some_and(|control| control.version != version) {
                backup.unusable =
                    Some(format!("PG_VERSION says {version}, pg_control is of another version"));
            }
            backup.version = Some(version);
        }
        backup.wal = self.wal;
        backup.prepared = self.prepared;
        if self.of_standby {
            backup.cautions.push(STAYS_STANDBY.to_owned());
        }
        if let Some(manifest) = self.manifest {
            add_manifest(&mut backup, &manifest);
        }
        Ok(backup)
    }
}

/// A backup of a standby carries its `standby.signal`, which counts more than `recovery.signal`.
///
/// PostgreSQL: `readRecoverySignalFile` in `src/backend/access/transam/xlogrecovery.c`, 12 to 19.
const STAYS_STANDBY: &str = "it has a standby.signal: remove it before the server is started, or the server stays a \
                             standby and waits for more WAL where it should promote";

/// A directory without a label starts from its control file.
fn without_label(control: &ControlFile, source: Source) -> BaseBackup {
    let caution = match control.state {
        State::InProduction => Some(
            "it has no backup_label and is a copy of a running server: unless it is an atomic snapshot, data in it is \
             silently damaged",
        ),
        State::InArchiveRecovery => Some(
            "a recovery in it has begun and not ended (or it is a standby): what that has replayed stays replayed, a \
             target in front of it cannot be recovered to from here, and a prepared transaction that it finished is gone",
        ),
        _ => None,
    };
    BaseBackup {
        checkpoint_lsn: Some(control.checkpoint),
        has_label: Some(false),
        cautions: caution.map(str::to_owned).into_iter().collect(),
        finished: Some(control.time),
        ..BaseBackup::new(control.checkpoint_copy.redo, control.checkpoint_copy.timeline, source)
    }
}

/// What a manifest adds, if it is of this backup at all.
fn add_manifest(backup: &mut BaseBackup, manifest: &Manifest) {
    let oldest = manifest.wal_ranges.last().map(|range| (range.timeline, range.start));
    if oldest != Some((backup.timeline, backup.start_lsn)) {
        backup.cautions.push("the backup_manifest beside it is of another backup".to_owned());
        return;
    }
    if manifest.sound == Some(false) {
        backup.cautions.push("its manifest does not match its own checksum".to_owned());
    }
    let newest = manifest.wal_ranges.first();
    backup.stop_lsn = backup.stop_lsn.or(newest.map(|range| range.end));
    backup.stop_timeline = backup.stop_timeline.or(newest.map(|range| range.timeline));
    backup.system_identifier = backup.system_identifier.or(manifest.system_identifier);
    backup.wal_ranges.clone_from(&manifest.wal_ranges);
}

/// The first line of `PG_VERSION`.
pub(super) fn major(bytes: &[u8]) -> Option<Major> {
    std::str::from_utf8(bytes).ok()?.lines().next()?.trim().parse().ok()
}

/// Reads what describes the backup out of a data directory.
pub(super) fn read(path: &Path) -> Result<Parts, LoadError> {
    let small = |name: &str, limit: usize| read_small(&path.join(name), limit);
    let manifest_path = path.join("backup_manifest");
    let manifest = open_regular(&manifest_path)?.map(Manifest::read).transpose();
    let manifest = manifest.map_err(|source| LoadError::Manifest { path: manifest_path, source })?;
    let version = small("PG_VERSION", 64)?;
    Ok(Parts {
        prepared: prepared::read(path, version.as_deref().and_then(major))?,
        label: small("backup_label", LABEL_BYTES_MAX)?,
        control: small("global/pg_control", CONTROL_BYTES_MAX)?,
        version,
        wal: segments(path)?,
        manifest,
        of_standby: path.join("standby.signal").symlink_metadata().is_ok(),
    })
}

/// At most `limit` bytes of a file; `None` if there is none.
pub(super) fn read_small(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, LoadError> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(limit as u64).read_to_end(&mut bytes);
    read.map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok(Some(bytes))
}

/// Opens a file; `None` if there is none. A pipe or a device under the name is an error: opening it could wait for
/// ever.
pub(super) fn open_regular(path: &Path) -> Result<Option<File>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    match archive::open_regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Segments in the directory's own pg_wal (pg_xlog up to 9.6), in order of name.
fn segments(path: &Path) -> Result<Vec<SegmentName>, LoadError> {
    let mut segments = Vec::new();
    for name in ["pg_wal", "pg_xlog"] {
        let directory = path.join(name);
        let failed = |source| LoadError::Read { path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            segments.extend(name.to_str().and_then(SegmentName::parse));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// The source of a data directory.
pub(super) fn source(path: &Path) -> Source {
    Source { kind: SourceKind::DataDirectory, path: path.to_owned() }
}
