//! Whether a target can be recovered to, from which backup, and if not, why not and what is nearest.
//!
//! The model says what a server does; here that is held to what a person asked for. A server promotes quietly at
//! a gap, at damage, and after it replayed the wrong timeline: none of that is feasible.

use super::library::Library;
use super::model::{Prediction, Refusal, Request, predict};
use super::route::End;
use super::target::{Position, Target};
use super::words;
use crate::archive::StoreError;
use crate::backup::{BackupEnd, BaseBackup};
use crate::scan::event::{Event, What};
use crate::timeline::History;
use crate::wal::{Lsn, PgTime, SegmentName, Xid};

/// What speaks against a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "CONTRACT names them: each is what its name in reports says")]
pub enum ProblemCode {
    TargetNotReached,
    TargetBeforeBackup,
    BeforeConsistency,
    SegmentMissing,
    SegmentDamaged,
    TimelineNotFound,
    TimelineNotDescendant,
    NoUsableBackup,
    ConsistencyNotReached,
    WrongTimelineReplayed,
    SubtransactionXid,
    MultipleTargets,
    AmbiguousTime,
    AmbiguousName,
}

impl ProblemCode {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TargetNotReached => "target-not-reached",
            Self::TargetBeforeBackup => "target-before-backup",
            Self::BeforeConsistency => "before-consistency",
            Self::SegmentMissing => "segment-missing",
            Self::SegmentDamaged => "segment-damaged",
            Self::TimelineNotFound => "timeline-not-found",
            Self::TimelineNotDescendant => "timeline-not-descendant",
            Self::NoUsableBackup => "no-usable-backup",
            Self::ConsistencyNotReached => "consistency-not-reached",
            Self::WrongTimelineReplayed => "wrong-timeline-replayed",
            Self::SubtransactionXid => "subtransaction-xid",
            Self::MultipleTargets => "multiple-targets",
            Self::AmbiguousTime => "ambiguous-time",
            Self::AmbiguousName => "ambiguous-name",
        }
    }
}

/// One thing that speaks against a target, in a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What.
    pub code: ProblemCode,
    /// In a sentence.
    pub message: String,
}

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
    /// Its name.
    pub gid: String,
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
    /// Commits beyond the stop.
    pub lost: Lost,
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
        if chosen.is_some() {
            rejected.push(Rejected {
                index,
                reason: "it starts earlier than the one chosen: more WAL to replay".to_owned(),
            });
            continue;
        }
        if let Some(reason) = unfit(library, backup) {
            rejected.push(Rejected { index, reason });
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
    Ok(conclude(library, chosen, rejected, request))
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
    chosen: Option<(usize, Assessment<'a>)>,
    rejected: Vec<Rejected>,
    request: &Request<'_>,
) -> Resolution<'a> {
    let mut resolution = Resolution {
        chosen,
        rejected,
        problems: Vec::new(),
        lost: Lost::default(),
        prepared: Vec::new(),
        nearest: (None, None),
    };
    let Some((_, assessment)) = &resolution.chosen else {
        let message = match resolution.rejected.first() {
            Some(first) => format!("no base backup can be used: {}", first.reason),
            None => "no base backup is known: name one with --backup".to_owned(),
        };
        resolution.problems.push(Problem { code: ProblemCode::NoUsableBackup, message });
        return resolution;
    };
    resolution.problems.clone_from(&assessment.problems);
    let Some(history) = &assessment.prediction.history else { return resolution };
    let events = path_events(library, history, &assessment.prediction);
    let applied_to = assessment.prediction.applied_to;
    if assessment.prediction.refusal.is_none() {
        resolution.lost = lost(&events, applied_to);
        resolution.prepared = prepared(&events, applied_to);
    }
    if !assessment.is_feasible() {
        resolution.nearest = nearest(assessment, &events, request);
    }
    resolution
}

