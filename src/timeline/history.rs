//! Timeline history files, read as the server reads them.
//!
//! ```text
//! 1 <tab> 0/E1CB88  <tab> after transaction 755
//!                                                   (blank lines and # comments are skipped)
//! 2 <tab> 0/1601710 <tab> before 2026-11-21 09:07:33.122681+00
//! ^ parent, decimal  ^ switch point: the child begins here    ^ why, for people
//! ```
//!
//! One line for each ancestor, oldest first. Positions are `%X/%X`, padded to `%X/%08X` by 19. The server demands
//! that timelines increase; it does not demand that positions do, and real files break that order: recovery
//! to a point before the fork of its own target timeline writes `2 0/A001F8` under `1 0/A00220`.
//!
//! PostgreSQL: `src/backend/access/transam/timeline.c` (`readTimeLineHistory`, `tliOfPointInHistory`,
//! `tliSwitchPoint`), the same rules from 9.5 to 19.

use super::scan::{self, Scanf};
use crate::wal::{Lsn, Major, TimelineId};

/// The server reads a line with `fgets` into `char fline[MAXPGPATH]`: what is longer counts as another line.
const LINE_BYTES_MAX: usize = 1023;

/// One ancestor: the line that a timeline switch added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// The timeline that was left. It is the recovery *target* timeline of that moment.
    pub parent: TimelineId,
    /// Where it was left: the child's first byte. Later entries may have lower positions.
    pub switch: Lsn,
    /// Why, in the server's words ("after transaction 755"); bytes that are not UTF-8 are replaced.
    pub reason: String,
}

/// A timeline and its ancestors, as its history file tells them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// The timeline whose history this is: the number in the file's name.
    pub timeline: TimelineId,
    /// Its ancestors, oldest first, as in the file. Empty: a timeline without parents.
    pub entries: Vec<HistoryEntry>,
}

/// A timeline of a history and the positions `begin..end` that it owns by its own line (`TimeLineHistoryEntry`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ancestor {
    /// The timeline.
    pub timeline: TimelineId,
    /// Its first byte: the previous line's switch point, [`Lsn::INVALID`] for the oldest.
    pub begin: Lsn,
    /// The byte after its last: its own switch point, [`Lsn::MAX`] for the newest. May lie before `begin`; then
    /// the timeline owns nothing in this history.
    pub end: Lsn,
}

impl Ancestor {
    /// Whether the byte at `lsn` belongs to it.
    pub fn contains(&self, lsn: Lsn) -> bool {
        self.begin <= lsn && lsn < self.end
    }
}

/// The server refuses the file, FATAL, in the words of [`Display`](std::fmt::Display).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A line does not begin with a number.
    #[error("syntax error in history file: {line}")]
    NoTimeline {
        /// Number of the line, from 1.
        number: usize,
        /// The line.
        line: String,
    },
    /// No position follows the timeline.
    #[error("syntax error in history file: {line}")]
    NoSwitchPoint {
        /// Number of the line, from 1.
        number: usize,
        /// The line.
        line: String,
    },
    /// A line's timeline is not above the one before.
    #[error("invalid data in history file: {line}")]
    NotIncreasing {
        /// Number of the line, from 1.
        number: usize,
        /// The line.
        line: String,
    },
    /// The last ancestor is not below the timeline itself. The server names the path of the restored file here.
    #[error("invalid data in history file \"{:08X}.history\"", timeline.0)]
    NotBelowChild {
        /// The timeline whose history it is.
        timeline: TimelineId,
        /// The last ancestor named.
        last: TimelineId,
    },
}

impl HistoryError {
    /// The hint that the server of version `major` gives with the message.
    pub fn hint(&self, major: Major) -> &'static str {
        match self {
            Self::NoTimeline { .. } => "Expected a numeric timeline ID.",
            Self::NoSwitchPoint { .. } if major < Major::V10 => {
                "Expected a transaction log switchpoint location."
            }
            Self::NoSwitchPoint { .. } => "Expected a write-ahead log switchpoint location.",
            Self::NotIncreasing { .. } => "Timeline IDs must be in increasing sequence.",
            Self::NotBelowChild { .. } => "Timeline IDs must be less than child timeline's ID.",
        }
    }

    /// Number of the line that is wrong, from 1; `None` where it is the file as a whole.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::NoTimeline { number, .. }
            | Self::NoSwitchPoint { number, .. }
            | Self::NotIncreasing { number, .. } => Some(*number),
            Self::NotBelowChild { .. } => None,
        }
    }
}

impl History {
    /// The history of a timeline that has no file: it has no parents.
    pub const fn without_parents(timeline: TimelineId) -> Self {
        Self { timeline, entries: Vec::new() }
    }

