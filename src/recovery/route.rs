//! Which files a server reads, in which order, and how far their WAL carries it.
//!
//! For each segment it asks for the file of the newest timeline in its history that can have it, and never goes
//! back to an older timeline. Nothing stops it from reading a parent's file beyond the fork where the child's is
//! missing: see [`Route::violations`].
//!
//! PostgreSQL: `XLogFileReadAnyTLI`, `XLogPageRead` in `src/backend/access/transam/xlogrecovery.c` (`xlog.c` up
//! to 14), 9.5 to 19.

use super::library::Library;
use crate::archive::StoreError;
use crate::chain::range::Range;
use crate::scan::event::{Event, What};
use crate::scan::{FileFault, SegmentFacts};
use crate::timeline::History;
use crate::wal::fault::Fault;
use crate::wal::walk::{Ending, HeadEnd};
use crate::wal::{Lsn, SegmentName, SegmentNumber, TimelineId};

/// One file on the way, and the part of it that is read.
#[derive(Clone, Debug)]
pub struct Leg<'a> {
    /// The timeline in its name.
    pub timeline: TimelineId,
    /// Its number.
    pub number: SegmentNumber,
    /// Where reading begins in it: for the first leg a record, else the segment's start.
    pub from: Lsn,
    /// How far its WAL is good: the end of its last good record, or the segment's end.
    pub to: Lsn,
    /// Its facts.
    pub facts: &'a SegmentFacts,
    /// The record that begins in it and ends in a later segment.
    pub crossing: Option<Crossing>,
}

/// A record across a segment boundary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// Where it starts.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// What it is, if it is an event.
    pub event: Option<Event>,
}

/// Why a server reads no further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The next segment is in none of the timelines' files.
    NoFile(SegmentName),
    /// What comes next in this file is not WAL that goes on.
    Bad {
        /// The file.
        segment: SegmentName,
        /// Where the next record was due.
        at: Lsn,
        /// What is wrong, in the server's words.
        message: String,
    },
    /// The WAL in this file ends in an orderly way: zeros, or what is left of an older use.
    Orderly {
        /// The file.
        segment: SegmentName,
        /// Where the next record was due.
        at: Lsn,
    },
    /// The file has the wrong size, which the server does not forgive.
    WrongSize {
        /// The file.
        segment: SegmentName,
        /// Its size in bytes.
        found: u64,
    },
}

/// The way from a position to where it ends.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// The files, in the order in which they are read.
    pub legs: Vec<Leg<'a>>,
    /// Why it ends.
    pub end: End,
}

/// WAL of one timeline read where another one owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The file that is read.
    pub segment: SegmentName,
    /// Its timeline.
    pub read: TimelineId,
    /// Whose WAL should be there.
    pub owner: TimelineId,
    /// First byte.
    pub from: Lsn,
    /// The byte after the last.
    pub to: Lsn,
}

/// The file that a server opens for segment `number`, having last read one of timeline `current` (0: none).
pub fn pick(
    library: &Library<'_>,
    history: &History,
    number: SegmentNumber,
    current: TimelineId,
) -> Option<TimelineId> {
    for ancestor in history.ancestry() {
        if ancestor.timeline < current {
            return None;
        }
        let begins_later =
            ancestor.begin != Lsn::INVALID && number < ancestor.begin.segment(library.segment_size);
        if !begins_later && library.facts(ancestor.timeline, number).is_some() {
            return Some(ancestor.timeline);
        }
    }
    None
}

impl<'a> Route<'a> {
    /// Follows the WAL from the record at `start`. Many ways in one library: see [`Routes`](super::routes::Routes).
    pub fn from(library: &'a Library<'a>, history: &History, start: Lsn) -> Self {
        let mut follower = Follower::new(library, history, start);
        loop {
            if let Err(end) = follower.step() {
                return Self { legs: follower.legs, end };
            }
        }
    }

    /// Start and end of the first record that starts at `lsn` or later.
    pub fn record_at(&self, library: &Library<'_>, lsn: Lsn) -> Result<Option<(Lsn, Lsn)>, StoreError> {
        self.first_record(library, lsn, |(start, _)| start >= lsn)
    }

    /// Start and end of the first record that ends at `lsn` or later.
    pub fn record_ending(&self, library: &Library<'_>, lsn: Lsn) -> Result<Option<(Lsn, Lsn)>, StoreError> {
        self.first_record(library, self.start(), |(_, end)| end >= lsn)
    }

