//! A stretch of neighbouring segments, joined: the one idea.
//!
//! The facts of one segment are a [`Range`], and two ranges that stand side by side join to a range. Joining
//! finishes the record that crosses the seam and checks it whole, and is associative: any grouping of
//! neighbours gives the same range.

use crate::scan::activity::{Activities, Gatherer};
use crate::scan::catalog_rows::{self, Sighting};
use crate::scan::event::Event;
use crate::scan::segment::PlacedWound;
use crate::scan::stats::Transactions;
use crate::scan::{FileFault, SegmentFacts};
use crate::wal::fault::Fault;
use crate::wal::record::{RecordHeader, check_body};
use crate::wal::walk::{
    Context, Ending, Format, HEAD_CAPTURE_BYTES, Head, HeadEnd, Overwrite, Record, Run, Tail,
    WHOLE_CAPTURE_BYTES, Wound, check_gathered,
};
use crate::wal::{Lsn, Major, Owners, SegmentName, crc};

/// A run of records and the transactions in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountedRun {
    /// The records.
    pub run: Run,
    /// The transactions.
    pub transactions: Transactions,
}

/// What neighbouring segments hold, as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// How they are written.
    pub format: Format,
    /// The first of them.
    pub first: SegmentName,
    /// The last of them.
    pub last: SegmentName,
    /// Where the first begins.
    pub start: Lsn,
    /// Where the last ends.
    pub end: Lsn,
    /// The fragment that they begin with.
    pub head: Option<Head>,
    /// Their first record overwrites an unfinished one before them.
    pub starts_with_overwrite: bool,
    /// Unbroken runs of records.
    pub runs: Vec<CountedRun>,
    /// The fragment that they end with.
    pub tail: Option<Tail>,
    /// How they end.
    pub ending: Ending,
    /// No damage lies between the last run and the ending.
    pub ends_unbroken: bool,
    /// What is wrong, in order.
    pub wounds: Vec<PlacedWound>,
    /// Dropped records.
    pub overwrites: Vec<Overwrite>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What records across the seams did to rows, and show of catalogs, where that was asked for.
    pub across: Option<Across>,
    /// Who owns what in the last segment's file.
    pub owners: Owners,
}

/// What the records across seams hold besides events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Across {
    /// What they did to rows and files, of each record alone.
    pub activities: Vec<(Lsn, Activities)>,
    /// Rows of catalogs.
    pub sightings: Vec<Sighting>,
}

impl Across {
    fn take(&mut self, record: &Record<'_>, page_bytes: u32, major: Major) {
        let mut gatherer = Gatherer::default();
        gatherer.record(record, major, page_bytes);
        self.activities.push((record.lsn, gatherer.finish()));
        catalog_rows::gather(record, page_bytes, major, &mut self.sightings);
    }
}

/// What became of the record that was open at a seam.
enum Seam {
    /// Nothing was open, or it was finished: the next run goes on.
    Sound,
    /// It is still open: there is nothing behind the seam but more of it.
    StillOpen,
    /// It is lost.
    Broken,
}

impl Range {
    /// The range of one segment. `None` if the file holds no WAL.
    pub fn of(facts: SegmentFacts, owners: Owners) -> Option<Self> {
        let identity = facts.identity?;
        let end = facts.end();
        let walked = facts.walked;
        let ends_unbroken = walked.ends_unbroken && !has_wrong_size(facts.fault.as_ref());
        let place = |wound| PlacedWound { segment: facts.name, wound };
        let runs = walked.runs.iter().zip(facts.transactions);
        Some(Self {
            format: identity.format,
            first: facts.name,
            last: facts.name,
            start: facts.start,
            end,
            head: walked.head,
            starts_with_overwrite: walked.starts_with_overwrite,
            runs: runs.map(|(run, transactions)| CountedRun { run: *run, transactions }).collect(),
            tail: walked.tail,
            ending: walked.ending,
            ends_unbroken,
            wounds: walked.wounds.into_iter().map(place).collect(),
            overwrites: walked.overwrites,
            events: facts.events,
            across: None,
            owners,
        })
    }

    /// The range of one segment with all that a neighbour needs, and neither wounds nor events. Joined, it tells
    /// everything of the record across the seam.
    pub fn edge_of(facts: &SegmentFacts, owners: Owners) -> Option<Self> {
        let identity = facts.identity?;
        let walked = &facts.walked;
        let runs = walked.runs.iter().zip(&facts.transactions);
        Some(Self {
            format: identity.format,
            first: facts.name,
            last: facts.name,
            start: facts.start,
            end: facts.end(),
            head: walked.head.clone(),
            starts_with_overwrite: walked.starts_with_overwrite,
            runs: runs
                .map(|(run, transactions)| CountedRun { run: *run, transactions: *transactions })
                .collect(),
            tail: walked.tail.clone(),
            ending: walked.ending,
            ends_unbroken: walked.ends_unbroken && !has_wrong_size(facts.fault.as_ref()),
            wounds: Vec::new(),
            overwrites: walked.overwrites.clone(),
            events: Vec::new(),
            across: Some(Across::default()),
            owners,
        })
    }

    /// Whether the WAL reaches the last segment's end, so that the next one can go on with it.
    pub fn reaches_end(&self) -> bool {
        matches!(self.ending, Ending::Full | Ending::Switch { .. })
    }

