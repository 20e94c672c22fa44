//! What one scan of one file yields.

use super::activity::Activities;
use super::catalog_rows::Sighting;
use super::events::Events;
use super::identify::Identity;
use super::stats::{Times, Transactions};
use super::store::in_summary;
use crate::wal::walk::{Ending, Walked};
use crate::wal::{Lsn, SegmentName};

/// What is wrong with a file as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileFault {
    /// It has no bytes at all.
    Empty,
    /// It is shorter than a segment.
    Truncated {
        /// Bytes that a segment has.
        expected: u64,
    },
    /// It is longer than a segment; what is behind the segment's end was not read.
    TooLong {
        /// Bytes that a segment has.
        expected: u64,
    },
    /// No page in it has the magic of a known version.
    NotWal {
        /// The first two bytes, as a page magic.
        magic: u16,
    },
    /// Every byte is zero.
    Zero,
    /// Its bytes were obtained and cannot be decoded.
    Undecodable {
        /// What the decoder said.
        detail: String,
    },
    /// Its bytes could not be obtained, and nothing is known of them.
    Unread {
        /// Why.
        detail: String,
    },
}

/// The facts of one file: all that anybody will ask of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    /// Its name.
    pub name: SegmentName,
    /// It is called `.partial`.
    pub partial: bool,
    /// Where it is kept, for messages.
    pub path: String,
    /// What kind of WAL it is; `None` if it is none.
    pub identity: Option<Identity>,
    /// What is wrong with it as a whole.
    pub fault: Option<FileFault>,
    /// Bytes of WAL in it, decompressed.
    pub bytes: u64,
    /// Where a segment of this name begins.
    pub start: Lsn,
    /// What the walk found.
    pub walked: Walked,
    /// Transactions of each run in `walked.runs`.
    pub transactions: Vec<Transactions>,
    /// Events, in LSN order.
    pub events: Events,
    /// What transactions did to rows and files, where events were asked for.
    pub activity: Activities,
    /// What is seen of the catalogs that hold names, where events were asked for.
    pub sightings: Vec<Sighting>,
    /// Start and end of each record, where that was asked for.
    pub records: Vec<(Lsn, Lsn)>,
    /// CRC-32C over the bytes from the segment's start to a position that was asked for.
    pub digests: Vec<(Lsn, u32)>,
}

impl SegmentFacts {
    /// Where the segment of this name ends.
    pub fn end(&self) -> Lsn {
        self.identity.map_or(self.start, |identity| self.start.plus(identity.format.segment_size.bytes()))
    }

    /// Whether both files hold the same WAL, as far as digests of all of it were asked for.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.digests.last() == other.digests.last() && self.fault == other.fault
    }

    /// What a scan that only counts transactions finds.
    #[must_use]
    pub fn summary(&self) -> Self {
        Self {
            name: self.name,
            partial: self.partial,
            path: self.path.clone(),
            identity: self.identity,
            fault: self.fault.clone(),
            bytes: self.bytes,
            start: self.start,
            walked: self.walked.clone(),
            transactions: self.transactions.clone(),
            events: self.events.others().filter(|event| in_summary(event)).cloned().collect(),
            activity: Activities::default(),
            sightings: Vec::new(),
            records: Vec::new(),
            digests: self.digests.clone(),
        }
    }

    /// The transactions of all its runs.
    pub fn all_transactions(&self) -> Transactions {
        self.transactions.iter().fold(Transactions::default(), |all, of_run| all.then(*of_run))
    }

    /// Whether the ends of transactions of one of its runs have such times.
    pub fn has_end(&self, such: impl Fn(&Times) -> bool) -> bool {
        self.transactions.iter().filter_map(|of_run| of_run.times.as_ref()).any(such)
    }

    /// Its content is an older segment's: the file was recycled and not yet written.
    pub fn is_recycled(&self) -> bool {
        self.walked.runs.is_empty()
            && self.walked.head.is_none()
            && matches!(self.walked.ending, Ending::Stale { from, .. } if from == self.start)
    }

    /// Why a restore command gets nothing out of what is stored: it cannot be unpacked to its end, whatever came out
    /// of it first.
    pub fn undecodable(&self) -> Option<&str> {
        match &self.fault {
            Some(FileFault::Undecodable { detail }) => Some(detail),
            _ => None,
        }
    }

    /// It is no file that a server keeps for later use.
    pub fn holds_wal(&self) -> bool {
        !self.is_zero() && !self.is_recycled()
    }

    /// It holds nothing but zeros.
    pub fn is_zero(&self) -> bool {
        self.fault == Some(FileFault::Zero)
    }
}
