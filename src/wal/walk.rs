//! From pages to records: one pass over one segment, in pieces of any size.
//!
//! [`Walk`] is fed the bytes of a segment in order. It checks each page header and each record as the server
//! does, in the server's order, hands every verified record to a [`Sink`], and keeps what a neighbour needs to
//! join with it: the fragment of a record that began earlier ([`Head`]), the unbroken runs of records
//! ([`Run`]), and the fragment of a record that ends later ([`Tail`]).
//!
//! After damage it goes on: behind a record whose checksum is wrong, if the next one proves that the length was
//! right; else at the next page that starts a record. What is wrong because something before it was wrong is
//! not reported again: one wound is one [`Wound`].
//!
//! Nothing is allocated per record: a record on one page is read in place, one that crosses pages is gathered
//! in a buffer that is used again.
//!
//! PostgreSQL: `XLogReadRecord`, `XLogReaderValidatePageHeader`, `ValidXLogRecord` in
//! `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::crc::{self, Crc32c};
use super::fault::Fault;
use super::lsn::{Lsn, SegmentSize, TimelineId};
use super::owners::Owners;
use super::page::{LONG_HEADER_BYTES, LongHeader, PageFlags, PageHeader, SHORT_HEADER_BYTES};
use super::record::{HEADER_BYTES, Layout, MIN_RECORD_BYTES, RecordHeader, check_body, check_length};
use super::version::Major;

/// Wounds kept for one segment; beyond it only their number is known.
pub const MAX_WOUNDS: usize = 64;
/// Bytes kept of a record that the sink does not ask for: enough for its header and 33 block references.
const HEADERS_CAPTURE_BYTES: usize = 2048;
/// Bytes kept of a record that the sink wants whole. A commit of 4 million subtransactions is within it.
pub const WHOLE_CAPTURE_BYTES: usize = 16 << 20;
/// Bytes kept of the rest of a record that began in an earlier segment: what record it is is not known here.
pub const HEAD_CAPTURE_BYTES: usize = 64 << 10;

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

/// Takes the records of a walk.
pub trait Sink {
    /// How much of this record is needed, should it cross pages.
    fn capture(&self, header: &RecordHeader) -> Capture;
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
    /// Wounds beyond [`MAX_WOUNDS`].
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

/// What the walk is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the first page.
    Start,
    /// A record is due at the next page's first free byte.
    Between,
    /// A record is open, in `partial`.
    Open,
    /// The record that the segment began in the middle of is open, in `head`.
    Head,
    /// After damage: a page that starts a record is looked for.
    Lost,
    /// Behind the last record.
    Ended,
}

/// A walk over one segment.
#[derive(Debug)]
pub struct Walk<S> {
    setup: Setup,
    /// Takes the records.
    pub sink: S,
    state: State,
    /// Where the next page begins.
    at: Lsn,
    /// Bytes of a page that was fed only in part.
    carry: Vec<u8>,
    /// The page before the next one, where a record is open at the end of what was fed.
    page_before: Vec<u8>,
    /// Start of the last record read, good or bad; `INVALID` if nothing is known.
    prev: Lsn,
    /// The last record was bad, so what follows is believed only if it fits.
    suspect: bool,
    /// The next record must extend the last run, not begin a new one.
    unbroken: bool,
    /// The next record is the first after the head.
    behind_head: bool,
    /// The first two pages disagree on how long the head is: what the second one says is left of it.
    head_doubt: Option<u32>,
    /// It is not clear yet whether the head's length is wrong or the record behind it.
    head_unclear: bool,
    /// A page told that its first record overwrites this dropped one.
    overwritten: Option<Lsn>,
    /// Timeline of the last good page.
    last_page_timeline: TimelineId,
    /// Who owns the records now, and where that ends.
    owner: TimelineId,
    owner_until: Lsn,
    partial: Tail,
    out: Walked,
}

impl<S: Sink> Walk<S> {
    /// Begins a walk of the segment that `setup` describes.
    pub fn new(setup: Setup, sink: S) -> Self {
        let (owner, owner_until) = setup.owners.at(setup.start);
        let at = setup.start;
        Self {
            setup,
            sink,
            state: State::Start,
            at,
            carry: Vec::new(),
            page_before: Vec::new(),
            prev: Lsn::INVALID,
            suspect: false,
            unbroken: true,
            behind_head: false,
            head_doubt: None,
            head_unclear: false,
            overwritten: None,
            last_page_timeline: TimelineId(0),
            owner,
            owner_until,
            partial: Tail::empty(),
            out: Walked::default(),
        }
    }

