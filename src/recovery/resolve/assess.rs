//! One backup held to a target: whatever the server would do, is it what was asked for?

use super::by_target::by_target;
use super::cautions;
use super::{Assessment, Problem, ProblemCode, needed};
use crate::archive::StoreError;
use crate::backup::BaseBackup;
use crate::recovery::library::Library;
use crate::recovery::model::{Refusal, Request, leads_through, predict};
use crate::recovery::route::End;
use crate::recovery::target::Target;
use crate::recovery::words;
use crate::scan::SegmentFacts;
use crate::timeline::History;
use crate::wal::{Lsn, SegmentName, SegmentNumber, WalFileName};

/// Holds one backup to the target.
pub fn assess<'a>(
    library: &'a Library<'a>,
    backup: &BaseBackup,
    request: &Request<'_>,
) -> Result<Assessment<'a>, StoreError> {
    let prediction = predict(library, backup, request)?;
    let mut assessment = Assessment {
        problems: Vec::new(),
        missing: Vec::new(),
        damaged: Vec::new(),
        cautions: Vec::new(),
        prediction,
    };
    if assessment.prediction.refusal.is_some() {
        refused(library, backup, &mut assessment);
        return Ok(assessment);
    }
    sibling(backup, request, &mut assessment);
    assessment.cautions = cautions::of(library, request, &assessment.prediction);
    minimal(&mut assessment);
    before_consistency(&mut assessment);
    lost_prepared(library, &mut assessment);
    wrong_timeline(library, &mut assessment);
    ran_out(library, backup, request, &mut assessment);
    differing_copies(library, &mut assessment);
    by_target(library, backup, request, &mut assessment);
    assessment.problems.sort_by_key(|problem| rank(problem.code));
    Ok(assessment)
}

/// Causes come before consequences.
const fn rank(code: ProblemCode) -> u8 {
    match code {
        ProblemCode::SegmentMissing | ProblemCode::SegmentDamaged | ProblemCode::WalLevelMinimal => 0,
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
        Some(Refusal::TimelineNotFound | Refusal::HistoryInvalid) => ProblemCode::TimelineNotFound,
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
        let elsewhere = elsewhere(library, backup, name);
        assessment
            .add(ProblemCode::SegmentMissing, format!("{message}: segment {name} is missing{elsewhere}"));
    }
}

/// A server up to 14 takes the record at the place of the backup's checkpoint for it, whosever it is.
fn sibling(backup: &BaseBackup, request: &Request<'_>, assessment: &mut Assessment<'_>) {
    let Some(history) = assessment.prediction.history.clone() else { return };
    if leads_through(&history, backup) {
        return;
    }
    assessment.add(
        ProblemCode::TimelineNotDescendant,
        format!(
            "the backup is of timeline {}, which the way to timeline {} does not go through there: a server of \
             PostgreSQL {} takes the other timeline's checkpoint for the backup's, and mixes the two",
            backup.timeline, history.timeline, request.major
        ),
    );
}

/// A standing prepared transaction cannot be read again, at the end of recovery or before.
fn lost_prepared(library: &Library<'_>, assessment: &mut Assessment<'_>) {
    let prediction = &assessment.prediction;
    let own = prediction.history.as_ref().map(|history| history.owner(prediction.applied_to));
    let (Some(fatal), Some(own)) = (prediction.fatal.clone(), own) else { return };
    if prediction.dies_of_prepared() {
        let at = prediction.applied_to;
        assessment.add(
            ProblemCode::SegmentMissing,
            format!(
                "{fatal}: a prepared transaction stands at the shutdown checkpoint at {at}, and the server looks for it in \
                 a file that it did not restore; with hot_standby = off in its configuration it goes on"
            ),
        );
    } else if prediction.consistent.is_some() && words::is_removed_segment(&fatal) {
        let segment = library.name(own, prediction.applied_to.segment_of_end(library.segment_size));
        assessment.add(
            ProblemCode::SegmentMissing,
            format!("{fatal}: a prepared transaction stands at the stop, and the server would look for it in {segment}; with --target-timeline {own} it finds it"),
        );
    }
}

