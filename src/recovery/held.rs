//! What a backup holds already when its replay begins: no target in front of that gives the state that was asked for.

use super::library::Library;
use super::routes::Routes;
use crate::scan::SegmentFacts;
use crate::scan::event::{Event, What};
use crate::timeline::History;
use crate::wal::walk::Run;
use crate::wal::{Lsn, PgTime};

/// A checkpoint tells its time in whole seconds, cut off.
///
/// PostgreSQL: `CreateCheckPoint` in `src/backend/access/transam/xlog.c`, 9.5 to 19.
pub(super) const SECOND: i64 = 1_000_000;

/// From when on the backup whose checkpoint is of `checkpoint` and whose replay begins at `redo` has nothing that ended
/// later: from the last end in front of it that is there, if the WAL shows all behind that, or else from the end of the
/// checkpoint's second, which may have had commits in front of it.
pub(super) fn begins(routes: &Routes<'_>, history: &History, checkpoint: PgTime, redo: Lsn) -> PgTime {
    let held = latest(routes.library, history, redo).map_or(checkpoint, |latest| latest.max(checkpoint));
    if is_shown(routes, history, held, redo) { held } else { held.max(checkpoint.plus(SECOND)) }
}

/// Whether the archive shows everything that ended between `time` and `redo`: unbroken WAL from a moment at or before
/// the time. A checkpoint proves none: its time is that of its start, its record is written when it is done, minutes
/// of commits later (`CreateCheckPoint`).
pub(super) fn is_shown(routes: &Routes<'_>, history: &History, time: PgTime, redo: Lsn) -> bool {
    let library = routes.library;
    let is_before = |event: &&Event| {
        let own = event.owner == history.owner(event.lsn);
        let of_its_moment = matches!(event.what, What::End(_) | What::RestorePoint { .. });
        own && of_its_moment && event.lsn < redo && event.time.is_some_and(|at| at <= time)
    };
    let mut files: Vec<&SegmentFacts> =
        library.on_path(history).map(|(_, facts)| facts).filter(|facts| facts.start < redo).collect();
    files.sort_by_key(|facts| facts.start);
    let may_have = |facts: &SegmentFacts| {
        let mut others = facts.events.others();
        facts.has_end(|times| times.min <= time) || others.any(|event| is_before(&event))
    };
    let mut files = files.into_iter().rev().filter(|facts| may_have(facts));
    let Some(before) = files.find_map(|facts| facts.events.iter().rfind(is_before)) else {
        return false;
    };
    // Beyond a fork a parent's WAL says nothing of what was held, however far it goes.
    let route = routes.from(history, before.lsn);
    route.last_record().is_some_and(|(_, end)| end >= redo) && route.violations(history, redo).is_empty()
}

/// The latest time of a transaction that ended before `redo` on the path: the backup holds it.
fn latest(library: &Library<'_>, history: &History, redo: Lsn) -> Option<PgTime> {
    let before = library.on_path(history).map(|(_, facts)| facts).filter(|facts| facts.start < redo);
    // A parent may have written on behind the fork, in the same run.
    let is_own = |run: &Run| [run.first, run.last].iter().all(|at| run.owner == history.owner(*at));
    let latest = |facts: &SegmentFacts| {
        if facts.end() <= redo && facts.walked.runs.iter().all(is_own) {
            let times = facts.transactions.iter().filter_map(|run| run.times);
            return times.map(|times| times.max).max();
        }
        let ended = |event: &&Event| matches!(event.what, What::End(_)) && event.lsn < redo;
        let own = |event: &&Event| event.owner == history.owner(event.lsn);
        facts.events.iter().filter(ended).filter(own).filter_map(|event| event.time).max()
    };
    before.filter_map(latest).max()
}
