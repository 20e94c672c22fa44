//! What becomes of the record that is open where two ranges meet.

use super::range::Range;
use crate::scan::event::Event;
use crate::scan::segment::PlacedWound;
use crate::wal::fault::Fault;
use crate::wal::record::{RecordHeader, check_body};
use crate::wal::walk::{
    Context, Ending, HEAD_CAPTURE_BYTES, Head, HeadEnd, Record, Tail, WHOLE_CAPTURE_BYTES, Wound,
    check_gathered,
};
use crate::wal::{Lsn, crc};

/// Bytes of the longest record that is kept whole whatever it is: 33 page images fit, at the largest size of pages too.
/// What a change of a row says of itself stands behind the images of the pages that it touched. Longer records are filler
/// and messages of applications, or tell of transactions.
const WITH_IMAGES_BYTES: usize = 33 * (32 << 10) + HEADERS_BYTES;

/// Bytes within which all fragment headers of a record lie.
const HEADERS_BYTES: usize = 2048;

/// What became of the record that was open at a seam.
pub(super) enum Seam {
    /// Nothing was open, or it was finished: the next run goes on.
    Sound,
    /// It is still open: there is nothing behind the seam but more of it.
    StillOpen,
    /// The WAL ends in it on the other side.
    CutOff,
    /// It is lost.
    Broken,
}

impl Range {
    /// The WAL here does not reach the other side.
    pub(super) fn end_early(&mut self) -> Seam {
        let (from, stale) = match self.ending {
            // It ends where damage was found, which was said.
            _ if !self.ends_unbroken => return Seam::Broken,
            Ending::Zero { from } => (from, Lsn::INVALID),
            Ending::Stale { from, found } => (from, found),
            // The file is too short, which is a finding of its own.
            Ending::Full | Ending::Switch { .. } | Ending::Cut { .. } => return Seam::Broken,
        };
        let offset = from.offset_in_segment(self.format.segment_size);
        let wound =
            Wound { fault: Fault::EndsEarly { stale }, lsn: from, offset, context: Context::Elsewhere };
        self.wounds.push(PlacedWound { segment: self.last, wound });
        self.tail = None;
        Seam::Broken
    }

    /// Finishes what is open on this side with what the other side begins with.
    pub(super) fn close_seam(&mut self, next: &mut Self) -> Seam {
        match (self.tail.take(), next.head.take()) {
            (Some(tail), _) if next.starts_with_overwrite => Self::drop_overwritten(&tail, next),
            (Some(tail), Some(head)) => self.continue_tail(tail, head, next),
            (Some(tail), None) if next.is_unbroken_from_start() => {
                self.wound_of_tail(next, Fault::NoContinuation, tail.start, 0);
                Seam::Broken
            }
            // The first page of the other side is damaged, and said so.
            (Some(_), None) => Seam::Broken,
            (None, Some(head)) if self.is_all_head() => self.continue_head(head, next),
            (None, Some(head)) => {
                if self.ends_unbroken {
                    let lsn = next.start;
                    next.wound_at_start(Fault::UnexpectedContinuation { found: head.declared }, lsn, 16);
                }
                Seam::Broken
            }
            (None, None) if self.is_all_head() => {
                self.break_head();
                Seam::Broken
            }
            (None, None) if self.ends_unbroken => Seam::Sound,
            (None, None) => Seam::Broken,
        }
    }

    /// The other side says that the record open here will never be finished.
    fn drop_overwritten(tail: &Tail, next: &mut Self) -> Seam {
        let named = next.overwrites.first().map(|overwrite| overwrite.dropped);
        if named == Some(tail.start) {
            return Seam::Sound;
        }
        if let Some(found) = named {
            next.wound_at_start(Fault::OverwriteMismatch { expected: tail.start, found }, next.start, 0);
        }
        Seam::Broken
    }

    /// A record begun here goes on there.
    fn continue_tail(&mut self, mut tail: Tail, head: Head, next: &mut Self) -> Seam {
        let expected = tail.total.saturating_sub(tail.have);
        if head.declared != expected {
            if self.ends_unbroken {
                next.forget_consequences();
            }
            let fault = Fault::ContinuationLength { expected, found: head.declared };
            self.wound_of_tail(next, fault, tail.start, 16);
            return Seam::Broken;
        }
        tail.append(&head);
        match head.end {
            HeadEnd::Open if next.reaches_end() => {
                self.tail = Some(tail);
                Seam::StillOpen
            }
            HeadEnd::Open => {
                // The WAL ends inside the record. That is no damage as long as nothing stands behind it.
                next.tail = Some(tail);
                Seam::CutOff
            }
            HeadEnd::Broken => {
                next.name_broken_record(tail.start);
                Seam::Broken
            }
            HeadEnd::Complete(end) => self.finish_record(&tail, end),
        }
    }

