//! Which files a question must look into, by the bounds of what happened in each.
//!
//! Looking into too many files costs time, looking into too few would cost the truth: whatever the bounds cannot
//! decide is looked into, and a question that they cannot narrow down at all is not narrowed.

use super::deeds::transactions;
use super::index::{Happening, Index, all_events};
use super::query::Query;
use super::seams::Across;
use super::tables::files;
use super::times::Times;
use crate::names::Names;
use crate::recovery::Library;
use crate::scan::Event;
use crate::scan::event::What;
use crate::scan::zone::{FileZone, Span, Zone};
use crate::wal::{Lsn, PgTime, TimelineId, Xid};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Places in a list of files that is ordered by positions.
pub type Selection = BTreeSet<usize>;

/// Whether bounds narrow `query` down.
pub fn can_narrow(query: &Query) -> bool {
    // What belongs to no transaction is everywhere.
    if query.xid == Some(Xid::INVALID) {
        return false;
    }
    let window = query.window_us.is_some();
    let around = query.time.is_some() && !window;
    let filtered = !query.kinds.is_empty() || query.table.is_some() || query.databases.is_some();
    let within = query.since.is_some()
        || query.until.is_some()
        || window
        || query.xid.is_some()
        || query.name.is_some();
    match (around, query.lsn.is_some()) {
        (false, false) => within,
        // What is nearest depends on everything that is asked.
        (true, true) => false,
        _ => !filtered && !within,
    }
}

/// The files in which an event may be found.
pub fn first_look(query: &Query, zones: &[&FileZone]) -> Selection {
    let selected = match (query.time.filter(|_| query.window_us.is_none()), query.lsn) {
        (Some(time), _) => around_time(query, zones, time),
        (_, Some(lsn)) => around_position(query, zones, lsn),
        _ => {
            (0..zones.len()).filter(|at| zones[*at].zones.iter().any(|zone| may_hold(query, zone))).collect()
        }
    };
    with_successors(selected, zones, |zone| zone.open)
}

/// Which of the events in `library` are meant, as far as times, positions, transactions, names and timelines tell, by
/// timelines and starts of records.
pub fn meant(query: &Query, library: &Library<'_>) -> BTreeSet<(TimelineId, Lsn)> {
    let bounds = query.bounds();
    let place = |event: &Event| (event.owner, event.lsn);
    let across = Across::of(library);
    let times = Times::of(library, &across);
    if bounds.is_nearest() {
        let of_files = library.facts_in_order().flat_map(|facts| near(&bounds, &facts.events));
        // What tells no time itself is not among those of the files, and near a position it makes no difference.
        let at_once = times.events().filter(|_| bounds.lsn.is_none());
        let index = Index::bare(library, &times, of_files.chain(&across.events).chain(at_once));
        let found = bounds.run(&index, &Names::default());
        return found.iter().map(|found| place(&found.happening.event)).collect();
    }
    let is_meant = |event: &&Event| {
        if event.what.is_at_once() { bounds.may_mean(&times.told(event)) } else { bounds.may_mean(event) }
    };
    all_events(library, &across).filter(is_meant).map(place).collect()
}

/// Of the events of one file those that may be nearest to the time or the position that is asked for.
fn near<'a>(query: &Query, events: &'a [Event]) -> Vec<&'a Event> {
    let mut kept = Vec::new();
    let mut by_owner: BTreeMap<TimelineId, Neighbours<'a>> = BTreeMap::new();
    for event in events {
        let Some(order) = order(query, event) else { continue };
        let neighbours = by_owner.entry(event.owner).or_default();
        match order {
            Ordering::Equal => kept.push(event),
            Ordering::Less if neighbours.after.is_none() => neighbours.before = Some(event),
            Ordering::Greater if neighbours.after.is_none() => neighbours.after = Some(event),
            _ => {}
        }
    }
    kept.extend(
        by_owner.into_values().flat_map(|neighbours| neighbours.before.into_iter().chain(neighbours.after)),
    );
    kept
}

/// The last event before the first that is later, and that one.
#[derive(Default)]
struct Neighbours<'a> {
    before: Option<&'a Event>,
    after: Option<&'a Event>,
}

/// On which side of what is asked for an event is. `None`: it is not looked at.
fn order(query: &Query, event: &Event) -> Option<Ordering> {
    if let Some(lsn) = query.lsn {
        let side = if event.lsn <= lsn { Ordering::Less } else { Ordering::Greater };
        return (!event.what.is_quiet()).then_some(side);
    }
    let side = event.time?.cmp(&query.time?);
    (side == Ordering::Equal || matches!(event.what, What::End(_))).then_some(side)
}

