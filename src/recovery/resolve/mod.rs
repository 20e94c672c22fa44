//! Whether a target can be recovered to, from which backup, and if not, why not and what is nearest.
//!
//! The model says what a server does; here that is held to what a person asked for. A server promotes quietly at
//! a gap, at damage, and after it replayed the wrong timeline: none of that is feasible.

mod around;
mod assess;
mod by_target;
mod cautions;
mod path;
mod problem;

use around::{closest, lost, nearest, prepared};
pub use assess::assess;
use path::Path;
pub use problem::{Problem, ProblemCode};

use super::library::Library;
use super::model::{Prediction, Request, refusal};
use super::route::Route;
use super::target::{Position, Target};
use crate::archive::StoreError;
use crate::backup::BaseBackup;
use crate::wal::{Lsn, PgTime, SegmentName, Xid};

/// A target near the one that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Near {
    /// The end of the archive.
    Latest,
    /// As soon as the backup is consistent.
    Immediate,
    /// After this transaction.
    Xid(Xid),
}

/// A prepared transaction that nobody has finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// The transaction.
    pub xid: Xid,
    /// Its name; `None` where nothing here tells.
    pub gid: Option<String>,
    /// When it was prepared.
    pub at: Option<PgTime>,
}

/// Commits that the archive holds beyond the stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// How many.
    pub commits: u64,
    /// Times of the first and the last, in LSN order.
    pub times: Option<(PgTime, PgTime)>,
}

/// One backup held to a target.
#[derive(Debug)]
pub struct Assessment<'a> {
    /// What the server does.
    pub prediction: Prediction<'a>,
    /// What speaks against it.
    pub problems: Vec<Problem>,
    /// Segments that are missing before the stop.
    pub missing: Vec<SegmentName>,
    /// Segments that are damaged before the stop.
    pub damaged: Vec<SegmentName>,
    /// What a person should mind before the server is started.
    pub cautions: Vec<String>,
}

impl Assessment<'_> {
    /// The server stops there, with the state asked for, over sound WAL.
    pub fn is_feasible(&self) -> bool {
        self.problems.iter().all(|problem| problem.code == ProblemCode::AmbiguousName)
    }

    /// How far from feasible, for choosing the backup whose answer says most.
    fn distance(&self) -> u8 {
        let has = |codes: &[ProblemCode]| self.problems.iter().any(|problem| codes.contains(&problem.code));
        match () {
            () if self.prediction.refusal.is_some() => 4,
            () if has(&[ProblemCode::ConsistencyNotReached]) => 3,
            () if has(&[ProblemCode::BeforeConsistency, ProblemCode::TargetBeforeBackup]) => 2,
            () if has(&[
                ProblemCode::SegmentMissing,
                ProblemCode::SegmentDamaged,
                ProblemCode::WrongTimelineReplayed,
                ProblemCode::WalLevelMinimal,
            ]) =>
            {
                1
            }
            () => 0,
        }
    }
}

/// A backup that is not used, and why.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Index into the backups given.
    pub index: usize,
    /// In a clause.
    pub reason: String,
}

/// The answer.
#[derive(Debug)]
pub struct Resolution<'a> {
    /// Index of the backup that is used, and how it does.
    pub chosen: Option<(usize, Assessment<'a>)>,
    /// The others, latest first.
    pub rejected: Vec<Rejected>,
    /// What speaks against the target as a whole.
    pub problems: Vec<Problem>,
    /// Commits beyond the stop, where there is one.
    pub lost: Option<Lost>,
    /// Transactions that will stand prepared.
    pub prepared: Vec<Prepared>,
    /// The closest feasible targets before and after, where this one is not.
    pub nearest: (Option<Near>, Option<Near>),
}

impl Resolution<'_> {
    /// Whether the target can be recovered to.
    pub fn is_feasible(&self) -> bool {
        self.chosen.as_ref().is_some_and(|(_, assessment)| assessment.is_feasible())
    }
}

/// Finds the backup that starts latest among those from which the target can be reached. With `only` no other is
/// looked at.
pub fn resolve<'a>(
    library: &'a Library<'a>,
    backups: &[BaseBackup],
    only: Option<usize>,
    request: &Request<'_>,
) -> Result<Resolution<'a>, StoreError> {
    let mut order: Vec<usize> =
        (0..backups.len()).filter(|index| only.is_none_or(|only| only == *index)).collect();
    order.sort_by_key(|index| {
        std::cmp::Reverse(backups.get(*index).map(|backup| (backup.start_lsn, backup.timeline)))
    });
    let mut rejected = Vec::new();
    let mut tried: Vec<(usize, Assessment<'a>)> = Vec::new();
    let mut chosen = None;
    for index in order {
        let Some(backup) = backups.get(index) else { continue };
        if let Some(reason) = unfit(library, backup) {
            rejected.push(Rejected { index, reason });
            continue;
        }
        if chosen.is_some() {
            let earlier = || "it starts earlier than the one chosen: more WAL to replay".to_owned();
            rejected
                .push(Rejected { index, reason: refusal(library, backup, request).unwrap_or_else(earlier) });
            continue;
        }
        let assessment = assess(library, backup, request)?;
        if assessment.is_feasible() {
            chosen = Some((index, assessment));
        } else {
            tried.push((index, assessment));
        }
    }
    if chosen.is_none() {
        chosen = take_closest(&mut tried);
    }
    for (index, assessment) in &tried {
        let reason = assessment.problems.first().map_or_else(String::new, |problem| problem.message.clone());
        rejected.push(Rejected { index: *index, reason });
    }
    rejected.sort_by_key(|r| {
        std::cmp::Reverse(backups.get(r.index).map(|backup| (backup.start_lsn, backup.timeline)))
    });
    let mut resolution = conclude(library, backups, chosen, &tried, rejected, request);
    let chosen = resolution.chosen.as_ref().and_then(|(index, _)| backups.get(*index));
    if let Some(backup) = chosen {
        let (before, after) = resolution.nearest;
        resolution.nearest =
            (reachable(library, backup, request, before)?, reachable(library, backup, request, after)?);
    }
    Ok(resolution)
}

