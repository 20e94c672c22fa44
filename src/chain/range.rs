//! A stretch of neighbouring segments, joined: the one idea.
//!
//! The facts of one segment are a [`Range`], and two ranges that stand side by side join to a range. Joining
//! finishes the record that crosses the seam and checks it whole, and is associative: any grouping of
//! neighbours gives the same range.

use super::seam::Seam;
use crate::scan::activity::{Activities, Gatherer};
use crate::scan::catalog_rows::{self, Sighting};
use crate::scan::event::Event;
use crate::scan::segment::PlacedWound;
use crate::scan::stats::Transactions;
use crate::scan::{FileFault, SegmentFacts};
use crate::wal::walk::{Ending, Format, Head, HeadEnd, Overwrite, Record, Run, Tail};
use crate::wal::{Lsn, Major, Owners, SegmentName};

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
    /// Neighbours before `first` that are all the middle of one record. What their bytes mean depends on where it
    /// begins, so they wait for what stands before them. None in a range that `leads`.
    pub middles: Vec<Range>,
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
    /// Nothing stands before it.
    pub leads: bool,
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
    pub(super) fn take(&mut self, record: &Record<'_>, page_bytes: u32, major: Major) {
        let mut gatherer = Gatherer::with_room(Vec::new());
        gatherer.record(record, major, page_bytes);
        self.activities.push((record.lsn, gatherer.finish()));
        catalog_rows::gather(record, page_bytes, major, &mut self.sightings);
    }
}

impl Range {
    /// The range of one segment. `None` if the file holds no WAL.
    pub fn of(facts: SegmentFacts, owners: Owners) -> Option<Self> {
        let edge = Self::edge_of(&facts, owners)?;
        let place = |wound| PlacedWound { segment: facts.name, wound };
        let wounds = facts.walked.wounds.into_iter().map(place).collect();
        Some(Self { wounds, events: facts.events.into_list(), across: None, ..edge })
    }

    /// The range of one segment with all that a neighbour needs, and neither wounds nor events. Joined, it tells
    /// everything of the record across the seam.
    pub fn edge_of(facts: &SegmentFacts, owners: Owners) -> Option<Self> {
        let identity = facts.identity?;
        let walked = &facts.walked;
        let counted = |(run, transactions): (&Run, &Transactions)| CountedRun {
            run: *run,
            transactions: *transactions,
        };
        Some(Self {
            middles: Vec::new(),
            format: identity.format,
            first: facts.name,
            last: facts.name,
            start: facts.start,
            end: facts.end(),
            head: walked.head.clone(),
            starts_with_overwrite: walked.starts_with_overwrite,
            runs: walked.runs.iter().zip(&facts.transactions).map(counted).collect(),
            tail: walked.tail.clone(),
            ending: walked.ending,
            ends_unbroken: walked.ends_unbroken && !has_wrong_size(facts.fault.as_ref()),
            wounds: Vec::new(),
            overwrites: walked.overwrites.clone(),
            events: Vec::new(),
            across: Some(Across::default()),
            owners,
            leads: false,
        })
    }

    /// Whether the WAL reaches the last segment's end, so that the next one can go on with it.
    pub fn reaches_end(&self) -> bool {
        matches!(self.ending, Ending::Full | Ending::Switch { .. })
    }

    /// This range and the one whose first segment follows its last.
    #[must_use]
    pub fn join(mut self, mut next: Self) -> Self {
        for middle in std::mem::take(&mut next.middles) {
            self = self.join(middle);
        }
        if self.is_all_head() && !self.leads {
            next.middles = std::mem::take(&mut self.middles);
            next.middles.push(self);
            return next;
        }
        self.go_on(next)
    }

    /// Joins what follows a range of which it is known what it begins with.
    fn go_on(mut self, mut next: Self) -> Self {
        let seam = if self.reaches_end() { self.close_seam(&mut next) } else { self.end_early() };
        if !matches!(seam, Seam::StillOpen) {
            let goes_on = matches!(seam, Seam::Sound) && self.follows(&mut next);
            let cut_off = matches!(seam, Seam::CutOff) && self.ends_unbroken;
            self.tail = next.tail;
            self.ends_unbroken = next.ends_unbroken && (goes_on || cut_off || !next.runs.is_empty());
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

    /// Adds a record at the end.
    pub(super) fn take_record(&mut self, lsn: Lsn, end: Lsn, prev: Lsn) {
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

    pub(super) fn is_all_head(&self) -> bool {
        self.runs.is_empty() && self.head.as_ref().is_some_and(|head| head.end == HeadEnd::Open)
    }

    /// No damage before the first record.
    pub(super) fn is_unbroken_from_start(&self) -> bool {
        match self.runs.first() {
            Some(first) => first.run.continues,
            // A cut before the end of the first page leaves nothing to judge by.
            None => self.wounds.is_empty() && !matches!(self.ending, Ending::Cut { .. }),
        }
    }

    /// The segment of this range that holds `lsn`.
    pub(super) fn segment_of(&self, lsn: Lsn) -> SegmentName {
        let size = self.format.segment_size;
        let timeline = if lsn.segment(size) == self.end.segment_of_end(size) {
            self.last.timeline
        } else {
            self.first.timeline
        };
        SegmentName::new(timeline, lsn.segment(size), size)
    }
}

/// The server refuses a file of a wrong size whole: nothing goes on from it.
///
/// PostgreSQL: `src/backend/access/transam/xlogarchive.c` (`RestoreArchivedFile`), 9.5 to 19.
const fn has_wrong_size(fault: Option<&FileFault>) -> bool {
    matches!(fault, Some(FileFault::Truncated { .. } | FileFault::TooLong { .. }))
}