    /// Takes the next bytes.
    #[inline(always)]
    pub fn feed<C: Crc32c>(&mut self, crc: C, mut bytes: &[u8]) {
        let page_bytes = self.setup.format.page_bytes;
        self.out.bytes += bytes.len() as u64;
        if !self.carry.is_empty() {
            let (missing, rest) = bytes.split_at(bytes.len().min(page_bytes - self.carry.len()));
            self.carry.extend_from_slice(missing);
            bytes = rest;
            if self.carry.len() < page_bytes {
                return;
            }
            let page = std::mem::take(&mut self.carry);
            let before = std::mem::take(&mut self.page_before);
            self.page(crc, &page, &before);
            self.carry = before;
            self.carry.clear();
            self.page_before = page;
        }
        let mut pages = bytes.chunks_exact(page_bytes);
        let before = std::mem::take(&mut self.page_before);
        let mut previous = before.as_slice();
        for page in &mut pages {
            self.page(crc, page, previous);
            previous = page;
        }
        let last = (self.state == State::Open).then(|| previous.to_vec());
        self.page_before = last.unwrap_or_default();
        self.carry.extend_from_slice(pages.remainder());
    }

    /// Bytes fed so far.
    pub fn bytes(&self) -> u64 {
        self.out.bytes
    }

    /// Whether every byte of the segment has been fed.
    pub fn is_complete(&self) -> bool {
        self.at >= self.segment_end()
    }

    /// Ends the walk, after the last byte there is.
    pub fn finish(mut self) -> (Walked, S) {
        let cut = !self.is_complete();
        let page_before = std::mem::take(&mut self.page_before);
        self.doubt_open_record(&page_before, self.at);
        match self.state {
            State::Open => self.out.tail = Some(std::mem::replace(&mut self.partial, Tail::empty())),
            State::Head => {
                if let Some(head) = &mut self.out.head {
                    head.end = HeadEnd::Open;
                }
            }
            _ => {}
        }
        self.out.ends_unbroken = self.unbroken && !self.suspect;
        if cut && !matches!(self.state, State::Ended) {
            self.out.ending = Ending::Cut { at: self.at.plus(self.carry.len() as u64) };
        }
        (self.out, self.sink)
    }