    /// A record begun here does not go on there. If it was found behind damage, it may be none: enough was said.
    fn wound_of_tail(&self, next: &mut Self, fault: Fault, lsn: Lsn, offset: u64) {
        if self.ends_unbroken {
            next.wound_at_start(fault, lsn, offset);
        } else if let Some(first) = next.runs.first_mut() {
            first.run.continues = false;
        }
    }

    /// The whole of this range is the middle of a record; so may be the beginning of the other.
    fn continue_head(&mut self, head: Head, next: &mut Self) -> Seam {
        let Some(whole) = &mut self.head else { return Seam::Broken };
        let expected = whole.declared.saturating_sub(whole.have);
        if head.declared != expected {
            next.forget_consequences();
            let fault = Fault::ContinuationLength { expected, found: head.declared };
            next.wound_at_start(fault, next.start, 16);
            self.break_head();
            return Seam::Broken;
        }
        whole.append(&head);
        whole.end = head.end;
        match head.end {
            HeadEnd::Open => Seam::StillOpen,
            HeadEnd::Complete(_) => Seam::Sound,
            HeadEnd::Broken => Seam::Broken,
        }
    }

    /// The record in whose middle this range begins does not go on.
    fn break_head(&mut self) {
        if let Some(head) = &mut self.head {
            head.end = HeadEnd::Broken;
        }
    }

    /// All bytes of the record across the seam are there: checks it and takes it in.
    fn finish_record(&mut self, tail: &Tail, end: Lsn) -> Seam {
        match self.check_record(tail, end) {
            Ok(event) => {
                let header = RecordHeader::read(&tail.captured);
                self.take_record(tail.start, end, header.map_or(Lsn::INVALID, |h| h.prev()));
                if let (Some(event), Some(last)) = (event, self.runs.last_mut()) {
                    last.transactions.add_event(&event);
                    self.events.push(event);
                }
                Seam::Sound
            }
            Err(_) if !self.ends_unbroken => Seam::Broken,
            Err(fault) => {
                let offset = tail.start.offset_in_segment(self.format.segment_size);
                let wound = Wound { fault, lsn: tail.start, offset, context: Context::Elsewhere };
                self.wounds.push(PlacedWound { segment: self.segment_of(tail.start), wound });
                Seam::Broken
            }
        }
    }

    /// Checks a record gathered from several segments, as the server does.
    fn check_record(&mut self, tail: &Tail, end: Lsn) -> Result<Option<Event>, Fault> {
        let major = self.format.major;
        let link = |found: Lsn| match tail.prev {
            Some(expected) if found != expected => Err(Fault::PrevLink { expected, found }),
            None if found >= tail.start => Err(Fault::PrevLink { expected: Lsn::INVALID, found }),
            _ => Ok(()),
        };
        let header = check_gathered(crc::Portable, tail, major, link).map_err(|(fault, _)| fault)?;
        let body_length = tail.total.saturating_sub(24);
        #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
        let page_bytes = self.format.page_bytes as u32;
        let layout = check_body(tail.body(), body_length, page_bytes, major)?;
        let owner = self.owners.at(tail.start).0;
        let record = Record { lsn: tail.start, end, owner, header, layout, body: tail.body() };
        if let Some(across) = &mut self.across {
            across.take(&record, page_bytes, major);
        }
        Ok(Event::from_record(&record, major))
    }

    /// Whether the other side's first record links to the last one here; a wound there if it should and does not.
    pub(super) fn follows(&self, next: &mut Self) -> bool {
        let Some(first) = next.runs.first().map(|first| first.run) else {
            return next.ends_unbroken || !next.wounds.is_empty();
        };
        if !first.continues {
            return false;
        }
        let Some(last) = self.runs.last() else { return true };
        if first.prev_of_first == last.run.last {
            return true;
        }
        let fault = Fault::PrevLink { expected: last.run.last, found: first.prev_of_first };
        let offset = first.first.offset_in_segment(self.format.segment_size);
        let wound = Wound { fault, lsn: first.first, offset, context: Context::Elsewhere };
        let segment = next.segment_of(first.first);
        next.wounds.insert(0, PlacedWound { segment, wound });
        false
    }

