//! Segments that a path through the archive needs and that are not there.
//!
//! The path to a timeline is what a server reads that recovers to it: each ancestor's segments up to where the
//! next one forked, and from the fork's segment on the child's, which begins with a copy. What stands before the
//! first file on a path was cleaned up or never archived: that is where the archive begins, not a gap. Behind the last
//! one is missing what another file of the archive tells of ([`Witnesses`]).

use super::Options;
use super::islands::Islands;
use super::timelines::ClusterView;
use super::witnesses::Witnesses;
use super::{files, forks};
use crate::chain::segments::Segments;
use crate::finding::{Code, Finding, Severity};
use crate::timeline::History;
use crate::wal::{SegmentName, SegmentNumber, TimelineId, WalFileName};
use std::collections::{BTreeMap, BTreeSet};

/// Segments missing in a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Hole {
    /// Whose files are missing.
    pub(super) timeline: TimelineId,
    /// The first of them.
    pub(super) first: SegmentNumber,
    /// How many.
    pub(super) count: u64,
}

impl Hole {
    /// The last of them.
    pub(super) const fn last(&self) -> SegmentNumber {
        SegmentNumber(self.first.0 + self.count - 1)
    }

    /// Whether segment `number` of `timeline` is one of them.
    pub(super) fn has(&self, timeline: TimelineId, number: SegmentNumber) -> bool {
        self.timeline == timeline && (self.first..=self.last()).contains(&number)
    }
}

/// Segments `first..=last` of one timeline, as a path needs them.
#[derive(Clone, Copy, Debug)]
struct Leg {
    timeline: TimelineId,
    first: SegmentNumber,
    last: SegmentNumber,
}

/// Every hole, once, however many paths lead through it, and why it is no loss: the label of the backup whose
/// island ends before it, on every path.
pub(super) fn holes(view: &ClusterView<'_>, options: &Options) -> BTreeMap<Hole, Option<String>> {
    let asked = Asked::of(view, options);
    let mut due: BTreeMap<TimelineId, Option<SegmentNumber>> =
        view.cluster.chains.keys().map(|timeline| (*timeline, None)).collect();
    // A file that was named is due even where nothing of its timeline is there.
    for (timeline, number) in &asked.named {
        let last = due.entry(*timeline).or_default();
        *last = (*last).max(Some(*number));
    }
    holes_on_paths(view, &asked, &there(view), due)
}

/// The same of what only `witnesses` know, besides the holes `known`.
pub(super) fn told_holes(
    view: &ClusterView<'_>,
    options: &Options,
    witnesses: &Witnesses,
    known: &BTreeMap<Hole, Option<String>>,
) -> BTreeMap<Hole, Option<String>> {
    let asked = Asked::of(view, options);
    let mut there = there(view);
    count_as_there(&mut there, known);
    let mut told = BTreeMap::new();
    // What two of them know is told once.
    for (timeline, last) in witnesses.farthest_first() {
        let holes = holes_on_paths(view, &asked, &there, [(timeline, Some(last))]);
        count_as_there(&mut there, &holes);
        told.extend(holes);
    }
    told
}

/// So that nothing is missed twice.
fn count_as_there(there: &mut BTreeMap<TimelineId, Segments>, holes: &BTreeMap<Hole, Option<String>>) {
    for hole in holes.keys() {
        there.entry(hole.timeline).or_default().add((hole.first, hole.last()));
    }
}

/// The holes on the paths to timelines, each up to its last file or to what is due behind it.
fn holes_on_paths(
    view: &ClusterView<'_>,
    asked: &Asked,
    there: &BTreeMap<TimelineId, Segments>,
    paths: impl IntoIterator<Item = (TimelineId, Option<SegmentNumber>)>,
) -> BTreeMap<Hole, Option<String>> {
    let islands = Islands::of(view);
    let mut holes: BTreeMap<Hole, Option<String>> = BTreeMap::new();
    for (timeline, due) in paths {
        let mut legs = legs(view, timeline, due);
        legs.retain(|leg| asked.timeline.is_none_or(|only| leg.timeline == only));
        let begin = asked.first.or_else(|| begin(view, &legs));
        let Some(begin) = begin else { continue };
        let history = view.history(timeline).unwrap_or_else(|| History::without_parents(timeline));
        let mut in_front = Segments::default();
        for leg in &legs {
            let own = view.cluster.chains.get(&leg.timeline).map(|chain| &chain.present);
            let own = |from, to| own.into_iter().flat_map(move |own| own.within(from, to));
            let mut from = leg.first.max(begin);
            for hole in holes_in(there, Leg { first: from, ..*leg }) {
                in_front.extend(own(from, hole.first));
                from = hole.first;
                let island = islands.before(&hole, &history, &in_front).map(|backup| backup.label.clone());
                let known = holes.entry(hole).or_insert_with(|| island.clone());
                *known = known.take().filter(|_| island.is_some());
            }
            in_front.extend(own(from, leg.last));
        }
    }
    united(holes)
}