/// WAL of `wal_level` minimal is replayed: what was written to new tables is not in it.
fn minimal(assessment: &mut Assessment<'_>) {
    let prediction = &assessment.prediction;
    let Some(from) = prediction.minimal_from else { return };
    let server = match &prediction.fatal {
        Some(fatal) if prediction.dies_of_minimal() => fatal.clone(),
        _ => "the server would go on all the same".to_owned(),
    };
    assessment.add(
        ProblemCode::WalLevelMinimal,
        format!("wal_level was minimal from {from} on: changes to new tables are not in the WAL; {server}"),
    );
}

fn before_consistency(assessment: &mut Assessment<'_>) {
    let prediction = &assessment.prediction;
    if prediction.dies_of_minimal() {
        return;
    }
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
        let does = if first.from < assessment.prediction.applied_to { "replay" } else { "stop by" };
        let message = format!(
            "from {} on the server would {does} timeline {}'s WAL in {} where timeline {}'s is due, and not notice",
            first.from, first.read, first.segment, first.owner
        );
        assessment.add(ProblemCode::WrongTimelineReplayed, message);
    }
}

/// Which copy a server gets of a segment that is stored twice, nobody knows.
fn differing_copies(library: &Library<'_>, assessment: &mut Assessment<'_>) {
    for name in needed(&assessment.prediction) {
        let Some(other) = library.differing_copy(name) else { continue };
        if !assessment.damaged.contains(&name) {
            assessment.damaged.push(name);
        }
        assessment.add(
            ProblemCode::SegmentDamaged,
            format!(
                "two stored copies of segment {name} differ, and which one restore_command delivers is not known; the \
                 other is {other}"
            ),
        );
    }
}

