//! Where timelines leave one another: histories held to the WAL, and the seam at the fork.

use super::gaps::Hole;
use super::tail;
use super::timelines::ClusterView;
use crate::chain::chains::FileRecord;
use crate::chain::range::{CountedRun, Range};
use crate::finding::{Code, Finding, Severity};
use crate::scan::Event;
use crate::scan::event::What;
use crate::scan::segment::PlacedWound;
use crate::timeline::{HistoryEntry, probe_latest};
use crate::wal::fault::Fault;
use crate::wal::page::LONG_HEADER_BYTES;
use crate::wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use std::collections::BTreeMap;

/// Bytes that may stand between a timeline's switch point and the record that announces it: page headers, an
/// overwriting record and a change of full_page_writes.
const BEFORE_ANNOUNCEMENT_BYTES: u64 = 200;

/// Everything wrong with the forks of a cluster.
pub(super) fn findings(view: &ClusterView<'_>) -> Vec<Finding> {
    let mut findings = missing_histories(view);
    findings.extend(hidden_timelines(view));
    for (timeline, chain) in &view.cluster.chains {
        let Some(history) = view.history(*timeline) else { continue };
        let announced = contradiction(view, *timeline);
        findings.extend(announced.map(|announced| wrong_history(view, *timeline, announced)));
        findings.extend(unnamed_parent(view, *timeline).filter(|_| announced.is_none()));
        findings.extend(disagreement(view, *timeline).map(|d| d.finding(*timeline)));
        let (Some(parent), Some(first)) = (history.parent(), chain.ranges.first()) else { continue };
        let at_fork =
            first.start.segment(view.id.segment_size) == parent.switch.segment(view.id.segment_size);
        if at_fork {
            findings.extend(divergence(view, first, parent));
            findings.extend(cut_off(view, first, parent));
        }
    }
    findings
}

fn missing_histories(view: &ClusterView<'_>) -> Vec<Finding> {
    let timelines = view.cluster.chains.iter().filter(|(timeline, _)| timeline.0 > 1);
    timelines
        .filter(|(timeline, _)| !view.plan.history_files.contains(timeline))
        .map(|(timeline, chain)| {
            let segments = chain.present.count();
            Finding::new(
                Code::TimelineHistoryMissing,
                format!(
                    "timeline {timeline} has {segments} segment{} but no history file {:08X}.history: a server cannot find out where it came from",
                    if segments == 1 { "" } else { "s" },
                    timeline.0
                ),
            )
            .in_segment(format!("{:08X}.history", timeline.0))
            .on(*timeline)
            .expecting(format!("{:08X}.history", timeline.0), "no such file")
        })
        .collect()
}

/// Timelines that a server does not find when it looks for the newest: the number in front of them has neither a history
/// nor segments.
fn hidden_timelines(view: &ClusterView<'_>) -> Option<Finding> {
    let (histories, chains) = (&view.plan.history_files, &view.cluster.chains);
    let newest = *histories.last().filter(|_| view.is_newest)?;
    let oldest = *histories.first().into_iter().chain(chains.keys()).min()?;
    let found = probe_latest(oldest, |id| histories.contains(&id) || chains.contains_key(&id));
    if newest <= found {
        return None;
    }
    let absent = format!("{:08X}.history", found.0 + 1);
    let message = format!(
        "{absent} is missing although timeline {newest} has a history: a server that looks for the newest timeline stops \
         at the first number that has none"
    );
    let finding = Finding::new(Code::TimelineHistoryMissing, message)
        .rated(Severity::Warning)
        .in_segment(&absent)
        .on(TimelineId(found.0 + 1))
        .expecting(&absent, "no such file")
        .costing(format!(
            "recovery to the latest timeline ends on timeline {found} at most; {newest} must be named \
             (recovery_target_timeline)"
        ));
    Some(finding)
}

/// Timelines that begin elsewhere than their histories say: where they do begin.
pub(super) struct Contradicted {
    begins: BTreeMap<TimelineId, Lsn>,
    segment_size: SegmentSize,
}

