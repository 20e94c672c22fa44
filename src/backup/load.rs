//! From a path that a person gives (`--backup PATH`) to the backups that it holds.
//!
//! | what is there | how it is told |
//! |---|---|
//! | a data directory | `PG_VERSION`, `backup_label` or `global/pg_control` in it |
//! | a directory of tars | `base.tar` with any compression suffix in it |
//! | a `backup_manifest`, a `backup_label`, a backup history file, a base.tar, a tool's catalog | a file: by its name, else by what it begins with |
//! | several backups | a directory whose subdirectories are backups |

use super::base::{BaseBackup, Source, SourceKind, merge};
use super::catalog::{self, CatalogError};
use super::control::ControlError;
use super::directory::{self, Parts, open_regular, read_small};
use super::discover::ProblemKind;
use super::label::{LABEL_BYTES_MAX, LabelError, LabelFile};
use super::manifest::{Manifest, ManifestError};
use super::prepared;
use super::tarball::{self, TarContents};
use crate::archive::{self, Object, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No backup could be read at a path.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing there is a backup.
    #[error(
        "{} is no base backup: expected a data directory, a directory with base.tar, a backup_manifest or a backup_label",
        path.display()
    )]
    NoBackup {
        /// The path.
        path: PathBuf,
    },
    /// Something could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The label is broken: a server would not start from it.
    #[error("{}: {source}", path.display())]
    Label {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        source: LabelError,
    },
    /// There is no label, and the control file is broken.
    #[error("{}: {source}", path.display())]
    Control {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        source: ControlError,
    },
    /// A tool's catalog is broken.
    #[error("{}: {source}", path.display())]
    Catalog {
        /// The catalog.
        path: PathBuf,
        /// What is wrong.
        source: CatalogError,
    },
    /// The manifest is broken.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
}

impl LoadError {
    /// Whether the bytes could not be had, or are wrong, or are no backup's.
    pub(super) const fn problem_kind(&self) -> ProblemKind {
        match self {
            Self::Read { .. } => ProblemKind::Unread,
            Self::NoBackup { .. } => ProblemKind::NotPlaced,
            _ => ProblemKind::Damaged,
        }
    }
}

/// No tool's catalog is larger.
const CATALOG_BYTES_MAX: usize = 1 << 28;

/// Reads the backup, or the backups, at `path`, in order of their start.
pub fn load(path: &Path) -> Result<Vec<BaseBackup>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return match load_catalog(path)? {
            Some(backups) => Ok(backups),
            None => load_file(path).map(|backup| vec![backup]),
        };
    }
    match load_directory(path) {
        Err(LoadError::NoBackup { .. }) => {}
        found => return found.map(|backup| vec![backup]),
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let inner = entry.map_err(failed)?.path();
        if !inner.is_dir() {
            continue;
        }
        match load_directory(&inner) {
            Err(LoadError::NoBackup { .. }) => {}
            backup => found.push(backup?),
        }
    }
    if found.is_empty() {
        return Err(LoadError::NoBackup { path: path.to_owned() });
    }
    Ok(merge(found))
}

/// A data directory or a directory of tars.
fn load_directory(path: &Path) -> Result<BaseBackup, LoadError> {
    let base = tar_in(path, "base.tar")?;
    let is_data_directory = ["backup_label", "PG_VERSION", "global/pg_control"].iter().any(|name| {
        // A link that leads nowhere is still a sign of a data directory.
        path.join(name).symlink_metadata().is_ok()
    });
    match base {
        Some(base) if !is_data_directory => load_tars(path, &base),
        _ if is_data_directory => finish(directory::read(path)?.backup(directory::source(path))?),
        _ => match read_manifest(&path.join("backup_manifest"))? {
            Some((manifest, source)) => finish(
                manifest
                    .backup(source.clone())
                    .map_err(|error| LoadError::Manifest { path: source.path, source: error })?,
            ),
            None => Err(LoadError::NoBackup { path: path.to_owned() }),
        },
    }
}

/// `base.tar` with what lies beside it: the manifest, and the WAL in `pg_wal.tar`.
fn load_tars(directory: &Path, base: &Path) -> Result<BaseBackup, LoadError> {
    let manifest = read_manifest(&directory.join("backup_manifest"))?.map(|(manifest, _)| manifest);
    let mut backup = load_base_tar(base, directory, manifest)?;
    if let Some(path) = tar_in(directory, "pg_wal.tar")? {
        let contents = tarball::read(&path).map_err(|source| LoadError::Read { path, source })?;
        backup.wal.extend(contents.wal);
        backup.wal.sort_unstable();
        if let Some(cut) = contents.cut {
            backup.cautions.push(format!("its pg_wal.tar is damaged: {cut}"));
        }
    }
    Ok(backup)
}

