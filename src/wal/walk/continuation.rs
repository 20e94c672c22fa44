//! Records that cross pages: the one that is open at a page's start goes on there, or is dropped, or is broken.
//!
//! PostgreSQL: `XLogReadRecord` in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::facts::{Capture, HEAD_CAPTURE_BYTES, Head, HeadEnd, Sink, Tail, WHOLE_CAPTURE_BYTES};
use super::gathered::{CRC_START, aligned, check_gathered};
use super::{HEADERS_CAPTURE_BYTES, State, Walk};
use crate::wal::crc::Crc32c;
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;
use crate::wal::page::PageHeader;
use crate::wal::record::{HEADER_BYTES, RecordHeader};

impl<S: Sink> Walk<S> {
    /// Deals with the record that is open at a page's start; gives the position of the next one.
    #[inline(always)]
    pub(super) fn continue_record<C: Crc32c>(
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
    pub(super) fn check_continuation(&mut self, remaining: u32, at: Lsn) {
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

    /// The page's flag says that the record open at its start will never be finished.
    pub(super) fn drop_open_record(&mut self, at: Lsn) {
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

    /// Begins a record that does not end on this page.
    pub(super) fn open_partial<C: Crc32c>(&mut self, crc: C, rest: &[u8], lsn: Lsn, total: u32) {
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
    pub(super) fn extend_partial<C: Crc32c>(&mut self, crc: C, piece: &[u8]) {
        let partial = &mut self.partial;
        let missing = HEADER_BYTES.saturating_sub(partial.have as usize);
        let data = piece.get(missing.min(piece.len())..).unwrap_or_default();
        partial.crc = crc.update(partial.crc, data);
        let (head, rest) = piece.split_at(missing.min(piece.len()));
        partial.captured.extend_from_slice(head);
        if partial.captured.len() == partial.have as usize + head.len() {
            let room = HEADERS_CAPTURE_BYTES.saturating_sub(partial.captured.len()).min(rest.len());
            let (first, more) = rest.split_at(room);
            partial.captured.extend_from_slice(first);
            let wanted = RecordHeader::read(&partial.captured)
                .filter(|_| !more.is_empty())
                .map(|header| self.sink.capture(&header, partial.body()));
            if wanted == Some(Capture::Whole) {
                let room = WHOLE_CAPTURE_BYTES.saturating_sub(partial.captured.len());
                partial.captured.extend_from_slice(more.get(..room.min(more.len())).unwrap_or_default());
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a piece is at most a page")]
        {
            partial.have += piece.len() as u32;
        }
    }

    /// More bytes of the record that the segment began in the middle of.
    #[inline(always)]
    pub(super) fn extend_head<C: Crc32c>(&mut self, crc: C, piece: &[u8]) {
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
    pub(super) fn finish_partial<C: Crc32c>(&mut self, crc: C, end: Lsn) {
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
}
