//! pg_probackup: `backup.control`, one backup each.
//!
//! Lines of `key = value`; times in quotes with an offset. Usable are OK and DONE.

use super::{CatalogError, Catalogued, Statuses, pairs, text, time, unquoted, without_start};
use crate::backup::base::{BaseBackup, Source};
use crate::wal::{Lsn, PgTime, TimelineId};
use std::collections::HashMap;

/// pg_probackup: `BackupStatus` in `src/pg_probackup.h`.
const STATUSES: Statuses = Statuses {
    complete: &["OK", "DONE"],
    others: &["RUNNING", "MERGING", "MERGED", "DELETING", "DELETED", "ERROR", "ORPHAN", "CORRUPT"],
};

pub(super) fn read(label: &str, source: Source, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let fields: HashMap<&str, &str> = pairs(text(bytes)?)
        .map(|pair| pair.map(|(key, value)| (key, unquoted(value))))
        .collect::<Result<_, _>>()?;
    let field = |name: &str| fields.get(name).copied().filter(|value| !value.is_empty());
    let folder = || source.path.parent().and_then(|parent| parent.file_name()).unwrap_or_default();
    let label = if label.is_empty() { folder().to_string_lossy().into_owned() } else { label.to_owned() };
    let told = field("status").unwrap_or_default();
    let status = if told.is_empty() { "UNKNOWN" } else { told };
    let lsn = |name: &str| field(name)?.parse::<Lsn>().ok().filter(|lsn| *lsn != Lsn::INVALID);
    let timeline = field("timelineid").and_then(|text| text.parse().ok()).filter(|id| *id != 0);
    let doubt = STATUSES.doubt(bytes, told, lsn("start-lsn").is_some() && timeline.is_some());
    let unclear: Vec<_> = doubt.map(|reason| (label.clone(), reason)).into_iter().collect();
    let (Some(start), Some(timeline)) = (lsn("start-lsn"), timeline.map(TimelineId)) else {
        return Ok(without_start(label, status, unclear));
    };
    let mut cautions = Vec::new();
    if field("stream") == Some("true") {
        cautions.push("it carries the WAL of the time of the backup in itself".to_owned());
    }
    cautions.extend(field("expire-time").map(|time| format!("pg_probackup keeps it until {time}")));
    // Where nobody can read until when it is kept, it is kept.
    let kept_until = field("expire-time").map(|text| time(text).unwrap_or(PgTime(i64::MAX)));
    let usable = matches!(status, "OK" | "DONE");
    let backup = BaseBackup {
        label,
        aliases: field("note").map(str::to_owned).into_iter().collect(),
        stop_lsn: lsn("stop-lsn"),
        from_standby: field("from-replica").map(|value| value == "true"),
        version: field("server-version").and_then(|text| text.parse().ok()),
        started: field("start-time").and_then(time),
        finished: field("end-time").and_then(time),
        depends_on: field("parent-backup-id").map(str::to_owned).into_iter().collect(),
        unusable: (!usable).then(|| format!("pg_probackup gives its status as {status}")),
        kept_until,
        cautions,
        ..BaseBackup::new(start, timeline, source)
    };
    Ok(Catalogued { backups: vec![backup], unclear, ..Catalogued::default() })
}
