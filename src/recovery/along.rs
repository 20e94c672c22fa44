//! What happened along a route. Nearly all of it are ends of transactions that lie folded up in the facts of their
//! files ([`crate::scan::Events`]): a question unfolds those of the files that can hold its answer.

use super::route::{Leg, Route};
use crate::scan::SegmentFacts;
use crate::scan::event::Event;
use crate::scan::stats::Transactions;
use crate::wal::Lsn;

impl Leg<'_> {
    fn has(&self, event: &Event) -> bool {
        self.from <= event.lsn && event.end <= self.to
    }

    /// The record that goes on in the next file, if it is an event.
    fn across(&self) -> Option<&Event> {
        self.crossing.as_ref()?.event.as_ref()
    }

    /// Its events, if the facts of the file `may` have what is looked for.
    fn events_if(&self, may: impl Fn(&SegmentFacts) -> bool) -> impl DoubleEndedIterator<Item = &Event> {
        let facts = Some(self.facts).filter(|facts| may(facts));
        let inside = facts.into_iter().flat_map(|facts| &facts.events);
        inside.filter(|event| self.has(event)).chain(self.across())
    }

    /// All records that start in the file and are read lie behind `from` and in front of `to`.
    fn is_within(&self, from: Lsn, to: Lsn) -> bool {
        let whole =
            self.from <= self.facts.start && self.facts.walked.runs.iter().all(|run| run.end <= self.to);
        whole && from <= self.facts.start && self.facts.end() <= to
    }
}

impl Route<'_> {
    /// The events, in order, of those files whose facts `may` have what is looked for. Those of other files may come as
    /// well.
    pub fn events_if(&self, may: impl Fn(&SegmentFacts) -> bool + Copy) -> impl Iterator<Item = &Event> {
        self.legs.iter().flat_map(move |leg| leg.events_if(may))
    }

    /// Every event that ends by `until`, from the last to the first.
    pub fn events_backwards(&self, until: Lsn) -> impl Iterator<Item = &Event> {
        let before = self.legs.iter().rev().filter(move |leg| leg.facts.start < until);
        before.flat_map(|leg| leg.events_if(|_| true).rev()).filter(move |event| event.end <= until)
    }

    /// Every event that is none of a transaction, in order.
    pub fn others(&self) -> impl Iterator<Item = &Event> {
        self.legs.iter().flat_map(|leg| {
            let inside = leg.facts.events.others().filter(|event| leg.has(event));
            inside.chain(leg.across().filter(|event| !event.what.is_of_transaction()))
        })
    }

    /// The event that starts at `lsn`.
    pub fn event_at(&self, lsn: Lsn) -> Option<&Event> {
        let may = |facts: &SegmentFacts| facts.start <= lsn && lsn < facts.end();
        self.events_if(may).find(|event| event.lsn == lsn)
    }

    /// The event that ends at `lsn`.
    pub fn event_ending(&self, lsn: Lsn) -> Option<&Event> {
        let may = |facts: &SegmentFacts| facts.start < lsn && lsn <= facts.end();
        self.events_if(may).find(|event| event.end == lsn)
    }

    /// The transactions that ended in records from `from` to `to`.
    pub fn transactions(&self, from: Lsn, to: Lsn) -> Transactions {
        let is_within = |event: &&Event| from <= event.lsn && event.end <= to;
        let legs = self.legs.iter().filter(|leg| leg.facts.start < to && from < leg.facts.end());
        legs.fold(Transactions::default(), |all, leg| {
            if leg.is_within(from, to) {
                return all
                    .then(leg.facts.all_transactions())
                    .with_events(leg.across().into_iter().filter(is_within));
            }
            all.with_events(leg.events_if(|_| true).filter(is_within))
        })
    }
}
