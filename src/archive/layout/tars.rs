//! What `pg_basebackup -Ft` writes: `base.tar`, one tar for each tablespace, `pg_wal.tar` and `backup_manifest`.
//!
//! With `-X fetch` there is no pg_wal.tar and the WAL is in base.tar below `pg_wal/`. The archive is one tar file
//! (see [`TarFile`](crate::archive::tar_file::TarFile)), whose members are listed as a directory's files would be; the
//! base backup is what lies beside it.

use super::{Descent, Found, Layout, Role, Rules, View, file_name, parts_below, wal_or_unknown};
use crate::archive::inventory::{BackupKind, BackupObject};
use crate::archive::store::{Store, StoreError};
use crate::archive::tar_file::is_tar_name;
use std::path::Path;

/// The members of a tar file.
#[derive(Debug)]
pub(super) struct Tars;

/// A store of tar members says so by the name of its root.
pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    Ok(if is_tar_name(view.name(0)) && !view.children("")?.is_empty() { Found::here(Tars) } else { None })
}

/// Names beside a tar that are looked at.
const NAMES_LOOKED_AT: usize = 1000;

/// The base backup beside a tar with WAL: a `base.tar`, and a manifest.
pub(crate) fn backup_beside(folder: &dyn Store) -> Result<Vec<BackupObject>, StoreError> {
    let mut found = Vec::new();
    let children = folder.children(Path::new(""), NAMES_LOOKED_AT)?;
    for name in children.into_iter().filter(|child| !child.is_folder).map(|child| child.name) {
        let kind = match name.split('.').next() {
            Some("base") if is_tar_name(&name) => BackupKind::BaseTar,
            Some("backup_manifest") if name == "backup_manifest" => BackupKind::Manifest,
            _ => continue,
        };
        let object = folder.find(Path::new(&name))?;
        let backup = |object| BackupObject { kind, label: String::new(), object, beside: Vec::new() };
        found.extend(object.map(backup));
    }
    found.sort_by(|a, b| a.object.path.cmp(&b.object.path));
    Ok(found)
}

impl Rules for Tars {
    fn layout(&self) -> Layout {
        Layout::Tar
    }

    fn descend(&self, _folder: &Path) -> Descent {
        Descent::Whole
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        let Some(file) = file_name(path) else { return Role::Unknown };
        let Some(parts) = parts_below(path, "") else { return Role::Unknown };
        match &*parts {
            [_] | ["pg_wal" | "pg_xlog", _] => match wal_or_unknown(file) {
                // The other files at the top are the cluster's own.
                Role::Unknown => Role::Known,
                wal => wal,
            },
            _ => Role::Known,
        }
    }
}
