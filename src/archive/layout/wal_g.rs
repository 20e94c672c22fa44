//! WAL-G, and WAL-E before it.
//!
//! ```text
//! P/wal_005/NAME[.lz4|.zst|.br|.lzma|.gz]                  every WAL file, compressed
//! P/wal_005/SEGMENT_delta[.EXT]  SEGMENT.json              page maps, upload times: no WAL
//! P/basebackups_005/base_SEGMENT[_D_SEGMENT][_OFFSET]_backup_stop_sentinel.json
//! P/basebackups_005/base_…/metadata.json  tar_partitions/  files_metadata.json (may be larger than 1 GB)
//! ```

use super::{
    Descent, Found, Layout, Role, Rules, View, begins_with_segment, is_hex, parts_below, wal_or_unknown,
};
use crate::archive::inventory::BackupKind;
use crate::archive::store::StoreError;
use std::path::Path;

const WAL: &str = "wal_005";
const BACKUPS: &str = "basebackups_005";
const SENTINEL: &str = "_backup_stop_sentinel.json";
const METADATA: &str = "metadata.json";

/// A WAL-G prefix.
#[derive(Debug)]
pub(super) struct WalG {
    wal: &'static str,
}

impl WalG {
    /// A folder of WAL-G's WAL files with nothing around it.
    pub(super) fn of_wal_alone() -> Self {
        Self { wal: "" }
    }
}

pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    if view.has("", &[WAL, BACKUPS])? {
        return Ok(Found::here(WalG { wal: WAL }));
    }
    if [WAL, BACKUPS].contains(&view.name(0)) {
        return Ok(Found::up(1, WalG { wal: WAL }));
    }
    Ok(None)
}

impl Rules for WalG {
    fn layout(&self) -> Layout {
        Layout::WalG
    }

    fn descend(&self, folder: &Path) -> Descent {
        match folder.to_str() {
            Some(wal) if wal == self.wal => Descent::Whole,
            Some("" | BACKUPS) => Descent::Level,
            // The metadata beside a sentinel; never the parts of the backup.
            _ if parts_below(folder, BACKUPS).is_some_and(|parts| parts.len() == 1) => Descent::Level,
            _ => Descent::Skip,
        }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        match parts_below(path, self.wal).as_deref() {
            Some([file]) => return wal_role(file),
            Some([]) => return Role::Known,
            _ => {}
        }
        match parts_below(path, BACKUPS).as_deref() {
            Some([file]) => match file.strip_suffix(SENTINEL) {
                Some(label) => Role::Backup(BackupKind::WalGSentinel, label.to_owned()),
                None => Role::Known,
            },
            Some([label, METADATA]) => Role::BesideBackup((*label).to_owned()),
            // Greenplum's folders, other databases' folders, WAL-G's own notes.
            _ => Role::Known,
        }
    }
}

fn wal_role(file: &str) -> Role<'_> {
    let stem = file.split('.').next().unwrap_or(file);
    let is_delta = stem.strip_suffix("_delta").is_some_and(begins_with_segment);
    let is_times = file.strip_suffix(".json").is_some_and(|name| is_hex(name, 23) || is_hex(name, 24));
    if is_delta || is_times { Role::Known } else { wal_or_unknown(file) }
}