    /// One page, and the one before it, where that is at hand.
    #[inline(always)]
    fn page<C: Crc32c>(&mut self, crc: C, page: &[u8], before: &[u8]) {
        let at = self.at;
        self.at = at.plus(page.len() as u64);
        let Some(header) = PageHeader::read(page) else { return };
        let checked = self.check_page(&header, page, at);
        if self.state == State::Ended {
            let holds_nothing = || header.remaining() == 0 && is_empty_behind_header(page);
            if checked.is_err() || matches!(self.out.ending, Ending::Switch { .. }) || holds_nothing() {
                self.page_behind_end(page, &header, at, checked.is_ok());
                return;
            }
            self.wal_after_all();
        }
        if let Err(fault) = checked {
            self.bad_page(fault, &header, page, at, before);
            return;
        }
        self.last_page_timeline = header.timeline();
        if header.padding() != 0 {
            self.dirty_padding(self.offset(at) + 20, 4);
        }
        let header_bytes = if at == self.setup.start { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        let position = self.continue_record(crc, &header, page, at, header_bytes);
        if self.head_unclear {
            self.judge_head_again(crc, before, header.remaining(), at);
        }
        if let Some(position) = position {
            self.records(crc, page, at, position);
        }
    }

    /// Checks a page header as the server does, in its order, and then what an archive can be held to.
    #[inline(always)]
    fn check_page(&self, header: &PageHeader, page: &[u8], at: Lsn) -> Result<(), Fault> {
        let format = &self.setup.format;
        if header.magic() != format.magic {
            return Err(Fault::PageMagic { expected: format.magic, found: header.magic() });
        }
        let flags = header.flags();
        let info = flags.bits();
        let is_first = at == self.setup.start;
        let overwrite = info & format.major.overwrite_contrecord_flag() != 0;
        let continues = flags.contains(PageFlags::FIRST_IS_CONTRECORD);
        if info & !format.major.all_page_flags() != 0 {
            return Err(Fault::PageFlags { found: info });
        }
        if is_first && flags.contains(PageFlags::LONG_HEADER) {
            self.check_long_header(page)?;
        }
        // The server takes a long header in mid-segment for what it says, and then finds no records behind it.
        if is_first != flags.contains(PageFlags::LONG_HEADER) || (overwrite && continues) {
            return Err(Fault::PageFlags { found: info });
        }
        if header.address() != at {
            return Err(Fault::PageAddress { expected: at, found: header.address() });
        }
        self.check_timeline(header.timeline(), at)?;
        if continues != (header.remaining() > 0) {
            return Err(Fault::PageRemaining { flags: info, found: header.remaining() });
        }
        Ok(())
    }

    fn check_long_header(&self, page: &[u8]) -> Result<(), Fault> {
        let Some(long) = LongHeader::read(page) else { return Ok(()) };
        let format = &self.setup.format;
        #[expect(clippy::cast_possible_truncation, reason = "segment and page sizes are at most 2^30")]
        let (segment_bytes, page_bytes) = (format.segment_size.bytes() as u32, format.page_bytes as u32);
        if long.segment_bytes() != segment_bytes {
            return Err(Fault::PageSegmentSize { expected: segment_bytes, found: long.segment_bytes() });
        }
        if long.page_bytes() != page_bytes {
            return Err(Fault::PageBlockSize { expected: page_bytes, found: long.page_bytes() });
        }
        Ok(())
    }

    /// The page carries the timeline that owns its first byte. Without a history only the order can be checked.
    #[inline(always)]
    fn check_timeline(&self, found: TimelineId, at: Lsn) -> Result<(), Fault> {
        let owners = &self.setup.owners;
        if owners.is_known() {
            let expected = if at < self.owner_until { self.owner } else { owners.at(at).0 };
            if found != expected {
                return Err(Fault::PageTimeline { expected, found });
            }
        } else if found > self.setup.timeline || found < self.last_page_timeline || found.0 == 0 {
            return Err(Fault::PageTimeline { expected: self.setup.timeline, found });
        }
        Ok(())
    }

    /// Deals with the record that is open at a page's start; gives the position of the next one.
    #[inline(always)]
    fn continue_record<C: Crc32c>(
        &mut self,
        crc: C,
        header: &PageHeader,
        page: &[u8],
        at: Lsn,
        header_bytes: usize,
    ) -> Option<usize> {
        let remaining = header.remaining();
        let overwrite = header.flags().bits() & self.setup.format.major.overwrite_contrecord_flag() != 0;
        if overwrite {
            self.drop_open_record(at);
            return Some(header_bytes);
        }
        if self.head_doubt.is_some() {
            self.weigh_head_doubt(remaining, at);
        }
        match self.state {
            State::Between if remaining == 0 => return Some(header_bytes),
            State::Between => {
                if !self.suspect {
                    self.wound(Fault::UnexpectedContinuation { found: remaining }, at, at);
                }
                self.lose();
            }
            State::Start if remaining == 0 => return Some(header_bytes),
            State::Start => {
                self.out.head = Some(Head::new(remaining));
                self.state = State::Head;
            }
            State::Open | State::Head => self.check_continuation(remaining, at),
            State::Lost | State::Ended => {}
        }
        let rest = page.get(header_bytes..).unwrap_or_default();
        let here = (remaining as usize).min(rest.len());
        let piece = rest.get(..here).unwrap_or_default();
        match self.state {
            State::Open => self.extend_partial(crc, piece),
            State::Head => self.extend_head(crc, piece),
            _ => {}
        }
        if here < remaining as usize {
            return None;
        }
        let position = aligned(header_bytes + here);
        self.check_record_padding(page, at, header_bytes + here, position);
        let end = at.plus(position as u64);
        match self.state {
            State::Open => self.finish_partial(crc, end),
            State::Head => {
                if let Some(head) = &mut self.out.head {
                    head.end = HeadEnd::Complete(end);
                }
                self.behind_head = true;
                self.state = State::Between;
            }
            _ => {}
        }
        if self.state == State::Ended { None } else { Some(position) }
    }

    /// The page at `at` must go on with `remaining` bytes of the record that is open.
    fn check_continuation(&mut self, remaining: u32, at: Lsn) {
        let (start, expected) = match (self.state, &self.out.head) {
            (State::Head, Some(head)) => (at, head.declared - head.have),
            _ => (self.partial.start, self.partial.total - self.partial.have),
        };
        if remaining == expected {
            return;
        }
        let fault = if remaining == 0 {
            Fault::NoContinuation
        } else {
            Fault::ContinuationLength { expected, found: remaining }
        };
        if !self.suspect {
            self.wound(fault, start, at);
        }
        let on_second_page = at.bytes_since(self.setup.start) == self.setup.format.page_bytes as u64;
        let doubt = (self.state == State::Head && on_second_page).then_some(remaining);
        let unclear = self.behind_head && on_second_page;
        self.lose();
        self.head_doubt = doubt;
        self.head_unclear = unclear;
    }

    /// The first two pages disagreed on the head, and here is the third: whom does it agree with?
    #[cold]
    fn weigh_head_doubt(&mut self, remaining: u32, at: Lsn) {
        let page_bytes = self.setup.format.page_bytes;
        let on_third_page = at.bytes_since(self.setup.start) == 2 * page_bytes as u64;
        let of_second = self.head_doubt.unwrap_or(0) as usize;
        let agrees = of_second.checked_sub(page_bytes - SHORT_HEADER_BYTES) == Some(remaining as usize);
        if on_third_page && agrees && remaining > 0 {
            self.blame_first_page();
        }
        if self.state != State::Open {
            self.head_doubt = None;
        }
    }

    /// The second page was right about the head: it is the first page that has the wrong length.
    #[cold]
    fn blame_first_page(&mut self) {
        let Some(left) = self.head_doubt.take() else { return };
        let start = self.setup.start;
        let first_page = self.setup.format.page_bytes - LONG_HEADER_BYTES;
        let last = self.out.wounds.last_mut().filter(|wound| wound.context == Context::OfHead);
        if let (Some(wound), Some(head)) = (last, &self.out.head) {
            // Without more of it on the second page, the head ends somewhere on the first.
            #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
            let expected = if left == 0 { first_page as u32 } else { left.saturating_add(first_page as u32) };
            wound.fault = Fault::ContinuationLength { expected, found: head.declared };
            wound.lsn = start;
            wound.offset = 0;
        }
    }

    /// The first record behind the head is wrong. If another record on the page is right and links to one before
    /// this segment, it is that one that comes first, and the head's length is wrong.
    #[cold]
    fn judge_head<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn) {
        let comes_first = |header: &RecordHeader, rest: &[u8]| {
            let record = rest.get(..header.total_length() as usize);
            record.is_some_and(|record| record_crc(crc, record) == header.crc())
        };
        match self.first_that_links_back(page, comes_first) {
            Some(position) => self.blame_head(at, position),
            None => self.head_unclear = at == self.setup.start,
        }
    }