/// Replay ran to the end of what can be read: is that the end of the archive, or a hole?
fn ran_out(
    library: &Library<'_>,
    backup: &BaseBackup,
    request: &Request<'_>,
    assessment: &mut Assessment<'_>,
) {
    let prediction = &assessment.prediction;
    if prediction.reached_target() || prediction.dies_of_minimal() || prediction.dies_of_prepared() {
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
    let elsewhere = match end {
        End::NoFile(name) => elsewhere(library, backup, name),
        _ => String::new(),
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
                    format!(
                        "{what} missing: replay would end at {}{elsewhere}",
                        assessment.prediction.applied_to
                    ),
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
            let fork = fork_behind(&history, at);
            let goes_on = !missing_from(library, &history, next).is_empty()
                || has_file_from(library, &history, next)
                || begun_behind(library, &history, number).is_some();
            // A server keeps such files in its pg_wal for later; nobody archives one.
            let holds_none = at == number.start(library.segment_size) && !library.plan.inventory.is_pg_wal;
            let more = match fork {
                Some(fork) => Some(format!("timeline {} left it at {fork}", history.timeline)),
                None if goes_on => Some("there is more behind it".to_owned()),
                None => holds_none.then(|| "the file holds nothing that belongs there".to_owned()),
            };
            if let Some(more) = more {
                assessment.damaged.push(segment);
                assessment.add(
                    ProblemCode::SegmentDamaged,
                    format!("the WAL in segment {segment} ends at {at}, but {more}"),
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
                "the {kind} target is not reached: the WAL ends at {}{quietly}{elsewhere}",
                assessment.prediction.applied_to
            ),
        );
    }
}

/// What to say of a segment that the archive does not have and that is somewhere else: in the backup's own pg_wal, which
/// a server looks into for what it cannot restore, or in a `.partial` file (the rest of a timeline that was left, or what
/// a receiver had of it), a name that no server asks for.
///
/// PostgreSQL: `XLogFileReadAnyTLI` in `src/backend/access/transam/xlogrecovery.c`, `CleanupAfterArchiveRecovery` in
/// `xlog.c`, 9.5 to 19.
fn elsewhere(library: &Library<'_>, backup: &BaseBackup, name: SegmentName) -> String {
    if backup.wal.contains(&name) {
        return format!(
            "; the backup carries a {name} of its own in pg_wal, where a server goes on, and which was not read here"
        );
    }
    let there = library.plan.inventory.entries.iter().any(|entry| entry.name == WalFileName::Partial(name));
    if there {
        format!("; {name}.partial is there, which a server reads only under the name {name}")
    } else {
        String::new()
    }
}

/// Whether the path has a file of its own timeline at `name` or behind it.
fn has_file_from(library: &Library<'_>, history: &History, name: SegmentName) -> bool {
    let Some(first) = name.number(library.segment_size) else { return false };
    let own =
        |number: SegmentNumber| history.owner(Lsn(number.end(library.segment_size).0.saturating_sub(1)));
    let of_path = |(timeline, number, _): &(_, _, _)| *number >= first && own(*number) == *timeline;
    library.all().filter(of_path).any(|(_, _, facts)| facts.holds_wal())
}

/// The last segment behind `number` of which the path has a `.partial`: whoever began that had all in front of it.
fn begun_behind(library: &Library<'_>, history: &History, number: SegmentNumber) -> Option<SegmentNumber> {
    let size = library.segment_size;
    let partials = library.plan.inventory.entries.iter().filter_map(|entry| match entry.name {
        WalFileName::Partial(name) => Some((name.timeline, name.number(size)?)),
        _ => None,
    });
    let of_path = |(timeline, begun): &(_, SegmentNumber)| {
        *begun > number && history.owner(begun.start(size)) == *timeline
    };
    partials.filter(of_path).map(|(_, begun)| begun).max()
}

/// Where the target timeline left its parent, if that lies behind `at`: so far the WAL of the path once went.
fn fork_behind(history: &History, at: Lsn) -> Option<Lsn> {
    history.parent().map(|parent| parent.switch).filter(|switch| *switch > at)
}

/// The segments missing from `name` on, up to the next that the path has, or else up to the last fork of the path or
/// what a backup history file tells of; empty if there is none of these.
fn missing_from(library: &Library<'_>, history: &History, name: SegmentName) -> Vec<SegmentName> {
    let size = library.segment_size;
    let Some(first) = name.number(size) else { return Vec::new() };
    let own = |number: SegmentNumber| history.owner(Lsn(number.end(size).0.saturating_sub(1)));
    let of_path = |(timeline, number, _): &(_, _, _)| *number >= first && own(*number) == *timeline;
    // A server keeps files without its WAL in its pg_wal for later; in an archive the name tells that there was some.
    let in_pg_wal = library.plan.inventory.is_pg_wal;
    let is_own = |facts: &SegmentFacts| facts.identity.is_none_or(|id| id.system_id == library.system_id);
    let tells = |facts: &SegmentFacts| facts.holds_wal() || !in_pg_wal && is_own(facts);
    let present = library.all().filter(of_path).filter(|(_, _, facts)| tells(facts));
    let fork = fork_behind(history, first.start(size)).map(|switch| switch.segment_of_end(size).next());
    let told = library.plan.told_by_backups(size);
    let told = told.filter(|told| told.last >= first && own(told.last) == told.timeline);
    let told = fork.max(told.map(|told| told.last.next()).max()).max(begun_behind(library, history, first));
    let Some(next) = present.map(|(_, number, _)| number).min().or(told) else { return Vec::new() };
    // A hole of any length is one: its names are listed up to a limit.
    const LISTED_MAX: u64 = 10_000;
    (first.0..next.0.min(first.0 + LISTED_MAX))
        .map(SegmentNumber)
        .map(|number| library.name(own(number), number))
        .collect()
}
