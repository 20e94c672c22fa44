//! Findings from what the walks and the joins saw.

use super::timelines::ClusterView;
use crate::chain::range::Range;
use crate::finding::{Code, Finding, Severity};
use crate::scan::event::What;
use crate::scan::segment::PlacedWound;
use crate::wal::fault::Fault;
use crate::wal::walk::{Context, Wound};
use crate::wal::{Lsn, TimelineId};
use std::collections::BTreeMap;

/// Everything wrong inside the files of a cluster and at their seams.
pub(super) fn findings(view: &ClusterView<'_>) -> Vec<Finding> {
    let elected = elected_magic(view);
    let mut findings = Vec::new();
    for chain in view.cluster.chains.values() {
        for (index, range) in chain.ranges.iter().enumerate() {
            if Some(range.format.magic) != elected {
                // It was read by another version's rules: whatever else was found follows from that.
                findings.extend(elected.map(|elected| other_magic(range, elected)));
                continue;
            }
            let wounds = match index {
                0 => super::forks::wounds_with_seam(view, range),
                _ => range.wounds.clone(),
            };
            findings.extend(wounds.iter().map(finding));
            findings.extend(overwrites(view, range));
        }
    }
    for (timeline, chain) in &view.cluster.chains {
        let events = chain.ranges.iter().flat_map(|range| &range.events);
        findings.extend(parameters(view, *timeline, events));
    }
    findings
}

/// One wound as a finding, in the server's words.
pub(super) fn finding(placed: &PlacedWound) -> Finding {
    let wound = &placed.wound;
    let fault = wound.fault;
    let code = Code::from(fault);
    let of_page = matches!(
        code,
        Code::PageMagic | Code::PageHeader | Code::PageAddress | Code::PageTimeline | Code::SegmentSize
    );
    let message = if of_page {
        format!(
            "{} in WAL segment {}, LSN {}, offset {}",
            fault.message(),
            placed.segment,
            wound.lsn,
            wound.offset
        )
    } else {
        format!("{} at {}", fault.message(), wound.lsn)
    };
    let mut finding = Finding::new(code, message)
        .in_segment(placed.segment)
        .on(placed.segment.timeline)
        .at(wound.lsn, wound.offset);
    finding.expected = fault.expected();
    finding.found = fault.found();
    if matches!(fault, Fault::EndsEarly { .. }) {
        finding.message = format!(
            "{}: WAL ends at {} in the middle of segment {}, but the next segment exists",
            finding.message, wound.lsn, placed.segment
        );
    }
    finding
}

fn overwrites(view: &ClusterView<'_>, range: &Range) -> Vec<Finding> {
    let size = view.id.segment_size;
    let timeline = range.last.timeline;
    let overwrite = |o: &crate::wal::walk::Overwrite| {
        Finding::new(
            Code::OverwriteContrecord,
            format!(
                "the unfinished record at {} was dropped after a crash and overwritten at {}",
                o.dropped, o.at
            ),
        )
        .in_segment(view.segment(timeline, o.at))
        .on(timeline)
        .at(o.at, o.at.offset_in_segment(size))
    };
    range.overwrites.iter().map(overwrite).collect()
}

/// The magic that most of a cluster's segments have: an upgrade makes another cluster.
fn elected_magic(view: &ClusterView<'_>) -> Option<u16> {
    let mut votes: BTreeMap<u16, u64> = BTreeMap::new();
    for range in view.cluster.chains.values().flat_map(|chain| &chain.ranges) {
        *votes.entry(range.format.magic).or_default() += range.end.bytes_since(range.start);
    }
    votes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(magic, _)| magic)
}

/// Segments with another magic have a damaged first page, and too little behind it to tell.
fn other_magic(range: &Range, elected: u16) -> Finding {
    let fault = Fault::PageMagic { expected: elected, found: range.format.magic };
    let wound = Wound { fault, lsn: range.start, offset: 0, context: Context::Elsewhere };
    finding(&PlacedWound { segment: range.first, wound })
}

/// `wal_level` and the parameters that a standby must follow.
fn parameters<'a>(
    view: &ClusterView<'_>,
    timeline: TimelineId,
    events: impl Iterator<Item = &'a crate::scan::Event>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut before: Option<crate::wal::payload::xlog::ParameterChange> = None;
    let mut minimal_reported = false;
    for event in events.filter(|event| event.owner == timeline) {
        let level = match &event.what {
            What::ParameterChange(change) => Some(change.wal_level),
            What::Checkpoint { checkpoint, .. } => checkpoint.wal_level,
            What::CheckpointRedo { wal_level } => *wal_level,
            _ => None,
        };
        if level == Some(0) && !minimal_reported {
            minimal_reported = true;
            findings.push(at(view, event.lsn, timeline, Code::WalLevelMinimal, Severity::Warning, format!(
                "wal_level was minimal from {}: changes to new tables were not written to the WAL, and a recovery across this position is not complete",
                event.lsn
            )));
        } else if level.is_some_and(|level| level > 0) {
            minimal_reported = false;
        }
        if let What::ParameterChange(change) = &event.what {
            if let Some(grown) = before.and_then(|before| increases(&before, change)) {
                findings.push(at(view, event.lsn, timeline, Code::ParameterIncrease, Severity::Info, grown));
            }
            before = Some(**change);
        }
    }
    findings
}

fn at(
    view: &ClusterView<'_>,
    lsn: Lsn,
    timeline: TimelineId,
    code: Code,
    severity: Severity,
    message: String,
) -> Finding {
    Finding::new(code, message)
        .rated(severity)
        .in_segment(view.segment(timeline, lsn))
        .on(timeline)
        .at(lsn, lsn.offset_in_segment(view.id.segment_size))
}

/// Which of the parameters that a standby must have at least grew, in words.
fn increases(
    before: &crate::wal::payload::xlog::ParameterChange,
    after: &crate::wal::payload::xlog::ParameterChange,
) -> Option<String> {
    let senders = |change: &crate::wal::payload::xlog::ParameterChange| change.max_wal_senders.unwrap_or(0);
    let all = [
        ("max_connections", before.max_connections, after.max_connections),
        ("max_worker_processes", before.max_worker_processes, after.max_worker_processes),
        ("max_wal_senders", senders(before), senders(after)),
        ("max_prepared_transactions", before.max_prepared_transactions, after.max_prepared_transactions),
        ("max_locks_per_transaction", before.max_locks_per_transaction, after.max_locks_per_transaction),
    ];
    let grown: Vec<String> = all
        .iter()
        .filter(|(_, before, after)| after > before)
        .map(|(name, before, after)| format!("{name} from {before} to {after}"))
        .collect();
    (!grown.is_empty()).then(|| format!("a hot standby must follow: {} grew", grown.join(", ")))
}