    fn wound_at_start(&mut self, fault: Fault, lsn: Lsn, offset: u64) {
        let wound = Wound { fault, lsn, offset, context: Context::Elsewhere };
        self.wounds.insert(0, PlacedWound { segment: self.first, wound });
        if let Some(first) = self.runs.first_mut() {
            first.run.continues = false;
        }
    }

    /// Drops the wound that only follows from a wrong length of the leading fragment.
    fn forget_consequences(&mut self) {
        if self.wounds.first().is_some_and(|placed| placed.wound.context != Context::Elsewhere) {
            self.wounds.remove(0);
        }
    }

    /// The leading fragment was cut off by damage: now it is known which record that broke.
    fn name_broken_record(&mut self, start: Lsn) {
        if let Some(first) = self.wounds.first_mut() {
            let of_page = matches!(
                first.wound.fault,
                Fault::NoContinuation
                    | Fault::ContinuationLength { .. }
                    | Fault::UnexpectedContinuation { .. }
            );
            if of_page && first.wound.context == Context::OfHead {
                first.wound.lsn = start;
            }
        }
    }
}

impl Tail {
    /// Adds the bytes of a fragment that continues this record.
    pub(crate) fn append(&mut self, head: &Head) {
        let missing = 24usize.saturating_sub(self.have as usize);
        let header_part = head.captured.get(..missing.min(head.captured.len())).unwrap_or_default();
        // The header's own bytes are not part of the data that `crc` covers: take them out again.
        let data_bytes = u64::from(head.have).saturating_sub(header_part.len() as u64);
        let data_crc = head.crc ^ crc::shift(crc::update(0, header_part), data_bytes);
        self.crc = crc::combine(self.crc, data_crc, data_bytes);
        if self.captured.len() == self.have as usize {
            let is_event = || {
                RecordHeader::read(&[&self.captured, header_part].concat())
                    .is_none_or(|header| Event::may_be(&header))
            };
            let limit = match self.total as usize {
                total if total <= WITH_IMAGES_BYTES => total,
                _ if is_event() => WHOLE_CAPTURE_BYTES,
                _ => HEADERS_BYTES,
            };
            let room = limit.saturating_sub(self.captured.len()).max(missing);
            self.captured.extend(head.captured.iter().take(room));
        }
        self.have = self.have.saturating_add(head.have);
    }
}

impl Head {
    /// Adds the bytes of the fragment in the next segment.
    fn append(&mut self, next: &Self) {
        self.crc = crc::combine(self.crc, next.crc, u64::from(next.have));
        if self.captured.len() == self.have as usize {
            let room = HEAD_CAPTURE_BYTES.saturating_sub(self.captured.len());
            self.captured.extend(next.captured.iter().take(room));
        }
        self.have = self.have.saturating_add(next.have);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::HEADER_BYTES;

    /// What is kept of a record of `total` bytes, by `manager`, that crosses a seam behind its first hundred.
    fn kept(total: u32, manager: u8) -> usize {
        let mut first = vec![0; 100];
        first[..4].copy_from_slice(&total.to_le_bytes());
        first[17] = manager;
        let crc = crc::update(crc::INIT, &first[HEADER_BYTES..]);
        let mut tail = Tail { start: Lsn(8), total, have: 100, crc, captured: first, prev: None };
        let rest = vec![0; total as usize - 100];
        let (declared, crc) = (total - 100, crc::update(0, &rest));
        let end = HeadEnd::Complete(Lsn(16));
        tail.append(&Head { declared, have: declared, crc, captured: rest, end });
        assert_eq!(tail.have, total);
        tail.captured.len()
    }

    #[test]
    fn what_stands_behind_page_images_is_kept() {
        const HEAP: u8 = 10;
        const LOGICAL_MESSAGE: u8 = 21;
        assert_eq!(kept(8300, HEAP), 8300);
        assert_eq!(kept(2 << 20, LOGICAL_MESSAGE), HEADERS_BYTES);
        // A commit.
        assert_eq!(kept(2 << 20, 1), 2 << 20);
    }
}