impl Contradicted {
    /// Whether a finding only follows from a wrong history.
    pub(super) fn explains(&self, finding: &Finding) -> bool {
        let by_owner = matches!(finding.code, Code::PageTimeline | Code::TimelineDiverges);
        by_owner && finding.timeline.is_some_and(|timeline| self.begins.contains_key(&timeline))
    }

    /// Whether segments are only missed because of a wrong history: the timeline never wrote them.
    pub(super) fn explains_hole(&self, hole: &Hole) -> bool {
        let begin = self.begins.get(&hole.timeline);
        begin.is_some_and(|begin| hole.last() < begin.segment(self.segment_size))
    }
}

/// Which timelines contradict their histories.
pub(super) fn contradicted(view: &ClusterView<'_>) -> Contradicted {
    let timelines = view.cluster.chains.keys();
    let begins = timelines.filter_map(|timeline| Some((*timeline, contradiction(view, *timeline)?)));
    Contradicted { begins: begins.collect(), segment_size: view.id.segment_size }
}

/// The record that announces a timeline must stand where its history says that it begins. Gives the place where it
/// stands if it does not.
fn contradiction(view: &ClusterView<'_>, timeline: TimelineId) -> Option<Lsn> {
    if !view.is_newest || !view.plan.history_files.contains(&timeline) {
        return None;
    }
    let history = view.history(timeline)?;
    let first = view.cluster.chains.get(&timeline)?.ranges.first()?;
    let announced = first.events.iter().find(|event| announces(event, timeline))?.lsn;
    let switch = history.parent()?.switch;
    let fits = announced >= switch && announced.bytes_since(switch) <= BEFORE_ANNOUNCEMENT_BYTES;
    (!fits).then_some(announced)
}

/// The record with which a timeline begins names the one that it goes on from: its history must have that too, though it
/// need not be the last in it.
fn unnamed_parent(view: &ClusterView<'_>, timeline: TimelineId) -> Option<Finding> {
    let history = view.plan.histories.get(&timeline).filter(|_| view.is_newest)?;
    let first = view.cluster.chains.get(&timeline)?.ranges.first()?;
    let begin = first.events.iter().find(|event| announces(event, timeline))?;
    let parent = match &begin.what {
        What::Checkpoint { checkpoint, .. } => checkpoint.previous_timeline,
        What::EndOfRecovery(end) => end.previous_timeline,
        _ => return None,
    };
    if history.contains(parent) {
        return None;
    }
    let file = format!("{:08X}.history", timeline.0);
    let message = format!(
        "{file} does not name timeline {parent}, which timeline {timeline} goes on from by its record at {}",
        begin.lsn
    );
    let impact = format!("a server that goes to timeline {timeline} believes {file}, whatever the WAL says");
    let finding = Finding::new(Code::TimelineHistoryInvalid, message).costing(impact).in_segment(file);
    Some(finding.on(timeline).expecting(format!("a line of timeline {parent}"), "none"))
}

/// A history that says something else of an ancestor than the ancestor's own.
pub(super) struct Disagreement {
    ancestor: TimelineId,
    says: Option<HistoryEntry>,
    own: Option<HistoryEntry>,
}

/// Whether the history of `timeline` says something else of its nearest ancestor that has one than that one's own
/// history, which the WAL does not contradict. The server writes a timeline's history as a copy of its parent's
/// with one line more (`writeTimeLineHistory` in `src/backend/access/transam/timeline.c`, 9.5 to 19).
pub(super) fn disagreement(view: &ClusterView<'_>, timeline: TimelineId) -> Option<Disagreement> {
    if !view.is_newest || contradiction(view, timeline).is_some() {
        return None;
    }
    let entries = view.plan.histories.get(&timeline)?.entries.as_slice();
    let known = |(index, entry): (usize, &HistoryEntry)| {
        let own = view.plan.histories.get(&entry.parent)?;
        Some((entry.parent, entries.get(..index)?, own.entries.as_slice()))
    };
    let (ancestor, says, own) = entries.iter().enumerate().rev().find_map(known)?;
    let place = |entry: &HistoryEntry| (entry.parent, entry.switch);
    if says.iter().map(place).eq(own.iter().map(place)) || contradiction(view, ancestor).is_some() {
        return None;
    }
    Some(Disagreement { ancestor, says: says.last().cloned(), own: own.last().cloned() })
}

