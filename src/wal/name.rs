//! The names of the files in a WAL archive.
//!
//! ```text
//! TTTTTTTTHHHHHHHHLLLLLLLL                   segment: timeline, segno / N, segno % N, with N segments per 4 GiB
//! TTTTTTTTHHHHHHHHLLLLLLLL.partial           segment in progress at a promotion or in pg_receivewal
//! TTTTTTTTHHHHHHHHLLLLLLLL.OOOOOOOO.backup   backup history; O is the start position within the segment
//! TTTTTTTT.history                           timeline history
//! ```
//!
//! PostgreSQL: `src/include/access/xlog_internal.h` (`XLogFileName`, `IsXLogFileName`,
//! `IsPartialXLogFileName`, `IsTLHistoryFileName`, `IsBackupHistoryFileName`), 9.5 to 19.
//! Digits are upper case: PostgreSQL's own tools do not take a lower-case name for a segment.

use super::lsn::{Lsn, SegmentNumber, SegmentSize, TimelineId};
use std::fmt;

/// The 24 hexadecimal digits of a segment's name.
///
/// What position it stands for depends on the segment size, which the name does not tell; the order of names
/// within a timeline is the order of positions whatever the size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// First part: the timeline.
    pub timeline: TimelineId,
    /// Second part: segment number divided by segments per 4 GiB.
    pub log: u32,
    /// Third part: the rest of that division.
    pub segment: u32,
}

impl SegmentName {
    /// The name of segment `number` on `timeline`.
    pub const fn new(timeline: TimelineId, number: SegmentNumber, size: SegmentSize) -> Self {
        let per_log = size.per_log();
        #[expect(clippy::cast_possible_truncation, reason = "PostgreSQL prints both with %08X")]
        Self { timeline, log: (number.0 / per_log) as u32, segment: (number.0 % per_log) as u32 }
    }

    /// Which segment the name means where segments are of `size`; `None` if no segment of that size has it.
    pub const fn number(self, size: SegmentSize) -> Option<SegmentNumber> {
        if self.segment as u64 >= size.per_log() {
            return None;
        }
        Some(SegmentNumber(self.log as u64 * size.per_log() + self.segment as u64))
    }

    /// Where the segment begins if segments are of `size`.
    pub const fn start(self, size: SegmentSize) -> Option<Lsn> {
        match self.number(size) {
            Some(number) => Some(number.start(size)),
            None => None,
        }
    }

    /// Reads exactly 24 upper-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 24 {
            return None;
        }
        Some(Self {
            timeline: TimelineId(hex8(text.get(..8)?)?),
            log: hex8(text.get(8..16)?)?,
            segment: hex8(text.get(16..)?)?,
        })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline.0, self.log, self.segment)
    }
}

impl fmt::Debug for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a file in an archive is, by its name (without any compression suffix).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WalFileName {
    /// A segment.
    Segment(SegmentName),
    /// A segment that was not complete when it was put here. Recovery never asks for it.
    Partial(SegmentName),
    /// A backup history file: the segment with the backup's start, and the start's offset in it.
    Backup(SegmentName, u32),
    /// A timeline history file. Timeline 1 has none.
    History(TimelineId),
}

impl WalFileName {
    /// Reads a file name as PostgreSQL's tools do.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_suffix(".history") {
            return hex8(id).map(|id| Self::History(TimelineId(id)));
        }
        if let Some(rest) = text.strip_suffix(".partial") {
            return SegmentName::parse(rest).map(Self::Partial);
        }
        if let Some(rest) = text.strip_suffix(".backup") {
            let (segment, offset) = rest.split_once('.')?;
            return Some(Self::Backup(SegmentName::parse(segment)?, hex8(offset)?));
        }
        SegmentName::parse(text).map(Self::Segment)
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "{name}"),
            Self::Partial(name) => write!(f, "{name}.partial"),
            Self::Backup(name, offset) => write!(f, "{name}.{offset:08X}.backup"),
            Self::History(timeline) => write!(f, "{:08X}.history", timeline.0),
        }
    }
}

/// Exactly eight upper-case hexadecimal digits.
fn hex8(text: &str) -> Option<u32> {
    let upper_hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    (text.len() == 8 && text.bytes().all(upper_hex)).then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_prints_as_it_was_read() {
        for text in [
            "00000001000000000000000A",
            "0000000A000000FF000000FE.partial",
            "000000010000000000000006.00000028.backup",
            "0000001F.history",
        ] {
            assert_eq!(WalFileName::parse(text).map(|n| n.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_postgres_does_not_take_for_a_name_is_none() {
        for text in [
            "",
            "history",
            ".history",
            "0000001f.history",
            "00000001000000000000000a",
            "00000001000000000000000",
            "0000000100000000000000011",
            "000000010000000000000006.28.backup",
            "000000010000000000000001.part",
            "000000010000000000000001.partial.partial",
            "é0000001000000000000001",
            "+0000001.history",
        ] {
            assert_eq!(WalFileName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_same_name_is_another_position_at_another_size() {
        let name = SegmentName { timeline: TimelineId(1), log: 1, segment: 2 };
        for size in [SegmentSize::MIN, SegmentSize::DEFAULT, SegmentSize::MAX] {
            let number = name.number(size);
            assert_eq!(number, Some(SegmentNumber(size.per_log() + 2)));
            assert_eq!(number.map(|n| SegmentName::new(name.timeline, n, size)), Some(name));
        }
        let beyond = SegmentName { segment: 0x100, ..name };
        assert_eq!(beyond.number(SegmentSize::DEFAULT), None);
    }
}