    /// This range and the one whose first segment follows its last.
    #[must_use]
    pub fn join(mut self, mut next: Self) -> Self {
        let seam = if self.reaches_end() { self.close_seam(&mut next) } else { self.end_early() };
        if !matches!(seam, Seam::StillOpen) {
            let goes_on = matches!(seam, Seam::Sound) && self.follows(&mut next);
            self.tail = next.tail;
            self.ends_unbroken = next.ends_unbroken && (goes_on || !next.runs.is_empty());
            self.append_runs(next.runs, goes_on);
        }
        self.last = next.last;
        self.end = next.end;
        self.ending = next.ending;
        self.wounds.append(&mut next.wounds);
        self.overwrites.append(&mut next.overwrites);
        self.events.append(&mut next.events);
        if let (Some(own), Some(next)) = (&mut self.across, &mut next.across) {
            own.activities.append(&mut next.activities);
            own.sightings.append(&mut next.sightings);
        }
        self.owners = next.owners;
        self
    }

    /// The WAL here does not reach the other side.
    fn end_early(&mut self) -> Seam {
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
    fn close_seam(&mut self, next: &mut Self) -> Seam {
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
                // The WAL ends inside the record.
                next.tail = Some(tail);
                Seam::Broken
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
        let Some(mut whole) = self.head.take() else { return Seam::Broken };
        let expected = whole.declared.saturating_sub(whole.have);
        if head.declared != expected {
            next.forget_consequences();
            let fault = Fault::ContinuationLength { expected, found: head.declared };
            next.wound_at_start(fault, next.start, 16);
            whole.end = HeadEnd::Broken;
            self.head = Some(whole);
            return Seam::Broken;
        }
        whole.append(&head);
        whole.end = head.end;
        self.head = Some(whole);
        match head.end {
            HeadEnd::Open => Seam::StillOpen,
            HeadEnd::Complete(_) => Seam::Sound,
            HeadEnd::Broken => Seam::Broken,
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

    /// Adds a record at the end.
    fn take_record(&mut self, lsn: Lsn, end: Lsn, prev: Lsn) {
        let owner = self.owners.at(lsn).0;
        let goes_on = self.ends_unbroken && self.runs.last().is_some_and(|last| last.run.owner == owner);
        if !goes_on {
            let continues = self.ends_unbroken;
            let run = Run { owner, first: lsn, prev_of_first: prev, last: lsn, end, records: 0, continues };
            self.runs.push(CountedRun { run, transactions: Transactions::default() });
        }
        self.ends_unbroken = true;
        if let Some(last) = self.runs.last_mut() {
            last.run.last = lsn;
            last.run.end = end;
            last.run.records += 1;
        }
    }

    /// Whether the other side's first record links to the last one here; a wound there if it should and does not.
    fn follows(&self, next: &mut Self) -> bool {
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

    /// Puts the other side's runs behind these; the first of them extends the last of these if it goes on.
    fn append_runs(&mut self, next: Vec<CountedRun>, goes_on: bool) {
        let was_empty = self.runs.is_empty();
        for (index, mut counted) in next.into_iter().enumerate() {
            if index > 0 {
                self.runs.push(counted);
                continue;
            }
            counted.run.continues = goes_on && (!was_empty || self.ends_unbroken_at_start());
            match self.runs.last_mut() {
                Some(last) if counted.run.continues && last.run.owner == counted.run.owner => {
                    last.run.last = counted.run.last;
                    last.run.end = counted.run.end;
                    last.run.records += counted.run.records;
                    last.transactions = last.transactions.then(counted.transactions);
                }
                _ => self.runs.push(counted),
            }
        }
    }

    /// Without a run, whether nothing but the middle of a record stands here.
    fn ends_unbroken_at_start(&self) -> bool {
        self.head.is_none() || self.head.as_ref().is_some_and(|head| head.end != HeadEnd::Broken)
    }

    fn is_all_head(&self) -> bool {
        self.runs.is_empty() && self.head.as_ref().is_some_and(|head| head.end == HeadEnd::Open)
    }

    /// No damage before the first record.
    fn is_unbroken_from_start(&self) -> bool {
        match self.runs.first() {
            Some(first) => first.run.continues,
            // A cut before the end of the first page leaves nothing to judge by.
            None => self.wounds.is_empty() && !matches!(self.ending, Ending::Cut { .. }),
        }
    }

    /// The segment of this range that holds `lsn`.
    fn segment_of(&self, lsn: Lsn) -> SegmentName {
        let size = self.format.segment_size;
        let timeline = if lsn.segment(size) == self.end.segment_of_end(size) {
            self.last.timeline
        } else {
            self.first.timeline
        };
        SegmentName::new(timeline, lsn.segment(size), size)
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

/// The server refuses a file of a wrong size whole: nothing goes on from it.
///
/// PostgreSQL: `src/backend/access/transam/xlogarchive.c` (`RestoreArchivedFile`), 9.5 to 19.
const fn has_wrong_size(fault: Option<&FileFault>) -> bool {
    matches!(fault, Some(FileFault::Truncated { .. } | FileFault::TooLong { .. }))
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
            let wanted = RecordHeader::read(&[&self.captured, header_part].concat())
                .is_none_or(|header| Event::may_be(&header));
            let limit = if wanted { WHOLE_CAPTURE_BYTES } else { 2048 };
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