impl Disagreement {
    fn finding(&self, timeline: TimelineId) -> Finding {
        let (file, other) =
            (format!("{:08X}.history", timeline.0), format!("{:08X}.history", self.ancestor.0));
        let shown = |entry: &Option<HistoryEntry>| match entry {
            Some(entry) => format!("left timeline {} at {}", entry.parent, entry.switch),
            None => "has no parent".to_owned(),
        };
        let (says, own) = (shown(&self.says), shown(&self.own));
        let message = if says == own {
            format!("{file} and {other} give timeline {} different ancestors", self.ancestor)
        } else {
            format!("{file} says that timeline {} {says}, and {other} that it {own}", self.ancestor)
        };
        // Nothing in the files tells which of them is the true one.
        let impact = format!("a server that goes to timeline {timeline} follows {file}, right or wrong");
        let finding = Finding::new(Code::TimelineHistoryInvalid, message);
        finding.in_segment(file).on(timeline).expecting(own, says).costing(impact)
    }
}

fn wrong_history(view: &ClusterView<'_>, timeline: TimelineId, announced: Lsn) -> Finding {
    let file = format!("{:08X}.history", timeline.0);
    let history = view.history(timeline);
    let parent = history.as_ref().and_then(|history| history.parent());
    let says = parent.map_or_else(
        || format!("timeline {timeline} has no parent"),
        |parent| format!("timeline {timeline} left timeline {} at {}", parent.parent, parent.switch),
    );
    let found = parent.map_or_else(|| "no parent".to_owned(), |parent| parent.switch.to_string());
    let impact = format!("a server that goes to timeline {timeline} believes {file}, whatever the WAL says");
    Finding::new(
        Code::TimelineHistoryInvalid,
        format!("{file} says that {says}, but its WAL begins at {announced}"),
    )
    .costing(impact)
    .in_segment(file)
    .on(timeline)
    .at(announced, announced.offset_in_segment(view.id.segment_size))
    .expecting(announced, found)
}

/// Whether the event is the record with which `timeline` begins.
fn announces(event: &Event, timeline: TimelineId) -> bool {
    match &event.what {
        What::Checkpoint { checkpoint, .. } => {
            checkpoint.timeline == timeline && checkpoint.previous_timeline != timeline
        }
        What::EndOfRecovery(end) => end.timeline == timeline,
        _ => false,
    }
}

/// What is wrong in a chain's first range, with its seam: a child's first file must go on where the segment before
/// it, on the path, ends.
pub(super) fn wounds_with_seam(view: &ClusterView<'_>, first: &Range) -> Vec<PlacedWound> {
    let alone = || first.wounds.clone();
    let timeline = first.first.timeline;
    let Some(history) = view.history(timeline) else { return alone() };
    let size = view.id.segment_size;
    let forks_here = |entry: &HistoryEntry| entry.switch.segment(size) == first.start.segment(size);
    if !history.parent().is_some_and(forks_here) {
        return alone();
    }
    let before = Lsn(first.start.0.saturating_sub(1));
    let Some(chain) = view.cluster.chains.get(&history.owner(before)) else { return alone() };
    let Some(edge) = chain.edge(first.start) else { return alone() };
    // A parent that ends early is no matter here: it is said where its own next segment is missing or there.
    let edge = Range { wounds: Vec::new(), events: Vec::new(), overwrites: Vec::new(), ..edge.clone() };
    let joined = edge.join(Range { events: Vec::new(), ..first.clone() });
    // What is wrong with the ancestor's own next segment too is wrong before the seam, and was said there.
    let said = |placed: &PlacedWound| {
        let mut wounds = chain.ranges.iter().flat_map(|range| &range.wounds);
        !first.wounds.contains(placed) && wounds.any(|other| other.wound.lsn == placed.wound.lsn)
    };
    let here = joined.wounds.into_iter().filter(|placed| !said(placed));
    here.map(|mut placed| {
        let ends_early = matches!(placed.wound.fault, Fault::EndsEarly { .. });
        if placed.segment != first.first && placed.wound.lsn < first.start && !ends_early {
            // WAL that ends early does so in the ancestor's file. A record that begins there has its rest here.
            placed.segment = first.first;
            placed.wound.offset = 0;
        }
        placed
    })
    .collect()
}

