//! What each backup can be recovered to, on each timeline that it can reach.

use super::held;
use super::library::Library;
use super::model::{Request, leads_through, predict_along};
use super::routes::Routes;
use super::target::Target;
use crate::archive::StoreError;
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::scan::event::{Event, What};
use crate::timeline::TimelineTarget;
use crate::wal::payload::xlog::CheckPoint;
use crate::wal::{Lsn, Major, PgTime, TimelineId};
use std::collections::BTreeSet;

/// What may be recovered to from one backup on one timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Index of the backup.
    pub backup: usize,
    /// The timeline.
    pub timeline: TimelineId,
    /// The way to it, oldest first.
    pub path: Vec<TimelineId>,
    /// Where the backup is consistent.
    pub consistent: Lsn,
    /// Where unbroken, verified WAL of the right timelines ends.
    pub end: Lsn,
    /// The earliest time that can be asked for and gives the state of that time.
    pub earliest: Option<PgTime>,
    /// The same without any WAL in front of the backup, which may prove more than the backup's own.
    pub earliest_alone: Option<PgTime>,
    /// Time of the last commit or abort.
    pub latest: Option<PgTime>,
    /// The latest time of a commit, an abort or a restore point. The last one need not have it: times are taken before
    /// records are written, and clocks are set back.
    pub newest: Option<PgTime>,
    /// The largest time target at which a server of this version stops.
    pub latest_target: Option<PgTime>,
}

/// Every window, by backup and timeline. A pair without one is one that cannot be recovered to.
pub fn windows(
    library: &Library<'_>,
    backups: &[BaseBackup],
    major: Major,
) -> Result<Vec<Window>, StoreError> {
    let mut timelines: BTreeSet<TimelineId> = library.all().map(|(timeline, _, _)| timeline).collect();
    timelines.extend(library.plan.histories.keys());
    let routes = Routes::new(library);
    let mut windows = Vec::new();
    for (index, backup) in backups.iter().enumerate() {
        let foreign = backup.system_identifier.is_some_and(|id| id != library.system_id);
        if foreign || backup.why_unusable().is_some() {
            continue;
        }
        for timeline in timelines.iter().filter(|timeline| **timeline >= backup.timeline) {
            windows.extend(window(&routes, index, backup, *timeline, major)?);
        }
    }
    Ok(windows)
}

fn window(
    routes: &Routes<'_>,
    index: usize,
    backup: &BaseBackup,
    timeline: TimelineId,
    major: Major,
) -> Result<Option<Window>, StoreError> {
    let clock = Clock::utc();
    let request = Request {
        target: &Target::Latest,
        inclusive: true,
        timeline: TimelineTarget::Number(timeline),
        major,
        clock: &clock,
    };
    let prediction = predict_along(routes, backup, &request)?;
    let (Some(consistent), Some(history), Some(route)) =
        (prediction.consistent, &prediction.history, &prediction.route)
    else {
        return Ok(None);
    };
    // Beyond a fork where the child's WAL is missing, and where WAL is minimal, nothing counts.
    let end = prediction.sound_to();
    if consistent > end || !leads_through(history, backup) {
        return Ok(None);
    }
    let begun = |checkpoint: CheckPoint| held::begins(routes, history, checkpoint.time, prediction.redo);
    let times_of = |from: Lsn, to: Lsn| route.transactions(from, to).times;
    let replayed_before = times_of(Lsn::INVALID, consistent).map(|times| times.max);
    let earliest = prediction.checkpoint.map(begun).max(replayed_before);
    let alone = |checkpoint: CheckPoint| checkpoint.time.plus(held::SECOND);
    let earliest_alone = prediction.checkpoint.map(alone).max(earliest);
    let ended = times_of(Lsn::INVALID, end);
    let named = |event: &&Event| matches!(event.what, What::RestorePoint { .. }) && event.end <= end;
    let named = route.others().filter(named).filter_map(|event| event.time).max();
    let largest = times_of(consistent, end).map(|times| times.max);
    let latest_target = if major >= Major::V13 { largest.map(|time| time.plus(-1)) } else { largest };
    Ok(Some(Window {
        backup: index,
        timeline,
        path: history.path(),
        consistent,
        end,
        // No time can be asked for where none is known to be late enough and early enough.
        earliest: earliest.filter(|earliest| latest_target.is_none_or(|latest| *earliest <= latest)),
        earliest_alone,
        latest: ended.map(|times| times.last),
        newest: ended.map(|times| times.max).max(named),
        latest_target,
    }))
}