    /// Reads the file of `timeline` (the number in the file's name). What the server takes is taken, what it
    /// refuses is refused with its message.
    pub fn parse(timeline: TimelineId, text: &[u8]) -> Result<Self, HistoryError> {
        let mut entries: Vec<HistoryEntry> = Vec::new();
        let lines = text.split_inclusive(|b| *b == b'\n').enumerate();
        for (i, line) in lines.flat_map(|(i, line)| line.chunks(LINE_BYTES_MAX).map(move |part| (i, part))) {
            let Some(entry) = parse_line(i + 1, line)? else { continue };
            if entries.last().is_some_and(|before| entry.parent <= before.parent) {
                return Err(HistoryError::NotIncreasing { number: i + 1, line: shown(line) });
            }
            entries.push(entry);
        }
        match entries.last() {
            Some(last) if last.parent >= timeline => {
                Err(HistoryError::NotBelowChild { timeline, last: last.parent })
            }
            _ => Ok(Self { timeline, entries }),
        }
    }

    /// The parent: the last line of the file.
    pub fn parent(&self) -> Option<&HistoryEntry> {
        self.entries.last()
    }

    /// The timeline and its ancestors, newest first, the order in which the server goes through them.
    pub fn ancestry(&self) -> Vec<Ancestor> {
        let mut list = Vec::with_capacity(self.entries.len() + 1);
        let mut begin = Lsn::INVALID;
        for entry in &self.entries {
            // The server takes a zero switch point for "no end", as it does for the newest timeline.
            let end = if entry.switch == Lsn::INVALID { Lsn::MAX } else { entry.switch };
            list.push(Ancestor { timeline: entry.parent, begin, end });
            begin = entry.switch;
        }
        list.push(Ancestor { timeline: self.timeline, begin, end: Lsn::MAX });
        list.reverse();
        list
    }

    /// The path to the timeline, oldest ancestor first, itself last.
    pub fn path(&self) -> Vec<TimelineId> {
        self.entries.iter().map(|entry| entry.parent).chain([self.timeline]).collect()
    }

    /// The timeline that owns the byte at `lsn`: the newest whose range holds it (`tliOfPointInHistory`).
    pub fn owner(&self, lsn: Lsn) -> TimelineId {
        let mut end = Lsn::MAX;
        // Newest first without a list: a line's switch point begins the range of the timeline after it.
        let mut timeline = self.timeline;
        for entry in self.entries.iter().rev() {
            if (Ancestor { timeline, begin: entry.switch, end }).contains(lsn) {
                return timeline;
            }
            timeline = entry.parent;
            end = if entry.switch == Lsn::INVALID { Lsn::MAX } else { entry.switch };
        }
        timeline
    }

    /// Whether `timeline` is this one or an ancestor (`tliInHistory`).
    pub fn contains(&self, timeline: TimelineId) -> bool {
        self.timeline == timeline || self.entries.iter().any(|entry| entry.parent == timeline)
    }

    /// Where `timeline` was left and for which timeline; `None` for the newest (it is not left) and for one that
    /// is not in the history (`tliSwitchPoint`).
    pub fn switch_point(&self, timeline: TimelineId) -> Option<(Lsn, TimelineId)> {
        let at = self.entries.iter().position(|entry| entry.parent == timeline)?;
        let next = self.entries.get(at + 1).map_or(self.timeline, |entry| entry.parent);
        self.entries.get(at).map(|entry| (entry.switch, next))
    }
}

/// Reads one line as the server's `sscanf(fline, "%u\t%X/%X", …)` does; `None` for a blank line or a comment.
fn parse_line(number: usize, line: &[u8]) -> Result<Option<HistoryEntry>, HistoryError> {
    // A C string ends at its first zero byte.
    let text = line.split(|b| *b == 0).next().unwrap_or_default();
    let mut scanf = Scanf::new(text);
    scanf.skip_space();
    if scanf.rest().is_empty() || scanf.rest().starts_with(b"#") {
        return Ok(None);
    }
    let Some(parent) = scanf.unsigned(scan::DECIMAL) else {
        return Err(HistoryError::NoTimeline { number, line: shown(line) });
    };
    let high = scanf.unsigned(scan::HEXADECIMAL);
    let low = high.and_then(|_| scanf.literal(b'/').then(|| scanf.unsigned(scan::HEXADECIMAL))?);
    let (Some(high), Some(low)) = (high, low) else {
        return Err(HistoryError::NoSwitchPoint { number, line: shown(line) });
    };
    Ok(Some(HistoryEntry {
        parent: TimelineId(parent),
        switch: Lsn(u64::from(high) << 32 | u64::from(low)),
        reason: shown(scanf.rest()),
    }))
}

/// A piece of the file for people: without the white space around it.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii()).into_owned()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