/// Every event that a timeline on the path owns, once, in order.
fn path_events<'e>(
    library: &'e Library<'_>,
    history: &History,
    prediction: &'e Prediction<'_>,
) -> Vec<&'e Event> {
    let on_path = library.all().filter(|(timeline, _, _)| history.contains(*timeline));
    let of_files = on_path.flat_map(|(_, _, facts)| facts.events.iter());
    let of_route = prediction.route.iter().flat_map(super::route::Route::events);
    let mut events: Vec<&Event> =
        of_files.chain(of_route).filter(|event| event.owner == history.owner(event.lsn)).collect();
    events.sort_by_key(|event| event.lsn);
    events.dedup_by_key(|event| event.lsn);
    events
}

fn lost(events: &[&Event], from: Lsn) -> Lost {
    let commits = events
        .iter()
        .filter(|event| event.lsn >= from && matches!(&event.what, What::End(end) if end.committed));
    let mut lost = Lost::default();
    for time in commits.map(|event| event.time.unwrap_or_default()) {
        lost.commits += 1;
        lost.times = Some((lost.times.map_or(time, |(first, _)| first), time));
    }
    lost
}

fn prepared(events: &[&Event], until: Lsn) -> Vec<Prepared> {
    let mut standing: Vec<Prepared> = Vec::new();
    for event in events.iter().take_while(|event| event.lsn < until) {
        match &event.what {
            What::Prepare { gid, .. } if event.end <= until => {
                standing.push(Prepared { xid: event.xid, gid: gid.clone(), at: event.time });
            }
            What::End(end) if end.prepared && event.end <= until => standing.retain(|p| p.xid != event.xid),
            _ => {}
        }
    }
    standing
}

/// Holds one backup to the target.
pub fn assess<'a>(
    library: &'a Library<'a>,
    backup: &BaseBackup,
    request: &Request<'_>,
) -> Result<Assessment<'a>, StoreError> {
    let prediction = predict(library, backup, request)?;
    let mut assessment =
        Assessment { problems: Vec::new(), missing: Vec::new(), damaged: Vec::new(), prediction };
    if assessment.prediction.refusal.is_some() {
        refused(library, backup, &mut assessment);
        return Ok(assessment);
    }
    before_consistency(&mut assessment);
    wrong_timeline(library, &mut assessment);
    ran_out(library, request, &mut assessment);
    by_target(library, backup, request, &mut assessment);
    assessment.problems.sort_by_key(|problem| rank(problem.code));
    Ok(assessment)
}

/// Causes come before consequences.
const fn rank(code: ProblemCode) -> u8 {
    match code {
        ProblemCode::SegmentMissing | ProblemCode::SegmentDamaged => 0,
        ProblemCode::WrongTimelineReplayed => 1,
        ProblemCode::SubtransactionXid => 2,
        ProblemCode::AmbiguousName => 9,
        _ => 3,
    }
}

impl Assessment<'_> {
    fn add(&mut self, code: ProblemCode, message: String) {
        self.problems.push(Problem { code, message });
    }
}

/// The server gives up before it replays anything.
fn refused(library: &Library<'_>, backup: &BaseBackup, assessment: &mut Assessment<'_>) {
    let message = assessment.prediction.fatal.clone().unwrap_or_default();
    let code = match assessment.prediction.refusal {
        Some(Refusal::TimelineNotFound) => ProblemCode::TimelineNotFound,
        Some(Refusal::NotDescendant) => ProblemCode::TimelineNotDescendant,
        Some(Refusal::Backup) | None => ProblemCode::NoUsableBackup,
        Some(Refusal::NoCheckpoint { .. }) => return no_checkpoint(library, backup, assessment, message),
    };
    assessment.add(code, message);
}

