//! When databases and tablespaces were made and dropped: their records tell no time, the ends of their transactions do.

use super::index::all_events;
use super::seams::Across;
use crate::recovery::Library;
use crate::scan::Event;
use crate::scan::event::What;
use crate::wal::{Lsn, PgTime, TimelineId, Xid};
use std::collections::{HashMap, HashSet};

/// Events that take effect at once, and when their transactions ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    of: HashMap<(TimelineId, Lsn), (Event, Option<PgTime>)>,
}

impl Times {
    /// Of all such events in `library`.
    pub(super) fn of(library: &Library<'_>, across: &Across) -> Self {
        let others = library.facts_in_order().flat_map(|facts| facts.events.others()).chain(&across.events);
        let mut of: HashMap<_, _> = others
            .filter(|event| event.what.is_at_once())
            .map(|event| ((event.owner, event.lsn), (event.clone(), None)))
            .collect();
        if of.is_empty() {
            return Self::default();
        }
        let xids: HashSet<Xid> = of.values().map(|(event, _)| event.xid).collect();
        let is_end = |event: &&Event| xids.contains(&event.xid) && matches!(event.what, What::End(_));
        let ends: Vec<&Event> = all_events(library, across).filter(is_end).collect();
        for (event, time) in of.values_mut() {
            let own = |end: &&&Event| end.owner == event.owner && end.xid == event.xid && end.lsn > event.lsn;
            *time = ends.iter().filter(own).min_by_key(|end| end.lsn).and_then(|end| end.time);
        }
        Self { of }
    }

    /// The same event with its time.
    pub(super) fn told(&self, event: &Event) -> Event {
        if event.time.is_some() || self.of.is_empty() {
            return event.clone();
        }
        let known = self.of.get(&(event.owner, event.lsn)).and_then(|(_, time)| *time);
        Event { time: known, ..event.clone() }
    }

    /// All of them.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.of.values().map(|(event, _)| event)
    }

    /// The transactions whose ends are not known.
    pub(super) fn without_end(&self) -> impl Iterator<Item = Xid> {
        self.of.values().filter(|(_, time)| time.is_none()).map(|(event, _)| event.xid)
    }
}
