//! The numbers that place WAL: positions, segments, timelines, transactions, clusters.
//!
//! Each is a newtype, because a timeline and a transaction id are both 32-bit numbers that PostgreSQL
//! prints in the same log lines, and swapping them compiles.
//!
//! PostgreSQL: `src/include/access/xlogdefs.h`, `src/include/access/xlog_internal.h`
//! (`XLByteToSeg`, `XLByteToPrevSeg`, `IsValidWalSegSize`), 9.5 to 19.

use std::fmt;
use std::str::FromStr;

/// Records start on multiples of this many bytes (`MAXIMUM_ALIGNOF` on 64-bit platforms).
pub const RECORD_ALIGNMENT: u64 = 8;

/// A position in the WAL stream, in bytes since its beginning (`XLogRecPtr`).
///
/// Prints as `%X/%X`, the form of servers up to 18, and reads that form with or without zero padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// `InvalidXLogRecPtr`: no WAL position is zero, the first segment ever written is number 1.
    pub const INVALID: Self = Self(0);
    /// Larger than every real position.
    pub const MAX: Self = Self(u64::MAX);

    /// The position `bytes` further on, or `Lsn::MAX` where that does not exist.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to here; zero where `earlier` is later.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Rounded up to the next record boundary (`MAXALIGN`).
    #[must_use]
    pub const fn aligned(self) -> Self {
        Self(self.0.saturating_add(RECORD_ALIGNMENT - 1) & !(RECORD_ALIGNMENT - 1))
    }

    /// The segment that holds the byte at this position (`XLByteToSeg`).
    pub const fn segment(self, size: SegmentSize) -> SegmentNumber {
        SegmentNumber(self.0 / size.bytes())
    }

    /// The segment that holds the byte before this position, for ends (`XLByteToPrevSeg`).
    pub const fn segment_of_end(self, size: SegmentSize) -> SegmentNumber {
        SegmentNumber(self.0.saturating_sub(1) / size.bytes())
    }

    /// Bytes between the start of the segment and this position.
    pub const fn offset_in_segment(self, size: SegmentSize) -> u64 {
        self.0 & (size.bytes() - 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not an LSN: two hexadecimal numbers of one to eight digits with a slash between.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a WAL position: expected two hexadecimal numbers with a slash, like 16/B374D848")]
pub struct ParseLsnError(pub String);

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| -> Option<u64> {
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            (hex && (1..=8).contains(&digits.len())).then(|| u64::from_str_radix(digits, 16).ok())?
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError(text.to_owned()))
    }
}

/// The size of a WAL segment in bytes: a power of two from 1 MiB to 1 GiB (`IsValidWalSegSize`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// What `initdb` takes when nothing is said.
    pub const DEFAULT: Self = Self(16 << 20);
    /// The smallest that a server accepts.
    pub const MIN: Self = Self(1 << 20);
    /// The largest that a server accepts.
    pub const MAX: Self = Self(1 << 30);

    /// The size, if `bytes` is one that a server could have been made with.
    pub const fn new(bytes: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the guard keeps it within 2^30")]
        if bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30 {
            Some(Self(bytes as u32))
        } else {
            None
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// Segments in each 4 GiB of WAL (`XLogSegmentsPerXLogId`): what the third part of a name counts up to.
    pub const fn per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", self.0 >> 20)
    }
}

/// The number of a segment in the WAL stream (`XLogSegNo`): position divided by segment size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    /// Where the segment begins.
    pub const fn start(self, size: SegmentSize) -> Lsn {
        Lsn(self.0.saturating_mul(size.bytes()))
    }

    /// Where the segment ends, which is where the next one begins.
    pub const fn end(self, size: SegmentSize) -> Lsn {
        self.next().start(size)
    }

    /// The segment after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A timeline (`TimeLineID`). File names hold it in hexadecimal, history files in decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A 32-bit transaction id (`TransactionId`), as records and `recovery_target_xid` hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Xid(pub u32);

impl Xid {
    /// `InvalidTransactionId`: the record belongs to no transaction.
    pub const INVALID: Self = Self(0);
    /// `FirstNormalTransactionId`: those below never end.
    pub const FIRST_NORMAL: Self = Self(3);
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A 64-bit transaction id (`FullTransactionId`): epoch in the high half, [`Xid`] in the low one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FullXid(pub u64);

impl FullXid {
    /// The id of `xid` as it stood when `next` was the next id to be given: the largest not above it.
    pub const fn from_next(next: Self, xid: Xid) -> Self {
        let epoch = next.0 >> 32;
        let same_epoch = epoch << 32 | xid.0 as u64;
        if same_epoch <= next.0 || epoch == 0 { Self(same_epoch) } else { Self(same_epoch - (1 << 32)) }
    }
}

/// The identity of a cluster (`xlp_sysid`), drawn at initdb. Its high 32 bits are the Unix time of that moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_reads_what_it_prints_and_the_padded_form() {
        for (text, value) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)] {
            assert_eq!(text.parse(), Ok(Lsn(value)));
            assert_eq!(Lsn(value).to_string(), text);
        }
        assert_eq!("0/0155C148".parse(), Ok(Lsn(0x155_C148)));
        for bad in ["", "/", "1", "1/", "/1", "G/0", "0/123456789", "+1/0", "0/ 1", "0x1/0"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_end_on_a_boundary_belongs_to_the_segment_before() {
        let size = SegmentSize::MIN;
        let boundary = SegmentNumber(5).start(size);
        assert_eq!(boundary.segment(size), SegmentNumber(5));
        assert_eq!(boundary.segment_of_end(size), SegmentNumber(4));
    }

    #[test]
    fn segment_sizes_are_powers_of_two_within_the_servers_range() {
        assert!(SegmentSize::new(1 << 20).is_some() && SegmentSize::new(1 << 30).is_some());
        for bad in [0, 1 << 19, 3 << 20, 1 << 31, u64::MAX] {
            assert_eq!(SegmentSize::new(bad), None);
        }
    }

    #[test]
    fn full_xid_borrows_from_the_epoch_for_ids_above_the_next() {
        let next = FullXid(3 << 32 | 100);
        assert_eq!(FullXid::from_next(next, Xid(99)), FullXid(3 << 32 | 99));
        assert_eq!(FullXid::from_next(next, Xid(4_000_000_000)), FullXid(2 << 32 | 4_000_000_000));
    }
}
