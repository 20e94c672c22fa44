//! What can be wrong with bytes, in the order and the words of the server.
//!
//! A [`Fault`] is small, carries numbers only and knows no place: where it was found is added by whoever
//! walks the segment.
//!
//! PostgreSQL: `XLogReaderValidatePageHeader`, `ValidXLogRecordHeader`, `ValidXLogRecord`, `DecodeXLogRecord`
//! in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::lsn::{Lsn, TimelineId};

/// One thing that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// `xlp_magic` is not the version's.
    PageMagic {
        /// As the rest of the segment has it.
        expected: u16,
        /// As stored.
        found: u16,
    },
    /// A flag that the version does not have, or one where it cannot be.
    PageFlags {
        /// As stored.
        found: u16,
    },
    /// Flags and `xlp_rem_len` contradict each other. The server does not check this.
    PageRemaining {
        /// `xlp_info`.
        flags: u16,
        /// `xlp_rem_len`.
        found: u32,
    },
    /// `xlp_seg_size` is not what the segment has.
    PageSegmentSize {
        /// Bytes.
        expected: u32,
        /// Bytes, as stored.
        found: u32,
    },
    /// `xlp_xlog_blcksz` is not what the segment has.
    PageBlockSize {
        /// Bytes.
        expected: u32,
        /// Bytes, as stored.
        found: u32,
    },
    /// `xlp_pageaddr` is not where the page is.
    PageAddress {
        /// Where the page is.
        expected: Lsn,
        /// As stored.
        found: Lsn,
    },
    /// `xlp_tli` is not the timeline that owns the page.
    PageTimeline {
        /// The owner by the history.
        expected: TimelineId,
        /// As stored.
        found: TimelineId,
    },
    /// `xl_tot_len` is smaller than a header or larger than any record.
    RecordLength {
        /// As stored.
        found: u32,
    },
    /// `xl_tot_len` reaches beyond the end of the WAL, and the checksum fits another length. The server takes this
    /// for the end of the WAL.
    LengthAgainstChecksum {
        /// The length that the checksum fits.
        expected: u32,
        /// As stored.
        found: u32,
    },
    /// `xl_rmid` names no resource manager of the version.
    ResourceManager {
        /// As stored.
        found: u8,
    },
    /// `xl_prev` is not the start of the record before.
    PrevLink {
        /// Start of the record before; [`Lsn::INVALID`] where only "before this record" is known.
        expected: Lsn,
        /// As stored.
        found: Lsn,
    },
    /// The page after the record's first part does not say that it continues a record.
    NoContinuation,
    /// A page says that it continues a record where none is open.
    UnexpectedContinuation {
        /// `xlp_rem_len`.
        found: u32,
    },
    /// `xlp_rem_len` is not what is left of the record.
    ContinuationLength {
        /// What is left.
        expected: u32,
        /// As stored.
        found: u32,
    },
    /// `xlp_rem_len` does not lead to the next record.
    ContinuationEnd {
        /// Where the next record starts.
        next: Lsn,
        /// As stored.
        found: u32,
    },
    /// The page has the overwrite flag, but its first record is not the one that belongs there.
    OverwriteMismatch {
        /// Start of the record that was dropped.
        expected: Lsn,
        /// What the first record names; [`Lsn::INVALID`] if it is another record altogether.
        found: Lsn,
    },
    /// The checksum of the record is wrong.
    Crc {
        /// Computed over the bytes.
        expected: u32,
        /// `xl_crc`.
        found: u32,
    },
    /// Block ids do not increase.
    BlockOrder {
        /// The id out of order.
        found: u8,
    },
    /// A block id that no version has.
    BlockId {
        /// As stored.
        found: u8,
    },
    /// The flag for block data contradicts its length.
    BlockData {
        /// `BKPBLOCK_HAS_DATA`.
        flagged: bool,
        /// Bytes announced.
        length: u16,
    },
    /// The first block reference says "same relation as before".
    BlockSameRelation,
    /// Hole and length of a page image do not fit together.
    Image {
        /// Where the hole begins.
        hole_offset: u16,
        /// Its length.
        hole_length: u16,
        /// Bytes of the image.
        length: u16,
    },
    /// The announced parts do not add up to the record's length.
    BodyLength,
    /// The WAL of a segment ends before the segment does, and yet there is a next one.
    EndsEarly {
        /// The first page behind the end is left over from this position; [`Lsn::INVALID`] if it is zero.
        stale: Lsn,
    },
}

const _: () = assert!(size_of::<Fault>() <= 24);

