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
    for up in 0..2 {
        let root = ["", ".."][up];
        let at_root = up == 0 || ["wal", "backups"].contains(&view.name(0));
        if at_root && is_catalog(view, root)? {
            let wal = if root.is_empty() { "wal".to_owned() } else { format!("{root}/wal") };
            let instance = view.only("instances", view.folders(&wal)?)?;
            return Ok(instance.and_then(|instance| Found::up(up, PgProbackup { instance })));
        }
    }
    if ["wal", "backups"].contains(&view.name(1)) && is_catalog(view, "../..")? {
        return Ok(Found::up(2, PgProbackup { instance: view.name(0).to_owned() }));
    }
    Ok(None)
}

fn is_catalog(view: &View<'_>, root: &str) -> Result<bool, StoreError> {
    let children = view.children(root)?;
    let has = |name: &str| children.iter().any(|child| child.is_folder && child.name == name);
    Ok(has("wal") && has("backups"))
}

impl Rules for PgProbackup {
    fn layout(&self) -> Layout {
        Layout::PgProbackup
    }

    fn descend(&self, folder: &Path) -> Descent {
        let Some(parts) = parts_below(folder, "") else { return Descent::Skip };
        match parts.as_slice() {
            _ if self.instance.is_empty() => Descent::Whole,
            ["wal", instance] if *instance == self.instance => Descent::Whole,
            ["backups", instance] | ["backups", instance, _] if *instance == self.instance => Descent::Level,
            [] | ["wal" | "backups"] => Descent::Level,
            _ => Descent::Skip,
        }
    }

    fn role(&self, path: &Path) -> Role {
        let Some(file) = file_name(path) else { return Role::Unknown };
        let Some(parts) = parts_below(path, "") else { return Role::Unknown };
        match parts.as_slice() {
            ["backups", _, id, "backup.control"] => {
                Role::Backup(BackupKind::PgProbackupControl, (*id).to_owned())
            }
            ["wal", _, ..] => wal_role(file),
            _ if self.instance.is_empty() => wal_role(file),
            _ => Role::Known,
        }
    }
}

fn wal_role(file: &str) -> Role {
    // Files that are still being written.
    if has_suffix(file, "part") { Role::Known } else { wal_or_unknown(file) }
}
