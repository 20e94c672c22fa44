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

mod batch;
mod continuation;
mod damage;
mod ending;
mod facts;
mod gathered;
mod head;
mod pages;
mod records;

pub use facts::{
    Capture, Context, Ending, Format, Glimpse, HEAD_CAPTURE_BYTES, Head, HeadEnd, Managers, Overwrite,
    Record, Run, Setup, Sink, Tail, WHOLE_CAPTURE_BYTES, Walked, Wound,
};
pub use gathered::{CRC_START, check_gathered};

use super::crc::{self, Crc32c};
use super::fault::Fault;
use super::lsn::{Lsn, TimelineId};
use super::page::{LONG_HEADER_BYTES, PageHeader, SHORT_HEADER_BYTES};

/// Wounds kept for one segment; beyond it only their number is known.
pub const MAX_WOUNDS: usize = 64;

/// Bytes kept of a record that the sink does not ask for: enough for its header and 33 block references.
const HEADERS_CAPTURE_BYTES: usize = 2048;

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
    /// How many more lengths are tried for records whose own cannot be right. WAL ends once, and so many pages are enough
    /// for every wound that is kept; a file that is made to look like an end on each page is not to take longer for it.
    length_tries: usize,
    /// Taken while it is in use.
    batch: Option<batch::Batch>,
    out: Walked,
}

/// What [`Walk::feed`] does.
struct Feed<'a, S: Sink> {
    walk: &'a mut Walk<S>,
    bytes: &'a [u8],
}

impl<S: Sink> crc::Walk for Feed<'_, S> {
    type Out = ();

    #[inline(always)]
    fn walk<C: Crc32c>(self, crc: C) {
        self.walk.feed_by(crc, self.bytes);
    }
}

impl<S: Sink> Walk<S> {
    /// Begins a walk of the segment that `setup` describes.
    pub fn new(setup: Setup, sink: S) -> Self {
        let (owner, owner_until) = setup.owners.at(setup.start);
        let at = setup.start;
        let length_tries = MAX_WOUNDS * setup.format.page_bytes;
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
            length_tries,
            batch: Some(batch::Batch::default()),
            out: Walked::default(),
        }
    }

    /// Takes the next bytes, by code compiled for this processor.
    pub fn feed(&mut self, bytes: &[u8]) {
        crc::with_best(Feed { walk: self, bytes });
    }

    /// Takes the next bytes.
    #[inline(always)]
    pub fn feed_by<C: Crc32c>(&mut self, crc: C, mut bytes: &[u8]) {
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

    /// Whether it is known how the fragment that the segment begins with ends.
    pub fn is_past_head(&self) -> bool {
        !matches!(self.state, State::Start | State::Head)
    }

    /// The fragment that the segment begins with, as far as it has been fed.
    pub fn head(&self) -> Option<&Head> {
        self.out.head.as_ref()
    }

    /// Whether its first page tells that the record open before it was given up.
    pub const fn starts_with_overwrite(&self) -> bool {
        self.out.starts_with_overwrite
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
        match checked {
            Ok(()) => self.last_page_timeline = header.timeline(),
            Err(fault @ Fault::PageTimeline { .. }) if self.state != State::Lost => {
                self.page_of_wrong_timeline(fault, at);
            }
            Err(fault) => {
                self.bad_page(fault, &header, page, at, before);
                return;
            }
        }
        if header.padding() != 0 {
            self.dirty_bytes(page.get(20..24).unwrap_or_default(), at, 20);
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

    fn offset(&self, at: Lsn) -> u64 {
        at.bytes_since(self.setup.start)
    }

    fn segment_end(&self) -> Lsn {
        self.setup.start.plus(self.setup.format.segment_size.bytes())
    }
}

/// Whether nothing but zeros stands behind a short page header.
fn is_empty_behind_header(page: &[u8]) -> bool {
    page.get(SHORT_HEADER_BYTES..).is_some_and(is_zero)
}

/// Whether all of `bytes` are zero.
fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| block.iter().fold(0, std::ops::BitOr::bitor) == 0)
        && rest.iter().all(|b| *b == 0)
}