    fn first_record(
        &self,
        library: &Library<'_>,
        from: Lsn,
        wanted: impl Fn((Lsn, Lsn)) -> bool,
    ) -> Result<Option<(Lsn, Lsn)>, StoreError> {
        for leg in &self.legs {
            if let Some(crossing) = &leg.crossing
                && crossing.start < from
            {
                continue;
            }
            let last =
                leg.facts.walked.runs.iter().filter(|run| run.first < leg.to).map(|run| run.last).max();
            let may_be_inside = last.is_some_and(|last| last >= from && wanted((last, leg.to)));
            if may_be_inside {
                let records = library.records(leg.timeline, leg.number, from.max(leg.from))?;
                let found = records.into_iter().find(|record| record.1 <= leg.to && wanted(*record));
                if found.is_some() {
                    return Ok(found);
                }
            }
            if let Some(crossing) = &leg.crossing {
                let record = (crossing.start, crossing.end);
                if crossing.start >= from && wanted(record) {
                    return Ok(Some(record));
                }
            }
        }
        Ok(None)
    }

    /// Start and end of the last record.
    pub fn last_record(&self) -> Option<(Lsn, Lsn)> {
        self.legs.iter().rev().find_map(|leg| {
            if let Some(crossing) = &leg.crossing {
                return Some((crossing.start, crossing.end));
            }
            let runs = leg.facts.walked.runs.iter().rev();
            runs.filter(|run| run.end <= leg.to && run.last >= leg.from).map(|run| (run.last, run.end)).next()
        })
    }

    /// How many records start before `until` and end by then.
    pub fn count_records(&self, library: &Library<'_>, until: Lsn) -> Result<u64, StoreError> {
        let mut count = 0;
        for leg in &self.legs {
            let whole = leg.from == leg.facts.start && leg.to <= until;
            if whole {
                let runs = leg.facts.walked.runs.iter().filter(|run| run.end <= leg.to);
                count += runs.map(|run| run.records).sum::<u64>();
            } else if leg.from < until {
                let records = library.records(leg.timeline, leg.number, leg.from)?;
                count += records.iter().filter(|(_, end)| *end <= until.min(leg.to)).count() as u64;
            }
            count += u64::from(leg.crossing.as_ref().is_some_and(|crossing| crossing.end <= until));
        }
        Ok(count)
    }

    /// Where the way begins.
    pub fn start(&self) -> Lsn {
        self.legs.first().map_or(Lsn::INVALID, |leg| leg.from)
    }

    /// Where a server would read a timeline's WAL that is not its own any more, up to `until`. What is behind the
    /// beginning of any newer timeline is not: a history may tell of later ones that began earlier.
    ///
    /// PostgreSQL: `tliOfPointInHistory` in `src/backend/access/transam/timeline.c`.
    pub fn violations(&self, history: &History, until: Lsn) -> Vec<Violation> {
        let ancestry = history.ancestry();
        let end_of = |timeline| {
            let newer = ancestry.iter().take_while(|ancestor| ancestor.timeline != timeline);
            newer.map(|ancestor| ancestor.begin).min().unwrap_or(Lsn::MAX)
        };
        let of_leg = |leg: &Leg<'_>| {
            let from = leg.from.max(end_of(leg.timeline));
            let to = leg.to.min(until);
            (from < to).then(|| Violation {
                segment: leg.facts.name,
                read: leg.timeline,
                owner: history.owner(from),
                from,
                to,
            })
        };
        self.legs.iter().filter_map(of_leg).collect()
    }
}

/// A server on its way.
pub(super) struct Follower<'a, 'h> {
    library: &'a Library<'a>,
    history: &'h History,
    start: Lsn,
    /// The segment that is asked for next.
    pub(super) number: SegmentNumber,
    /// The timeline of the last file (0: none).
    current: TimelineId,
    /// What the next file goes on from: the last file alone, or, if no record ended in that, with those in front of it.
    before: Option<Range>,
    /// The files so far.
    pub(super) legs: Vec<Leg<'a>>,
}

impl<'a, 'h> Follower<'a, 'h> {
    pub(super) fn new(library: &'a Library<'a>, history: &'h History, start: Lsn) -> Self {
        let number = start.segment(library.segment_size);
        Self { library, history, start, number, current: TimelineId(0), before: None, legs: Vec::new() }
    }