fn no_checkpoint(
    library: &Library<'_>,
    backup: &BaseBackup,
    assessment: &mut Assessment<'_>,
    message: String,
) {
    let at = backup.checkpoint_lsn.unwrap_or(backup.start_lsn);
    let history = assessment.prediction.history.clone();
    let owner = history.as_ref().map(|history| history.owner(at));
    if owner.is_some_and(|owner| owner != backup.timeline) {
        let target = history.map_or(0, |history| history.timeline.0);
        assessment.add(
            ProblemCode::TimelineNotDescendant,
            format!(
                "{message}: the backup is of timeline {}, and timeline {target} left it before the backup's checkpoint at {at}",
                backup.timeline
            ),
        );
        return;
    }
    let name = library.name(backup.timeline, at.segment(library.segment_size));
    let there = library.facts(backup.timeline, at.segment(library.segment_size)).is_some();
    if there {
        assessment.damaged.push(name);
        assessment.add(ProblemCode::SegmentDamaged, format!("{message}: segment {name} does not hold it"));
    } else {
        assessment.missing.push(name);
        assessment.add(ProblemCode::SegmentMissing, format!("{message}: segment {name} is missing"));
    }
}

fn before_consistency(assessment: &mut Assessment<'_>) {
    let prediction = &assessment.prediction;
    let fatal = prediction.fatal.clone().unwrap_or_default();
    if fatal == words::BEFORE_CONSISTENCY || fatal == words::BACKUP_CANCELED {
        let at = prediction.applied_to;
        assessment.add(
            ProblemCode::BeforeConsistency,
            format!("recovery would stop at {at}, before the backup is consistent: {fatal}"),
        );
    } else if prediction.consistent.is_none() {
        let reason = if fatal.is_empty() { "the backup's end is not known".to_owned() } else { fatal };
        assessment.add(
            ProblemCode::ConsistencyNotReached,
            format!("the WAL ends at {} before the backup is consistent: {reason}", prediction.applied_to),
        );
    }
}

/// A parent's WAL was read where the child's is due.
fn wrong_timeline(library: &Library<'_>, assessment: &mut Assessment<'_>) {
    let violations = assessment.prediction.violations.clone();
    for violation in &violations {
        let due = SegmentName { timeline: violation.owner, ..violation.segment };
        let number = violation.from.segment(library.segment_size);
        if library.facts(violation.owner, number).is_none() && !assessment.missing.contains(&due) {
            assessment.missing.push(due);
            assessment.add(ProblemCode::SegmentMissing, format!("segment {due} is missing"));
        }
    }
    if let Some(first) = violations.first() {
        let message = format!(
            "from {} on the server would replay timeline {}'s WAL in {} where timeline {}'s is due, and not notice",
            first.from, first.read, first.segment, first.owner
        );
        assessment.add(ProblemCode::WrongTimelineReplayed, message);
    }
}

/// Replay ran to the end of what can be read: is that the end of the archive, or a hole?
fn ran_out(library: &Library<'_>, request: &Request<'_>, assessment: &mut Assessment<'_>) {
    if assessment.prediction.reached_target() {
        return;
    }
    let Some((end, history)) = assessment
        .prediction
        .route
        .as_ref()
        .map(|route| route.end.clone())
        .zip(assessment.prediction.history.clone())
    else {
        return;
    };
    match end {
        End::NoFile(name) => {
            let missing = missing_from(library, &history, name);
            if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
                let what = if first == last {
                    format!("segment {first} is")
                } else {
                    format!("segments {first} to {last} are")
                };
                assessment.add(
                    ProblemCode::SegmentMissing,
                    format!("{what} missing: replay would end at {}", assessment.prediction.applied_to),
                );
                assessment.missing.extend(missing);
            }
        }
        End::Bad { segment, at, message } => {
            assessment.damaged.push(segment);
            assessment.add(
                ProblemCode::SegmentDamaged,
                format!("segment {segment} is damaged behind {at} ({message}): replay would end there"),
            );
        }
        End::WrongSize { segment, found } => {
            assessment.damaged.push(segment);
            assessment.add(
                ProblemCode::SegmentDamaged,
                words::wrong_size(segment, found, library.segment_size.bytes()),
            );
        }
        End::Orderly { segment, at } => {
            let number = at.segment(library.segment_size);
            let next = library.name(segment.timeline, number.next());
            if !missing_from(library, &history, next).is_empty() || has_file_from(library, &history, next) {
                assessment.damaged.push(segment);
                assessment.add(
                    ProblemCode::SegmentDamaged,
                    format!("the WAL in segment {segment} ends at {at}, but there is more behind it"),
                );
            }
        }
    }
    if *request.target != Target::Latest && assessment.prediction.consistent.is_some() {
        let kind = request.target.kind();
        let quietly = if assessment.prediction.fatal.is_none() {
            "; the server would promote there all the same"
        } else {
            ""
        };
        assessment.add(
            ProblemCode::TargetNotReached,
            format!(
                "the {kind} target is not reached: the WAL ends at {}{quietly}",
                assessment.prediction.applied_to
            ),
        );
    }
}

