//! pg_probackup's catalog.
//!
//! ```text
//! B/wal/INSTANCE/SEGMENT[.gz]  SEGMENT.partial[.gz]  TIMELINE.history  SEGMENT.OFFSET.backup  *.part
//! B/backups/INSTANCE/pg_probackup.conf
//! B/backups/INSTANCE/ID/backup.control  backup_content.control  database/
//! ```

use super::{Descent, Found, Layout, Role, Rules, View, file_name, has_suffix, parts_below, wal_or_unknown};
use crate::archive::inventory::BackupKind;
use crate::archive::store::StoreError;
use std::path::Path;

/// One instance of a catalog.
#[derive(Debug)]
pub(super) struct PgProbackup {
    /// The instance; empty where the root is a folder of WAL and nothing else.
    instance: String,
}

impl PgProbackup {
    /// An instance's WAL with nothing around it.
    pub(super) fn of_wal_alone() -> Self {
        Self { instance: String::new() }
    }
}

pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    if let Some(instance) = view.only("instances", instances(view, "")?)? {
        return Ok(Found::here(PgProbackup { instance }));
    }
    let of_catalog = |name: &str| ["wal", "backups"].contains(&name);
    if of_catalog(view.name(0))
        && let Some(instance) = view.only("instances", instances(view, "../")?)?
    {
        return Ok(Found::up(1, PgProbackup { instance }));
    }
    let instance = view.name(0).to_owned();
    if of_catalog(view.name(1)) && instances(view, "../../")?.contains(&instance) {
        return Ok(Found::up(2, PgProbackup { instance }));
    }
    Ok(None)
}

/// The instances of a catalog at `root`: they have WAL, and backups with a configuration file. Folders called
/// `wal` and `backups` alone stand side by side in many places.
fn instances(view: &View<'_>, root: &str) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    if !view.has(root.trim_end_matches('/'), &["backups"])? {
        return Ok(found);
    }
    for instance in view.folders(&format!("{root}wal"))? {
        if view.has(&format!("{root}backups/{instance}"), &["pg_probackup.conf"])? {
            found.push(instance);
        }
    }
    Ok(found)
}

impl Rules for PgProbackup {
    fn layout(&self) -> Layout {
        Layout::PgProbackup
    }

    fn descend(&self, folder: &Path) -> Descent {
        let Some(parts) = parts_below(folder, "") else { return Descent::Skip };
        match &*parts {
            _ if self.instance.is_empty() => Descent::Whole,
            ["wal", instance] if *instance == self.instance => Descent::Whole,
            ["backups", instance] | ["backups", instance, _] if *instance == self.instance => Descent::Level,
            [] | ["wal" | "backups"] => Descent::Level,
            _ => Descent::Skip,
        }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        let Some(file) = file_name(path) else { return Role::Unknown };
        let Some(parts) = parts_below(path, "") else { return Role::Unknown };
        match &*parts {
            ["backups", _, id, "backup.control"] => {
                Role::Backup(BackupKind::PgProbackupControl, (*id).to_owned())
            }
            ["wal", _, ..] => wal_role(file),
            _ if self.instance.is_empty() => wal_role(file),
            _ => Role::Known,
        }
    }
}

fn wal_role(file: &str) -> Role<'_> {
    // Files that are still being written.
    if has_suffix(file, "part") { Role::Known } else { wal_or_unknown(file) }
}
