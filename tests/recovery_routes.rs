//! Many ways through one archive, each found from what is known of the others, are those that are found one by one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use support::recorded::Recording;
use support::replica::Replica;
use support::wounds::WOUNDS;
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::recovery::Library;
use walproof::recovery::route::{Crossing, End, Route};
use walproof::recovery::routes::Routes;
use walproof::timeline::History;
use walproof::wal::{Lsn, SegmentNumber, TimelineId};

type Told = (Vec<(TimelineId, SegmentNumber, Lsn, Lsn, String, Option<Crossing>)>, End);

fn told(route: &Route<'_>) -> Told {
    let legs = route.legs.iter().map(|leg| {
        (leg.timeline, leg.number, leg.from, leg.to, leg.facts.path.clone(), leg.crossing.clone())
    });
    (legs.collect(), route.end.clone())
}

/// How many ways were compared, and how many of them go through more than one file.
fn compare(place: &str) -> (usize, usize) {
    let archive = Archive::open(place, LayoutChoice::Auto).unwrap();
    let options = Options::default();
    let plan = plan(&archive, &options).unwrap();
    let Some(library) = Library::read(&archive, &plan, &options, &|_| {}).unwrap() else { return (0, 0) };
    let mut starts: BTreeSet<Lsn> = BTreeSet::new();
    for facts in library.facts_in_order() {
        starts.extend(facts.walked.runs.iter().flat_map(|run| [run.first, run.last, run.end]));
        starts.extend(facts.walked.tail.as_ref().map(|tail| tail.start));
        starts.extend([facts.start, Lsn(facts.start.0 + 100_000)]);
    }
    let mut timelines: BTreeSet<TimelineId> = library.all().map(|(timeline, _, _)| timeline).collect();
    timelines.extend(plan.histories.keys());
    let histories: Vec<History> = timelines.iter().map(|timeline| library.history(*timeline)).collect();
    let asked: Vec<(Lsn, &History)> =
        starts.iter().flat_map(|start| histories.iter().map(|history| (*start, history))).collect();
    let alone: Vec<Told> =
        asked.iter().map(|(start, history)| told(&Route::from(&library, history, *start))).collect();
    let backwards = (0..asked.len()).rev();
    let inside_out = (asked.len() / 2..asked.len()).chain(0..asked.len());
    for order in [(0..asked.len()).collect::<Vec<_>>(), backwards.collect(), inside_out.collect()] {
        let routes = Routes::new(&library);
        for index in order {
            let (start, history) = asked[index];
            let found = told(&routes.from(history, start));
            assert_eq!(found, alone[index], "{place}: {start:?} on {}", history.timeline);
        }
    }
    (alone.len(), alone.iter().filter(|(legs, _)| legs.len() > 1).count())
}

#[test]
fn ways_that_come_together_are_one_from_there_on() {
    let (mut compared, mut long) = (0, 0);
    let mut add = |place: &str| {
        let (more, more_long) = compare(place);
        compared += more;
        long += more_long;
    };
    for version in ["9.6", "13", "16", "17"] {
        add(Recording::of(version).archive().to_str().unwrap());
    }
    // All of them would take a minute.
    for wound in WOUNDS.iter().step_by(6) {
        let archive = Replica::of("14");
        (wound.inflict)(&archive);
        add(archive.archive().to_str().unwrap());
    }
    assert!(compared > 1_000 && long > compared / 4, "{compared} {long}");
}