/// What is near a target, if it can be recovered to itself: transactions are looked at one by one before they are named.
fn reachable(
    library: &Library<'_>,
    backup: &BaseBackup,
    request: &Request<'_>,
    near: Option<Near>,
) -> Result<Option<Near>, StoreError> {
    let target = match near {
        Some(Near::Immediate) => Target::Immediate,
        Some(Near::Latest) => Target::Latest,
        other => return Ok(other),
    };
    let near_one = Request { target: &target, inclusive: true, ..*request };
    let found = assess(library, backup, &near_one)?;
    Ok(near.filter(|_| found.is_feasible()))
}

/// Why a backup cannot serve whatever the target.
fn unfit(library: &Library<'_>, backup: &BaseBackup) -> Option<String> {
    let foreign = backup.system_identifier.filter(|id| *id != library.system_id);
    foreign
        .map(|id| format!("it is of another cluster (system identifier {id})"))
        .or_else(|| backup.why_unusable())
}

/// Of backups that all fail, the one whose failure says most.
fn take_closest<'a>(tried: &mut Vec<(usize, Assessment<'a>)>) -> Option<(usize, Assessment<'a>)> {
    let best = tried.iter().map(|(_, assessment)| assessment.distance()).min()?;
    // Where every backup is too late, the earliest is the closest.
    let position = if best == 2 {
        tried.iter().rposition(|(_, assessment)| assessment.distance() == best)
    } else {
        tried.iter().position(|(_, assessment)| assessment.distance() == best)
    };
    Some(tried.remove(position?))
}

fn conclude<'a>(
    library: &Library<'_>,
    backups: &[BaseBackup],
    chosen: Option<(usize, Assessment<'a>)>,
    tried: &[(usize, Assessment<'a>)],
    rejected: Vec<Rejected>,
    request: &Request<'_>,
) -> Resolution<'a> {
    let mut resolution = Resolution {
        chosen,
        rejected,
        problems: Vec::new(),
        lost: None,
        prepared: Vec::new(),
        nearest: (None, None),
    };
    let Some((index, assessment)) = &resolution.chosen else {
        let message = match resolution.rejected.first() {
            Some(first) => format!("no base backup can be used: {}", first.reason),
            None => "no base backup is known: name one with --backup".to_owned(),
        };
        resolution.problems.push(Problem { code: ProblemCode::NoUsableBackup, message });
        return resolution;
    };
    resolution.problems.clone_from(&assessment.problems);
    let Some(history) = &assessment.prediction.history else { return resolution };
    let path = Path::of(library, history, &assessment.prediction);
    let applied_to = assessment.prediction.applied_to;
    if assessment.prediction.refusal.is_none() {
        resolution.lost = Some(lost(&path, applied_to));
        if let Some(backup) = backups.get(*index) {
            let beyond = Route::from(library, history, applied_to);
            resolution.prepared = prepared(&path, backup, applied_to, &beyond);
        }
    }
    if !assessment.is_feasible() {
        let (before, after) = nearest(assessment, &path, request);
        let is_sub = resolution.problems.iter().any(|p| p.code == ProblemCode::SubtransactionXid);
        let (closest_before, closest_after) = match request.target {
            Target::Xid(xid) if !is_sub || before.is_none() => {
                let all = tried.iter().map(|(_, other)| other).chain([assessment]);
                closest(library, all, *xid, request)
            }
            _ => (None, None),
        };
        resolution.nearest = (closest_before.or(before), after.or(closest_after));
    }
    resolution
}

/// The distinct segments that are read from redo to the stop, in the order in which the server asks for them.
pub fn needed(prediction: &Prediction<'_>) -> Vec<SegmentName> {
    let Some(route) = &prediction.route else { return Vec::new() };
    let examined = match &prediction.stop {
        Some(stop) if stop.position != Position::EndOfWal => stop.end.max(prediction.applied_to),
        _ if prediction.dies_of_prepared() => prediction.applied_to.plus(1),
        _ => Lsn::MAX,
    };
    route.legs.iter().filter(|leg| leg.facts.start < examined).map(|leg| leg.facts.name).collect()
}
