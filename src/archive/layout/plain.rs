//! Files under PostgreSQL's own names, with or without a compression suffix, in one folder or several: what
//! `archive_command = 'cp %p …'`, `pg_receivewal` and the server itself (pg_wal) leave.

use super::{Descent, Found, Layout, Role, Rules, View, file_name, parts_below, wal_or_unknown};
use crate::archive::inventory::BackupKind;
use crate::archive::store::StoreError;
use crate::archive::tar_file::is_tar_name;
use std::path::Path;

/// A plain archive.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The folder with the WAL below the root: `pg_wal` where the user names a data directory.
    folder: String,
    is_pg_wal: bool,
}

/// Never `None`: what no tool laid out is plain.
pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    if view.has("", &["PG_VERSION"])? {
        for folder in ["pg_wal", "pg_xlog"] {
            if view.has("", &[folder])? {
                return Ok(Found::here(Plain { folder: folder.to_owned(), is_pg_wal: true }));
            }
        }
    }
    let is_pg_wal = view.has("", &["archive_status"])? || ["pg_wal", "pg_xlog"].contains(&view.name(0));
    Ok(Found::here(Plain { folder: String::new(), is_pg_wal }))
}

impl Rules for Plain {
    fn layout(&self) -> Layout {
        Layout::Plain
    }

    fn descend(&self, folder: &Path) -> Descent {
        let Some(parts) = parts_below(folder, &self.folder) else {
            return if folder.as_os_str().is_empty() { Descent::Level } else { Descent::Skip };
        };
        match &*parts {
            // Neither is WAL, and in a pg_wal both may hold a file for every segment.
            ["archive_status" | "summaries"] => Descent::Skip,
            _ if self.is_pg_wal => Descent::Level,
            _ => Descent::Whole,
        }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        let Some(parts) = parts_below(path, &self.folder) else {
            return if self.folder.is_empty() { Role::Unknown } else { Role::Known };
        };
        let Some(file) = file_name(path) else { return Role::Unknown };
        match &*parts {
            ["archive_status" | "summaries", ..] => Role::Known,
            [folders @ .., "backup_manifest"] => Role::Backup(BackupKind::Manifest, folders.join("/")),
            [folders @ .., "backup_label"] => Role::Backup(BackupKind::Label, folders.join("/")),
            [folders @ .., tar] if is_tar_name(tar) => match tar.split('.').next() {
                Some("base") => Role::Backup(BackupKind::BaseTar, folders.join("/")),
                _ => Role::BesideBackup(folders.join("/")),
            },
            _ if is_servers_own(file) => Role::Known,
            _ => wal_or_unknown(file),
        }
    }

    fn is_pg_wal(&self) -> bool {
        self.is_pg_wal
    }
}

/// Names that a server uses in its pg_wal while it restores a file, or makes a new segment.
///
/// PostgreSQL: `src/backend/access/transam/xlogarchive.c` (`RestoreArchivedFile`), `xlog.c` (`XLogFileInitInternal`,
/// `xlogtemp.`), 9.5 to 19.
fn is_servers_own(file: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    ["RECOVERYXLOG", "RECOVERYHISTORY"].contains(&file)
        || file.strip_prefix("xlogtemp.").is_some_and(is_number)
}
