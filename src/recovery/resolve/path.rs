//! What happened along the path to a timeline: what a stop loses, what it leaves prepared, what is near it.

use super::{Assessment, Lost, Near, Prepared, ProblemCode};
use crate::recovery::library::Library;
use crate::recovery::model::{Prediction, Request};
use crate::recovery::target::Target;
use crate::scan::event::{Event, What};
use crate::timeline::History;
use crate::wal::{Lsn, Xid};
use std::cmp::Ordering;

/// Every event that a timeline on the path owns, once, in order.
pub(super) fn path_events<'e>(
    library: &'e Library<'_>,
    history: &History,
    prediction: &'e Prediction<'_>,
) -> Vec<&'e Event> {
    let on_path = library.all().filter(|(timeline, _, _)| history.contains(*timeline));
    let of_files = on_path.flat_map(|(_, _, facts)| facts.events.iter());
    // Files do not have what lies across their ends.
    let legs = prediction.route.iter().flat_map(|route| &route.legs);
    let across = legs.filter_map(|leg| leg.crossing.as_ref()?.event.as_ref());
    let mut events: Vec<&Event> =
        of_files.chain(across).filter(|event| event.owner == history.owner(event.lsn)).collect();
    events.sort_by_key(|event| event.lsn);
    events.dedup_by_key(|event| event.lsn);
    events
}

pub(super) fn lost(events: &[&Event], from: Lsn) -> Lost {
    let beyond = events.get(events.partition_point(|event| event.lsn < from)..).unwrap_or_default();
    let commits = beyond.iter().filter(|event| matches!(&event.what, What::End(end) if end.committed));
    let mut lost = Lost::default();
    for time in commits.map(|event| event.time.unwrap_or_default()) {
        lost.commits += 1;
        lost.times = Some((lost.times.map_or(time, |(first, _)| first), time));
    }
    lost
}

pub(super) fn prepared(events: &[&Event], until: Lsn) -> Vec<Prepared> {
    let mut standing: Vec<Prepared> = Vec::new();
    for event in events.iter().take_while(|event| event.lsn < until) {
        match &event.what {
            What::Prepare(prepared) if event.end <= until => {
                standing.push(Prepared { xid: event.xid, gid: prepared.gid.clone(), at: event.time });
            }
            What::End(end) if end.prepared && event.end <= until => standing.retain(|p| p.xid != event.xid),
            _ => {}
        }
    }
    standing
}

/// The closest targets that can be recovered to from this backup.
pub(super) fn nearest(
    assessment: &Assessment<'_>,
    events: &[&Event],
    request: &Request<'_>,
) -> (Option<Near>, Option<Near>) {
    let prediction = &assessment.prediction;
    let has = |code| assessment.problems.iter().any(|problem| problem.code == code);
    if has(ProblemCode::SubtransactionXid)
        && let Some(owner) = owner_of(request.target, events)
    {
        return (Some(Near::Xid(owner)), None);
    }
    if has(ProblemCode::BeforeConsistency) || has(ProblemCode::TargetBeforeBackup) {
        return (None, Some(Near::Immediate));
    }
    if sound_consistency(prediction).is_none() {
        return (None, None);
    }
    let broken =
        !assessment.missing.is_empty() || !assessment.damaged.is_empty() || has(ProblemCode::WalLevelMinimal);
    // Which transactions are near one is looked for from every backup.
    let by_xid = matches!(request.target, Target::Xid(_));
    if !broken {
        return ((!by_xid).then_some(Near::Latest), None);
    }
    let before = match reachable(prediction, events, request).last() {
        None => Some(Near::Immediate),
        Some(last) => (!by_xid).then_some(Near::Xid(last.xid)),
    };
    (before, None)
}

/// The transactions closest to `xid` that can be recovered to from one of the backups tried.
pub(super) fn closest<'t, 'a: 't>(
    library: &Library<'_>,
    tried: impl Iterator<Item = &'t Assessment<'a>>,
    xid: Xid,
    request: &Request<'_>,
) -> (Option<Near>, Option<Near>) {
    let (mut before, mut after) = (None::<Xid>, None::<Xid>);
    for prediction in tried.map(|assessment| &assessment.prediction) {
        let Some(history) = &prediction.history else { continue };
        for event in reachable(prediction, &path_events(library, history, prediction), request) {
            match event.xid.cmp(&xid) {
                Ordering::Less => before = before.max(Some(event.xid)),
                Ordering::Greater => after = Some(after.map_or(event.xid, |after| after.min(event.xid))),
                Ordering::Equal => {}
            }
        }
    }
    (before.map(Near::Xid), after.map(Near::Xid))
}

/// The commits at which a recovery from this backup may stop.
fn reachable<'e>(
    prediction: &Prediction<'_>,
    events: &[&'e Event],
    request: &Request<'_>,
) -> impl Iterator<Item = &'e Event> {
    let (consistent, limit) = (sound_consistency(prediction), prediction.sound_to());
    let inclusive = request.inclusive;
    events.iter().copied().filter(move |event| {
        let stop = if inclusive { event.end } else { event.lsn };
        consistent.is_some_and(|consistent| consistent <= stop)
            && event.end <= limit
            && matches!(&event.what, What::End(end) if end.committed)
    })
}

/// Where the backup is consistent, if that is before anything goes wrong.
fn sound_consistency(prediction: &Prediction<'_>) -> Option<Lsn> {
    prediction.consistent.filter(|at| *at <= prediction.sound_to())
}

fn owner_of(target: &Target, events: &[&Event]) -> Option<Xid> {
    let Target::Xid(xid) = target else { return None };
    let holds = |event: &&&Event| match &event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.subtransactions.contains(xid)),
        _ => false,
    };
    events.iter().find(holds).map(|event| event.xid)
}
