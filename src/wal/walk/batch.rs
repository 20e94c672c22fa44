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
use crate::wal::fault::Fault;
use crate::wal::lsn::{Lsn, TimelineId};
use crate::wal::quick::{Rules, body_is_plain};
use crate::wal::record::{HEADER_BYTES, Layout, MIN_RECORD_BYTES, RecordHeader, check_body};

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
    /// Which of them the sink may want, by their index.
    noted: Box<[u16; MOST]>,
    streams: Streams,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            places: Box::new([Place::default(); MOST]),
            noted: Box::new([0; MOST]),
            streams: Streams::default(),
        }
    }
}

/// How much of a [`Batch`] was filled.
struct Found {
    /// Records.
    count: usize,
    /// Those of them that are noted.
    noted: usize,
    /// Where they end.
    end: usize,
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
        let Found { count, noted, end } = self.find_records(page, at, position, batch);
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
        let good = places.get(..good).unwrap_or_default();
        let noted = batch.noted.get(..noted).unwrap_or_default();
        // One loop over bodies alone is faster than one that asks the sink too, and two are slower than one.
        let taken = if 2 * noted.len() < good.len() {
            let sound = self.sound_bodies(page, good);
            self.hand_on_noted(page, at, good.get(..sound).unwrap_or_default(), noted)
        } else {
            self.hand_on_all(page, at, good)
        };
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

    /// Finds records that are linked as they should be, and of usual form, and notes those that the sink may want.
    #[inline(never)]
    fn find_records(&self, page: &[u8], at: Lsn, position: usize, batch: &mut Batch) -> Found {
        let major = self.setup.format.major;
        let wanted = self.sink.managers();
        let limit = page.len().min(position + SPAN_BYTES);
        let mut position = position;
        let mut prev = self.prev;
        let mut noted = 0;
        let mut count = 0;
        for (index, place) in (0..).zip(batch.places.iter_mut()) {
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
            // Written in any case, and only counted if it holds.
            if let Some(note) = batch.noted.get_mut(noted) {
                *note = index;
            }
            noted += usize::from(wanted.has(header.resource_manager()));
            prev = at.plus(position as u64);
            position = end;
            count += 1;
        }
        Found { count, noted, end: position }
    }

    /// How many of the records have right bodies, up to the first that has not.
    #[inline(never)]
    fn sound_bodies(&self, page: &[u8], places: &[Place]) -> usize {
        let rules = self.rules();
        let is_sound = |place: &Place| {
            let Some(after) = page.get(place.start as usize + HEADER_BYTES..) else { return false };
            let length = (place.total as usize).saturating_sub(HEADER_BYTES);
            body_is_plain(after, length, rules)
                || after.get(..length).is_some_and(|body| self.check(body).is_ok())
        };
        places.iter().position(|place| !is_sound(place)).unwrap_or(places.len())
    }

    /// Hands on those of sound records that are noted and that the sink wants; gives the number of all.
    #[inline(never)]
    fn hand_on_noted(&mut self, page: &[u8], at: Lsn, places: &[Place], noted: &[u16]) -> usize {
        for index in noted.iter().map(|index| usize::from(*index)) {
            let Some(place) = places.get(index) else { break };
            let Some((glimpse, _)) = glimpse(page, at, self.owner, *place) else { return index };
            if self.sink.wants(&glimpse) && !self.hand_on(&glimpse) {
                return index;
            }
        }
        places.len()
    }

    /// Hands on records as long as their bodies are right, and gives their number.
    #[inline(never)]
    fn hand_on_all(&mut self, page: &[u8], at: Lsn, places: &[Place]) -> usize {
        let rules = self.rules();
        for (index, place) in places.iter().enumerate() {
            let Some((glimpse, after)) = glimpse(page, at, self.owner, *place) else { return index };
            let is_plain = body_is_plain(after, glimpse.body.len(), rules);
            if is_plain && !self.sink.wants(&glimpse) {
                continue;
            }
            if !self.hand_on(&glimpse) {
                return index;
            }
        }
        places.len()
    }

    fn rules(&self) -> Rules {
        Rules::new(self.setup.format.page_bytes, self.setup.format.major)
    }

    #[inline(never)]
    fn check(&self, body: &[u8]) -> Result<Layout, Fault> {
        let format = &self.setup.format;
        #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
        check_body(body, body.len() as u32, format.page_bytes as u32, format.major)
    }

    /// Hands on one record if its body is right.
    fn hand_on(&mut self, glimpse: &Glimpse<'_>) -> bool {
        let Glimpse { lsn, owner, header, body } = *glimpse;
        let Ok(layout) = self.check(body) else { return false };
        self.sink.record(&Record { lsn, end: glimpse.end(), owner, header, layout, body });
        true
    }
}

/// The record at a place of the page, and all that follows its header there.
#[inline(always)]
fn glimpse(page: &[u8], at: Lsn, owner: TimelineId, place: Place) -> Option<(Glimpse<'_>, &[u8])> {
    let start = place.start as usize;
    let after = page.get(start + HEADER_BYTES..)?;
    let header = page.get(start..).and_then(RecordHeader::read)?;
    let body = after.get(..(place.total as usize).saturating_sub(HEADER_BYTES))?;
    Some((Glimpse { lsn: at.plus(start as u64), owner, header, body }, after))
}
