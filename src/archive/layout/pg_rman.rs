//! pg_rman's catalog.
//!
//! ```text
//! C/pg_rman.ini  C/system_identifier  C/timeline_history/TIMELINE.history
//! C/YYYYMMDD/HHMMSS/backup.ini  arclog/NAME  database/  srvlog/  file_arclog.txt …
//! ```
//!
//! Each backup holds the archived WAL that it took along; a segment may be in several.

use super::{Descent, Found, Layout, Role, Rules, View, file_name, parts_below, wal_or_unknown};
use crate::archive::inventory::BackupKind;
use crate::archive::store::StoreError;
use std::path::Path;

/// A catalog.
#[derive(Debug)]
pub(super) struct PgRman;

pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    let is_catalog = view.has("", &["pg_rman.ini"])?
        || view.has("", &["system_identifier"])? && view.folders("")?.iter().any(|name| is_digits(name, 8));
    if is_catalog {
        return Ok(Found::here(PgRman));
    }
    Ok(None)
}

impl Rules for PgRman {
    fn layout(&self) -> Layout {
        Layout::PgRman
    }

    fn descend(&self, folder: &Path) -> Descent {
        let Some(parts) = parts_below(folder, "") else { return Descent::Skip };
        match &*parts {
            [] | ["timeline_history"] => Descent::Level,
            [day] | [day, _] if is_digits(day, 8) => Descent::Level,
            [day, _, "arclog"] if is_digits(day, 8) => Descent::Whole,
            _ => Descent::Skip,
        }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        let Some(file) = file_name(path) else { return Role::Unknown };
        let Some(parts) = parts_below(path, "") else { return Role::Unknown };
        match &*parts {
            [day, time, "backup.ini"] => Role::Backup(BackupKind::PgRmanIni, format!("{day}/{time}")),
            [_, _, "arclog", ..] | ["timeline_history", ..] => wal_or_unknown(file),
            _ => Role::Known,
        }
    }
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|b| b.is_ascii_digit())
}
