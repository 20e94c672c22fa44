//! Where the WAL of a segment ends: zeros, an older use of the file, or what only looks like an end.

use super::facts::{Context, Ending, Sink, Tail, Wound};
use super::gathered::{length_by_checksum, record_crc};
use super::{State, Walk, is_zero};
use crate::wal::crc;
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;
use crate::wal::page::{PageHeader, SHORT_HEADER_BYTES};
use crate::wal::record::{HEADER_BYTES, RecordHeader};

/// Zeros at the end of a record that tell that the rest of it was never written, where the page is empty behind it. A
/// whole record seldom ends with so many.
const TORN_BYTES: usize = 8;

/// Whether the checksum of a record would fit but for one byte: then it is damaged, and no part of it is missing.
fn one_byte_is_wrong(record: &[u8], header: &RecordHeader) -> bool {
    let difference = record_crc(crc::Portable, record) ^ header.crc();
    let in_checksum = difference.to_le_bytes().iter().filter(|byte| **byte != 0).count() == 1;
    // All but the checksum itself is counted.
    in_checksum || crc::one_byte_explains(record.len() - size_of::<u32>(), difference)
}

impl<S: Sink> Walk<S> {
    /// Zeros where a record is due: the WAL ends here, unless more of it follows.
    pub(super) fn end_of_wal(&mut self, rest: &[u8], lsn: Lsn) {
        if !is_zero(rest) {
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
    pub(super) fn doubt_open_record(&mut self, page: &[u8], end: Lsn) {
        let begin = Lsn(end.0.saturating_sub(page.len() as u64));
        if self.state != State::Open || self.suspect || self.partial.start < begin {
            return;
        }
        let lsn = self.partial.start;
        let offset = usize::try_from(lsn.bytes_since(begin)).unwrap_or(usize::MAX);
        let fitting =
            page.get(offset..).and_then(|rest| length_by_checksum(rest, lsn, &mut self.length_tries));
        if let Some(expected) = fitting {
            self.state = State::Between;
            self.doubtful_record(Fault::LengthAgainstChecksum { expected, found: self.partial.total }, lsn);
        }
    }

    /// Takes the WAL to end here. `wound` is what this is if it does not.
    pub(super) fn assume_end(&mut self, ending: Ending, wound: Wound) {
        if self.state == State::Open {
            self.out.tail = Some(std::mem::replace(&mut self.partial, Tail::empty()));
        }
        self.out.ending = ending;
        self.out.wound_at_end = (!self.suspect).then_some(wound);
        self.state = State::Ended;
    }

    /// Whether the WAL ends here because the last record was written in part: zeros from within it on to the end of the
    /// page, of which `rest` begins with the record. If more WAL follows, it is `fault`.
    #[cold]
    pub(super) fn ends_torn(&mut self, rest: &[u8], header: &RecordHeader, fault: Fault, lsn: Lsn) -> bool {
        let record = rest.get(..header.total_length() as usize).filter(|record| record.len() >= HEADER_BYTES);
        let extent = record.map_or(HEADER_BYTES, <[u8]>::len);
        let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let is_torn = self.state == State::Between
            && !self.suspect
            && written + TORN_BYTES <= extent
            && !record.is_some_and(|record| one_byte_is_wrong(record, header))
            && length_by_checksum(rest, lsn, &mut self.length_tries).is_none();
        if is_torn {
            let wound = self.new_wound(fault, lsn, lsn);
            self.assume_end(Ending::Zero { from: lsn }, wound);
        }
        is_torn
    }

    /// WAL goes on behind what was taken for its end.
    #[cold]
    pub(super) fn wal_after_all(&mut self) {
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
    pub(super) fn bad_page(
        &mut self,
        fault: Fault,
        header: &PageHeader,
        page: &[u8],
        at: Lsn,
        before: &[u8],
    ) {
        if self.state == State::Lost && self.is_stale(fault, header, page) && self.was_lost_on_page_before(at)
        {
            self.end_before_older_use(at, header.address());
            return;
        }
        let wound = self.new_wound(fault, at, at);
        let due = if self.state == State::Open { self.partial.start } else { at };
        if self.state != State::Lost {
            if header.is_zero() && is_zero(page) {
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

    /// Whether a whole record that links to `prev` was written when the file was used before: what is written now links to
    /// the last record here or to a later one. A server writes whole pages, and a walreceiver what it was sent: behind
    /// that the file's older use shows.
    ///
    /// PostgreSQL: `XLogWalRcvWrite` in `src/backend/replication/walreceiver.c`, 9.5 to 19.
    #[cold]
    pub(super) fn is_of_older_use(&self, prev: Lsn) -> bool {
        self.out.runs.last().is_some_and(|run| prev < run.last)
    }

    /// Whether the place in the WAL was lost on the page in front of `at`, behind the last good record.
    fn was_lost_on_page_before(&self, at: Lsn) -> bool {
        let begin = Lsn(at.0.saturating_sub(self.setup.format.page_bytes as u64));
        let lost = self.out.wounds.last().map(|wound| wound.lsn);
        let good = self.out.runs.last().map(|run| run.end);
        lost.zip(good).is_some_and(|(lost, good)| begin <= lost && lost < at && good <= lost)
    }

    /// The WAL ends before `lsn`, from where on older use of the file shows; or before that, where what was taken for
    /// damage is the middle of something older.
    #[cold]
    pub(super) fn end_before_older_use(&mut self, lsn: Lsn, found: Lsn) {
        let good = self.out.runs.last().map_or(Lsn::INVALID, |run| run.end);
        let mut from = lsn;
        while let Some(last) = self.out.wounds.pop_if(|last| last.lsn >= good && last.lsn < lsn) {
            from = from.min(last.lsn);
        }
        (self.suspect, self.unbroken) = (false, true);
        self.state = State::Between;
        let wound = self.new_wound(Fault::PrevLink { expected: self.prev, found }, from, from);
        self.assume_end(Ending::Stale { from, found }, wound);
    }

    /// Whether a page at a wrong address is left over from an older use of the file: its address is that of the
    /// same place in an earlier segment, and it does not go on where this WAL stops.
    pub(super) fn is_stale(&self, fault: Fault, header: &PageHeader, page: &[u8]) -> bool {
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
    pub(super) fn page_behind_end(
        &mut self,
        page: &[u8],
        header: &PageHeader,
        at: Lsn,
        header_is_good: bool,
    ) {
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
}