    /// The same, once the second page is there, at `at`, and `left` bytes of a record on it.
    #[cold]
    fn judge_head_again<C: Crc32c>(&mut self, crc: C, first_page: &[u8], left: u32, at: Lsn) {
        self.head_unclear = false;
        let comes_first =
            |header: &RecordHeader, rest: &[u8]| match rest.get(..header.total_length() as usize) {
                Some(record) => record_crc(crc, record) == header.crc(),
                None => u64::from(header.total_length()) == rest.len() as u64 + u64::from(left),
            };
        let start = self.setup.start;
        if at == start.plus(first_page.len() as u64)
            && let Some(position) = self.first_that_links_back(first_page, comes_first)
        {
            self.blame_head(start, position);
        }
    }

    /// The first place in a page where a record may stand that links to one before this segment and `fits`.
    fn first_that_links_back(
        &self,
        page: &[u8],
        fits: impl Fn(&RecordHeader, &[u8]) -> bool,
    ) -> Option<usize> {
        let major = self.setup.format.major;
        (LONG_HEADER_BYTES..page.len()).step_by(8).find(|position| {
            let rest = page.get(*position..).unwrap_or_default();
            RecordHeader::read(rest).is_some_and(|header| {
                let links_back = header.prev() < self.setup.start && header.prev() != Lsn::INVALID;
                links_back && header.check(major).is_ok() && fits(&header, rest)
            })
        })
    }

    /// The wound behind the head is one of the head's length, which does not lead to the record at `position`.
    fn blame_head(&mut self, at: Lsn, position: usize) {
        let found = self.out.head.as_ref().map_or(0, |head| head.declared);
        if let Some(wound) = self.out.wounds.last_mut().filter(|w| w.context == Context::BehindHead) {
            wound.fault = Fault::ContinuationEnd { next: at.plus(position as u64), found };
            wound.lsn = at;
            wound.offset = 0;
        }
    }

    /// The page's flag says that the record open at its start will never be finished.
    fn drop_open_record(&mut self, at: Lsn) {
        match self.state {
            State::Open => self.overwritten = Some(self.partial.start),
            State::Start => {
                self.out.starts_with_overwrite = true;
                self.overwritten = Some(Lsn::INVALID);
            }
            State::Head => {
                if let Some(head) = &mut self.out.head {
                    head.end = HeadEnd::Broken;
                }
                self.overwritten = Some(Lsn::INVALID);
            }
            State::Between | State::Lost | State::Ended => self.overwritten = Some(Lsn::INVALID),
        }
        if self.state != State::Lost {
            self.state = State::Between;
        }
        tracing::trace!(%at, "a page overwrites an unfinished record");
    }

