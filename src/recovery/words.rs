//! What a server says of a recovery, to the letter.
//!
//! PostgreSQL: `src/backend/access/transam/xlogrecovery.c` (15 to 19), `xlog.c` (up to 14).

use super::target::{Position, RecordKind, Stop, Target};
use crate::clock::Clock;
use crate::wal::{Lsn, Major, PgTime, SegmentName, TimelineId};

/// A position as the server prints it: padded from 19 on.
pub fn lsn(lsn: Lsn, major: Major) -> String {
    if major >= Major::V19 {
        format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
    } else {
        lsn.to_string()
    }
}

/// The log's "recovery stopping …" line.
pub fn stopping(stop: &Stop, target: &Target, major: Major, clock: &Clock) -> Option<String> {
    let side = if stop.position == Position::Before { "before" } else { "after" };
    match (stop.position, target) {
        (Position::EndOfWal, _) => None,
        (Position::Consistency, _) => Some("recovery stopping after reaching consistency".to_owned()),
        (_, Target::Lsn(_)) => {
            Some(format!("recovery stopping {side} WAL location (LSN) \"{}\"", lsn(stop.lsn, major)))
        }
        (_, Target::Name(name)) => {
            let time = clock.server(stop.time.unwrap_or_default());
            Some(format!("recovery stopping at restore point \"{name}\", time {time}"))
        }
        _ => {
            let what = if stop.record == Some(RecordKind::Abort) { "abort" } else { "commit" };
            let xid = stop.xid.unwrap_or_default();
            let time = clock.server(time_in_log(stop, target, major));
            Some(format!("recovery stopping {side} {what} of transaction {xid}, time {time}"))
        }
    }
}

/// Before an xid the server up to 10 had not read the time yet (minors of 11 to 15 before 2023 neither).
fn time_in_log(stop: &Stop, target: &Target, major: Major) -> PgTime {
    let unread = matches!(target, Target::Xid(_)) && stop.position == Position::Before && major <= Major::V10;
    if unread { PgTime(0) } else { stop.time.unwrap_or_default() }
}

/// The reason that goes into the new history file, without the line feed that some end in.
pub fn reason(stop: Option<&Stop>, target: &Target, major: Major, clock: &Clock) -> String {
    let reached = stop.filter(|stop| stop.position != Position::EndOfWal);
    let side = if reached.is_some_and(Stop::applies_record) { "after" } else { "before" };
    match target {
        Target::Latest => "no recovery target specified".to_owned(),
        Target::Immediate => "reached consistency".to_owned(),
        Target::Xid(_) => {
            format!("{side} transaction {}", reached.and_then(|stop| stop.xid).unwrap_or_default())
        }
        Target::Time(_) => {
            format!("{side} {}", clock.server(reached.and_then(|stop| stop.time).unwrap_or_default()))
        }
        Target::Lsn(_) => {
            format!("{side} LSN {}", lsn(reached.map_or(Lsn::INVALID, |stop| stop.lsn), major))
        }
        Target::Name(_) if reached.is_none() => "at restore point \"\"".to_owned(),
        Target::Name(name) => format!("at restore point \"{name}\""),
    }
}

/// The checkpoint of the backup is not where its label says.
pub fn no_checkpoint(checkpoint: Lsn, major: Major) -> String {
    if major >= Major::V17 {
        format!("could not locate required checkpoint record at {}", lsn(checkpoint, major))
    } else {
        "could not locate required checkpoint record".to_owned()
    }
}

/// Redo of the checkpoint is not there.
pub fn no_redo(redo: Lsn, checkpoint: Lsn, major: Major) -> String {
    if major >= Major::V17 {
        let (redo, checkpoint) = (lsn(redo, major), lsn(checkpoint, major));
        format!("could not find redo location {redo} referenced by checkpoint record at {checkpoint}")
    } else {
        "could not find redo location referenced by checkpoint record".to_owned()
    }
}

/// The backup is not on the way to the target timeline.
pub fn not_a_child(timeline: TimelineId) -> String {
    format!("requested timeline {timeline} is not a child of this server's history")
}

/// The backup is of a timeline that the target timeline did not come from.
///
/// PostgreSQL: `tliSwitchPoint` in `src/backend/access/transam/timeline.c`, 9.5 to 19.
pub fn not_in_history(timeline: TimelineId) -> String {
    format!("requested timeline {timeline} is not in this server's history")
}

/// The minimum recovery point is not on the way to the target timeline.
pub fn no_minimum(timeline: TimelineId, minimum: Lsn, of: TimelineId, major: Major) -> String {
    format!(
        "requested timeline {timeline} does not contain minimum recovery point {} on timeline {of}",
        lsn(minimum, major)
    )
}

/// A file of the wrong size was restored.
pub fn wrong_size(segment: SegmentName, found: u64, expected: u64) -> String {
    format!("archive file \"{segment}\" has wrong size: {found} instead of {expected}")
}

/// A segment is read again and is not in pg_wal.
pub fn removed_segment(segment: SegmentName) -> String {
    format!("requested WAL segment pg_wal/{segment} has already been removed")
}

/// Whether these are the words for that.
pub fn is_removed_segment(words: &str) -> bool {
    words.starts_with("requested WAL segment")
}

/// WAL of `wal_level` minimal (14 and later; up to 13 a warning, and data is missing).
///
/// PostgreSQL: `CheckRequiredParameterValues` in `src/backend/access/transam/xlog.c`.
pub fn wal_level_minimal(major: Major) -> String {
    let setting = if major >= Major::V17 { "\"wal_level=minimal\"" } else { "wal_level=minimal" };
    format!("WAL was generated with {setting}, cannot continue recovering")
}

/// The stop comes too early.
pub const BEFORE_CONSISTENCY: &str = "requested recovery stop point is before consistent recovery point";
/// From 13 on: the WAL ended without a stop.
pub const TARGET_NOT_REACHED: &str = "recovery ended before configured recovery target was reached";
/// The WAL ended without the end of the backup.
pub const ENDS_BEFORE_BACKUP_END: &str = "WAL ends before end of online backup";
/// The WAL ended before the minimum recovery point.
pub const ENDS_BEFORE_MINIMUM: &str = "WAL ends before consistent recovery point";
/// PANIC: a shutdown checkpoint before the end of the backup.
pub const BACKUP_CANCELED: &str = "online backup was canceled, recovery cannot continue";
