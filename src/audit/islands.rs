//! Holes that retention leaves on purpose.
//!
//! A backup that is kept longer than the WAL around it keeps its own WAL from start to stop: an island. Behind it
//! WAL is missing up to where the kept WAL begins, and nobody lost anything by that. What may be taken for such a
//! hole is narrow, because a true gap must never pass for one:
//!
//! * on the way there is nothing in front of it but islands, each with its whole WAL;
//! * no backup that is not an island, and has its start, begins in front of it or in it;
//! * a backup begins behind it: that is what the WAL behind it is kept for.
//!
//! Islands are the backups that their tool keeps for ever (unless it keeps all WAL behind them too) and, as pgBackRest
//! expires WAL by itself (`repo-retention-archive`), every backup of pgBackRest's; between two of those exactly the
//! segments are missing that neither needs, which is how that tool removes them.

use super::gaps::Hole;
use super::timelines::ClusterView;
use crate::archive::Layout;
use crate::backup::{BaseBackup, SourceKind};
use crate::chain::segments::Segments;
use crate::timeline::History;
use crate::wal::{SegmentNumber, SegmentSize};

/// A backup and the segments that it cannot do without.
#[derive(Clone, Copy, Debug)]
struct Own<'a> {
    backup: &'a BaseBackup,
    first: SegmentNumber,
    /// `None`: nobody knows.
    last: Option<SegmentNumber>,
}

/// The backups of one cluster.
#[derive(Debug)]
pub(super) struct Islands<'a> {
    layout: Layout,
    backups: Vec<Own<'a>>,
}

impl<'a> Islands<'a> {
    /// Those of the cluster that `view` shows.
    pub(super) fn of(view: &ClusterView<'a>) -> Self {
        let id = view.id;
        let is_own = |backup: &&BaseBackup| match backup.system_identifier {
            Some(system_id) => system_id == id.system_id,
            None => view.is_newest,
        };
        let backups = view.plan.backups.iter().filter(is_own).map(|backup| own(backup, id.segment_size));
        Self { layout: view.plan.inventory.layout, backups: backups.collect() }
    }

    /// The backup whose island lies before `hole`, if `hole` is what retention left behind it on the way of
    /// `history`. `before`: the segments that are there in front of the hole on that way.
    pub(super) fn before(&self, hole: &Hole, history: &History, before: &Segments) -> Option<&'a BaseBackup> {
        let is_on_path = |own: &&Own<'_>| history.owner(own.backup.start_lsn) == own.backup.timeline;
        let on_path: Vec<&Own<'a>> = self.backups.iter().filter(is_on_path).collect();
        let has = |number: SegmentNumber| before.contains(number);
        let stands =
            |own: &Own<'_>| own.backup.sources.iter().any(|source| source.kind != SourceKind::HistoryFile);
        // The history file of a backup that is gone says nothing about what is needed.
        let counts = |own: &Own<'_>| stands(own) || own.first > hole.last() || has(own.first);
        let mut last: Option<&Own<'a>> = None;
        for own in on_path.iter().copied().filter(|own| counts(own)) {
            if own.first > hole.last() {
                continue;
            }
            if !self.is_island(own) || !own.ends_before(hole) {
                return None;
            }
            last = last.into_iter().chain([own]).max_by_key(|own| own.last);
        }
        let last = last?;
        let mut islands = Segments::default();
        islands.extend(on_path.iter().filter(|own| self.is_island(own)).filter_map(|own| own.run()));
        let is_whole = last.last.is_some_and(has) && before.runs().iter().all(|run| islands.has_run(*run));
        (is_whole && self.wal_begins_again(hole, last)).then_some(last.backup)
    }

    fn is_island(&self, own: &Own<'_>) -> bool {
        let backup = own.backup;
        let of_tool = self.layout == Layout::PgBackRest
            && backup.sources.iter().any(|source| source.kind == SourceKind::PgBackRest);
        of_tool || backup.permanent && !backup.keeps_wal_behind
    }

    /// Whether some backup begins behind the hole; exactly there, where only the tool's habits speak for the hole.
    fn wal_begins_again(&self, hole: &Hole, island: &Own<'_>) -> bool {
        if island.backup.permanent {
            return self.backups.iter().any(|own| own.first > hole.last());
        }
        let begins = self.backups.iter().any(|own| own.first == hole.last().next());
        begins && island.last.is_some_and(|last| last.next() == hole.first)
    }
}

impl Own<'_> {
    fn run(&self) -> Option<(SegmentNumber, SegmentNumber)> {
        self.last.filter(|last| self.first <= *last).map(|last| (self.first, last))
    }

    fn ends_before(&self, hole: &Hole) -> bool {
        self.last.is_some_and(|last| last < hole.first)
    }
}

fn own(backup: &BaseBackup, size: SegmentSize) -> Own<'_> {
    let ranges = &backup.wal_ranges;
    let first = ranges.iter().map(|range| range.start).chain([backup.start_lsn]).min();
    let last = ranges.iter().map(|range| range.end).chain(backup.stop_lsn).max();
    Own {
        backup,
        first: first.unwrap_or(backup.start_lsn).segment(size),
        last: last.map(|end| end.segment_of_end(size)),
    }
}