    /// Records from `position` on, to the page's end.
    #[inline(always)]
    fn records<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn, position: usize) {
        let behind_head = self.behind_head;
        self.records_in_page(crc, page, at, position);
        if behind_head && self.out.wounds.last().is_some_and(|wound| wound.context == Context::BehindHead) {
            self.judge_head(crc, page, at);
        }
    }

    #[inline(always)]
    fn records_in_page<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn, mut position: usize) {
        let major = self.setup.format.major;
        while let Some(rest) = page.get(position..).filter(|rest| !rest.is_empty()) {
            let lsn = at.plus(position as u64);
            let Some((length, _)) = rest.split_first_chunk() else { return };
            let total = u32::from_le_bytes(*length);
            if total == 0 {
                self.end_of_wal(rest, lsn);
                return;
            }
            let Some(header) = RecordHeader::read(rest) else {
                if let Err(fault) = check_length(total) {
                    self.bad_record(fault, lsn);
                    return;
                }
                self.open_partial(crc, rest, lsn, total);
                return;
            };
            if let Err(fault) = header.check(major) {
                self.bad_record(fault, lsn);
                return;
            }
            let link = self.check_prev_link(header.prev(), lsn);
            let Some(record) = rest.get(..total as usize) else {
                self.open_partial(crc, rest, lsn, total);
                return;
            };
            let end = aligned(position + total as usize);
            let computed = record_crc(crc, record);
            let body = record.get(HEADER_BYTES..).unwrap_or_default();
            let fault = link.err().or_else(|| crc_fault(computed, header.crc()));
            if let Some(fault) = fault {
                self.doubtful_record(fault, lsn);
                if computed == header.crc() {
                    // The bytes are as they were written; it is what came before that is missing.
                    self.suspect = false;
                    self.prev = Lsn::INVALID;
                    self.accept(&header, body, lsn, at.plus(end as u64));
                } else if self.state == State::Lost {
                    return;
                }
            } else {
                self.accept(&header, body, lsn, at.plus(end as u64));
            }
            if self.state == State::Ended {
                self.check_rest_of_page(page, at, position + total as usize);
                return;
            }
            if end != position + total as usize {
                self.check_record_padding(page, at, position + total as usize, end);
            }
            position = end;
        }
        if self.state != State::Lost {
            self.state = State::Between;
        }
    }

    /// `xl_prev` must be the start of the record before; where that is not known, at least lie before this one.
    #[inline(always)]
    fn check_prev_link(&self, found: Lsn, lsn: Lsn) -> Result<(), Fault> {
        let fits = if self.prev == Lsn::INVALID { found < lsn } else { found == self.prev };
        if fits { Ok(()) } else { Err(Fault::PrevLink { expected: self.prev, found }) }
    }

    /// A record that passed every check of its own bytes: takes it into the run and hands it on.
    #[inline(always)]
    fn accept(&mut self, header: &RecordHeader, body: &[u8], lsn: Lsn, mut end: Lsn) {
        let format = &self.setup.format;
        let body_length = header.total_length().saturating_sub(MIN_RECORD_BYTES);
        #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
        let layout = match check_body(body, body_length, format.page_bytes as u32, format.major) {
            Ok(layout) => layout,
            Err(fault) => {
                self.doubtful_record(fault, lsn);
                self.suspect = false;
                return;
            }
        };
        let is_switch = header.is_switch(format.major);
        if is_switch {
            end = self.segment_end();
        }
        self.suspect = false;
        if self.overwritten.is_some() {
            self.note_overwrite(header, body, layout, lsn);
        }
        if lsn >= self.owner_until || !self.unbroken || self.out.runs.is_empty() {
            self.begin_run(header, lsn);
        }
        if let Some(run) = self.out.runs.last_mut() {
            run.last = lsn;
            run.end = end;
            run.records += 1;
        }
        self.prev = lsn;
        self.behind_head = false;
        let owner = self.owner;
        self.sink.record(&Record { lsn, end, owner, header: *header, layout, body });
        if is_switch {
            self.out.ending = Ending::Switch { at: lsn };
            self.state = State::Ended;
        } else {
            self.state = State::Between;
        }
    }

    /// The next record begins a run.
    fn begin_run(&mut self, header: &RecordHeader, lsn: Lsn) {
        if self.head_doubt.is_some() {
            // A record where the second page leads to, or one that begins on it, says that it is right.
            if lsn.bytes_since(self.setup.start) < 2 * self.setup.format.page_bytes as u64 {
                self.blame_first_page();
            }
            self.head_doubt = None;
        }
        (self.owner, self.owner_until) = self.setup.owners.at(lsn);
        let run = Run {
            owner: self.owner,
            first: lsn,
            prev_of_first: header.prev(),
            last: lsn,
            end: lsn,
            records: 0,
            continues: self.unbroken,
        };
        self.out.runs.push(run);
        self.unbroken = true;
        self.sink.run(self.out.runs.len() - 1);
    }

    /// The first record behind a page with the overwrite flag must say which record it overwrites.
    fn note_overwrite(&mut self, header: &RecordHeader, body: &[u8], layout: Layout, lsn: Lsn) {
        const OVERWRITE_CONTRECORD: u8 = 0xD0;
        let expected = self.overwritten.take().unwrap_or(Lsn::INVALID);
        let names = body.get(layout.main as usize..).and_then(|main| main.first_chunk());
        let is_overwrite = header.resource_manager().0 == 0 && header.info() & 0xF0 == OVERWRITE_CONTRECORD;
        let found = names.filter(|_| is_overwrite).map_or(Lsn::INVALID, |b| Lsn(u64::from_le_bytes(*b)));
        if found == Lsn::INVALID || (expected != Lsn::INVALID && found != expected) {
            // Where no record was open the server does not look at the flag: it is the page that is wrong.
            let no_record_was_open = expected == Lsn::INVALID;
            let page = Lsn(lsn.0 - lsn.0 % self.setup.format.page_bytes as u64);
            let place = if no_record_was_open { page } else { lsn };
            self.wound(Fault::OverwriteMismatch { expected, found }, place, place);
            self.unbroken &= no_record_was_open;
        } else {
            self.out.overwrites.push(Overwrite { dropped: found, at: lsn });
        }
    }

    /// Zeros where a record is due: the WAL ends here, unless more of it follows.
    fn end_of_wal(&mut self, rest: &[u8], lsn: Lsn) {
        if rest.iter().any(|byte| *byte != 0) {
            self.bad_record(Fault::RecordLength { found: 0 }, lsn);
            return;
        }
        if self.state == State::Lost {
            return;
        }
        self.assume_end(
            Ending::Zero { from: lsn },
            self.new_wound(Fault::RecordLength { found: 0 }, lsn, lsn),
        );
    }

    /// The WAL ends in the middle of a record, at `end`, or so its length says. If the record's checksum fits a
    /// shorter length, it is the length that is wrong, and nothing is missing. `page` is the one before `end`.
    #[cold]
    fn doubt_open_record(&mut self, page: &[u8], end: Lsn) {
        let begin = Lsn(end.0.saturating_sub(page.len() as u64));
        if self.state != State::Open || self.suspect || self.partial.start < begin {
            return;
        }
        let lsn = self.partial.start;
        let offset = usize::try_from(lsn.bytes_since(begin)).unwrap_or(usize::MAX);
        if let Some(expected) = page.get(offset..).and_then(|rest| length_by_checksum(rest, lsn)) {
            self.state = State::Between;
            self.doubtful_record(Fault::LengthAgainstChecksum { expected, found: self.partial.total }, lsn);
        }
    }

    /// Takes the WAL to end here. `wound` is what this is if it does not.
    fn assume_end(&mut self, ending: Ending, wound: Wound) {
        if self.state == State::Open {
            self.out.tail = Some(std::mem::replace(&mut self.partial, Tail::empty()));
        }
        self.out.ending = ending;
        self.out.wound_at_end = (!self.suspect).then_some(wound);
        self.state = State::Ended;
    }

    /// WAL goes on behind what was taken for its end.
    #[cold]
    fn wal_after_all(&mut self) {
        self.out.tail = None;
        self.out.ending = Ending::Full;
        self.lose();
        if let Some(wound) = self.out.wound_at_end.take() {
            self.keep_wound(wound);
            self.head_unclear = wound.context == Context::BehindHead;
        }
    }

    /// A page whose header is wrong: the end of the WAL if it looks like one, else damage.
    #[cold]
    fn bad_page(&mut self, fault: Fault, header: &PageHeader, page: &[u8], at: Lsn, before: &[u8]) {
        let wound = self.new_wound(fault, at, at);
        let due = if self.state == State::Open { self.partial.start } else { at };
        if self.state != State::Lost {
            if header.is_zero() && page.iter().all(|byte| *byte == 0) {
                self.doubt_open_record(before, at);
                self.assume_end(Ending::Zero { from: due }, wound);
                return;
            }
            if self.is_stale(fault, header, page) {
                self.doubt_open_record(before, at);
                self.assume_end(Ending::Stale { from: due, found: header.address() }, wound);
                return;
            }
            if !self.suspect {
                self.keep_wound(wound);
            }
        }
        self.lose();
    }

    /// Whether a page at a wrong address is left over from an older use of the file: its address is that of the
    /// same place in an earlier segment, and it does not go on where this WAL stops.
    fn is_stale(&self, fault: Fault, header: &PageHeader, page: &[u8]) -> bool {
        let Fault::PageAddress { expected, found } = fault else { return false };
        let distance = expected.bytes_since(found);
        let same_place = distance > 0 && distance % self.setup.format.segment_size.bytes() == 0;
        if !same_place || found == Lsn::INVALID {
            return false;
        }
        let goes_on = match self.state {
            State::Open => header.remaining() == self.partial.total - self.partial.have,
            State::Head => self.out.head.as_ref().is_some_and(|h| header.remaining() == h.declared - h.have),
            State::Between => {
                let first = page.get(SHORT_HEADER_BYTES..).and_then(RecordHeader::read);
                header.remaining() == 0 && first.is_some_and(|first| first.prev() == self.prev)
            }
            State::Start | State::Lost | State::Ended => false,
        };
        !goes_on
    }

    /// A page behind the end of the WAL should be empty.
    fn page_behind_end(&mut self, page: &[u8], header: &PageHeader, at: Lsn, header_is_good: bool) {
        let empty_from = match self.out.ending {
            Ending::Switch { .. } if self.setup.format.major.switch_tail_is_zero() => 0,
            Ending::Switch { .. } if header_is_good || header.is_zero() => SHORT_HEADER_BYTES,
            Ending::Switch { .. } => {
                self.dirty_padding(self.offset(at), SHORT_HEADER_BYTES as u64);
                SHORT_HEADER_BYTES
            }
            Ending::Zero { .. } if header.is_zero() => 0,
            // Leftovers of an older use: nothing is known of them.
            _ => return,
        };
        self.check_rest_of_page(page, at, empty_from);
    }

    /// Everything from `from` on in the page should be zero.
    fn check_rest_of_page(&mut self, page: &[u8], at: Lsn, from: usize) {
        let rest = page.get(from..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            return;
        }
        let first = rest.iter().position(|byte| *byte != 0).unwrap_or(0);
        let count = rest.iter().filter(|byte| **byte != 0).count();
        self.dirty_padding(self.offset(at) + (from + first) as u64, count as u64);
    }

    #[inline(always)]
    fn check_record_padding(&mut self, page: &[u8], at: Lsn, from: usize, to: usize) {
        if page.get(from..to).is_some_and(|padding| padding.iter().any(|byte| *byte != 0)) {
            self.dirty_padding(self.offset(at) + from as u64, (to - from) as u64);
        }
    }

    #[cold]
    fn dirty_padding(&mut self, offset: u64, count: u64) {
        let known = self.out.dirty_padding.get_or_insert((offset, 0));
        known.1 += count;
    }

    /// A record whose length cannot be believed: what follows on this page cannot be found.
    #[cold]
    fn bad_record(&mut self, fault: Fault, lsn: Lsn) {
        if self.state != State::Lost && !self.suspect {
            self.wound(fault, lsn, lsn);
        }
        self.lose();
    }

    /// A record that is wrong, but whose length may be right.
    #[cold]
    fn doubtful_record(&mut self, fault: Fault, lsn: Lsn) {
        if self.state == State::Lost || self.suspect {
            self.lose();
            return;
        }
        self.wound(fault, lsn, lsn);
        self.unbroken = false;
        self.suspect = true;
        self.prev = lsn;
    }

    /// Gives up the place in the WAL: looks for it on the next page.
    fn lose(&mut self) {
        if let (State::Head, Some(head)) = (self.state, &mut self.out.head) {
            head.end = HeadEnd::Broken;
        }
        self.state = State::Lost;
        self.suspect = false;
        self.unbroken = false;
        self.behind_head = false;
        self.prev = Lsn::INVALID;
        self.overwritten = None;
    }

    fn wound(&mut self, fault: Fault, lsn: Lsn, at: Lsn) {
        let wound = self.new_wound(fault, lsn, at);
        self.keep_wound(wound);
    }

    fn new_wound(&self, fault: Fault, lsn: Lsn, at: Lsn) -> Wound {
        let context = if self.state == State::Head {
            Context::OfHead
        } else if self.behind_head {
            Context::BehindHead
        } else {
            Context::Elsewhere
        };
        Wound { fault, lsn, offset: self.offset(at), context }
    }

    fn keep_wound(&mut self, wound: Wound) {
        if self.out.wounds.len() < MAX_WOUNDS {
            self.out.wounds.push(wound);
        } else {
            self.out.wounds_not_kept += 1;
        }
    }

    /// Begins a record that does not end on this page.
    fn open_partial<C: Crc32c>(&mut self, crc: C, rest: &[u8], lsn: Lsn, total: u32) {
        let prev = (self.prev != Lsn::INVALID).then_some(self.prev);
        let partial = &mut self.partial;
        partial.start = lsn;
        partial.total = total;
        partial.have = 0;
        partial.crc = CRC_START;
        partial.captured.clear();
        partial.prev = prev;
        let was_lost = self.state == State::Lost;
        self.extend_partial(crc, rest);
        // A record found after damage is believed once all of it is read.
        self.suspect |= was_lost;
        self.state = State::Open;
    }

    /// More bytes of the open record.
    #[inline(always)]
    fn extend_partial<C: Crc32c>(&mut self, crc: C, piece: &[u8]) {
        let partial = &mut self.partial;
        let missing = HEADER_BYTES.saturating_sub(partial.have as usize);
        let data = piece.get(missing.min(piece.len())..).unwrap_or_default();
        partial.crc = crc.update(partial.crc, data);
        let (head, rest) = piece.split_at(missing.min(piece.len()));
        partial.captured.extend_from_slice(head);
        let limit = match RecordHeader::read(&partial.captured).map(|header| self.sink.capture(&header)) {
            Some(Capture::Whole) => WHOLE_CAPTURE_BYTES,
            Some(Capture::Headers) | None => HEADERS_CAPTURE_BYTES,
        };
        let contiguous = partial.captured.len() == partial.have as usize + head.len();
        let room = if contiguous { limit.saturating_sub(partial.captured.len()) } else { 0 };
        partial.captured.extend_from_slice(rest.get(..room.min(rest.len())).unwrap_or_default());
        #[expect(clippy::cast_possible_truncation, reason = "a piece is at most a page")]
        {
            partial.have += piece.len() as u32;
        }
    }

    /// More bytes of the record that the segment began in the middle of.
    #[inline(always)]
    fn extend_head<C: Crc32c>(&mut self, crc: C, piece: &[u8]) {
        let Some(head) = &mut self.out.head else { return };
        head.crc = crc.update(head.crc, piece);
        let room = HEAD_CAPTURE_BYTES.saturating_sub(head.captured.len());
        head.captured.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        #[expect(clippy::cast_possible_truncation, reason = "a piece is at most a page")]
        {
            head.have += piece.len() as u32;
        }
    }

    /// The open record's last byte is read: checks it whole.
    fn finish_partial<C: Crc32c>(&mut self, crc: C, end: Lsn) {
        let partial = std::mem::replace(&mut self.partial, Tail::empty());
        let lsn = partial.start;
        self.state = State::Between;
        match check_gathered(crc, &partial, self.setup.format.major, |found| self.check_prev_link(found, lsn))
        {
            Ok(header) => self.accept(&header, partial.body(), lsn, end),
            Err((fault, crc_is_good)) => {
                self.doubtful_record(fault, lsn);
                if let (true, Some(header)) = (crc_is_good, RecordHeader::read(&partial.captured)) {
                    self.suspect = false;
                    self.prev = Lsn::INVALID;
                    self.accept(&header, partial.body(), lsn, end);
                }
            }
        }
        // The buffer serves the next record too.
        self.partial = partial;
    }

    fn offset(&self, at: Lsn) -> u64 {
        at.bytes_since(self.setup.start)
    }

    fn segment_end(&self) -> Lsn {
        self.setup.start.plus(self.setup.format.segment_size.bytes())
    }
}

