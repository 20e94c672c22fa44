//! Files of the archive that tell of WAL behind the last segment that is there.
//!
//! The end of what was archived does not show: without another file's word a missing newest segment is one that was
//! never written. Four kinds of files have it.
//!
//! * A **history** of a timeline that has no WAL yet: its parent was written up to the fork. Every segment in front of
//!   the one that holds the fork is complete. That one itself may still be on its way, under the child's name.
//! * A **backup history file**: it is written when the backup has ended. The segment of its name was archived before it;
//!   of those up to the backup's end an archiver that is behind may still have some to bring.
//! * A **`.partial` file**: who began it, a receiver or a server that was promoted, had the segments in front of it.
//! * A **file without its own segment's WAL**: whatever became of it, a segment of that name was archived, and those in
//!   front of it before.
//!
//! Who prunes a branch that nobody needs may leave such a file: off the way to the newest timeline its word is a warning.
//!
//! PostgreSQL: `writeTimeLineHistory` in `src/backend/access/transam/timeline.c`; `do_pg_backup_stop` in
//! `src/backend/access/transam/xlog.c`; the order of archiving, `pgarch_readyXlog` in `src/backend/postmaster/pgarch.c`,
//! 9.5 to 19.

use super::Options;
use super::gaps::Hole;
use super::tail;
use super::timelines::ClusterView;
use crate::finding::{Code, Finding, Severity};
use crate::timeline::{History, HistoryEntry};
use crate::wal::{Lsn, SegmentName, SegmentNumber, TimelineId, WalFileName};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What one file tells.
#[derive(Debug)]
struct Witness {
    file: String,
    /// The WAL in front of this was written; `None`: some of the last segment.
    up_to: Option<Lsn>,
    /// The last segment that must be there.
    last: SegmentNumber,
}

/// The word of each timeline's best witness.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    of: BTreeMap<TimelineId, Witness>,
    /// Timelines without a file, and where they were forked inside a segment.
    forks: Vec<(TimelineId, HistoryEntry)>,
    /// There is more than one cluster, and these files do not say which is theirs.
    are_doubtful: bool,
}

impl Witnesses {
    /// Those of the newest cluster, unless only a part of the archive was asked for.
    pub(super) fn of(view: &ClusterView<'_>, options: &Options) -> Self {
        let of_part = options.timeline.is_some() || options.from.is_some() || options.to.is_some();
        if of_part || !view.is_newest {
            return Self::default();
        }
        let mut witnesses = Self { are_doubtful: view.survey.chains.clusters.len() > 1, ..Self::default() };
        witnesses.hear_backups(view);
        witnesses.hear_partials(view);
        witnesses.hear_useless(view);
        witnesses.hear_histories(view);
        witnesses
    }

    fn hear_backups(&mut self, view: &ClusterView<'_>) {
        for told in view.plan.told_by_backups(view.id.segment_size) {
            let witness = Witness { file: told.file, up_to: told.up_to, last: told.last };
            self.hear(told.timeline, witness);
        }
    }

    fn hear_partials(&mut self, view: &ClusterView<'_>) {
        let size = view.id.segment_size;
        let own = view.survey.chains.partials.iter().map(|(file, _)| file);
        for file in own.filter(|file| file.cluster.is_none_or(|cluster| cluster == view.id)) {
            let number = file.name.number(size);
            let before = number.and_then(|number| number.0.checked_sub(1).map(SegmentNumber));
            if let (Some(last), Some(number)) = (before, number) {
                let witness = Witness {
                    file: WalFileName::Partial(file.name).to_string(),
                    up_to: Some(number.start(size)),
                    last,
                };
                self.hear(file.name.timeline, witness);
            }
        }
    }

    /// What holds another cluster's WAL tells of that cluster.
    fn hear_useless(&mut self, view: &ClusterView<'_>) {
        let size = view.id.segment_size;
        let own = view.useless_files().filter(|file| file.cluster.is_none_or(|cluster| cluster == view.id));
        for file in own {
            let number = file.name.number(size);
            if let Some(last) = number.and_then(|number| number.0.checked_sub(1).map(SegmentNumber)) {
                self.hear(file.name.timeline, Witness { file: file.name.to_string(), up_to: None, last });
            }
        }
    }

    fn hear_histories(&mut self, view: &ClusterView<'_>) {
        let size = view.id.segment_size;
        let has_files = |timeline| view.cluster.chains.contains_key(timeline);
        for (timeline, history) in view.plan.histories.iter().filter(|(timeline, _)| !has_files(timeline)) {
            let Some(fork) = history.parent() else { continue };
            if let Some(last) = fork.switch.segment(size).0.checked_sub(1).map(SegmentNumber) {
                let file = WalFileName::History(*timeline).to_string();
                self.hear(*timeline, Witness { file, up_to: Some(fork.switch), last });
            }
            if fork.switch.offset_in_segment(size) > 0 {
                self.forks.push((*timeline, fork.clone()));
            }
        }
    }

    fn hear(&mut self, timeline: TimelineId, witness: Witness) {
        // Of two with the same, the one that knows more.
        let worth = |witness: &Witness| (witness.last, witness.up_to);
        if self.of.get(&timeline).is_none_or(|known| worth(known) <= worth(&witness)) {
            self.of.insert(timeline, witness);
        }
    }