/// The copy of the parent's WAL must be what the parent's file has.
fn divergence(view: &ClusterView<'_>, child: &Range, parent: &HistoryEntry) -> Option<Finding> {
    let ours = digest(view, child.first, parent.switch)?;
    let parents = view.segment(parent.parent, parent.switch);
    let theirs = digest(view, parents, parent.switch)?;
    let parent_range = view.cluster.chains.get(&parent.parent).and_then(|chain| {
        let holds = |range: &&Range| range.start <= child.start && child.start < range.end;
        chain.ranges.iter().find(holds)
    })?;
    // Where one of them is damaged, that is said, and explains the difference.
    let whole = |range: &Range, wounds: &[PlacedWound]| {
        let before_fork = |placed: &PlacedWound| {
            let name = placed.segment;
            placed.wound.lsn < parent.switch && (name == child.first || name == parents)
        };
        !wounds.iter().any(before_fork) && is_whole(range, child.start, parent.switch)
    };
    if ours == theirs
        || !whole(child, &wounds_with_seam(view, child))
        || !whole(parent_range, &parent_range.wounds)
    {
        return None;
    }
    Some(
        Finding::new(
            Code::TimelineDiverges,
            format!(
                "up to the fork at {} segment {} should be a copy of {parents}, and is not",
                parent.switch, child.first
            ),
        )
        .in_segment(child.first)
        .on(child.first.timeline)
        .at(parent.switch, parent.switch.offset_in_segment(view.id.segment_size))
        .expecting(format!("CRC-32C {theirs:08X} as {parents}"), format!("{ours:08X}")),
    )
}

/// The first file of a timeline has its parent's WAL up to the fork from the beginning.
///
/// PostgreSQL: `XLogInitNewTimeline` in `src/backend/access/transam/xlog.c`, 9.5 to 19.
fn cut_off(view: &ClusterView<'_>, child: &Range, parent: &HistoryEntry) -> Option<Finding> {
    let ends = tail::ends_before(child, parent.switch)?;
    let message = format!(
        "the WAL in segment {} ends at {ends}, before the fork at {}: the first file of a timeline has its parent's \
         WAL up to there",
        child.first, parent.switch
    );
    Some(tail::ends_early(view, child, ends, message).expecting(format!("WAL up to {}", parent.switch), ends))
}

/// Digest of a file's bytes up to `lsn`. None of a file with other bytes in its padding there, or from another cluster.
fn digest(view: &ClusterView<'_>, name: SegmentName, lsn: Lsn) -> Option<u32> {
    let below = lsn.offset_in_segment(view.id.segment_size);
    let usable = |file: &&FileRecord| {
        let clean = file.dirty_padding.is_none_or(|(first, _)| first >= below);
        file.name == name && file.cluster == Some(view.id) && clean
    };
    let file = view.survey.chains.files.iter().find(usable)?;
    file.digests.iter().find(|(at, _)| *at == lsn).map(|(_, digest)| *digest)
}

/// Whether every record of the range from the segment at `start` on up to `end` was verified.
fn is_whole(range: &Range, start: Lsn, end: Lsn) -> bool {
    let reaches = |counted: &&CountedRun| counted.run.end >= end;
    let Some(index) = range.runs.iter().position(|counted| reaches(&counted)) else { return false };
    let unbroken = range.runs.iter().take(index + 1).rev();
    let covers = |counted: &CountedRun| counted.run.first <= start.plus(LONG_HEADER_BYTES as u64);
    for counted in unbroken {
        if covers(counted) {
            return true;
        }
        if !counted.run.continues {
            return false;
        }
    }
    // What the archive begins with may begin in the middle of a record.
    range.start == start
}
