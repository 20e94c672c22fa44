//! Facts that outlive a run: what was scanned once need not be read again.

use super::event::{Event, What};
use super::{Detail, Expectation, SegmentFacts, Workbench, scan_steady};
use crate::archive::{Archive, Entry, StoreError};

/// Remembers the facts of files.
pub trait FactStore: Sync {
    /// The facts of the file, if they are known and a scan would find the same again.
    ///
    /// # Errors
    /// The facts should be there and cannot be had, and the file must not be read instead.
    fn recall(&self, entry: &Entry, expectation: &Expectation) -> Result<Option<SegmentFacts>, StoreError>;

    /// Whether the facts of the file should be known, as far as can be told without looking them up.
    fn knows(&self, entry: &Entry, expectation: &Expectation) -> bool;

    /// Takes the facts of a file that was scanned, with every event.
    fn keep(&self, entry: &Entry, expectation: &Expectation, facts: &SegmentFacts);
}

/// The facts of a file: remembered, or read from it and then remembered.
pub fn scan_or_recall(
    archive: &Archive,
    entry: &Entry,
    expectation: &Expectation,
    bench: &mut Workbench,
    store: Option<&dyn FactStore>,
) -> Result<SegmentFacts, StoreError> {
    let Some(store) = store.filter(|_| expectation.records_from.is_none()) else {
        let mut facts = scan_steady(archive, entry, expectation, bench)?;
        if expectation.detail == Detail::Ends {
            settle(&mut facts, expectation.detail, bench);
        }
        return Ok(facts);
    };
    if let Some(facts) = store.recall(entry, expectation)? {
        return Ok(facts);
    }
    let whole = Expectation { detail: Detail::Events, ..expectation.clone() };
    let mut facts = scan_steady(archive, entry, &whole, bench)?;
    // Folded up once, for the store and for the caller.
    facts.events.fold();
    store.keep(entry, expectation, &facts);
    settle(&mut facts, expectation.detail, bench);
    Ok(facts)
}

/// Leaves what is wanted of facts, as small as it can be. What the lists took goes back to the bench.
fn settle(facts: &mut SegmentFacts, detail: Detail, bench: &mut Workbench) {
    let list = match detail {
        Detail::Events => return facts.events.unfold(),
        Detail::Ends => {
            facts.events.fold();
            facts.events.take_list()
        }
        Detail::Summary => {
            let few = facts.events.iter().filter(|event| in_summary(event)).cloned().collect();
            Some(std::mem::replace(&mut facts.events, few).into_list())
        }
    };
    bench.room.take_events(list.unwrap_or_default());
    bench.room.take_activities(std::mem::take(&mut facts.activity));
    facts.sightings = Vec::new();
}

/// Whether a scan that only counts transactions keeps this event.
pub const fn in_summary(event: &Event) -> bool {
    !matches!(event.what, What::End(_) | What::Prepare { .. } | What::Switch)
}
