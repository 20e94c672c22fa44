//! Bounds of what happened in one file: enough to know where not to look for an answer.
//!
//! Bounds may be too wide and are never too narrow. What lies in a record across the file's end is not within them;
//! [`FileZone::open`] tells where that may matter.

use super::activity::Activities;
use super::catalog_rows::{Sighting, may_show};
use super::event::{End, Event, What};
use super::facts::SegmentFacts;
use crate::wal::record::{HEADER_BYTES, RecordHeader, ResourceManager};
use crate::wal::walk::{Format, Tail};
use crate::wal::{Lsn, PgTime, SegmentName, TimelineId, Xid};

/// Least and greatest.
pub type Span<T> = Option<(T, T)>;

/// Bytes of a record that tell which file its first block belongs to.
const TELLING_BYTES: usize = HEADER_BYTES + 32;

/// What one timeline did in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Zone {
    /// The timeline.
    pub owner: TimelineId,
    /// Starts of records of events that are listed unasked.
    pub events: Span<Lsn>,
    /// Times of ends of transactions.
    pub ends: Span<PgTime>,
    /// Times of all events.
    pub timed: Span<PgTime>,
    /// Transactions of events, their subtransactions included.
    pub xids: Span<Xid>,
    /// Transactions and subtransactions that did something to rows or files.
    pub active: Span<Xid>,
    /// An event has a name.
    pub has_names: bool,
    /// There is a checkpoint.
    pub has_checkpoint: bool,
    /// Rows of catalogs that hold names are seen.
    pub has_sightings: bool,
    /// An event is as old as its transaction's end, which is not here.
    pub untimed: bool,
}

/// What happened in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileZone {
    /// Its name.
    pub name: SegmentName,
    /// Where it begins.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// The record across its end may be an event, or show rows of catalogs, or is too short to tell.
    pub open: bool,
    /// The transaction of the record across its end, where that is known.
    pub across: Option<Xid>,
    /// No record starts in it.
    pub is_middle: bool,
    /// Its timelines, in order.
    pub zones: Vec<Zone>,
}

fn widen<T: Ord + Copy>(span: &mut Span<T>, value: T) {
    *span = Some(span.map_or((value, value), |(least, greatest)| (least.min(value), greatest.max(value))));
}

impl FileZone {
    /// The bounds of a file with every event.
    pub fn of(facts: &SegmentFacts) -> Self {
        let open = match (&facts.walked.tail, facts.identity) {
            (Some(tail), Some(identity)) => {
                facts.walked.runs.is_empty() || may_matter(tail, &identity.format)
            }
            _ => false,
        };
        let mut zone = Self {
            name: facts.name,
            start: facts.start,
            end: facts.end(),
            open,
            across: None,
            is_middle: facts.walked.runs.is_empty(),
            zones: Vec::new(),
        };
        // A record across the end counts for its transaction, whatever it is.
        if let Some(header) = facts.walked.tail.as_ref().and_then(|tail| RecordHeader::read(&tail.captured)) {
            zone.across = Some(header.xid());
            for run in &facts.walked.runs {
                widen(&mut zone.of_owner(run.owner).active, header.xid());
            }
        }
        zone.take(&facts.events, std::slice::from_ref(&facts.activity), &facts.sightings);
        zone
    }

    /// Widens the bounds.
    pub fn take(&mut self, events: &[Event], activities: &[Activities], sightings: &[Sighting]) {
        for of_one in events.chunk_by(|a, b| a.owner == b.owner) {
            let Some(first) = of_one.first() else { continue };
            let zone = self.of_owner(first.owner);
            // Nearly all are plain ends of transactions.
            let mut plain = Plain::NONE;
            for event in of_one {
                match (&event.what, event.time) {
                    (What::End(End { details: None, .. }), Some(time)) => {
                        plain.add(event.lsn, time, event.xid);
                    }
                    _ => zone.take_event(event),
                }
            }
            plain.widen(zone);
            zone.untimed |= lacks_a_time(of_one);
        }
        for of_transactions in activities.iter().map(|activities| &activities.of_transactions) {
            for of_one in of_transactions.chunk_by(|a, b| a.owner == b.owner) {
                // They are in order of their transactions.
                for activity in of_one.first().into_iter().chain(of_one.last()) {
                    widen(&mut self.of_owner(TimelineId(activity.owner)).active, Xid(activity.xid));
                }
            }
        }
        for sighting in sightings {
            self.of_owner(sighting.owner).has_sightings = true;
        }
    }