    /// Goes through the next file.
    ///
    /// # Errors
    /// The way ends in that file, which is then the last of the legs, or in front of it.
    pub(super) fn step(&mut self) -> Result<(), End> {
        let (library, number) = (self.library, self.number);
        let Some(timeline) = pick(library, self.history, number, self.current) else {
            let newest = self.history.owner(Lsn(number.end(library.segment_size).0.saturating_sub(1)));
            return Err(End::NoFile(library.name(newest, number)));
        };
        let Some(facts) = library.facts(timeline, number) else {
            return Err(End::NoFile(library.name(timeline, number)));
        };
        self.current = timeline;
        if let Some(found) = library.wrong_size(facts) {
            return Err(End::WrongSize { segment: facts.name, found });
        }
        let before = self.before.take();
        let (to, end, range) = enter(library, facts, before, self.start, &mut self.legs)?;
        let from = self.start.max(facts.start);
        self.legs.push(Leg { timeline, number, from, to, facts, crossing: None });
        if let Some(end) = end {
            return Err(end);
        }
        self.before = range;
        self.number = number.next();
        Ok(())
    }
}

/// Entering a file: how far its WAL is good, why it ends there (if it does), and what the next file goes on from.
type Entered = (Lsn, Option<End>, Option<Range>);

/// Goes on from the last leg into the file of `facts`.
fn enter(
    library: &Library<'_>,
    facts: &SegmentFacts,
    before: Option<Range>,
    start: Lsn,
    legs: &mut [Leg<'_>],
) -> Result<Entered, End> {
    let bad = |at: Lsn, message: String| End::Bad { segment: facts.name, at, message };
    // A file that holds no WAL does not know where it begins.
    let begins = facts.name.start(library.segment_size).unwrap_or(facts.start);
    let due = begins.max(start);
    if let Some(detail) = facts.undecodable() {
        return Err(bad(due, format!("what is stored cannot be unpacked: {detail}")));
    }
    let Some(identity) = facts.identity else {
        return Err(match facts.fault {
            Some(FileFault::Zero) => End::Orderly { segment: facts.name, at: due },
            _ => bad(due, "invalid magic number".to_owned()),
        });
    };
    if identity.system_id != library.system_id {
        return Err(bad(due, "WAL file is from different database system".to_owned()));
    }
    let own = bare(library, facts).ok_or_else(|| bad(due, "no WAL".to_owned()))?;
    let Some(before) = before else {
        // The first file: reading begins at a record in it.
        let good_to = good_from(facts, start).ok_or_else(|| bad(start, "invalid record".to_owned()))?;
        let end = end_in(facts, good_to);
        return Ok((good_to, end, Some(own)));
    };
    let known_events = before.events.len();
    let last_end = before.runs.last().map(|last| last.run.end);
    let was_open = before.tail.as_ref().map(|tail| tail.start);
    let joined = before.join(own.clone());
    let last_run_end = joined.runs.last().map(|last| last.run.end);
    let goes_on = match facts.walked.runs.first() {
        // The file's first run is part of the one before, or begins where that one ends.
        Some(own) => joined.runs.iter().any(|counted| {
            let run = counted.run;
            run.first <= own.first && own.last <= run.last && (run.first < own.first || run.continues)
        }),
        // No record is whole in it: one goes on there that began before, or one begins that goes on behind it.
        None => is_of_long_records(facts) || last_run_end > last_end,
    };
    finish_crossing(&joined, was_open, last_end, known_events, facts, legs);
    if !joined.wounds.is_empty() || !goes_on {
        let message = joined.wounds.first().map_or_else(
            || {
                facts
                    .walked
                    .wounds
                    .first()
                    .map_or_else(|| "no valid record".to_owned(), |w| w.fault.message())
            },
            |placed| placed.wound.fault.message(),
        );
        let orderly = facts.is_recycled() || facts.is_zero();
        return Err(if orderly { End::Orderly { segment: facts.name, at: due } } else { bad(due, message) });
    }
    let good_to = match facts.walked.runs.first() {
        Some(first) => good_from(facts, first.first).unwrap_or(begins),
        None if is_of_long_records(facts) => facts.end(),
        None => last_run_end.unwrap_or(begins),
    };
    let end = end_in(facts, good_to);
    // What the next file needs of a segment without a record start is the whole open record.
    Ok((good_to, end, Some(if facts.walked.runs.is_empty() { joined } else { own })))
}

/// Whether a file without a whole record is good to its end: what it begins with goes on, or what it ends with.
fn is_of_long_records(facts: &SegmentFacts) -> bool {
    let walked = &facts.walked;
    let goes_on = walked.head.as_ref().is_some_and(|head| head.end == HeadEnd::Open) || walked.tail.is_some();
    goes_on && walked.wounds.is_empty() && reaches_end(facts)
}

/// If the record that was open at the end of the last legs is whole now, notes it where it began.
fn finish_crossing(
    joined: &Range,
    was_open: Option<Lsn>,
    last_end: Option<Lsn>,
    known_events: usize,
    facts: &SegmentFacts,
    legs: &mut [Leg<'_>],
) {
    let Some(start) = was_open.filter(|_| joined.tail.as_ref().map(|tail| tail.start) != was_open) else {
        return;
    };
    let whole = joined.runs.iter().find(|counted| {
        counted.run.first <= start && start <= counted.run.last && Some(counted.run.end) > last_end
    });
    if whole.is_none() {
        return;
    }
    let event = joined.events.get(known_events..).and_then(|new| new.iter().find(|event| event.lsn == start));
    let Some(HeadEnd::Complete(end)) = facts.walked.head.as_ref().map(|head| head.end) else { return };
    if let Some(leg) = legs.iter_mut().rev().find(|leg| leg.facts.start <= start) {
        leg.crossing = Some(Crossing { start, end, event: event.cloned() });
    }
}

/// The range of one file, without what only the audit needs.
fn bare(library: &Library<'_>, facts: &SegmentFacts) -> Option<Range> {
    let owners = library.plan.owners(facts.name.timeline);
    Range::edge_of(facts, owners)
}

/// Where the unbroken WAL that holds the record at `from` ends.
fn good_from(facts: &SegmentFacts, from: Lsn) -> Option<Lsn> {
    let runs = &facts.walked.runs;
    let first = runs.iter().position(|run| run.first <= from && from < run.end)?;
    let after = runs.iter().skip(first + 1).take_while(|run| run.continues).count();
    let last = first + after;
    if last + 1 == runs.len() && facts.walked.ends_unbroken && reaches_end(facts) {
        return Some(facts.end());
    }
    runs.get(last).map(|run| run.end)
}

fn reaches_end(facts: &SegmentFacts) -> bool {
    matches!(facts.walked.ending, Ending::Full | Ending::Switch { .. })
}

/// Why the WAL ends at `good_to` in this file; `None` if it goes on in the next.
fn end_in(facts: &SegmentFacts, good_to: Lsn) -> Option<End> {
    if good_to == facts.end() {
        return None;
    }
    let segment = facts.name;
    let wound = facts.walked.wounds.iter().find(|wound| wound.lsn >= good_to);
    Some(match (wound, facts.walked.ending) {
        (Some(wound), _) => End::Bad { segment, at: good_to, message: wound.fault.message() },
        (None, Ending::Zero { .. } | Ending::Stale { .. }) => End::Orderly { segment, at: good_to },
        (None, _) => End::Bad { segment, at: good_to, message: Fault::BodyLength.message() },
    })
}

/// The checkpoint at `lsn`, as the server reads it, from the newest file that can hold it: the file, the
/// checkpoint, and whether the record goes on in the next segment.
pub fn checkpoint_at<'a>(
    library: &'a Library<'a>,
    history: &History,
    lsn: Lsn,
) -> (Option<&'a SegmentFacts>, Option<&'a Event>, bool) {
    let number = lsn.segment(library.segment_size);
    let Some(timeline) = pick(library, history, number, TimelineId(0)) else { return (None, None, false) };
    let facts = library.facts(timeline, number);
    let event = facts.and_then(|facts| {
        let own = facts.identity.is_some_and(|identity| identity.system_id == library.system_id)
            && facts.undecodable().is_none();
        let event = facts.events.others().find(|event| event.lsn == lsn);
        event.filter(|event| own && matches!(event.what, What::Checkpoint { .. }))
    });
    let tail =
        facts.filter(|facts| facts.undecodable().is_none()).and_then(|facts| facts.walked.tail.as_ref());
    (facts, event, tail.is_some_and(|tail| tail.start == lsn))
}