impl Fault {
    /// The clause in which the server (16 to 18) reports it, without the place.
    pub fn message(self) -> String {
        match self {
            Self::PageMagic { found, .. } => format!("invalid magic number {found:04X}"),
            Self::PageFlags { found } => format!("invalid info bits {found:04X}"),
            Self::PageRemaining { flags, found } => {
                format!("info bits {flags:04X} contradict a remaining length of {found}")
            }
            Self::PageSegmentSize { .. } => {
                "WAL file is from different database system: incorrect segment size in page header".to_owned()
            }
            Self::PageBlockSize { .. } => {
                "WAL file is from different database system: incorrect XLOG_BLCKSZ in page header".to_owned()
            }
            Self::PageAddress { found, .. } => format!("unexpected pageaddr {found}"),
            Self::PageTimeline { found, .. } => format!("unexpected timeline ID {found}"),
            Self::RecordLength { found } => {
                format!("invalid record length: expected at least 24, got {found}")
            }
            Self::LengthAgainstChecksum { expected, found } => {
                format!("invalid record length: expected {expected} by the record's checksum, got {found}")
            }
            Self::ResourceManager { found } => format!("invalid resource manager ID {found}"),
            Self::PrevLink { found, .. } => format!("record with incorrect prev-link {found}"),
            Self::NoContinuation => "there is no contrecord flag".to_owned(),
            Self::UnexpectedContinuation { .. } => "contrecord where a record start is due".to_owned(),
            Self::ContinuationLength { expected, found } => {
                format!("invalid contrecord length {found} (expected {expected})")
            }
            Self::ContinuationEnd { next, found } => {
                format!("invalid contrecord length {found}: the next record starts at {next}")
            }
            Self::OverwriteMismatch { expected: Lsn::INVALID, found: Lsn::INVALID } => {
                "page claims to overwrite an unfinished record, but its first record does not".to_owned()
            }
            Self::OverwriteMismatch { expected, found } => {
                format!("mismatching overwritten LSN {found} -> {expected}")
            }
            Self::Crc { .. } => "incorrect resource manager data checksum in record".to_owned(),
            Self::BlockOrder { found } => format!("out-of-order block_id {found}"),
            Self::BlockId { found } => format!("invalid block_id {found}"),
            Self::BlockData { flagged: true, .. } => "BKPBLOCK_HAS_DATA set, but no data included".to_owned(),
            Self::BlockData { flagged: false, length } => {
                format!("BKPBLOCK_HAS_DATA not set, but data length is {length}")
            }
            Self::BlockSameRelation => "BKPBLOCK_SAME_REL set but no previous rel".to_owned(),
            Self::Image { hole_offset, hole_length, length } => format!(
                "page image with hole offset {hole_offset} length {hole_length} block image length {length}"
            ),
            Self::BodyLength => "record with invalid length".to_owned(),
            Self::EndsEarly { .. } => "invalid record length: expected at least 24, got 0".to_owned(),
        }
    }

    /// What should stand there, where that can be said.
    pub fn expected(self) -> Option<String> {
        Some(match self {
            Self::PageMagic { expected, .. } => format!("{expected:04X}"),
            Self::PageSegmentSize { expected, .. }
            | Self::PageBlockSize { expected, .. }
            | Self::LengthAgainstChecksum { expected, .. }
            | Self::ContinuationLength { expected, .. } => expected.to_string(),
            Self::PageAddress { expected, .. } => expected.to_string(),
            Self::PageTimeline { expected, .. } => expected.to_string(),
            Self::PrevLink { expected: Lsn::INVALID, .. } => "a position before the record".to_owned(),
            Self::OverwriteMismatch { expected: Lsn::INVALID, .. } => "no overwrite flag".to_owned(),
            Self::PrevLink { expected, .. } | Self::OverwriteMismatch { expected, .. } => {
                expected.to_string()
            }
            Self::Crc { expected, .. } => format!("{expected:08X}"),
            Self::RecordLength { .. } => "24 to 1069547520".to_owned(),
            Self::UnexpectedContinuation { .. } => "the start of a record".to_owned(),
            Self::NoContinuation => "the rest of the record".to_owned(),
            Self::ContinuationEnd { next, .. } => format!("a length that leads to {next}"),
            Self::PageRemaining { flags, .. } if flags & 1 == 0 => "0".to_owned(),
            Self::PageRemaining { .. } => "more than 0".to_owned(),
            Self::EndsEarly { .. } => "records up to the segment's end".to_owned(),
            _ => return None,
        })
    }

    /// What stands there.
    pub fn found(self) -> Option<String> {
        Some(match self {
            Self::PageMagic { found, .. } | Self::PageFlags { found } => format!("{found:04X}"),
            Self::PageRemaining { found, .. }
            | Self::PageSegmentSize { found, .. }
            | Self::PageBlockSize { found, .. }
            | Self::RecordLength { found }
            | Self::LengthAgainstChecksum { found, .. }
            | Self::UnexpectedContinuation { found }
            | Self::ContinuationEnd { found, .. }
            | Self::ContinuationLength { found, .. } => found.to_string(),
            Self::PageAddress { found, .. } | Self::PrevLink { found, .. } => found.to_string(),
            Self::OverwriteMismatch { found, .. } if found == Lsn::INVALID => "another record".to_owned(),
            Self::OverwriteMismatch { found, .. } => found.to_string(),
            Self::PageTimeline { found, .. } => found.to_string(),
            Self::ResourceManager { found } | Self::BlockOrder { found } | Self::BlockId { found } => {
                found.to_string()
            }
            Self::Crc { found, .. } => format!("{found:08X}"),
            Self::BlockData { length, .. } => length.to_string(),
            Self::Image { length, .. } => length.to_string(),
            Self::NoContinuation => "a page that continues nothing".to_owned(),
            Self::EndsEarly { stale: Lsn::INVALID } => "zeros".to_owned(),
            Self::EndsEarly { stale } => format!("a page left over from {stale}"),
            Self::BlockSameRelation | Self::BodyLength => return None,
        })
    }
}
