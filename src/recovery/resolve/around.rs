//! What a stop loses, what it leaves prepared, what is near it.

use super::path::Path;
use super::{Assessment, Lost, Near, Prepared, ProblemCode};
use crate::backup::BaseBackup;
use crate::recovery::library::Library;
use crate::recovery::model::{Prediction, Request};
use crate::recovery::route::Route;
use crate::recovery::target::Target;
use crate::scan::SegmentFacts;
use crate::scan::event::{Event, What};
use crate::wal::{Lsn, PgTime, Xid};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

pub(super) fn lost(path: &Path<'_>, from: Lsn) -> Lost {
    let beyond = path.transactions(from);
    Lost { commits: beyond.commits, times: beyond.commit_times }
}

/// The transactions that stand prepared when replay ends at `until`, in the order in which they were prepared: those of
/// the backup's own files and of the WAL that have not ended by then, and those of which nothing is left but their end
/// behind that.
pub(super) fn prepared(
    path: &Path<'_>,
    backup: &BaseBackup,
    until: Lsn,
    beyond: &Route<'_>,
) -> Vec<Prepared> {
    let mut standing = Standing::default();
    for file in &backup.prepared {
        standing.add(Prepared { xid: file.xid, gid: file.gid.clone(), at: file.at });
    }
    let may_have = |facts: &SegmentFacts| facts.events.may_have_prepared();
    let before = path.events_if(|facts| facts.start < until && may_have(facts));
    for event in before.take_while(|event| event.lsn < until).filter(|event| event.end <= until) {
        match &event.what {
            What::Prepare(prepared) => {
                standing.add(Prepared { xid: event.xid, gid: Some(prepared.gid.clone()), at: event.time });
            }
            What::End(end) if end.prepared => {
                standing.of.remove(&event.xid);
            }
            _ => {}
        }
    }
    let mut begun_behind = HashSet::new();
    for event in beyond.events_if(may_have).filter(|event| event.lsn >= until) {
        match &event.what {
            What::Prepare(_) => {
                begun_behind.insert(event.xid);
            }
            What::End(end) if end.prepared && !begun_behind.contains(&event.xid) => {
                let gid = end.details.as_ref().and_then(|details| details.gid.clone());
                standing.add_if_new(Prepared { xid: event.xid, gid, at: None });
            }
            _ => {}
        }
    }
    standing.in_order()
}

/// Prepared transactions, each with its place in the order.
#[derive(Default)]
struct Standing {
    of: HashMap<Xid, (usize, Prepared)>,
    added: usize,
}

impl Standing {
    fn add(&mut self, prepared: Prepared) {
        self.added += 1;
        self.of.insert(prepared.xid, (self.added, prepared));
    }

    fn add_if_new(&mut self, prepared: Prepared) {
        if !self.of.contains_key(&prepared.xid) {
            self.add(prepared);
        }
    }

    fn in_order(self) -> Vec<Prepared> {
        let mut all: Vec<(usize, Prepared)> = self.of.into_values().collect();
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, prepared)| prepared).collect()
    }
}

/// The first transaction that ended in front of `until` at a time that counts.
pub(super) fn first_end_before(
    path: &Path<'_>,
    until: Lsn,
    counts: impl Fn(PgTime) -> bool,
) -> Option<(Xid, PgTime)> {
    let may_have = |facts: &SegmentFacts| facts.start < until && facts.has_end(|times| counts(times.max));
    let ends =
        path.events_if(may_have).filter(|event| event.lsn < until && matches!(event.what, What::End(_)));
    let mut counted = ends.filter_map(|event| Some((event.xid, event.time?)));
    counted.find(|(_, at)| counts(*at))
}

/// The closest targets that can be recovered to from this backup.
pub(super) fn nearest(
    assessment: &Assessment<'_>,
    path: &Path<'_>,
    request: &Request<'_>,
) -> (Option<Near>, Option<Near>) {
    let prediction = &assessment.prediction;
    let has = |code| assessment.problems.iter().any(|problem| problem.code == code);
    if has(ProblemCode::SubtransactionXid)
        && let Target::Xid(xid) = request.target
        && let Some(owner) = owner_of(*xid, path).filter(|owner| is_reachable(prediction, request, owner))
    {
        return (Some(Near::Xid(owner.xid)), None);
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
    let limit = prediction.sound_to();
    let mut events = path.events_if(|facts| facts.start < limit).rev();
    let before = match events.find(|event| is_reachable(prediction, request, event)) {
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
        Path::of(library, history, prediction).visit(|event| match event.xid.cmp(&xid) {
            _ if !is_reachable(prediction, request, event) => {}
            Ordering::Less => before = before.max(Some(event.xid)),
            Ordering::Greater => after = Some(after.map_or(event.xid, |after| after.min(event.xid))),
            Ordering::Equal => {}
        });
    }
    (before.map(Near::Xid), after.map(Near::Xid))
}

/// Whether an event is a commit at which a recovery from this backup may stop.
fn is_reachable(prediction: &Prediction<'_>, request: &Request<'_>, event: &Event) -> bool {
    let stop = if request.inclusive { event.end } else { event.lsn };
    sound_consistency(prediction).is_some_and(|consistent| consistent <= stop)
        && event.end <= prediction.sound_to()
        && matches!(&event.what, What::End(end) if end.committed)
}

/// Where the backup is consistent, if that is before anything goes wrong.
fn sound_consistency(prediction: &Prediction<'_>) -> Option<Lsn> {
    prediction.consistent.filter(|at| *at <= prediction.sound_to())
}

/// The end of the transaction that had `xid` as one of its subtransactions.
pub(super) fn owner_of<'e>(xid: Xid, path: &Path<'e>) -> Option<&'e Event> {
    let holds = |event: &&Event| match &event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.subtransactions.contains(&xid)),
        _ => false,
    };
    path.events_if(|facts| facts.events.may_have_subtransactions()).find(holds)
}
