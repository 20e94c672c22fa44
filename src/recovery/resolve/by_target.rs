//! What can be wrong with each kind of target.

use super::around::{first_end_before, owner_of};
use super::path::Path;
use super::{Assessment, Problem, ProblemCode};
use crate::backup::{BackupEnd, BaseBackup};
use crate::recovery::held;
use crate::recovery::library::Library;
use crate::recovery::model::{Prediction, Request};
use crate::recovery::routes::Routes;
use crate::recovery::target::Target;
use crate::scan::event::{Event, What};
use crate::timeline::History;
use crate::wal::{Lsn, PgTime, Xid};

/// What depends on the kind of target.
pub(super) fn by_target(
    library: &Library<'_>,
    backup: &BaseBackup,
    request: &Request<'_>,
    assessment: &mut Assessment<'_>,
) {
    let Some(history) = assessment.prediction.history.clone() else { return };
    let path = || Path::of(library, &history, &assessment.prediction);
    let problem = match request.target {
        Target::Time(time) => too_late(library, *time, request, &path(), &assessment.prediction),
        Target::Xid(_) if assessment.prediction.reached_target() => None,
        Target::Xid(xid) => subtransaction(*xid, &path()),
        Target::Name(name) => ambiguous_name(name, &path(), &assessment.prediction),
        Target::Lsn(lsn) => behind_lsn(*lsn, backup, &assessment.prediction),
        Target::Immediate | Target::Latest => None,
    };
    let redo = assessment.prediction.redo;
    let not_reached =
        assessment.problems.iter_mut().find(|problem| problem.code == ProblemCode::TargetNotReached);
    let place = not_reached.as_ref().and_then(|_| match request.target {
        Target::Xid(xid) => ended_elsewhere(library, *xid, &history, redo),
        Target::Name(name) => Some(named_elsewhere(library, name, &history, redo)),
        _ => None,
    });
    if let (Some(not_reached), Some(place)) = (not_reached, place) {
        not_reached.message = format!("{}; {place}", not_reached.message);
    }
    assessment.problems.extend(problem);
}

/// Where a restore point stands that a recovery behind `redo` on this path does not meet.
fn named_elsewhere(library: &Library<'_>, name: &str, history: &History, redo: Lsn) -> String {
    let has_name =
        |event: &&Event| matches!(&event.what, What::RestorePoint { name: other } if other == name);
    let points = library.own().flat_map(|(_, _, facts)| facts.events.others());
    let what = format!("restore point \"{name}\"");
    match elsewhere(points.filter(has_name), history, redo, &what, "stands") {
        Some(place) => place,
        None => format!("no {what} is in the archive"),
    }
}

/// Where a transaction ended that a recovery behind `redo` on this path does not meet.
fn ended_elsewhere(library: &Library<'_>, xid: Xid, history: &History, redo: Lsn) -> Option<String> {
    let files = library.own().filter(|(_, _, facts)| facts.events.may_have_xid(xid));
    let ends = files.flat_map(|(_, _, facts)| &facts.events);
    let ends = ends.filter(|event| event.xid == xid && matches!(event.what, What::End(_)));
    elsewhere(ends, history, redo, &format!("transaction {xid}"), "ended")
}

/// Where one of these events is that a recovery behind `redo` on this path does not meet.
fn elsewhere<'e>(
    events: impl Iterator<Item = &'e Event>,
    history: &History,
    redo: Lsn,
    what: &str,
    is: &str,
) -> Option<String> {
    // What is on the path first, then the newest.
    let is_on_path = |event: &Event| history.owner(event.lsn) == event.owner;
    let event = events.max_by_key(|event| (is_on_path(event), event.lsn))?;
    let (at, owner) = (event.lsn, event.owner);
    if is_on_path(event) {
        return Some(if at < redo {
            format!("{what} {is} at {at}, before the backup starts at {redo}")
        } else {
            format!("{what} {is} at {at}, behind that")
        });
    }
    Some(format!(
        "{what} {is} on timeline {owner}, at {at}, which the way to timeline {} does not go through",
        history.timeline
    ))
}

/// The backup already holds transactions that ended after the time asked for.
fn too_late(
    library: &Library<'_>,
    time: PgTime,
    request: &Request<'_>,
    path: &Path<'_>,
    prediction: &Prediction<'_>,
) -> Option<Problem> {
    if !prediction.reached_target() {
        return None;
    }
    let over = |at: PgTime| if request.inclusive { at > time } else { at >= time };
    let held = first_end_before(path, prediction.redo, over);
    let message = |detail: String| Problem {
        code: ProblemCode::TargetBeforeBackup,
        message: format!("the backup is later than the time asked for: {detail}"),
    };
    if let Some((xid, at)) = held {
        return Some(message(format!("it holds transaction {xid} of {}", request.clock.iso(at))));
    }
    let checkpoint = prediction.checkpoint?;
    let history = prediction.history.as_ref()?;
    let routes = Routes::new(library);
    if held::begins(&routes, history, checkpoint.time, prediction.redo) <= time
        || held::is_shown(&routes, history, time, prediction.redo)
    {
        return None;
    }
    Some(message(format!(
        "its checkpoint is of {}, to the second, and nothing proves that no transaction ended in between",
        request.clock.iso(checkpoint.time)
    )))
}

/// An xid target never matches a subtransaction: says whose it is.
fn subtransaction(xid: Xid, path: &Path<'_>) -> Option<Problem> {
    let ends = |event: &Event| matches!(&event.what, What::End(_)) && event.xid == xid;
    if path.events_if(|facts| facts.events.may_have_xid(xid)).any(ends) {
        return None;
    }
    let owner = owner_of(xid, path)?.xid;
    Some(Problem {
        code: ProblemCode::SubtransactionXid,
        message: format!(
            "{xid} is a subtransaction of transaction {owner}: a server never stops at it; use {owner}"
        ),
    })
}

/// Several restore points of the path have the name: the server stops at the first behind the backup.
fn ambiguous_name(name: &str, path: &Path<'_>, prediction: &Prediction<'_>) -> Option<Problem> {
    let has_name =
        |event: &&Event| matches!(&event.what, What::RestorePoint { name: other } if other == name);
    let all: Vec<&Event> = path.others().filter(has_name).collect();
    if all.len() < 2 {
        return None;
    }
    let places: Vec<String> = all.iter().map(|event| event.lsn.to_string()).collect();
    Some(Problem {
        code: ProblemCode::AmbiguousName,
        message: format!(
            "{} restore points are called \"{name}\", at {}: recovery stops at the first {}",
            all.len(),
            places.join(", "),
            if all.iter().any(|event| event.lsn < prediction.redo) { "behind the backup" } else { "of them" }
        ),
    })
}

/// A position that the backup is already behind.
fn behind_lsn(lsn: Lsn, backup: &BaseBackup, prediction: &Prediction<'_>) -> Option<Problem> {
    let starts_consistent = prediction.fatal.is_none() && lsn < prediction.redo;
    let ends_by_record = matches!(backup.startup().map(|startup| startup.end), Ok(BackupEnd::Record { .. }));
    (starts_consistent && !ends_by_record).then(|| Problem {
        code: ProblemCode::TargetBeforeBackup,
        message: format!("the backup starts at {}, behind the position asked for", prediction.redo),
    })
}
