//! Findings from what the walks and the joins saw.

use super::timelines::ClusterView;
use crate::chain::range::Range;
use crate::finding::{Code, Finding, Severity};
use crate::scan::event::What;
use crate::scan::segment::PlacedWound;
use crate::wal::fault::Fault;
use crate::wal::{Lsn, Major, TimelineId};

/// Everything wrong inside the files of a cluster and at their seams.
pub(super) fn findings(view: &ClusterView<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for chain in view.cluster.chains.values() {
        for range in &chain.ranges {
            findings.extend(range.wounds.iter().map(finding));
            findings.extend(overwrites(view, range));
        }
    }
    for (timeline, chain) in &view.cluster.chains {
        let changes = chain.ranges.windows(2).filter_map(|pair| match pair {
            [a, b] if a.format.major != b.format.major => Some(version_change(a, b)),
            _ => None,
        });
        findings.extend(changes);
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
        format!("{} at {}", fault.message(), wound.lsn).replace("in record at", "in record at")
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

fn version_change(a: &Range, b: &Range) -> Finding {
    Finding::new(
        Code::VersionChange,
        format!("PostgreSQL {} up to {}, {} from {}", a.format.major, a.last, b.format.major, b.first),
    )
    .in_segment(b.first)
    .on(b.first.timeline)
    .at(b.start, 0)
    .expecting(a.format.major, b.format.major)
}

/// `wal_level` and the parameters that a standby must follow.
fn parameters<'a>(
    view: &ClusterView<'_>,
    timeline: TimelineId,
    events: impl Iterator<Item = &'a crate::scan::Event>,
) -> Vec<Finding> {
    let major = view.cluster.versions.last().copied().unwrap_or(Major::NEWEST);
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
            if let Some(grown) = before.and_then(|before| increases(&before, change, major)) {
                findings.push(at(view, event.lsn, timeline, Code::ParameterIncrease, Severity::Info, grown));
            }
            before = Some(*change);
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
    major: Major,
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
    let _ = major;
    (!grown.is_empty()).then(|| format!("a hot standby must follow: {} grew", grown.join(", ")))
}
