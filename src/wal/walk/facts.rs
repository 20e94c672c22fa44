//! What a walk is told, what it hands out, and what it finds.

use super::gathered::aligned;
use crate::wal::fault::Fault;
use crate::wal::lsn::{Lsn, SegmentSize, TimelineId};
use crate::wal::owners::Owners;
use crate::wal::record::{HEADER_BYTES, ID_DATA_SHORT, Layout, RecordHeader, ResourceManager};
use crate::wal::version::Major;

/// Bytes kept of a record that the sink wants whole. A commit of 4 million subtransactions is within it.
pub const WHOLE_CAPTURE_BYTES: usize = 16 << 20;

/// Bytes kept of the rest of a record that began in an earlier segment: what record it is is not known here.
pub const HEAD_CAPTURE_BYTES: usize = 4 << 20;

/// How a segment is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// The version, by the magic of most pages.
    pub major: Major,
    /// `xlp_magic` as most pages have it.
    pub magic: u16,
    /// Bytes in a page.
    pub page_bytes: usize,
    /// Bytes in a segment.
    pub segment_size: SegmentSize,
}

/// What is known of a segment before it is walked.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How it is written.
    pub format: Format,
    /// Where it begins.
    pub start: Lsn,
    /// The timeline in its name.
    pub timeline: TimelineId,
    /// Which timeline owns which part of the WAL, by the history of that timeline.
    pub owners: Owners,
}

/// How much of a record that crosses pages a sink wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// Its fragment headers are enough.
    Headers,
    /// All of it, within [`WHOLE_CAPTURE_BYTES`].
    Whole,
}

/// A verified record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where it ends, rounded up to the next record boundary; the segment's end after a switch.
    pub end: Lsn,
    /// The timeline that owns it.
    pub owner: TimelineId,
    /// Its header.
    pub header: RecordHeader,
    /// Where the parts of the body lie.
    pub layout: Layout,
    /// What follows the header; less than the whole if [`Self::is_whole`] says so.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Whether `body` has every byte of the record.
    pub fn is_whole(&self) -> bool {
        self.body.len() + HEADER_BYTES == self.header.total_length() as usize
    }

    /// The main data, as far as it is in `body`.
    #[inline(always)]
    pub fn main(&self) -> &'a [u8] {
        let start = self.layout.main as usize;
        let end = start.saturating_add(self.layout.main_length as usize).min(self.body.len());
        self.body.get(start..end).unwrap_or_default()
    }
}

/// A verified record whose body has not been taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse<'a> {
    /// Start of the record.
    pub lsn: Lsn,
    /// The timeline that owns it.
    pub owner: TimelineId,
    /// Its header.
    pub header: RecordHeader,
    /// All that follows the header.
    pub body: &'a [u8],
}

impl<'a> Glimpse<'a> {
    /// End of the record: where the next one begins, but for the header of a page.
    #[inline(always)]
    pub const fn end(&self) -> Lsn {
        self.lsn.plus(aligned(HEADER_BYTES + self.body.len()) as u64)
    }

    /// The main data of a record that has nothing else, as most ends of transactions; `None` of any other.
    #[inline(always)]
    pub fn bare_main(&self) -> Option<&'a [u8]> {
        match self.body {
            [ID_DATA_SHORT, _, main @ ..] => Some(main),
            _ => None,
        }
    }
}

/// A set of resource managers. Custom ones (from 128 on) are in it together or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Managers(u64);

impl Managers {
    /// Every one.
    pub const ALL: Self = Self(u64::MAX);

    /// Those of `managers`.
    pub const fn of(managers: &[ResourceManager]) -> Self {
        Self(0).with(managers)
    }

    /// These and those of `managers`.
    #[must_use]
    pub const fn with(mut self, managers: &[ResourceManager]) -> Self {
        let mut index = 0;
        while index < managers.len() {
            self.0 |= Self::bit(managers[index]);
            index += 1;
        }
        self
    }

    /// Whether `manager` is one of them.
    #[inline(always)]
    pub const fn has(self, manager: ResourceManager) -> bool {
        self.0 & Self::bit(manager) != 0
    }

    const fn bit(manager: ResourceManager) -> u64 {
        if manager.0 < 63 { 1 << manager.0 } else { 1 << 63 }
    }
}