    /// The timelines that have a witness, each with the last segment that the path to it must have; the farthest first.
    pub(super) fn farthest_first(&self) -> Vec<(TimelineId, SegmentNumber)> {
        let mut all: Vec<_> = self.of.iter().map(|(timeline, witness)| (*timeline, witness.last)).collect();
        all.sort_by_key(|(_, last)| Reverse(*last));
        all
    }

    /// Why a hole that only a witness knows of need not be a loss.
    pub(super) fn doubt(&self, view: &ClusterView<'_>, hole: &Hole) -> Option<String> {
        if self.are_doubtful {
            return Some("if it is of this cluster and not of another one here".to_owned());
        }
        let newest = view.timelines().last().and_then(|newest| view.history(*newest))?;
        let start = hole.first.start(view.id.segment_size);
        (newest.owner(start) != hole.timeline).then(|| {
            format!("on a branch that does not lead to timeline {}: it may have been pruned", newest.timeline)
        })
    }

    /// Adds to the finding of such a hole by what it is known.
    pub(super) fn explain(&self, view: &ClusterView<'_>, hole: &Hole, mut finding: Finding) -> Finding {
        if let Some(witness) = self.teller(view, hole) {
            let up_to = witness.up_to.map_or_else(String::new, |lsn| format!(" up to {lsn}"));
            finding.message =
                format!("{}; {} tells that WAL{up_to} was written", finding.message, witness.file);
        }
        if let Some(doubt) = self.doubt(view, hole) {
            finding.message = format!("{}, {doubt}", finding.message);
            finding = finding.rated(Severity::Warning);
        }
        finding
    }

    fn teller(&self, view: &ClusterView<'_>, hole: &Hole) -> Option<&Witness> {
        let tells = |(timeline, witness): &(&TimelineId, &Witness)| {
            let is_on_path = view.history(**timeline).is_some_and(|history| history.contains(hole.timeline));
            is_on_path && hole.last() <= witness.last
        };
        self.of.iter().find(tells).map(|(_, witness)| witness)
    }

    /// Segments that are there and whose WAL ends before a place that a witness knows to be written.
    pub(super) fn ended_early(&self, view: &ClusterView<'_>) -> Vec<Finding> {
        self.of.iter().filter_map(|(timeline, witness)| self.early_end(view, *timeline, witness)).collect()
    }

    fn early_end(&self, view: &ClusterView<'_>, timeline: TimelineId, witness: &Witness) -> Option<Finding> {
        let up_to = witness.up_to?;
        let size = view.id.segment_size;
        let number = up_to.segment_of_end(size);
        let history = view.history(timeline).unwrap_or_else(|| History::without_parents(timeline));
        // The one that a server reads.
        let range = history.path().into_iter().rev().filter(|of| has(view, *of, number)).find_map(|of| {
            let ranges = &view.cluster.chains.get(&of)?.ranges;
            ranges.iter().find(|range| range.end.segment_of_end(size) == number)
        })?;
        let ends = tail::ends_before(range, up_to)?;
        let message = format!(
            "the WAL in segment {} ends at {ends}; {} tells that WAL up to {up_to} was written",
            range.last, witness.file
        );
        let finding = tail::ends_early(view, range, ends, message);
        let finding = finding.expecting(format!("WAL up to {up_to}"), ends);
        let doubt = self.doubt(view, &Hole { timeline: range.last.timeline, first: number, count: 1 });
        Some(match doubt {
            Some(doubt) => {
                let message = format!("{}, {doubt}", finding.message);
                Finding { message, ..finding }.rated(Severity::Warning)
            }
            None => finding,
        })
    }

    /// The newest timeline's fork, if nobody has archived its segment yet: a promotion of a moment ago, or a loss.
    pub(super) fn fork_not_archived(&self, view: &ClusterView<'_>) -> Option<Finding> {
        let newest = view.timelines().last().copied();
        let not_archived = |(timeline, fork): &(TimelineId, HistoryEntry)| {
            let number = fork.switch.segment(view.id.segment_size);
            let history = view.history(*timeline)?;
            let name = |of| SegmentName::new(of, number, view.id.segment_size);
            let path = history.path();
            let follows = number
                .0
                .checked_sub(1)
                .map(SegmentNumber)
                .is_some_and(|before| path.iter().any(|of| has(view, *of, before)));
            let is_there = path.iter().any(|of| has(view, *of, number) || has_partial(view, name(*of)));
            (follows && !is_there).then(|| not_there_yet(name(*timeline), fork, view))
        };
        self.forks.iter().filter(|(timeline, _)| Some(*timeline) == newest).find_map(not_archived)
    }
}

fn has(view: &ClusterView<'_>, timeline: TimelineId, number: SegmentNumber) -> bool {
    view.cluster.chains.get(&timeline).is_some_and(|chain| chain.present.contains(number))
}

fn has_partial(view: &ClusterView<'_>, name: SegmentName) -> bool {
    view.survey.chains.partials.iter().any(|(file, _)| file.name == name)
}

fn not_there_yet(name: SegmentName, fork: &HistoryEntry, view: &ClusterView<'_>) -> Finding {
    let (timeline, switch) = (name.timeline, fork.switch);
    let start = Lsn(switch.0 - switch.offset_in_segment(view.id.segment_size));
    Finding::new(
        Code::SegmentMissing,
        format!(
            "segment {name} is not there yet: timeline {timeline} left timeline {} in it, at {switch}, and nothing \
             else here has the WAL from {start} to there",
            fork.parent
        ),
    )
    .rated(Severity::Warning)
    .in_segment(name)
    .on(timeline)
    .at(start, 0)
    .expecting(name, "no such file")
}
