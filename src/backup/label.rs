//! `backup_label`, and the backup history file that is archived at the end of a backup.
//!
//! ```text
//! START WAL LOCATION: 0/1600028 (file 00000001000000000000000B)    redo of the backup's checkpoint
//! STOP WAL LOCATION: 0/1600100 (file 00000001000000000000000B)     history file only
//! CHECKPOINT LOCATION: 0/1600060
//! BACKUP METHOD: streamed
//! BACKUP FROM: primary                                             "master" up to 13, "standby"
//! START TIME: 2026-11-21 09:07:28 UTC
//! LABEL: b2
//! START TIMELINE: 1                                                since 11
//! STOP TIME: 2026-11-21 09:07:28 UTC                               history file only
//! STOP TIMELINE: 1                                                 history file only, since 11
//! INCREMENTAL FROM LSN: 0/1400028                                  since 17, incremental backups only
//! INCREMENTAL FROM TLI: 1
//! ```
//!
//! The server reads the first two lines of a label with a strict format (another line ending is FATAL), the rest
//! leniently and in order. Here the rest may stand in any order.
//!
//! PostgreSQL: `src/backend/access/transam/xlogbackup.c` (`build_backup_content`, 15 to 19), `xlog.c`
//! (`do_pg_start_backup`, `do_pg_stop_backup`, up to 14), `xlogrecovery.c` (`read_backup_label`; `xlog.c` up to 14).

use crate::clock::Clock;
use crate::wal::{Lsn, PgTime, SegmentName, TimelineId};
use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{all_consuming, map_opt, map_res};
use nom::sequence::{delimited, preceded};

/// Longer files are no labels: a label's own text has at most 1024 bytes.
pub const LABEL_BYTES_MAX: usize = 1 << 16;

/// How a backup was made (`BACKUP METHOD`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// `streamed`: by pg_basebackup or, since 9.6, the non-exclusive functions. A `BACKUP_END` record must be seen.
    Streamed,
    /// `pg_start_backup`: the exclusive functions, up to 14.
    PgStartBackup,
    /// `pg_rewind`: no backup, a data directory that was rewound.
    PgRewind,
    /// Something else, which the server takes for the exclusive method.
    Other(String),
}

/// What a label or a history file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabelFile {
    /// Where replay begins: redo of the backup's checkpoint.
    pub start_lsn: Lsn,
    /// The segment that the label names with it; its timeline is that of the start.
    pub start_segment: SegmentName,
    /// Where the backup ended, with the segment named: in a history file only.
    pub stop: Option<(Lsn, SegmentName)>,
    /// Position of the checkpoint record.
    pub checkpoint_lsn: Lsn,
    /// How it was made; `None` where the line is missing.
    pub method: Option<Method>,
    /// Taken from a standby; `None` where the line is missing.
    pub from_standby: Option<bool>,
    /// When it began, where its zone can be told.
    pub start_time: Option<PgTime>,
    /// The text given to it.
    pub label: String,
    /// Timeline at the end, where it is written (11 and later).
    pub stop_timeline: Option<TimelineId>,
    /// When it ended.
    pub stop_time: Option<PgTime>,
    /// An incremental backup: the start and the timeline of the backup that it builds on.
    pub incremental_from: Option<(Lsn, TimelineId)>,
}

/// The server refuses the label, FATAL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// One of the first lines does not have its form. The server says no more than that the file is invalid.
    #[error("invalid data in file \"backup_label\": line {line} is {found:?} instead of \"{expected}\"")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// Its beginning.
        found: String,
        /// What it should be like.
        expected: &'static str,
    },
    /// The timeline line and the name of the segment contradict each other.
    #[error(
        "invalid data in file \"backup_label\": timeline ID parsed is {timeline}, but the start segment is of timeline {segment}"
    )]
    Timeline {
        /// `START TIMELINE`.
        timeline: TimelineId,
        /// The segment's.
        segment: TimelineId,
    },
}