/// State of a CRC-32C before the first byte.
pub const CRC_START: u32 = crc::INIT;

/// The checksum of a whole record: first what follows the header, then the header up to the checksum itself.
#[inline(always)]
fn record_crc<C: Crc32c>(crc: C, record: &[u8]) -> u32 {
    let data = record.get(HEADER_BYTES..).unwrap_or_default();
    let header = record.get(..HEADER_BYTES - 4).unwrap_or_default();
    !crc.update(crc.update(CRC_START, data), header)
}

#[inline(always)]
fn crc_fault(computed: u32, stored: u32) -> Option<Fault> {
    (computed != stored).then_some(Fault::Crc { expected: computed, found: stored })
}

/// Checks a record that was gathered from several pages (or segments): header, link, checksum, in this order.
///
/// # Errors
/// What is wrong first, and whether the checksum is right all the same.
pub fn check_gathered<C: Crc32c>(
    crc: C,
    record: &Tail,
    major: Major,
    check_link: impl FnOnce(Lsn) -> Result<(), Fault>,
) -> Result<RecordHeader, (Fault, bool)> {
    let header = RecordHeader::read(&record.captured).ok_or((Fault::BodyLength, false))?;
    let covered = record.captured.get(..HEADER_BYTES - 4).unwrap_or_default();
    let computed = !crc.update(record.crc, covered);
    let crc_is_good = computed == header.crc();
    header.check(major).map_err(|fault| (fault, false))?;
    check_link(header.prev()).map_err(|fault| (fault, crc_is_good))?;
    match crc_fault(computed, header.crc()) {
        Some(fault) => Err((fault, false)),
        None => Ok(header),
    }
}