/// The files that the events in `index`, which has those that are meant, need besides: where their transactions did what
/// they did and ended, checkpoints that tell epochs, and rows that hold names.
///
/// `makers` made the rows that are seen so far; `wants_names`: the question itself has names in it.
pub fn next_look(
    library: &Library<'_>,
    index: &Index,
    makers: &BTreeSet<Xid>,
    wants_names: bool,
    zones: &[&FileZone],
) -> Selection {
    let events = || index.happenings.iter().map(|happening| &happening.event);
    let xids: BTreeSet<Xid> = events().flat_map(transactions).collect();
    let mut selected = where_any(zones, &xids, |zone| zone.active);
    let ends: BTreeSet<Xid> = Times::of(library, &index.across).without_end().collect();
    selected.extend(where_any(zones, &ends, |zone| zone.xids));
    // Which of several transactions of one number did something is told by the ends of all of them.
    selected.extend(where_any(zones, &xids, |zone| zone.xids));
    selected.extend(checkpoints(events(), zones));
    let has_names = |happening: &Happening| {
        !files(happening).is_empty() || matches!(happening.event.what, What::Database { .. })
    };
    if wants_names || index.happenings.iter().any(has_names) {
        let shows = |zone: &FileZone| zone.zones.iter().any(|zone| zone.has_sightings);
        selected.extend((0..zones.len()).filter(|at| shows(zones[*at])));
        selected.extend(where_any(zones, &without_end(makers, library, index), |zone| zone.xids));
    }
    with_successors(selected, zones, |zone| zone.open || zone.across.is_some_and(|xid| xids.contains(&xid)))
}

/// Widens the bounds of files by the records across their ends. `library` holds those that are open, and the files
/// behind them.
pub fn widen_across(library: &Library<'_>, zones: &mut [&mut FileZone]) {
    let across = Across::of(library);
    let mut widen = |lsn: Lsn, widen: &dyn Fn(&mut FileZone)| {
        for zone in zones.iter_mut().filter(|zone| zone.start <= lsn && lsn < zone.end) {
            widen(zone);
        }
    };
    for event in &across.events {
        widen(event.lsn, &|zone| zone.take(std::slice::from_ref(event), &[], &[]));
    }
    for (lsn, activities) in &across.activities {
        widen(*lsn, &|zone| zone.take(&[], std::slice::from_ref(activities), &[]));
    }
    for sighting in &across.sightings {
        widen(sighting.lsn, &|zone| zone.take(&[], &[], std::slice::from_ref(sighting)));
    }
}

/// The files selected, and for those of them that `matters` accepts the files in which their last records end.
pub fn with_successors(
    selected: Selection,
    zones: &[&FileZone],
    matters: impl Fn(&FileZone) -> bool,
) -> Selection {
    let starting_at = |lsn: Lsn| {
        zones.partition_point(|zone| zone.start < lsn)..zones.partition_point(|zone| zone.start <= lsn)
    };
    let mut left: Vec<usize> = selected.iter().copied().filter(|at| matters(zones[*at])).collect();
    let mut all = selected;
    let mut followed = Selection::new();
    while let Some(at) = left.pop() {
        for next in starting_at(zones[at].end) {
            all.insert(next);
            if zones[next].is_middle && followed.insert(next) {
                left.push(next);
            }
        }
    }
    all
}

fn overlaps<T: Ord + Copy>(span: Span<T>, from: Option<T>, to: Option<T>) -> bool {
    span.is_some_and(|(least, greatest)| {
        from.is_none_or(|from| from <= greatest) && to.is_none_or(|to| to >= least)
    })
}

fn may_hold(query: &Query, zone: &Zone) -> bool {
    let window = query.time.zip(query.window_us);
    let from = window.map(|(time, us)| PgTime(time.0.saturating_sub(us)));
    let to = window.map(|(time, us)| PgTime(time.0.saturating_add(us)));
    let within = |from: Option<PgTime>, to: Option<PgTime>| {
        (from.is_none() && to.is_none()) || zone.untimed || overlaps(zone.timed, from, to)
    };
    query.timeline.is_none_or(|timeline| timeline == zone.owner)
        && within(query.since, query.until)
        && within(from, to)
        && query.xid.is_none_or(|xid| overlaps(zone.xids, Some(xid), Some(xid)))
        && (query.name.is_none() || zone.has_names)
}

