//! WAL-G: `basebackups_005/base_<segment>[…]_backup_stop_sentinel.json`, one backup each.
//!
//! Positions are decimal numbers, the system identifier is a number above 2^53. The start timeline is nowhere but in the
//! name.
//!
//! `<name>/metadata.json` tells the same under other names, and what changed since: `wal-g backup-mark` writes that file and
//! leaves the sentinel as it was. Sentinels of before 0.2.10 have no times; there it has them.

use super::{CatalogError, Catalogued, major_of_version_number, time};
use crate::backup::base::{BaseBackup, Source};
use crate::wal::{Lsn, SegmentName, SystemId};
use serde::Deserialize;

/// How the names of sentinels end.
pub(super) const SENTINEL: &str = "_backup_stop_sentinel.json";

#[derive(Deserialize)]
struct Sentinel {
    #[serde(rename = "LSN", alias = "start_lsn")]
    start: Option<u64>,
    #[serde(rename = "FinishLSN", alias = "finish_lsn")]
    finish: Option<u64>,
    #[serde(rename = "PgVersion", alias = "pg_version")]
    version: Option<u64>,
    #[serde(rename = "SystemIdentifier", alias = "system_identifier")]
    system_identifier: Option<u64>,
    #[serde(rename = "StartTime", alias = "start_time")]
    start_time: Option<String>,
    #[serde(rename = "FinishTime", alias = "finish_time")]
    finish_time: Option<String>,
    #[serde(rename = "IsPermanent", alias = "is_permanent", default)]
    permanent: bool,
    #[serde(rename = "DeltaFrom")]
    delta_from: Option<String>,
}

/// What `metadata.json` beside a sentinel tells.
#[derive(Deserialize)]
struct Metadata {
    start_lsn: Option<u64>,
    finish_lsn: Option<u64>,
    start_time: Option<String>,
    finish_time: Option<String>,
    is_permanent: Option<bool>,
}

/// Completes the backup of a sentinel with its metadata, which counts where both tell of the same.
pub(super) fn complete(backup: &mut BaseBackup, bytes: &[u8]) -> Result<(), CatalogError> {
    let metadata: Metadata = serde_json::from_slice(bytes)?;
    let differs = |told: Option<u64>, known: Option<Lsn>| told.zip(known).is_some_and(|(a, b)| Lsn(a) != b);
    if differs(metadata.start_lsn, Some(backup.start_lsn)) || differs(metadata.finish_lsn, backup.stop_lsn) {
        let reason = "its metadata and its sentinel differ in start or end position".to_owned();
        return Err(CatalogError::Unclear { label: backup.label.clone(), reason });
    }
    let told = |text: Option<String>| text.as_deref().and_then(time);
    backup.started = told(metadata.start_time).or(backup.started);
    backup.finished = told(metadata.finish_time).or(backup.finished);
    backup.stop_lsn = backup.stop_lsn.or(metadata.finish_lsn.map(Lsn));
    backup.permanent = metadata.is_permanent.unwrap_or(backup.permanent);
    Ok(())
}

pub(super) fn read(label: &str, source: Source, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let sentinel: Sentinel = serde_json::from_slice(bytes)?;
    let file = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let label = if label.is_empty() { file.strip_suffix(SENTINEL).unwrap_or(&file) } else { label };
    let segment = label.strip_prefix("base_").and_then(|rest| SegmentName::parse(rest.get(..24)?));
    let unclear = |reason: &str| {
        Ok(Catalogued { unclear: vec![(label.to_owned(), reason.to_owned())], ..Catalogued::default() })
    };
    let Some(segment) = segment else { return unclear("its name holds no segment") };
    let Some(start) = sentinel.start else { return unclear("its sentinel holds no start position") };
    let backup = BaseBackup {
        label: label.to_owned(),
        stop_lsn: sentinel.finish.map(Lsn),
        version: sentinel.version.and_then(major_of_version_number),
        system_identifier: sentinel.system_identifier.filter(|id| *id != 0).map(SystemId),
        started: sentinel.start_time.as_deref().and_then(time),
        finished: sentinel.finish_time.as_deref().and_then(time),
        permanent: sentinel.permanent,
        depends_on: sentinel.delta_from.into_iter().filter(|from| !from.is_empty()).collect(),
        ..BaseBackup::new(Lsn(start), segment.timeline, source)
    };
    Ok(Catalogued { backups: vec![backup], ..Catalogued::default() })
}
