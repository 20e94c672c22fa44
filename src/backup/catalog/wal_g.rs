//! WAL-G: `basebackups_005/base_<segment>[…]_backup_stop_sentinel.json`, one backup each.
//!
//! Positions are decimal numbers, the system identifier is a number above 2^53. The start timeline is nowhere but in the
//! name. `metadata.json` tells the same under other names.

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