/// The zones of each timeline that is asked for, by position.
fn by_owner<'a>(query: &Query, zones: &[&'a FileZone]) -> BTreeMap<TimelineId, Vec<(usize, &'a Zone)>> {
    let mut owners: BTreeMap<TimelineId, Vec<(usize, &Zone)>> = BTreeMap::new();
    for (at, file) in zones.iter().enumerate() {
        for zone in file.zones.iter().filter(|zone| query.timeline.is_none_or(|wanted| wanted == zone.owner))
        {
            owners.entry(zone.owner).or_default().push((at, zone));
        }
    }
    owners
}

/// Where the event at a time is, or the transactions on either side.
fn around_time(query: &Query, zones: &[&FileZone], time: PgTime) -> Selection {
    let mut selected = Selection::new();
    for zones in by_owner(query, zones).values() {
        let exact = zones.iter().filter(|(_, zone)| overlaps(zone.timed, Some(time), Some(time)));
        selected.extend(exact.map(|(at, _)| *at));
        selected.extend(zones.iter().filter(|(_, zone)| zone.untimed).map(|(at, _)| *at));
        // The first that is later may be anywhere in its file, so the last before it may be in an earlier one.
        let after = zones.iter().position(|(_, zone)| zone.ends.is_some_and(|(_, latest)| latest > time));
        let until = after.map_or(zones.len(), |after| after + 1);
        selected.extend(after.map(|after| zones[after].0));
        let earlier = |(_, zone): &&(usize, &Zone)| zone.ends.is_some_and(|(earliest, _)| earliest < time);
        let before = |end: usize| zones[..end].iter().rev().find(earlier).map(|(at, _)| *at);
        selected.extend(before(until));
        selected.extend(after.and_then(before));
    }
    selected
}

/// Where the event is whose record holds a position, or its neighbours.
fn around_position(query: &Query, zones: &[&FileZone], lsn: Lsn) -> Selection {
    let mut selected = Selection::new();
    for zones in by_owner(query, zones).values() {
        let begins = |(_, zone): &&(usize, &Zone)| zone.events.is_some_and(|(first, _)| first <= lsn);
        let ends = |(_, zone): &&(usize, &Zone)| zone.events.is_some_and(|(_, last)| last > lsn);
        selected.extend(zones.iter().rev().find(begins).map(|(at, _)| *at));
        selected.extend(zones.iter().find(ends).map(|(at, _)| *at));
    }
    selected
}

/// Files in which one of `xids` lies within a bound.
fn where_any(zones: &[&FileZone], xids: &BTreeSet<Xid>, of: impl Fn(&Zone) -> Span<Xid>) -> Selection {
    let holds =
        |zone: &Zone| of(zone).is_some_and(|(least, greatest)| xids.range(least..=greatest).next().is_some());
    (0..zones.len()).filter(|at| zones[*at].zones.iter().any(holds)).collect()
}

/// For each timeline the files with the checkpoints around these events.
fn checkpoints<'a>(events: impl Iterator<Item = &'a Event>, zones: &[&FileZone]) -> Selection {
    let mut places: BTreeMap<TimelineId, Vec<usize>> = BTreeMap::new();
    for (at, file) in zones.iter().enumerate() {
        for zone in file.zones.iter().filter(|zone| zone.has_checkpoint) {
            places.entry(zone.owner).or_default().push(at);
        }
    }
    let mut selected = Selection::new();
    for event in events.filter(|event| event.xid != Xid::INVALID) {
        let Some(places) = places.get(&event.owner) else { continue };
        let lsn = event.lsn;
        // The checkpoint may stand before or behind the event in the file that holds both.
        let own = places.partition_point(|at| zones[*at].end <= lsn);
        let next = places.partition_point(|at| zones[*at].start <= lsn);
        selected.extend(&places[own..next]);
        selected.extend(places.get(next));
        selected.extend(own.checked_sub(1).and_then(|before| places.get(before)));
    }
    selected
}

/// Those of `makers` whose end is not among the events.
fn without_end(makers: &BTreeSet<Xid>, library: &Library<'_>, index: &Index) -> BTreeSet<Xid> {
    let mut left: BTreeSet<Xid> = makers.range(Xid::FIRST_NORMAL..).copied().collect();
    if !left.is_empty() {
        for xid in all_events(library, &index.across).flat_map(transactions) {
            left.remove(&xid);
        }
    }
    left
}
