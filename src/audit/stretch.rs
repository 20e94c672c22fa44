//! Who owns which verified WAL.
//!
//! Files are joined as a server reads them; here their records are given to the timelines that own them. A child's
//! first file begins with a copy of its parent's WAL: where the parent has no file of its own for it (as after a
//! failover, when its last segment was never completed) the copy is all there is of that WAL, and counts for
//! the parent.

use super::timelines::ClusterView;
use crate::chain::range::{CountedRun, Range};
use crate::scan::stats::Transactions;
use crate::wal::{Lsn, SegmentNumber, TimelineId};
use std::collections::BTreeMap;

/// Unbroken verified WAL of one owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Start of its first record.
    pub start: Lsn,
    /// End of its last record.
    pub end: Lsn,
    /// How many records.
    pub records: u64,
    /// Their transactions.
    pub transactions: Transactions,
    /// It begins right at the owner's switch point.
    pub from_switch: bool,
}

/// All stretches, by owner and then by position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stretches {
    by_owner: BTreeMap<TimelineId, Vec<Stretch>>,
}

impl Stretches {
    /// Those of one timeline.
    pub fn of(&self, timeline: TimelineId) -> &[Stretch] {
        self.by_owner.get(&timeline).map_or(&[], Vec::as_slice)
    }

    /// Takes a run of `owner`'s WAL: as more of the last stretch if it goes on, else as a new one.
    fn add(&mut self, counted: &CountedRun, goes_on: bool, from_switch: bool) {
        let list = self.by_owner.entry(counted.run.owner).or_default();
        match list.last_mut() {
            Some(last) if goes_on => {
                last.end = counted.run.end;
                last.records += counted.run.records;
                last.transactions = last.transactions.then(counted.transactions);
            }
            _ => list.push(Stretch {
                start: counted.run.first,
                end: counted.run.end,
                records: counted.run.records,
                transactions: counted.transactions,
                from_switch,
            }),
        }
    }
}

impl Stretches {
    /// Takes runs of a copy in segment `number` which neither a file of their owners nor another copy has.
    fn add_new(&mut self, view: &ClusterView<'_>, number: SegmentNumber, copied: &[&CountedRun]) {
        for counted in copied {
            let owner = counted.run.owner;
            let has_file =
                view.cluster.chains.get(&owner).is_some_and(|chain| chain.present.contains(number));
            let is_known =
                self.of(owner).iter().any(|s| s.start <= counted.run.first && counted.run.end <= s.end);
            if !has_file && !is_known {
                self.add(counted, false, false);
            }
        }
    }
}

/// Gives every run of a cluster to its owner.
pub fn stretches(view: &ClusterView<'_>) -> Stretches {
    let mut stretches = Stretches::default();
    for (timeline, chain) in &view.cluster.chains {
        for range in &chain.ranges {
            add_own(&mut stretches, range, *timeline);
        }
    }
    for (timeline, chain) in &view.cluster.chains {
        if let Some(first) = chain.ranges.first() {
            add_copied(&mut stretches, view, first, *timeline);
        }
    }
    for list in stretches.by_owner.values_mut() {
        list.sort_by_key(|stretch| stretch.start);
    }
    stretches
}

/// What a timeline's own files hold of its own WAL.
fn add_own(stretches: &mut Stretches, range: &Range, timeline: TimelineId) {
    let mut before: Option<&CountedRun> = None;
    for counted in &range.runs {
        if counted.run.owner == timeline {
            let after_copy = before.is_some_and(|b| b.run.owner != timeline) && counted.run.continues;
            let at_start = before.is_none() && counted.run.continues;
            let goes_on = before.is_some_and(|b| b.run.owner == timeline) && counted.run.continues;
            stretches.add(counted, goes_on, after_copy || at_start);
        }
        before = Some(counted);
    }
}

/// What a timeline's first file holds of its ancestors' WAL and they do not hold themselves.
fn add_copied(stretches: &mut Stretches, view: &ClusterView<'_>, range: &Range, timeline: TimelineId) {
    let copied: Vec<&CountedRun> = range.runs.iter().take_while(|c| c.run.owner != timeline).collect();
    let Some(first) = copied.first() else { return };
    let owner = first.run.owner;
    let number = range.start.segment(view.id.segment_size);
    let has_own_file = view.cluster.chains.get(&owner).is_some_and(|chain| chain.present.contains(number));
    if has_own_file {
        return;
    }
    let edge = view.cluster.chains.get(&owner).and_then(|chain| chain.edge(range.start));
    let Some(edge) = edge else {
        stretches.add_new(view, number, &copied);
        return;
    };
    // Joined with what stands before it, the copy may begin with the end of a record begun there.
    let before = edge.runs.last().map(|last| last.run);
    let joined =
        Range { runs: edge.runs.last().copied().into_iter().collect(), ..edge.clone() }.join(range.clone());
    let Some(whole) = joined.runs.first().filter(|whole| before.is_some_and(|b| whole.run.first == b.first))
    else {
        return;
    };
    let list = stretches.by_owner.entry(owner).or_default();
    let grows = whole.run.end > before.map_or(Lsn::INVALID, |b| b.end);
    match list.iter_mut().find(|stretch| before.is_some_and(|b| stretch.end == b.end)) {
        Some(stretch) if grows => {
            let added = edge.runs.last().map_or(0, |last| last.run.records);
            stretch.end = whole.run.end;
            stretch.records += whole.run.records - added;
            let copied = copied.iter().fold(Transactions::default(), |sum, c| sum.then(c.transactions));
            stretch.transactions = stretch.transactions.then(copied);
        }
        _ => stretches.add_new(view, number, &copied),
    }
}
