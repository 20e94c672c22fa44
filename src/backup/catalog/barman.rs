//! Barman and its cloud form (CloudNativePG): `backup.info`, one backup each.
//!
//! Lines of `key=value` with Python's `None` for nothing. `backup_label` is the label itself with its line ends as `\n` in
//! quotes. Usable are DONE and, with a caution, WAITING_FOR_WALS.

use super::{
    CatalogError, Catalogued, Statuses, major_of_version_number, pairs, text, time, unquoted, without_start,
};
use crate::backup::base::{BaseBackup, Source};
use crate::backup::label::LabelFile;
use crate::wal::{Lsn, SegmentName, SegmentSize, SystemId, TimelineId};
use std::collections::HashMap;

/// Barman: `BackupInfo` in `barman/infofile.py`.
const STATUSES: Statuses =
    Statuses { complete: &["DONE", "WAITING_FOR_WALS"], others: &["EMPTY", "STARTED", "FAILED", "SYNCING"] };

pub(super) fn read(label: &str, source: Source, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let fields: HashMap<&str, &str> =
        pairs(text(bytes)?).filter(|pair| !matches!(pair, Ok((_, "None")))).collect::<Result<_, _>>()?;
    let field = |name: &str| fields.get(name).copied();
    let label = if label.is_empty() { identifier(&source) } else { label.to_owned() };
    let status = field("status").unwrap_or_default();
    let label_file = field("backup_label").map(python_text).filter(|text| text != "None" && !text.is_empty());
    let label_file = label_file.and_then(|text| LabelFile::parse(text.as_bytes()).ok());
    let start = field("begin_xlog").and_then(|text| text.parse::<Lsn>().ok());
    let timeline = field("begin_wal")
        .and_then(SegmentName::parse)
        .map(|segment| segment.timeline)
        .or_else(|| field("timeline")?.parse().ok().map(TimelineId));
    let doubt = STATUSES.doubt(bytes, status, start.is_some() && timeline.is_some());
    let unclear: Vec<_> = doubt.map(|reason| (label.clone(), reason)).into_iter().collect();
    let (Some(start), Some(timeline)) = (start, timeline) else {
        return Ok(without_start(label, status, unclear));
    };
    let number = |name: &str| field(name).and_then(|text| text.parse::<u64>().ok());
    let caution = "Barman still waits for WAL of the time of the backup".to_owned();
    let backup = BaseBackup {
        label,
        aliases: field("backup_name").map(str::to_owned).into_iter().collect(),
        checkpoint_lsn: label_file.as_ref().map(|label| label.checkpoint_lsn),
        stop_lsn: field("end_xlog").and_then(|text| text.parse().ok()),
        stop_timeline: field("end_wal").and_then(SegmentName::parse).map(|segment| segment.timeline),
        method: label_file.as_ref().and_then(|label| label.method.clone()),
        from_standby: label_file.as_ref().and_then(|label| label.from_standby),
        system_identifier: number("systemid").map(SystemId),
        version: number("version").and_then(major_of_version_number),
        segment_size: number("xlog_segment_size").and_then(SegmentSize::new),
        started: field("begin_time").and_then(time),
        finished: field("end_time").and_then(time),
        depends_on: field("parent_backup_id").map(str::to_owned).into_iter().collect(),
        cautions: (status == "WAITING_FOR_WALS").then_some(caution).into_iter().collect(),
        unusable: unusable(status, field("error")),
        ..BaseBackup::new(start, timeline, source)
    };
    Ok(Catalogued { backups: vec![backup], unclear, ..Catalogued::default() })
}

fn unusable(status: &str, error: Option<&str>) -> Option<String> {
    match (status, error) {
        ("DONE" | "WAITING_FOR_WALS", _) => None,
        ("", _) => Some("Barman gives no status for it".to_owned()),
        (status, None) => Some(format!("Barman gives its status as {status}")),
        (status, Some(error)) => Some(format!("Barman gives its status as {status}: {}", python_text(error))),
    }
}

/// The identifier in `base/<id>/backup.info` or `meta/<id>-backup.info`.
fn identifier(source: &Source) -> String {
    let name = source.path.file_name().unwrap_or_default().to_string_lossy();
    let parent = || source.path.parent().and_then(|parent| parent.file_name()).unwrap_or_default();
    name.strip_suffix("-backup.info").map_or_else(|| parent().to_string_lossy().into_owned(), str::to_owned)
}

/// A Python string literal, or a text without quotes as it is.
fn python_text(value: &str) -> String {
    let double = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let inner = double.unwrap_or_else(|| unquoted(value));
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (other, _) => text.push(other),
        }
    }
    text
}
