//! Where timelines leave one another: histories held to the WAL, and the seam at the fork.

use super::timelines::ClusterView;
use crate::chain::range::Range;
use crate::finding::{Code, Finding};
use crate::scan::Event;
use crate::scan::event::What;
use crate::timeline::{History, HistoryEntry};
use crate::wal::{Lsn, SegmentName, TimelineId};

/// Bytes that may stand between a timeline's first record and the one that announces it: an overwriting record
/// and a change of full_page_writes.
const BEFORE_ANNOUNCEMENT_BYTES: u64 = 160;

/// Everything wrong with the forks of a cluster.
pub(super) fn findings(view: &ClusterView<'_>) -> Vec<Finding> {
    let mut findings = missing_histories(view);
    for (timeline, chain) in &view.cluster.chains {
        let Some(history) = view.history(*timeline) else { continue };
        let (Some(parent), Some(first)) = (history.parent(), chain.ranges.first()) else { continue };
        findings.extend(contradiction(view, &history, parent, first));
        let at_fork =
            first.start.segment(view.id.segment_size) == parent.switch.segment(view.id.segment_size);
        if at_fork {
            findings.extend(seam(view, &history, first));
            findings.extend(divergence(view, *timeline, parent));
        }
    }
    findings
}

fn missing_histories(view: &ClusterView<'_>) -> Vec<Finding> {
    let timelines = view.cluster.chains.iter().filter(|(timeline, _)| timeline.0 > 1);
    timelines
        .filter(|(timeline, _)| !view.plan.history_files.contains(timeline))
        .map(|(timeline, chain)| {
            let segments = chain.present.len();
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

/// The record that announces the timeline must stand where the history says that it begins.
fn contradiction(
    view: &ClusterView<'_>,
    history: &History,
    parent: &HistoryEntry,
    first: &Range,
) -> Option<Finding> {
    let timeline = history.timeline;
    let own = first.runs.iter().find(|counted| counted.run.owner == timeline);
    let announced = first.events.iter().find(|event| announces(event, timeline))?;
    let own_first = own.filter(|counted| counted.run.continues).map(|counted| counted.run.first);
    let fits = announced.lsn >= parent.switch
        && own_first.is_none_or(|lsn| announced.lsn.bytes_since(lsn) <= BEFORE_ANNOUNCEMENT_BYTES);
    if fits {
        return None;
    }
    let size = view.id.segment_size;
    Some(
        Finding::new(
            Code::TimelineHistoryInvalid,
            format!(
                "{:08X}.history says that timeline {timeline} left timeline {} at {}, but its WAL begins at {}",
                timeline.0, parent.parent, parent.switch, announced.lsn
            ),
        )
        .in_segment(format!("{:08X}.history", timeline.0))
        .on(timeline)
        .at(announced.lsn, announced.lsn.offset_in_segment(size))
        .expecting(announced.lsn, parent.switch),
    )
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

/// The child's first file must go on where the segment before it, on the path, ends.
fn seam(view: &ClusterView<'_>, history: &History, first: &Range) -> Vec<Finding> {
    let before = Lsn(first.start.0.saturating_sub(1));
    let owner = history.owner(before);
    let Some(edge) = view.cluster.chains.get(&owner).and_then(|chain| chain.edge(first.start)) else {
        return Vec::new();
    };
    // A parent that ends early is no matter here: it is said where its own next segment is missing or there.
    let edge = Range { wounds: Vec::new(), events: Vec::new(), overwrites: Vec::new(), ..edge.clone() };
    let bare = Range { wounds: Vec::new(), events: Vec::new(), ..first.clone() };
    edge.join(bare).wounds.iter().map(super::wounds::finding).collect()
}

/// The copy of the parent's WAL must be what the parent's file has.
fn divergence(view: &ClusterView<'_>, timeline: TimelineId, parent: &HistoryEntry) -> Option<Finding> {
    let digest = |timeline: TimelineId| {
        let name = view.segment(timeline, parent.switch);
        let file = view.survey.chains.files.iter().find(|file| file.name == name)?;
        let digest = file.digests.iter().find(|(at, _)| *at == parent.switch)?.1;
        (!is_wounded_before(view, name, parent.switch)).then_some((name, digest))
    };
    let ((child, ours), (parents, theirs)) = (digest(timeline)?, digest(parent.parent)?);
    if ours == theirs {
        return None;
    }
    Some(
        Finding::new(
            Code::TimelineDiverges,
            format!(
                "up to the fork at {} segment {child} should be a copy of {parents}, and is not",
                parent.switch
            ),
        )
        .in_segment(child)
        .on(timeline)
        .at(parent.switch, parent.switch.offset_in_segment(view.id.segment_size))
        .expecting(format!("CRC-32C {theirs:08X} as {parents}"), format!("{ours:08X}")),
    )
}

/// Whether damage (which is said elsewhere) explains a difference.
fn is_wounded_before(view: &ClusterView<'_>, name: SegmentName, lsn: Lsn) -> bool {
    let chains = view.cluster.chains.values();
    let wounded = chains
        .flat_map(|chain| &chain.ranges)
        .flat_map(|range| &range.wounds)
        .any(|placed| placed.segment == name && placed.wound.lsn < lsn);
    let dirty = view.survey.chains.files.iter().any(|file| file.name == name && file.dirty_padding.is_some());
    wounded || dirty
}