    fn of_owner(&mut self, owner: TimelineId) -> &mut Zone {
        let place = match self.zones.binary_search_by_key(&owner, |zone| zone.owner) {
            Ok(place) => place,
            Err(place) => {
                self.zones.insert(place, Zone { owner, ..Zone::default() });
                place
            }
        };
        &mut self.zones[place]
    }
}

/// Whether an event among these tells no time, and the end of its transaction, which does, does not follow.
fn lacks_a_time(events: &[Event]) -> bool {
    let at_once = events.iter().enumerate().filter(|(_, event)| event.what.is_at_once());
    let ends = |xid: Xid, behind: &[Event]| {
        behind.iter().any(|event| event.xid == xid && matches!(event.what, What::End(_)))
    };
    at_once.into_iter().any(|(at, event)| !ends(event.xid, events.get(at..).unwrap_or_default()))
}

/// Bounds of ends of transactions that say nothing but their times.
struct Plain {
    lsns: (Lsn, Lsn),
    times: (PgTime, PgTime),
    xids: (Xid, Xid),
}

impl Plain {
    const NONE: Self = Self {
        lsns: (Lsn::MAX, Lsn::INVALID),
        times: (PgTime(i64::MAX), PgTime(i64::MIN)),
        xids: (Xid(u32::MAX), Xid::INVALID),
    };

    #[inline]
    fn add(&mut self, lsn: Lsn, time: PgTime, xid: Xid) {
        self.lsns = (self.lsns.0.min(lsn), self.lsns.1.max(lsn));
        self.times = (self.times.0.min(time), self.times.1.max(time));
        // An invalid one bounds nothing.
        let least = if xid == Xid::INVALID { self.xids.0 } else { self.xids.0.min(xid) };
        self.xids = (least, self.xids.1.max(xid));
    }

    fn widen(&self, zone: &mut Zone) {
        if self.lsns.0 > self.lsns.1 {
            return;
        }
        for (lsn, time) in [(self.lsns.0, self.times.0), (self.lsns.1, self.times.1)] {
            widen(&mut zone.events, lsn);
            widen(&mut zone.ends, time);
            widen(&mut zone.timed, time);
        }
        if self.xids.1 != Xid::INVALID {
            widen(&mut zone.xids, self.xids.0);
            widen(&mut zone.xids, self.xids.1);
        }
    }
}

impl Zone {
    fn take_event(&mut self, event: &Event) {
        if !event.what.is_quiet() {
            widen(&mut self.events, event.lsn);
        }
        if let Some(time) = event.time {
            widen(&mut self.timed, time);
            if matches!(event.what, What::End(_)) {
                widen(&mut self.ends, time);
            }
        }
        if event.xid != Xid::INVALID {
            widen(&mut self.xids, event.xid);
        }
        match &event.what {
            What::End(end) => {
                let details = end.details.iter();
                for xid in details.clone().flat_map(|details| &details.subtransactions) {
                    widen(&mut self.xids, *xid);
                }
                self.has_names |= details.clone().any(|details| details.gid.is_some());
            }
            What::Prepare(prepared) => {
                self.has_names = true;
                for xid in &prepared.subtransactions {
                    widen(&mut self.xids, *xid);
                }
            }
            What::RestorePoint { .. } => self.has_names = true,
            What::Checkpoint { .. } => self.has_checkpoint = true,
            _ => {}
        }
    }
}

/// Whether the record that is open at a file's end may be more than rows of its transaction.
fn may_matter(tail: &Tail, format: &Format) -> bool {
    let Some(header) = RecordHeader::read(&tail.captured) else { return true };
    let rows = [ResourceManager::HEAP, ResourceManager::HEAP2, ResourceManager::XLOG];
    let page_bytes = u32::try_from(format.page_bytes).unwrap_or(u32::MAX);
    Event::may_be(&header)
        || rows.contains(&header.resource_manager())
            && (tail.captured.len() < TELLING_BYTES
                || may_show(&header, tail.body(), page_bytes, format.major))
}
