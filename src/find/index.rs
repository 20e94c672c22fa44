//! All events of an archive, in the order of timelines and positions.

use super::deeds::{AllDeeds, Deeds};
use super::loss::{Loss, losses};
use super::seams::Across;
use super::times::Times;
use crate::recovery::Library;
use crate::scan::event::{Event, What};
use crate::wal::{FullXid, Lsn, SegmentName, TimelineId, Xid};
use std::collections::BTreeMap;

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
    pub deeds: Option<Deeds>,
    /// For a commit: what it destroyed.
    pub losses: Vec<Loss>,
}

/// All of them, or those that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By timeline, then by position.
    pub happenings: Vec<Happening>,
    /// What records across segment boundaries hold.
    pub across: Across,
}

impl Index {
    /// Puts together what `library` holds.
    pub fn of(library: &Library<'_>) -> Self {
        Self::of_those(library, |_| true)
    }

    /// The events that `wanted` accepts, and all that belongs to them.
    pub fn of_those(library: &Library<'_>, wanted: impl Fn(&Event) -> bool) -> Self {
        let across = Across::of(library);
        let times = Times::of(library, &across);
        let mut events: Vec<Event> = all_events(library, &across)
            .filter(|event| wanted(event))
            .map(|event| times.told(event))
            .collect();
        sort(&mut events);
        let deeds = AllDeeds::of(library, &across, &events);
        let epochs = Epochs::of(all_events(library, &across));
        let happenings = events.into_iter().map(|event| happening(library, &deeds, &epochs, event)).collect();
        Self { happenings, across }
    }

    /// These events without anything that belongs to them: enough to see which of them are meant.
    pub(super) fn bare<'a>(
        library: &Library<'_>,
        times: &Times,
        events: impl Iterator<Item = &'a Event>,
    ) -> Self {
        let mut events: Vec<Event> = events.map(|event| times.told(event)).collect();
        sort(&mut events);
        let bare = |event: Event| Happening {
            segment: segment(library, &event),
            xid64: None,
            deeds: None,
            losses: Vec::new(),
            event,
        };
        Self { happenings: events.into_iter().map(bare).collect(), across: Across::default() }
    }
}

/// Every event, copies too.
pub(super) fn all_events<'a>(
    library: &'a Library<'_>,
    across: &'a Across,
) -> impl Iterator<Item = &'a Event> {
    library.facts_in_order().flat_map(|facts| &facts.events).chain(&across.events)
}

/// Brings events into the order of an index; a copied one counts once.
fn sort(events: &mut Vec<Event>) {
    events.sort_by_key(|event| (event.owner, event.lsn));
    events.dedup_by_key(|event| (event.owner, event.lsn));
}

fn segment(library: &Library<'_>, event: &Event) -> SegmentName {
    SegmentName::new(event.owner, event.lsn.segment(library.segment_size), library.segment_size)
}

fn happening(library: &Library<'_>, deeds: &AllDeeds, epochs: &Epochs, event: Event) -> Happening {
    let deeds = deeds.of_event(library, &event);
    let losses = match (&event.what, &deeds) {
        (What::End(end), Some(deeds)) if end.committed => losses(end.details.as_deref(), deeds),
        _ => Vec::new(),
    };
    Happening { segment: segment(library, &event), xid64: epochs.full(&event), deeds, losses, event }
}

/// Epochs of transaction ids, from the checkpoints of each timeline.
struct Epochs {
    next: BTreeMap<(TimelineId, Lsn), FullXid>,
}

impl Epochs {
    fn of<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let checkpoint = |event: &Event| match &event.what {
            What::Checkpoint { checkpoint, .. } => Some(((event.owner, event.lsn), checkpoint.next_xid)),
            _ => None,
        };
        Self { next: events.filter_map(checkpoint).collect() }
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
