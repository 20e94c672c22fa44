//! What records that lie across segment boundaries hold: neither file has the whole of them.

use crate::chain::range::{self, Range};
use crate::recovery::Library;
use crate::scan::Event;
use crate::scan::activity::Activities;
use crate::scan::catalog_rows::Sighting;
use crate::wal::{Lsn, SegmentNumber, TimelineId};

/// What they hold; copies too.
#[derive(Clone, Debug, Default)]
pub struct Across {
    /// Events.
    pub events: Vec<Event>,
    /// What each of these records did to rows and files.
    pub activities: Vec<(Lsn, Activities)>,
    /// Rows of catalogs.
    pub sightings: Vec<Sighting>,
}

impl Across {
    /// What the records across boundaries of neighbours in `library` hold.
    pub(super) fn of(library: &Library<'_>) -> Self {
        let mut found = Self::default();
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
                    found.take(&mut joined);
                    // A segment without a record start only adds to the record that is open.
                    if facts.walked.runs.is_empty() { joined } else { own }
                }
                None => own,
            };
            edge = Some((timeline, next));
        }
        found
    }

    fn take(&mut self, joined: &mut Range) {
        self.events.append(&mut joined.events);
        let across = joined.across.replace(range::Across::default()).unwrap_or_default();
        self.activities.extend(across.activities);
        self.sightings.extend(across.sightings);
    }
}

/// What a child's first file goes on from: the file before it, of the timeline that owns that place.
fn parents_edge(
    library: &Library<'_>,
    timeline: TimelineId,
    start: Lsn,
    number: SegmentNumber,
) -> Option<Range> {
    let before = SegmentNumber(number.0.checked_sub(1)?);
    let owner = library.history(timeline).owner(Lsn(start.0.checked_sub(1)?));
    if owner == timeline {
        return None;
    }
    let facts = library.facts(owner, before)?;
    Range::edge_of(facts, library.plan.owners(owner)).filter(|range| range.end == start)
}