fn load_base_tar(base: &Path, shown: &Path, manifest: Option<Manifest>) -> Result<BaseBackup, LoadError> {
    let contents = tarball::read(base).map_err(|source| LoadError::Read { path: base.to_owned(), source })?;
    of_base_tar(contents, true, shown, manifest)
}

/// The backup in a base.tar of an object store. Of a compressed one only the beginning is fetched, which has the label.
pub(super) fn load_stored(store: &Arc<dyn Store>, base: &Object) -> Result<BaseBackup, LoadError> {
    let read = archive::open_stored(store, base).and_then(tarball::read_stored);
    let (contents, is_whole) = read.map_err(|source| LoadError::Read { path: base.path.clone(), source })?;
    of_base_tar(contents, is_whole, &base.path, None)
}

/// The backup that the contents of a base.tar describe, all of them or those of its beginning.
fn of_base_tar(
    mut contents: TarContents,
    is_whole: bool,
    shown: &Path,
    manifest: Option<Manifest>,
) -> Result<BaseBackup, LoadError> {
    let mut file = |name: &str| contents.files.remove(name);
    let version = file("PG_VERSION");
    let parts = Parts {
        prepared: prepared::of_files(&contents.prepared, version.as_deref().and_then(directory::major)),
        label: file("backup_label"),
        control: file("global/pg_control"),
        version,
        of_standby: file("standby.signal").is_some(),
        wal: contents.wal,
        manifest,
    };
    let mut backup = parts.backup(Source { kind: SourceKind::Tar, path: shown.to_owned() })?;
    match contents.cut {
        Some(cut) => backup.unusable = Some(format!("its base.tar is damaged: {cut}")),
        None if !is_whole => backup.cautions.push(
            "only the beginning of its base.tar was looked at, which is compressed and in an object store"
                .to_owned(),
        ),
        None if backup.control.is_none() && backup.unusable.is_none() => {
            backup.unusable = Some("its base.tar has no global/pg_control".to_owned());
        }
        None => {}
    }
    finish(backup)
}

/// The catalog of a tool; `None` where the file is none.
fn load_catalog(path: &Path) -> Result<Option<Vec<BaseBackup>>, LoadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beginning = read_small(path, 64)?.unwrap_or_default();
    let Some(kind) = catalog::recognise(&name, &beginning) else { return Ok(None) };
    let bytes = read_small(path, CATALOG_BYTES_MAX)?.unwrap_or_default();
    let catalogued = catalog::read(kind, "", path, &bytes)
        .map_err(|source| LoadError::Catalog { path: path.to_owned(), source })?;
    if let Some((label, reason)) = catalogued.unclear.into_iter().next() {
        let source = CatalogError::Unclear { label, reason };
        return Err(LoadError::Catalog { path: path.to_owned(), source });
    }
    Ok(Some(merge(catalogued.backups)))
}

/// A file by itself.
fn load_file(path: &Path) -> Result<BaseBackup, LoadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.contains(".tar") {
        return load_base_tar(path, path, None);
    }
    let bytes = read_small(path, LABEL_BYTES_MAX)?.unwrap_or_default();
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Some((manifest, source)) = read_manifest(path)?
    {
        let backup = manifest.backup(source);
        return finish(backup.map_err(|source| LoadError::Manifest { path: path.to_owned(), source })?);
    }
    if !bytes.starts_with(b"START WAL LOCATION") && !name.starts_with("backup_label") {
        return Err(LoadError::NoBackup { path: path.to_owned() });
    }
    let label =
        LabelFile::parse(&bytes).map_err(|source| LoadError::Label { path: path.to_owned(), source })?;
    let kind = if label.stop.is_some() { SourceKind::HistoryFile } else { SourceKind::Label };
    finish(BaseBackup::from_label(&label, Source { kind, path: path.to_owned() }))
}

/// Gives a backup without a name its path.
fn finish(backup: BaseBackup) -> Result<BaseBackup, LoadError> {
    let path = backup.source().map(|source| source.path.clone()).unwrap_or_default();
    merge(vec![backup]).pop().ok_or(LoadError::NoBackup { path })
}

fn read_manifest(path: &Path) -> Result<Option<(Manifest, Source)>, LoadError> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let manifest =
        Manifest::read(file).map_err(|source| LoadError::Manifest { path: path.to_owned(), source })?;
    Ok(Some((manifest, Source { kind: SourceKind::Manifest, path: path.to_owned() })))
}

/// The tar called `name` in a directory, with or without a compression suffix; the shortest name of several.
pub(super) fn tar_in(directory: &Path, name: &str) -> Result<Option<PathBuf>, LoadError> {
    let failed = |source| LoadError::Read { path: directory.to_owned(), source };
    let mut found: Option<PathBuf> = None;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let is_it = file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let shorter = |than: &PathBuf| (path.as_os_str().len(), &path) < (than.as_os_str().len(), than);
        if is_it && found.as_ref().is_none_or(shorter) {
            found = Some(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