/// Whether the path has a file of its own timeline at `name` or behind it.
fn has_file_from(library: &Library<'_>, history: &History, name: SegmentName) -> bool {
    let Some(first) = name.number(library.segment_size) else { return false };
    let own = |number: crate::wal::SegmentNumber| {
        history.owner(Lsn(number.end(library.segment_size).0.saturating_sub(1)))
    };
    library.all().any(|(timeline, number, _)| number >= first && own(number) == timeline)
}

/// The segments missing from `name` on, up to the next that the path has; empty if it has none.
fn missing_from(library: &Library<'_>, history: &History, name: SegmentName) -> Vec<SegmentName> {
    let size = library.segment_size;
    let Some(first) = name.number(size) else { return Vec::new() };
    let own = |number: crate::wal::SegmentNumber| history.owner(Lsn(number.end(size).0.saturating_sub(1)));
    let present = library.all().filter(|(timeline, number, _)| *number >= first && own(*number) == *timeline);
    let Some(next) = present.map(|(_, number, _)| number).min() else { return Vec::new() };
    // A hole of any length is one: its names are listed up to a limit.
    const LISTED_MAX: u64 = 10_000;
    (first.0..next.0.min(first.0 + LISTED_MAX))
        .map(crate::wal::SegmentNumber)
        .map(|number| library.name(own(number), number))
        .collect()
}

/// What depends on the kind of target.
fn by_target(
    library: &Library<'_>,
    backup: &BaseBackup,
    request: &Request<'_>,
    assessment: &mut Assessment<'_>,
) {
    let Some(history) = assessment.prediction.history.clone() else { return };
    let events = path_events(library, &history, &assessment.prediction);
    let problem = match request.target {
        Target::Time(time) => too_late(library, *time, request, &events, &assessment.prediction),
        Target::Xid(xid) => subtransaction(*xid, &events),
        Target::Name(name) => ambiguous_name(name, &events, &assessment.prediction),
        Target::Lsn(lsn) => behind_lsn(*lsn, backup, &assessment.prediction),
        Target::Immediate | Target::Latest => None,
    };
    assessment.problems.extend(problem);
}

/// The backup already holds transactions that ended after the time asked for.
fn too_late(
    library: &Library<'_>,
    time: PgTime,
    request: &Request<'_>,
    events: &[&Event],
    prediction: &Prediction<'_>,
) -> Option<Problem> {
    if !prediction.reached_target() {
        return None;
    }
    let over = |at: PgTime| if request.inclusive { at > time } else { at >= time };
    let within =
        events.iter().filter(|event| event.lsn < prediction.redo && matches!(event.what, What::End(_)));
    let held = within.filter_map(|event| event.time.map(|at| (event.xid, at))).find(|(_, at)| over(*at));
    let message = |detail: String| Problem {
        code: ProblemCode::TargetBeforeBackup,
        message: format!("the backup is later than the time asked for: {detail}"),
    };
    if let Some((xid, at)) = held {
        return Some(message(format!("it holds transaction {xid} of {}", request.clock.iso(at))));
    }
    let checkpoint = prediction.checkpoint?;
    if checkpoint.time <= time || covers(library, events, time, prediction.redo) {
        return None;
    }
    Some(message(format!(
        "its checkpoint is of {}, and nothing proves that no transaction ended in between",
        request.clock.iso(checkpoint.time)
    )))
}

