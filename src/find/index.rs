//! All events of an archive, in the order of timelines and positions.

use super::loss::{Loss, losses};
use crate::chain::range::Range;
use crate::recovery::Library;
use crate::scan::activity::Activity;
use crate::scan::event::{Event, What};
use crate::wal::{FullXid, Lsn, SegmentName, TimelineId, Xid};
use std::collections::{BTreeMap, HashMap};

/// One event, with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// The event.
    pub event: Event,
    /// The segment in which its record starts.
    pub segment: SegmentName,
    /// The transaction with its epoch, where a checkpoint tells.
    pub xid64: Option<FullXid>,
    /// For a transaction that ended: what it did, subtransactions included.
    pub activity: Option<Activity>,
    /// For a commit: what it destroyed.
    pub losses: Vec<Loss>,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// By timeline, then by position.
    pub happenings: Vec<Happening>,
}

/// What transactions of each timeline did.
type Activities = HashMap<(u32, u32), Activity>;

impl Index {
    /// Puts together what `library` holds.
    pub fn of(library: &Library<'_>) -> Self {
        let mut events = events(library);
        events.sort_by_key(|event| (event.owner, event.lsn));
        events.dedup_by_key(|event| (event.owner, event.lsn));
        let activities = activities(library);
        let epochs = Epochs::of(&events);
        let happenings = events
            .into_iter()
            .map(|event| {
                let activity = fold(library, &activities, &event);
                let losses = match (&event.what, &activity) {
                    (What::End(end), Some(activity)) if end.committed => {
                        losses(end.details.as_deref(), activity)
                    }
                    _ => Vec::new(),
                };
                Happening {
                    segment: SegmentName::new(
                        event.owner,
                        event.lsn.segment(library.segment_size),
                        library.segment_size,
                    ),
                    xid64: epochs.full(&event),
                    activity,
                    losses,
                    event,
                }
            })
            .collect();
        Self { happenings }
    }
}

/// Every event, those across segment boundaries included; copies too.
fn events(library: &Library<'_>) -> Vec<Event> {
    let mut events: Vec<Event> =
        library.all().flat_map(|(_, _, facts)| facts.events.iter().cloned()).collect();
    let mut edge: Option<(TimelineId, Range)> = None;
    for (timeline, number, facts) in library.all() {
        let Some(own) = Range::edge_of(facts, library.plan.owners(timeline)) else {
            edge = None;
            continue;
        };
        let before = edge
            .take()
            .filter(|(of, range)| *of == timeline && range.end == facts.start)
            .map(|(_, range)| range)
            .or_else(|| parents_edge(library, timeline, facts.start, number));
        let next = match before {
            Some(before) => {
                let mut joined = before.join(own.clone());
                events.append(&mut joined.events);
                // A segment without a record start only adds to the record that is open.
                if facts.walked.runs.is_empty() { joined } else { own }
            }
            None => own,
        };
        edge = Some((timeline, next));
    }
    events
}

/// What a child's first file goes on from: the file before it, of the timeline that owns that place.
fn parents_edge(
    library: &Library<'_>,
    timeline: TimelineId,
    start: Lsn,
    number: crate::wal::SegmentNumber,
) -> Option<Range> {
    let before = crate::wal::SegmentNumber(number.0.checked_sub(1)?);
    let owner = library.history(timeline).owner(Lsn(start.0.checked_sub(1)?));
    if owner == timeline {
        return None;
    }
    let facts = library.facts(owner, before)?;
    Range::edge_of(facts, library.plan.owners(owner)).filter(|range| range.end == start)
}

/// What transactions did, by owner; a copied prefix counts only where the owner has no file of its own.
fn activities(library: &Library<'_>) -> Activities {
    let mut all = Activities::new();
    for (timeline, number, facts) in library.all() {
        for activity in &facts.activity {
            let owner = TimelineId(activity.owner);
            if owner != timeline && library.facts(owner, number).is_some() {
                continue;
            }
            add(all.entry((activity.owner, activity.xid)).or_default(), activity);
        }
    }
    all
}

fn add(sum: &mut Activity, other: &Activity) {
    sum.rows.add(other.rows);
    sum.created.extend(&other.created);
    sum.filled |= other.filled;
    sum.truncated += other.truncated;
    if other.database != 0 {
        sum.database = other.database;
    }
}

/// What the transaction of `event` did, subtransactions included. A prepared one may have done it on a parent.
fn fold(library: &Library<'_>, activities: &Activities, event: &Event) -> Option<Activity> {
    let What::End(end) = &event.what else { return None };
    let owners = if end.prepared { library.history(event.owner).path() } else { vec![event.owner] };
    let details = end.details.as_ref();
    let subtransactions = details.map(|details| details.subtransactions.clone()).unwrap_or_default();
    let mut sum = Activity { owner: event.owner.0, xid: event.xid.0, ..Activity::default() };
    for xid in std::iter::once(event.xid).chain(subtransactions) {
        for owner in &owners {
            if let Some(activity) = activities.get(&(owner.0, xid.0)) {
                add(&mut sum, activity);
            }
        }
    }
    if let Some(database) = details.and_then(|details| details.database) {
        sum.database = database;
    }
    Some(sum)
}

/// Epochs of transaction ids, from the checkpoints of each timeline.
struct Epochs {
    next: BTreeMap<(TimelineId, Lsn), FullXid>,
}

impl Epochs {
    fn of(events: &[Event]) -> Self {
        let checkpoint = |event: &Event| match &event.what {
            What::Checkpoint { checkpoint, .. } => Some(((event.owner, event.lsn), checkpoint.next_xid)),
            _ => None,
        };
        Self { next: events.iter().filter_map(checkpoint).collect() }
    }

    /// The id nearest to what the next checkpoint (or the one before) says is next.
    fn full(&self, event: &Event) -> Option<FullXid> {
        if event.xid == Xid::INVALID {
            return None;
        }
        let place = (event.owner, event.lsn);
        let after = self.next.range(place..(event.owner, Lsn::MAX)).next();
        let before = || self.next.range((event.owner, Lsn::INVALID)..place).next_back();
        let (_, next) = after.or_else(before)?;
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the id")]
        let low = next.0 as u32;
        let distance = i64::from(event.xid.0.wrapping_sub(low).cast_signed());
        Some(FullXid(next.0.saturating_add_signed(distance)))
    }
}