/// The length with which the record at the start of `rest` (the rest of its page) has the right checksum, whatever
/// length it says. Looked for only before what may be the next record, or nothing: `lsn` is where the record
/// starts, which the next one links to.
fn length_by_checksum(rest: &[u8], lsn: Lsn) -> Option<u32> {
    let header: &[u8; HEADER_BYTES] = rest.first_chunk()?;
    let stored = RecordHeader::read(header)?.crc();
    let link = lsn.0.to_le_bytes();
    let may_end_at = |at: &usize| match rest.get(*at..) {
        Some(next) if next.len() >= 16 => next.get(8..16) == Some(&link[..]) || next.iter().all(|b| *b == 0),
        _ => true,
    };
    let mut state = CRC_START;
    let mut covered = HEADER_BYTES;
    for end in (HEADER_BYTES..=rest.len()).step_by(8).filter(may_end_at) {
        for length in end.saturating_sub(7).max(HEADER_BYTES)..=end {
            state = crc::update(state, rest.get(covered..length)?);
            covered = length;
            let length = u32::try_from(length).ok()?;
            let mut corrected = *header;
            corrected.first_chunk_mut::<4>()?.copy_from_slice(&length.to_le_bytes());
            if crc::finish(crc::update(state, corrected.get(..HEADER_BYTES - 4)?)) == stored {
                return Some(length);
            }
        }
    }
    None
}

/// Whether nothing but zeros stands behind a short page header.
fn is_empty_behind_header(page: &[u8]) -> bool {
    page.get(SHORT_HEADER_BYTES..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// Rounds up to the next record boundary.
#[inline(always)]
const fn aligned(position: usize) -> usize {
    (position + 7) & !7
}

impl Tail {
    fn empty() -> Self {
        Self { start: Lsn::INVALID, total: 0, have: 0, crc: CRC_START, captured: Vec::new(), prev: None }
    }

    /// What was kept of the body.
    pub fn body(&self) -> &[u8] {
        self.captured.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl Head {
    fn new(declared: u32) -> Self {
        Self { declared, have: 0, crc: 0, captured: Vec::new(), end: HeadEnd::Open }
    }
}
