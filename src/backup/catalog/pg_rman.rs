//! pg_rman: `backup.ini`, one backup each.
//!
//! Lines of `KEY=value`; positions in lower-case hexadecimal, padded with zeros; times without a zone, which are left out.
//! A backup of mode ARCHIVE is no base backup but a collection of WAL. Usable are OK and DONE.

use super::{CatalogError, Catalogued, Statuses, pairs, text, time, unquoted, without_start};
use crate::backup::base::{BaseBackup, Source};
use crate::wal::{Lsn, TimelineId};
use std::collections::HashMap;

/// pg_rman: `BackupStatus` in `pg_rman.h`.
const STATUSES: Statuses =
    Statuses { complete: &["OK", "DONE"], others: &["RUNNING", "ERROR", "DELETING", "DELETED", "CORRUPT"] };

pub(super) fn read(label: &str, source: Source, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let fields: HashMap<&str, &str> = pairs(text(bytes)?)
        .map(|pair| pair.map(|(key, value)| (key, unquoted(value))))
        .collect::<Result<_, _>>()?;
    let field = |name: &str| fields.get(name).copied().filter(|value| !value.is_empty());
    let label = if label.is_empty() { identifier(&source) } else { label.to_owned() };
    if field("BACKUP_MODE") == Some("ARCHIVE") {
        return Ok(Catalogued::default());
    }
    let told = field("STATUS").unwrap_or_default();
    let status = if told.is_empty() { "UNKNOWN" } else { told };
    let lsn = |name: &str| field(name)?.parse::<Lsn>().ok().filter(|lsn| *lsn != Lsn::INVALID);
    let timeline = field("TIMELINEID").and_then(|text| text.parse().ok()).filter(|id| *id != 0);
    let doubt = STATUSES.doubt(bytes, told, lsn("START_LSN").is_some() && timeline.is_some());
    let unclear: Vec<_> = doubt.map(|reason| (label.clone(), reason)).into_iter().collect();
    let (Some(start), Some(timeline)) = (lsn("START_LSN"), timeline.map(TimelineId)) else {
        return Ok(without_start(label, status, unclear));
    };
    let usable = matches!(status, "OK" | "DONE");
    let incremental = field("BACKUP_MODE") == Some("INCREMENTAL");
    let caution = || "it builds on the full backup before it, which pg_rman restores first".to_owned();
    let backup = BaseBackup {
        label,
        stop_lsn: lsn("STOP_LSN"),
        started: field("START_TIME").and_then(time),
        finished: field("END_TIME").and_then(time),
        unusable: (!usable).then(|| format!("pg_rman gives its status as {status}")),
        cautions: incremental.then(caution).into_iter().collect(),
        ..BaseBackup::new(start, timeline, source)
    };
    Ok(Catalogued { backups: vec![backup], unclear, ..Catalogued::default() })
}

/// The day and the time of `<catalog>/20261121/091637/backup.ini`.
fn identifier(source: &Source) -> String {
    let mut folders = source.path.ancestors().skip(1).filter_map(|folder| folder.file_name());
    let time = folders.next().unwrap_or_default().to_string_lossy().into_owned();
    let day = folders.next().unwrap_or_default().to_string_lossy().into_owned();
    format!("{day}/{time}")
}