/// Takes the records of a walk.
pub trait Sink {
    /// How much of this record is needed, should it cross pages.
    fn capture(&self, header: &RecordHeader, body: &[u8]) -> Capture;
    /// Whose records it wants to hear of. It may hear of others too.
    fn managers(&self) -> Managers {
        Managers::ALL
    }
    /// A verified record of one of [`Self::managers`], before it is taken apart: whether [`Self::record`] has to hear of
    /// it. It may hear of others without this.
    fn wants(&mut self, glimpse: &Glimpse<'_>) -> bool {
        let _ = glimpse;
        true
    }
    /// A verified record, in the order of the WAL.
    fn record(&mut self, record: &Record<'_>);
    /// A new run begins: the record that comes next does not follow the one before (or has another owner).
    fn run(&mut self, index: usize);
}

/// Records that follow one another without a break, all owned by one timeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Who owns it.
    pub owner: TimelineId,
    /// Start of its first record.
    pub first: Lsn,
    /// `xl_prev` of its first record.
    pub prev_of_first: Lsn,
    /// Start of its last record.
    pub last: Lsn,
    /// End of its last record.
    pub end: Lsn,
    /// How many records.
    pub records: u64,
    /// It follows the run before without a break, only the owner changed; or, for the first run of a segment, it
    /// begins where the first record of the segment is due.
    pub continues: bool,
}

/// Bytes at the start of a segment that belong to a record begun earlier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// `xlp_rem_len` of the first page: bytes of the record that are still to come there.
    pub declared: u32,
    /// How many of them are in this segment.
    pub have: u32,
    /// CRC-32C state over these bytes, begun at zero, so that it can be combined with the state before.
    pub crc: u32,
    /// The first of these bytes, at most [`HEAD_CAPTURE_BYTES`].
    pub captured: Vec<u8>,
    /// How it goes on.
    pub end: HeadEnd,
}

/// How a leading fragment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadEnd {
    /// With the record: here is the position after it, rounded up.
    Complete(Lsn),
    /// It goes on in the next segment.
    Open,
    /// Damage cut it off; a wound says what.
    Broken,
}

/// Bytes at the end of a segment that begin a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Where the record starts.
    pub start: Lsn,
    /// `xl_tot_len`.
    pub total: u32,
    /// How many of its bytes are here.
    pub have: u32,
    /// CRC-32C state over those of them that follow the header.
    pub crc: u32,
    /// The first of its bytes.
    pub captured: Vec<u8>,
    /// Start of the record before it, where the walk knows.
    pub prev: Option<Lsn>,
}

/// How the WAL of a segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ending {
    /// At the segment's end.
    #[default]
    Full,
    /// With a switch record: the rest of the segment is padding.
    Switch {
        /// Where the switch record starts.
        at: Lsn,
    },
    /// Zeros follow.
    Zero {
        /// Where the next record was due.
        from: Lsn,
    },
    /// What follows is left over from an older use of the file.
    Stale {
        /// Where the next record was due.
        from: Lsn,
        /// `xlp_pageaddr` of the first such page.
        found: Lsn,
    },
    /// The bytes end before the segment does.
    Cut {
        /// First byte that is missing.
        at: Lsn,
    },
}

/// One thing that is wrong, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wound {
    /// What.
    pub fault: Fault,
    /// Start of the record, or of the page where it is the page.
    pub lsn: Lsn,
    /// Byte in the segment.
    pub offset: u64,
    /// What it may be a consequence of.
    pub context: Context,
}

/// Where a wound lies with respect to the fragment that a segment begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Context {
    /// Elsewhere.
    #[default]
    Elsewhere,
    /// It cuts that fragment off: the record that it belongs to started in an earlier segment.
    OfHead,
    /// It is the first record behind the fragment: a consequence, if [`Head::declared`] is wrong.
    BehindHead,
}

/// A record that was never finished, and where the server wrote over its rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overwrite {
    /// Start of the record that was dropped, as the overwriting record tells it.
    pub dropped: Lsn,
    /// Start of the overwriting record.
    pub at: Lsn,
}

/// What a walk found in one segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walked {
    /// The fragment that the segment begins with.
    pub head: Option<Head>,
    /// The segment's first page says that the record before it was dropped.
    pub starts_with_overwrite: bool,
    /// Unbroken runs of records.
    pub runs: Vec<Run>,
    /// The fragment that the segment ends with.
    pub tail: Option<Tail>,
    /// How the WAL ends.
    pub ending: Ending,
    /// What was found where the ending was assumed: true only if WAL follows after all.
    pub wound_at_end: Option<Wound>,
    /// What is wrong, in order.
    pub wounds: Vec<Wound>,
    /// Wounds beyond [`MAX_WOUNDS`](super::MAX_WOUNDS).
    pub wounds_not_kept: u64,
    /// Dropped records.
    pub overwrites: Vec<Overwrite>,
    /// Offset of the first padding byte that is not zero, and how many there are.
    pub dirty_padding: Option<(u64, u64)>,
    /// Bytes walked.
    pub bytes: u64,
    /// No damage lies between the last run (or the segment's start, if there is none) and the ending.
    pub ends_unbroken: bool,
}