/// Where the archive begins on a path: with its first file, or with the first of a timeline of which only the parent's
/// file of the same number is left. Retention goes by number, and would have taken both.
fn begin(view: &ClusterView<'_>, legs: &[Leg]) -> Option<SegmentNumber> {
    let (index, present) =
        legs.iter().enumerate().find_map(|(index, leg)| Some((index, first_present(view, leg)?)))?;
    let has = |leg: &Leg, number| {
        view.cluster.chains.get(&leg.timeline).is_some_and(|chain| chain.present.contains(number))
    };
    let own = legs.get(index)?.first;
    let is_parents = legs.get(..index)?.iter().any(|ancestor| has(ancestor, own));
    Some(if is_parents { own.min(present) } else { present })
}

/// Holes that overlap as one: two paths may need different parts of what is missing on a timeline that both go through.
fn united(holes: BTreeMap<Hole, Option<String>>) -> BTreeMap<Hole, Option<String>> {
    let mut united: Vec<(Hole, Option<String>)> = Vec::new();
    for (hole, island) in holes {
        match united.last_mut() {
            Some((last, of_last)) if last.has(hole.timeline, hole.first) => {
                last.count = last.count.max(hole.last().0 + 1 - last.first.0);
                *of_last = of_last.take().filter(|_| island.is_some());
            }
            _ => united.push((hole, island)),
        }
    }
    united.into_iter().collect()
}

/// What a person named as the first and the last file of a part is due, whatever else is there.
struct Asked {
    timeline: Option<TimelineId>,
    first: Option<SegmentNumber>,
    named: Vec<(TimelineId, SegmentNumber)>,
}

impl Asked {
    fn of(view: &ClusterView<'_>, options: &Options) -> Self {
        let place = |name: Option<WalFileName>| match name.filter(|_| view.is_newest)? {
            WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::Backup(name, _) => {
                Some((name.timeline, name.number(view.id.segment_size)?))
            }
            WalFileName::History(_) => None,
        };
        let (from, to) = (place(options.from), place(options.to));
        Self {
            timeline: options.timeline,
            first: from.map(|(_, number)| number),
            named: from.into_iter().chain(to).collect(),
        }
    }
}

/// The segments of each timeline that have a file, of whatever use it is.
fn there(view: &ClusterView<'_>) -> BTreeMap<TimelineId, Segments> {
    let chains = view.cluster.chains.iter();
    let mut there: BTreeMap<_, _> =
        chains.map(|(timeline, chain)| (*timeline, chain.present.clone())).collect();
    for (timeline, number) in view.unusable() {
        there.entry(timeline).or_default().insert(number);
    }
    there
}

/// The legs of the path to `timeline`, oldest first, up to its last file, or to `due` behind it.
fn legs(view: &ClusterView<'_>, timeline: TimelineId, due: Option<SegmentNumber>) -> Vec<Leg> {
    let size = view.id.segment_size;
    let present = view.cluster.chains.get(&timeline).and_then(|chain| chain.present.last());
    let Some(last) = present.max(due) else { return Vec::new() };
    let history = view.history(timeline).filter(|_| forks::disagreement(view, timeline).is_none());
    let Some(history) = history else {
        return vec![Leg { timeline, first: SegmentNumber(0), last }];
    };
    let mut legs = Vec::new();
    let mut before = Some(last);
    // Newest first: a child's file stands in for its parent's from the segment of the fork on.
    for ancestor in history.ancestry() {
        let Some(last) = before else { break };
        let first = ancestor.begin.segment(size);
        if first <= last && ancestor.begin < ancestor.end {
            legs.push(Leg { timeline: ancestor.timeline, first, last });
            before = first.0.checked_sub(1).map(SegmentNumber);
        }
    }
    legs.reverse();
    legs
}

fn first_present(view: &ClusterView<'_>, leg: &Leg) -> Option<SegmentNumber> {
    let present = &view.cluster.chains.get(&leg.timeline)?.present;
    present.within(leg.first, leg.last).next().map(|run| run.0)
}