impl LabelFile {
    /// Reads a `backup_label` or a backup history file.
    pub fn parse(bytes: &[u8]) -> Result<Self, LabelError> {
        let text = String::from_utf8_lossy(bytes.get(..LABEL_BYTES_MAX).unwrap_or(bytes));
        let mut lines = text.split('\n').enumerate().peekable();
        let mut place = |key: &'static str| -> Option<Result<&str, LabelError>> {
            let (i, line) = lines.peek().copied()?;
            let Some(value) = line.strip_prefix(key) else {
                return Some(Err(LabelError::Line { line: i + 1, found: beginning(line), expected: key }));
            };
            lines.next();
            Some(Ok(value))
        };
        let missing = |line, expected| LabelError::Line { line, found: String::new(), expected };
        let start = place(START).unwrap_or_else(|| Err(missing(1, START)))?;
        let (start_lsn, start_segment) = location(start).ok_or_else(|| LabelError::Line {
            line: 1,
            found: beginning(start),
            expected: START,
        })?;
        let stop = place(STOP).and_then(Result::ok);
        let stop_line = || LabelError::Line { line: 2, found: String::new(), expected: STOP };
        let stop = stop.map(|stop| location(stop).ok_or_else(stop_line)).transpose()?;
        let checkpoint = place(CHECKPOINT).unwrap_or_else(|| Err(missing(2, CHECKPOINT)))?;
        let checkpoint_line = || LabelError::Line {
            line: if stop.is_some() { 3 } else { 2 },
            found: beginning(checkpoint),
            expected: CHECKPOINT,
        };
        let checkpoint_lsn = checkpoint.parse().map_err(|_| checkpoint_line())?;
        let rest: Vec<&str> = lines.map(|(_, line)| line).collect();
        let file = Self::from_lines(&rest, start_lsn, start_segment, stop, checkpoint_lsn);
        match number(&rest, "START TIMELINE: ") {
            Some(timeline) if timeline != start_segment.timeline => {
                Err(LabelError::Timeline { timeline, segment: start_segment.timeline })
            }
            _ => Ok(file),
        }
    }

    /// The lines after the positions.
    fn from_lines(
        lines: &[&str],
        start_lsn: Lsn,
        start_segment: SegmentName,
        stop: Option<(Lsn, SegmentName)>,
        checkpoint_lsn: Lsn,
    ) -> Self {
        let method = value(lines, "BACKUP METHOD: ").map(|method| match method {
            "streamed" => Method::Streamed,
            "pg_start_backup" => Method::PgStartBackup,
            "pg_rewind" => Method::PgRewind,
            other => Method::Other(other.to_owned()),
        });
        let from_lsn = value(lines, "INCREMENTAL FROM LSN: ").and_then(|lsn| lsn.parse().ok());
        Self {
            start_lsn,
            start_segment,
            stop,
            checkpoint_lsn,
            method,
            from_standby: value(lines, "BACKUP FROM: ").map(|from| from == "standby"),
            start_time: time(lines, "START TIME: "),
            label: value(lines, "LABEL: ").unwrap_or_default().to_owned(),
            stop_timeline: number(lines, "STOP TIMELINE: "),
            stop_time: time(lines, "STOP TIME: "),
            incremental_from: from_lsn.zip(number(lines, "INCREMENTAL FROM TLI: ")),
        }
    }

    /// The timeline on which the backup began, which is that of its checkpoint.
    pub const fn start_timeline(&self) -> TimelineId {
        self.start_segment.timeline
    }
}

const START: &str = "START WAL LOCATION: ";
const STOP: &str = "STOP WAL LOCATION: ";
const CHECKPOINT: &str = "CHECKPOINT LOCATION: ";

/// `X/X (file TTTTTTTTHHHHHHHHLLLLLLLL)`.
fn location(text: &str) -> Option<(Lsn, SegmentName)> {
    let lsn =
        map_res(take_while1(|c: char| c.is_ascii_hexdigit() || c == '/'), |lsn: &str| lsn.parse::<Lsn>());
    let name = map_opt(take_while(|c: char| c.is_ascii_hexdigit()), SegmentName::parse);
    let file = preceded(tag(" "), delimited(tag("(file "), name, tag(")")));
    let parsed: Result<_, nom::Err<nom::error::Error<&str>>> = all_consuming((lsn, file)).parse(text);
    parsed.ok().map(|(_, location)| location)
}

/// What stands behind `key` on the first line that begins with it.
fn value<'a>(lines: &[&'a str], key: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_end_matches('\r'))
}

fn number(lines: &[&str], key: &str) -> Option<TimelineId> {
    value(lines, key)?.parse().ok().map(TimelineId)
}

/// A time with an abbreviated zone; `None` where the abbreviation means different things to different people.
fn time(lines: &[&str], key: &str) -> Option<PgTime> {
    let reading = Clock::utc().read(value(lines, key)?).ok()?;
    (!reading.bare).then_some(reading.time)
}

/// Enough of a line to recognise it.
fn beginning(line: &str) -> String {
    line.chars().take(80).collect()
}

#[cfg(test)]
#[path = "label_tests.rs"]
mod tests;
