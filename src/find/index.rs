//! All events of an archive, in the order of timelines and positions.

use super::deeds::{AllDeeds, Deeds};
use super::loss::{Loss, losses};
use super::seams;
use crate::recovery::Library;
use crate::scan::catalog_rows::Sighting;
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

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// By timeline, then by position.
    pub happenings: Vec<Happening>,
    /// Rows of catalogs in records across segment boundaries.
    pub sightings: Vec<Sighting>,
}

impl Index {
    /// Puts together what `library` holds.
    pub fn of(library: &Library<'_>) -> Self {
        let across = seams::across(library);
        let of_files = library.all().flat_map(|(_, _, facts)| facts.events.iter().cloned());
        let mut events: Vec<Event> = of_files.chain(across.events).collect();
        events.sort_by_key(|event| (event.owner, event.lsn));
        events.dedup_by_key(|event| (event.owner, event.lsn));
        let deeds = AllDeeds::of(library, &across.activities);
        let epochs = Epochs::of(&events);
        let happenings = events.into_iter().map(|event| happening(library, &deeds, &epochs, event)).collect();
        Self { happenings, sightings: across.sightings }
    }
}

fn happening(library: &Library<'_>, deeds: &AllDeeds, epochs: &Epochs, event: Event) -> Happening {
    let deeds = deeds.of_event(library, &event);
    let losses = match (&event.what, &deeds) {
        (What::End(end), Some(deeds)) if end.committed => losses(end.details.as_deref(), deeds),
        _ => Vec::new(),
    };
    let number = event.lsn.segment(library.segment_size);
    let segment = SegmentName::new(event.owner, number, library.segment_size);
    Happening { segment, xid64: epochs.full(&event), deeds, losses, event }
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
