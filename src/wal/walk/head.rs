//! Whose fault it is when the record that a segment begins in the middle of does not end well: the length that
//! the first page tells, the second page, or the record behind it. Nothing before the segment is known here.

use super::facts::{Context, Sink};
use super::gathered::record_crc;
use super::{State, Walk};
use crate::wal::crc::Crc32c;
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;
use crate::wal::page::{LONG_HEADER_BYTES, SHORT_HEADER_BYTES};
use crate::wal::record::RecordHeader;

impl<S: Sink> Walk<S> {
    /// The first two pages disagreed on the head, and here is the third: whom does it agree with?
    #[cold]
    pub(super) fn weigh_head_doubt(&mut self, remaining: u32, at: Lsn) {
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
    pub(super) fn blame_first_page(&mut self) {
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
    pub(super) fn judge_head<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn) {
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
    pub(super) fn judge_head_again<C: Crc32c>(&mut self, crc: C, first_page: &[u8], left: u32, at: Lsn) {
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
    pub(super) fn first_that_links_back(
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
    pub(super) fn blame_head(&mut self, at: Lsn, position: usize) {
        let found = self.out.head.as_ref().map_or(0, |head| head.declared);
        if let Some(wound) = self.out.wounds.last_mut().filter(|w| w.context == Context::BehindHead) {
            wound.fault = Fault::ContinuationEnd { next: at.plus(position as u64), found };
            wound.lsn = at;
            wound.offset = 0;
        }
    }
}