fn holes_in(there: &BTreeMap<TimelineId, Segments>, leg: Leg) -> Vec<Hole> {
    let hole = |first: SegmentNumber, end: SegmentNumber| Hole {
        timeline: leg.timeline,
        first,
        count: end.0.saturating_sub(first.0),
    };
    let mut holes = Vec::new();
    let mut due = leg.first;
    for run in there.get(&leg.timeline).into_iter().flat_map(|there| there.within(leg.first, leg.last)) {
        holes.push(hole(due, run.0));
        due = run.1.next();
    }
    holes.push(hole(due, leg.last.next()));
    holes.retain(|hole| hole.count > 0);
    holes
}

/// One finding for each hole.
pub(super) fn findings(
    view: &ClusterView<'_>,
    holes: &BTreeMap<Hole, Option<String>>,
    explain: impl Fn(&Hole, Finding) -> Finding,
) -> Vec<Finding> {
    let beside = Beside::of(view);
    let told = |(hole, island): (&Hole, &Option<String>)| match island {
        None => explain(hole, finding(view, &beside, hole)),
        Some(label) => {
            let mut finding = finding(view, &beside, hole).rated(Severity::Info);
            finding.message = format!(
                "{}: no loss, retention keeps backup {label} with its own WAL only, and the WAL that other backups \
                 need begins behind this",
                finding.message
            );
            finding
        }
    };
    holes.iter().map(told).collect()
}

fn finding(view: &ClusterView<'_>, beside: &Beside, hole: &Hole) -> Finding {
    let size = view.id.segment_size;
    let name = |number| SegmentName::new(hole.timeline, number, size);
    let (first, last) = (name(hole.first), name(hole.last()));
    let mut message = if hole.count == 1 {
        format!("segment {first} is missing")
    } else {
        format!("{} segments are missing: {first} to {last}", hole.count)
    };
    let mut found = "no such file".to_owned();
    if let Some((name, what)) = beside.of_another_kind((first, last)) {
        found = if hole.count == 1 { what.to_owned() } else { format!("{name} is {what}") };
        message = format!(
            "{message}; {} is {what}, which was not read",
            if hole.count == 1 { "what has its name".to_owned() } else { name.to_string() }
        );
    } else if let Some(other) = beside.partial(first).or_else(|| of_ancestor(view, hole)) {
        found = format!("only {other}");
        message = format!("{message}; {other} does not replace it");
    }
    let expected = if hole.count == 1 { first.to_string() } else { format!("{first} to {last}") };
    Finding::new(Code::SegmentMissing, message)
        .in_segment(first)
        .on(hole.timeline)
        .at(hole.first.start(size), 0)
        .expecting(expected, found)
}

/// What has the name of a segment, or nearly, and is none: gathered once, for there may be many of both.
struct Beside {
    of_another_kind: BTreeMap<SegmentName, &'static str>,
    partial: BTreeSet<SegmentName>,
}

impl Beside {
    fn of(view: &ClusterView<'_>) -> Self {
        let stand_ins = view.plan.inventory.strays.iter().filter_map(files::stand_in);
        let of_another_kind = stand_ins.filter_map(|(name, what)| match name {
            WalFileName::Segment(name) => Some((name, what)),
            _ => None,
        });
        let partial = view.survey.chains.partials.iter().map(|(file, _)| file.name);
        Self { of_another_kind: of_another_kind.collect(), partial: partial.collect() }
    }

    /// The first in a hole that has the name of a segment and is no regular file.
    fn of_another_kind(
        &self,
        (first, last): (SegmentName, SegmentName),
    ) -> Option<(SegmentName, &'static str)> {
        self.of_another_kind.range(first..=last).next().map(|(name, what)| (*name, *what))
    }

    /// A file that a person would point at.
    fn partial(&self, name: SegmentName) -> Option<String> {
        self.partial.contains(&name).then(|| WalFileName::Partial(name).to_string())
    }
}

/// A file that a server would read instead.
fn of_ancestor(view: &ClusterView<'_>, hole: &Hole) -> Option<String> {
    let ancestors = view.history(hole.timeline).map(|history| history.path()).unwrap_or_default();
    ancestors.iter().rev().skip(1).find_map(|ancestor| {
        let has = view.cluster.chains.get(ancestor).is_some_and(|chain| chain.present.contains(hole.first));
        let name = || SegmentName::new(*ancestor, hole.first, view.id.segment_size);
        has.then(|| format!("timeline {ancestor}'s {}", name()))
    })
}