/// Whether the archive proves that nothing ended between `time` and `redo`: unbroken WAL from a moment at or before it.
fn covers(library: &Library<'_>, events: &[&Event], time: PgTime, redo: Lsn) -> bool {
    let before =
        events.iter().rev().find(|event| event.lsn < redo && event.time.is_some_and(|at| at <= time));
    let Some(before) = before else { return false };
    let history = library.history(before.owner);
    let route = super::route::Route::from(library, &history, before.lsn);
    route.last_record().is_some_and(|(_, end)| end >= redo) && history.owner(redo) == before.owner
}

/// An xid target never matches a subtransaction: says whose it is.
fn subtransaction(xid: Xid, events: &[&Event]) -> Option<Problem> {
    let ends = |event: &&&Event| matches!(&event.what, What::End(_)) && event.xid == xid;
    if events.iter().any(|event| ends(&event)) {
        return None;
    }
    let owner = events.iter().find(|event| match &event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.subtransactions.contains(&xid)),
        _ => false,
    })?;
    Some(Problem {
        code: ProblemCode::SubtransactionXid,
        message: format!(
            "{xid} is a subtransaction of transaction {}: a server never stops at it; use {}",
            owner.xid, owner.xid
        ),
    })
}

/// Several restore points have the name: the server stops at the first.
fn ambiguous_name(name: &str, events: &[&Event], prediction: &Prediction<'_>) -> Option<Problem> {
    let has_name =
        |event: &&&Event| matches!(&event.what, What::RestorePoint { name: other } if other == name);
    let all: Vec<&&Event> =
        events.iter().filter(|event| event.lsn >= prediction.redo && has_name(event)).collect();
    if all.len() < 2 {
        return None;
    }
    let places: Vec<String> = all.iter().map(|event| event.lsn.to_string()).collect();
    Some(Problem {
        code: ProblemCode::AmbiguousName,
        message: format!(
            "{} restore points are called \"{name}\", at {}: recovery stops at the first",
            all.len(),
            places.join(", ")
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

/// The closest targets that can be recovered to from this backup.
fn nearest(
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
    let Some(consistent) = sound_consistency(prediction) else { return (None, None) };
    let limit = prediction.violations.first().map_or(prediction.applied_to, |violation| violation.from);
    let broken = !assessment.missing.is_empty() || !assessment.damaged.is_empty();
    let reachable = |event: &&&Event| {
        consistent <= event.end
            && event.end <= limit
            && matches!(&event.what, What::End(end) if end.committed)
    };
    if !broken {
        return match request.target {
            Target::Xid(xid) => {
                let xids = || events.iter().filter(reachable).map(|event| event.xid);
                (
                    xids().filter(|x| x < xid).max().map(Near::Xid),
                    xids().filter(|x| x > xid).min().map(Near::Xid),
                )
            }
            Target::Name(_) => (Some(Near::Latest), None),
            _ => (Some(Near::Latest), None),
        };
    }
    let last = events.iter().rfind(reachable).map(|event| Near::Xid(event.xid));
    (last.or(Some(Near::Immediate)), None)
}

/// Where the backup is consistent, if that is before anything goes wrong.
fn sound_consistency(prediction: &Prediction<'_>) -> Option<Lsn> {
    let wrong_from = prediction.violations.first().map_or(Lsn::MAX, |violation| violation.from);
    prediction.consistent.filter(|at| *at <= wrong_from)
}

fn owner_of(target: &Target, events: &[&Event]) -> Option<Xid> {
    let Target::Xid(xid) = target else { return None };
    let holds = |event: &&&Event| match &event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.subtransactions.contains(xid)),
        _ => false,
    };
    events.iter().find(holds).map(|event| event.xid)
}

/// The distinct segments that are read from redo to the stop, in the order in which the server asks for them.
pub fn needed(prediction: &Prediction<'_>) -> Vec<SegmentName> {
    let Some(route) = &prediction.route else { return Vec::new() };
    let examined = match &prediction.stop {
        Some(stop) if stop.position != Position::EndOfWal => stop.end.max(prediction.applied_to),
        _ => Lsn::MAX,
    };
    route.legs.iter().filter(|leg| leg.facts.start < examined).map(|leg| leg.facts.name).collect()
}
