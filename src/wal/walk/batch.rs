//! The fast way: short records that follow one another on a page, taken together while nothing is odd about them.
//!
//! What decides the speed of a walk over records of a hundred bytes is not the work but the branches that a
//! processor cannot foresee, above all the end of each record's checksum. So the records of a page are found
//! first, their checksums are computed in three even streams ([`crate::wal::crc::Streams`]), and only then is each
//! of them taken apart and handed on.
//!
//! Everything odd (damage, a fork, the first record of a run, a switch, a record that crosses pages) is left
//! to [`super::records`], which says what is wrong: here nothing is ever reported.

use super::facts::{Glimpse, Record, Sink};
use super::gathered::aligned;
use super::{State, Walk};
use crate::wal::crc::{Crc32c, LONGEST_RECORD, Place, Streams};
use crate::wal::lsn::Lsn;
use crate::wal::quick::{Rules, body_is_plain};
use crate::wal::record::{HEADER_BYTES, MIN_RECORD_BYTES, RecordHeader, check_body};

/// Records taken together at most.
const MOST: usize = 340;

/// Bytes of a page in which records are taken together; a page of 8 KiB is within it.
const SPAN_BYTES: usize = 8192;

/// Fewer records than this are not worth it.
const FEWEST: usize = 2;

/// Records found on a page, and the states of their checksums.
#[derive(Debug)]
pub(super) struct Batch {
    places: Box<[Place; MOST]>,
    streams: Streams,
}

impl Default for Batch {
    fn default() -> Self {
        Self { places: Box::new([Place::default(); MOST]), streams: Streams::default() }
    }
}

impl<S: Sink> Walk<S> {
    /// Takes records from `position` on as long as they are what most records are; gives the position of the
    /// first that is not, or that has to be looked at again because something is wrong with it.
    #[inline(always)]
    pub(super) fn records_together<C: Crc32c>(
        &mut self,
        crc: C,
        page: &[u8],
        at: Lsn,
        position: usize,
    ) -> usize {
        if !self.is_calm(page, at) {
            return position;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let taken = match &mut batch {
            Some(batch) => self.take_batch(crc, page, at, position, batch),
            None => position,
        };
        self.batch = batch;
        taken
    }

    /// Nothing is special about the next record but what the record itself says.
    #[inline(always)]
    fn is_calm(&self, page: &[u8], at: Lsn) -> bool {
        matches!(self.state, State::Between | State::Start)
            && self.unbroken
            && !self.suspect
            && !self.behind_head
            && self.overwritten.is_none()
            && self.prev != Lsn::INVALID
            && at.plus(page.len() as u64) <= self.owner_until
            && !self.out.runs.is_empty()
    }

    #[inline(always)]
    fn take_batch<C: Crc32c>(
        &mut self,
        crc: C,
        page: &[u8],
        at: Lsn,
        position: usize,
        batch: &mut Batch,
    ) -> usize {
        let (count, end) = self.find_records(page, at, position, batch);
        if count < FEWEST {
            return position;
        }
        let places = batch.places.get(..count).unwrap_or_default();
        let Some(cuts) = batch.streams.lay(page.len() / 8, places) else { return position };
        crc.run_streams(page, &mut batch.streams);
        let mut good = 0;
        for (stream, part) in cuts.windows(2).enumerate() {
            let &[from, to] = part else { continue };
            let part = places.get(from..to).unwrap_or_default();
            good += crc.good_records(page, part, &batch.streams, stream);
            if good < to {
                break;
            }
        }
        let taken = self.hand_on_all(page, at, places.get(..good).unwrap_or_default());
        let start_of = |index: usize| places.get(index).map_or(end, |place| place.start as usize);
        let stop = start_of(taken);
        if taken > 0 {
            self.prev = at.plus(start_of(taken - 1) as u64);
            self.state = State::Between;
            if let Some(run) = self.out.runs.last_mut() {
                run.last = self.prev;
                run.end = at.plus(stop as u64);
                run.records += taken as u64;
            }
        }
        stop
    }

    /// Finds records that are linked as they should be, and of usual form; gives their number and where they end.
    #[inline(never)]
    fn find_records(&self, page: &[u8], at: Lsn, position: usize, batch: &mut Batch) -> (usize, usize) {
        let major = self.setup.format.major;
        let limit = page.len().min(position + SPAN_BYTES);
        let mut position = position;
        let mut prev = self.prev;
        let mut count = 0;
        for place in batch.places.iter_mut() {
            let Some(header) = page.get(position..).and_then(RecordHeader::read) else { break };
            let total = header.total_length();
            let in_range = total.wrapping_sub(MIN_RECORD_BYTES) <= LONGEST_RECORD - MIN_RECORD_BYTES;
            let end = aligned(position + total as usize);
            let is_plain = header.prev() == prev
                && major.resource_manager_is_valid(header.resource_manager().0)
                && !header.is_switch(major);
            if !in_range || end > limit || !is_plain {
                break;
            }
            #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
            let start = position as u32;
            *place = Place { start, total };
            prev = at.plus(position as u64);
            position = end;
            count += 1;
        }
        (count, position)
    }

    /// Hands on records whose checksums are right as long as their bodies are too; gives their number.
    #[inline(never)]
    fn hand_on_all(&mut self, page: &[u8], at: Lsn, places: &[Place]) -> usize {
        let rules = Rules::new(self.setup.format.page_bytes, self.setup.format.major);
        for (index, place) in places.iter().enumerate() {
            let start = place.start as usize;
            let Some(after) = page.get(start + HEADER_BYTES..) else { return index };
            let length = (place.total as usize).saturating_sub(HEADER_BYTES);
            let is_plain = body_is_plain(after, length, rules);
            let Some(header) = page.get(start..).and_then(RecordHeader::read) else { return index };
            let Some(body) = after.get(..length) else { return index };
            let glimpse = Glimpse { lsn: at.plus(start as u64), owner: self.owner, header, body };
            if is_plain && !self.sink.wants(&glimpse) {
                continue;
            }
            if !self.hand_on(&glimpse) {
                return index;
            }
        }
        places.len()
    }

    /// Hands on one record if its body is right.
    fn hand_on(&mut self, glimpse: &Glimpse<'_>) -> bool {
        let Glimpse { lsn, owner, header, body } = *glimpse;
        let format = &self.setup.format;
        #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
        let layout = check_body(body, body.len() as u32, format.page_bytes as u32, format.major);
        let Ok(layout) = layout else { return false };
        let end = lsn.plus(aligned(HEADER_BYTES + body.len()) as u64);
        self.sink.record(&Record { lsn, end, owner, header, layout, body });
        true
    }
}
