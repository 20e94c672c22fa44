//! Facts that outlive a run: what was scanned once need not be read again.

use super::activity::Activities;
use super::event::{Event, What};
use super::{Detail, Expectation, SegmentFacts, scan_segment};
use crate::archive::{Archive, Entry, Scratch, StoreError};

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
    scratch: &mut Scratch,
    store: Option<&dyn FactStore>,
) -> Result<SegmentFacts, StoreError> {
    let Some(store) = store.filter(|_| expectation.records_from.is_none()) else {
        return scan_segment(archive, entry, expectation, scratch);
    };
    if let Some(facts) = store.recall(entry, expectation)? {
        return Ok(facts);
    }
    let whole = Expectation { detail: Detail::Events, ..expectation.clone() };
    let mut facts = scan_segment(archive, entry, &whole, scratch)?;
    store.keep(entry, expectation, &facts);
    if expectation.detail == Detail::Summary {
        facts.events.retain(in_summary);
        facts.events.shrink_to_fit();
    }
    if expectation.detail != Detail::Events {
        facts.activity = Activities::default();
        facts.sightings = Vec::new();
    }
    Ok(facts)
}

/// Whether a scan that only counts transactions keeps this event.
pub const fn in_summary(event: &Event) -> bool {
    !matches!(event.what, What::End(_) | What::Prepare { .. } | What::Switch)
}
