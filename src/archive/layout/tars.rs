//! What `pg_basebackup -Ft` writes: `base.tar`, one tar for each tablespace, `pg_wal.tar` and `backup_manifest`.
//!
//! With `-X fetch` there is no pg_wal.tar and the WAL is in base.tar below `pg_wal/`. The archive is one tar file
//! (see [`TarFile`](crate::archive::tar_file::TarFile)), whose members are listed as a directory's files would be.

use super::{Descent, Found, Layout, Role, Rules, View, file_name, parts_below, wal_or_unknown};
use crate::archive::store::StoreError;
use std::path::Path;

/// The members of a tar file.
#[derive(Debug)]
pub(super) struct Tars;

/// A store of tar members says so by the name of its root.
pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    Ok(if crate::archive::tar_file::is_tar_name(view.name(0)) && !view.children("")?.is_empty() {
        Found::here(Tars)
    } else {
        None
    })
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
