//! The table of timelines.

use super::stretch::Stretches;
use super::{Plan, Survey};
use crate::chain::chains::{Cluster, ClusterId, FileRecord, FileState};
use crate::chain::segments::Segments;
use crate::scan::stats::Transactions;
use crate::timeline::History;
use crate::wal::{Lsn, PgTime, SegmentName, SegmentNumber, TimelineId};
use std::collections::{BTreeSet, HashSet};

/// One cluster of a survey, with what is needed to judge it.
#[derive(Clone, Copy, Debug)]
pub struct ClusterView<'a> {
    /// Which.
    pub id: ClusterId,
    /// Its files, joined.
    pub cluster: &'a Cluster,
    /// Listing and histories.
    pub plan: &'a Plan,
    /// The whole survey.
    pub survey: &'a Survey,
    /// It is the cluster that the histories belong to.
    pub is_newest: bool,
    /// Files, by their place among all, that a server keeps for later.
    pub later: &'a HashSet<usize>,
    /// Other clusters whose files stand where the newest one's should be.
    pub mixed_in: &'a HashSet<ClusterId>,
}

impl ClusterView<'_> {
    /// The timelines that have files here, or (in the newest cluster) a history.
    pub fn timelines(&self) -> BTreeSet<TimelineId> {
        let histories = self.plan.histories.keys().filter(|_| self.is_newest);
        let mut all: BTreeSet<TimelineId> = self.cluster.chains.keys().chain(histories).copied().collect();
        if self.is_newest {
            let parents = self.plan.histories.values().flat_map(|history| history.entries.iter());
            all.extend(parents.map(|entry| entry.parent));
        }
        all
    }

    /// The history of a timeline, where it is known. An earlier cluster's timeline 1 is nobody's child.
    pub fn history(&self, timeline: TimelineId) -> Option<History> {
        if timeline == TimelineId(1) {
            Some(History::without_parents(timeline))
        } else {
            self.plan.history(timeline)
        }
    }

    /// Segments whose file stands there but is no part of the chain, which is a finding of its own: it is empty, or
    /// no WAL, or another cluster's. A file that an earlier cluster has left stands in nobody's place.
    /// (What a newer cluster has written over is no loss of an older one.)
    pub fn unusable(&self) -> impl Iterator<Item = (TimelineId, SegmentNumber)> {
        let number = |file: &FileRecord| file.name.number(self.id.segment_size);
        self.useless_files().filter_map(move |file| Some((file.name.timeline, number(file)?)))
    }

    /// The files of such segments.
    pub fn useless_files(&self) -> impl Iterator<Item = &FileRecord> {
        let is_unusable = |(index, file): &(usize, &FileRecord)| match file.cluster {
            _ if file.state == FileState::Recycled => !self.later.contains(index),
            Some(cluster) => cluster != self.id && (!self.is_newest || self.mixed_in.contains(&cluster)),
            None => self.is_newest,
        };
        self.survey.chains.files.iter().enumerate().filter(is_unusable).map(|(_, file)| file)
    }

    /// Name of the segment of `timeline` that holds `lsn`.
    pub fn segment(&self, timeline: TimelineId, lsn: Lsn) -> SegmentName {
        SegmentName::new(timeline, lsn.segment(self.id.segment_size), self.id.segment_size)
    }
}

/// What is known of one timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimelineReport {
    /// Which.
    pub timeline: TimelineId,
    /// The one that it left.
    pub parent: Option<TimelineId>,
    /// Where it left it.
    pub switch: Option<Lsn>,
    /// Why, in the server's words.
    pub reason: Option<String>,
    /// It has a history file.
    pub history_file: bool,
    /// Where its WAL begins: the switch point, or the first record there is.
    pub start: Option<Lsn>,
    /// Where its last verified record ends.
    pub end: Option<Lsn>,
    /// Its first segment.
    pub first_segment: Option<SegmentName>,
    /// Its last segment.
    pub last_segment: Option<SegmentName>,
    /// How many segments there are.
    pub segments: u64,
    /// Verified records that it owns.
    pub records: u64,
    /// Transactions that it owns.
    pub transactions: Transactions,
    /// Stretches of unbroken verified WAL that it owns.
    pub ranges: Vec<(Lsn, Lsn)>,
}

impl TimelineReport {
    /// Times of its first and its last commit, in LSN order.
    pub fn commit_times(&self) -> Option<(PgTime, PgTime)> {
        self.transactions.commit_times
    }
}

/// The table, by timeline.
pub fn reports(view: &ClusterView<'_>, stretches: &Stretches) -> Vec<TimelineReport> {
    view.timelines().into_iter().map(|timeline| report(view, timeline, stretches)).collect()
}

fn report(view: &ClusterView<'_>, timeline: TimelineId, stretches: &Stretches) -> TimelineReport {
    let history = view.history(timeline);
    let parent = history.as_ref().and_then(|history| history.parent());
    let owned = stretches.of(timeline);
    let size = view.id.segment_size;
    let present = view.cluster.chains.get(&timeline).map(|chain| &chain.present);
    let name = |number| SegmentName::new(timeline, number, size);
    TimelineReport {
        timeline,
        parent: parent.map(|entry| entry.parent),
        switch: parent.map(|entry| entry.switch),
        reason: parent.map(|entry| entry.reason.clone()),
        history_file: view.is_newest && view.plan.history_files.contains(&timeline),
        start: owned.first().map(|stretch| match parent {
            Some(entry) if stretch.from_switch => entry.switch,
            _ => stretch.start,
        }),
        end: owned.last().map(|stretch| stretch.end),
        first_segment: present.and_then(Segments::first).map(name),
        last_segment: present.and_then(Segments::last).map(name),
        segments: present.map_or(0, Segments::count),
        records: owned.iter().map(|stretch| stretch.records).sum(),
        transactions: owned.iter().fold(Transactions::default(), |sum, s| sum.then(s.transactions)),
        ranges: owned.iter().map(|stretch| (stretch.start, stretch.end)).collect(),
    }
}
