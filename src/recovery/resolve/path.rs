//! The events of the path to a timeline, of whichever files they are.

use crate::recovery::library::Library;
use crate::recovery::model::Prediction;
use crate::scan::SegmentFacts;
use crate::scan::event::Event;
use crate::scan::stats::Transactions;
use crate::timeline::History;
use crate::wal::{Lsn, SegmentNumber, SegmentSize};

/// What the timelines on a path own, segment by segment. There may be billions of events: those of a segment are put
/// together when they are asked for, and only where its facts may have what is looked for.
pub(super) struct Path<'e> {
    history: &'e History,
    segment_size: SegmentSize,
    /// In the order of their segments; several of one follow one another.
    sources: Vec<(SegmentNumber, Source<'e>)>,
}

/// Where events of a segment are from.
#[derive(Clone, Copy)]
enum Source<'e> {
    /// The file of a timeline.
    File(&'e SegmentFacts),
    /// A record that starts in a file and ends in the next.
    Across(&'e Event),
}

impl<'e> Source<'e> {
    fn file(self) -> Option<&'e SegmentFacts> {
        if let Self::File(facts) = self { Some(facts) } else { None }
    }

    fn across(self) -> Option<&'e Event> {
        if let Self::Across(event) = self { Some(event) } else { None }
    }

    fn events(self) -> impl Iterator<Item = &'e Event> {
        self.file().into_iter().flat_map(|facts| &facts.events).chain(self.across())
    }

    fn others(self) -> impl Iterator<Item = &'e Event> {
        let across = self.across().filter(|event| !event.what.is_of_transaction());
        self.file().into_iter().flat_map(|facts| facts.events.others()).chain(across)
    }
}

impl<'e> Path<'e> {
    pub(super) fn of(library: &'e Library<'_>, history: &'e History, prediction: &'e Prediction<'_>) -> Self {
        let files = library.on_path(history).map(|(number, facts)| (number, Source::File(facts)));
        // Files do not have what lies across their ends.
        let legs = prediction.route.iter().flat_map(|route| &route.legs);
        let across = legs.filter_map(|leg| Some((leg.number, leg.crossing.as_ref()?.event.as_ref()?)));
        let across = across.map(|(number, event)| (number, Source::Across(event)));
        let mut sources: Vec<_> = files.chain(across).collect();
        sources.sort_by_key(|(number, _)| *number);
        Self { history, segment_size: library.segment_size, sources }
    }

    /// The events, once, in order, of those segments of which the facts of a file `may` have what is looked for, and
    /// those across the ends of any.
    pub(super) fn events_if(
        &self,
        may: impl Fn(&SegmentFacts) -> bool,
    ) -> impl DoubleEndedIterator<Item = &'e Event> {
        self.segments().flat_map(move |sources| {
            let may_be_of = |source: &Source<'e>| matches!(source, Source::File(facts) if may(facts));
            if sources.iter().any(|(_, source)| may_be_of(source)) {
                return self.in_order(sources.iter().flat_map(|(_, source)| source.events()));
            }
            self.in_order(sources.iter().filter_map(|(_, source)| source.across()))
        })
    }

    /// Goes over every event, in any order, some of them twice; nothing is kept unfolded for it.
    pub(super) fn visit(&self, mut look: impl FnMut(&Event)) {
        for (_, source) in &self.sources {
            let mut own = |event: &Event| {
                if self.has(event) {
                    look(event);
                }
            };
            match source {
                Source::File(facts) => facts.events.visit(own),
                Source::Across(event) => own(event),
            }
        }
    }

    /// Every event that is none of a transaction, once, in order.
    pub(super) fn others(&self) -> impl Iterator<Item = &'e Event> {
        self.segments()
            .flat_map(|sources| self.in_order(sources.iter().flat_map(|(_, source)| source.others())))
    }

    /// The transactions that ended in records that start at `from` or later.
    pub(super) fn transactions(&self, from: Lsn) -> Transactions {
        let behind = self.segments().filter(|sources| {
            sources.first().is_some_and(|(number, _)| number.end(self.segment_size) > from)
        });
        behind.fold(Transactions::default(), |all, sources| all.then(self.transactions_of(sources, from)))
    }

    fn transactions_of(&self, sources: &[(SegmentNumber, Source<'e>)], from: Lsn) -> Transactions {
        let mut files = sources.iter().filter_map(|(_, source)| source.file());
        // What a file has counted is good where all of it counts.
        if let (Some(facts), None) = (files.next(), files.next())
            && from <= facts.start
            && self.owns(facts)
        {
            let across = self.in_order(sources.iter().filter_map(|(_, source)| source.across()));
            return facts.all_transactions().with_events(across);
        }
        let events = self.in_order(sources.iter().flat_map(|(_, source)| source.events()));
        Transactions::default().with_events(events.filter(|event| event.lsn >= from))
    }

    /// Whether all records of a file are of the path.
    fn owns(&self, facts: &SegmentFacts) -> bool {
        let of_path = |lsn: Lsn, owner| self.history.owner(lsn) == owner;
        facts.walked.runs.iter().all(|run| of_path(run.first, run.owner) && of_path(run.last, run.owner))
    }

    fn has(&self, event: &Event) -> bool {
        event.owner == self.history.owner(event.lsn)
    }

    fn segments(&self) -> impl DoubleEndedIterator<Item = &[(SegmentNumber, Source<'e>)]> {
        self.sources.chunk_by(|(a, _), (b, _)| a == b)
    }

    /// Those that are of the path, once, in order.
    fn in_order(&self, events: impl Iterator<Item = &'e Event>) -> std::vec::IntoIter<&'e Event> {
        let mut events: Vec<&Event> = events.filter(|event| self.has(event)).collect();
        events.sort_by_key(|event| event.lsn);
        events.dedup_by_key(|event| event.lsn);
        events.into_iter()
    }
}
