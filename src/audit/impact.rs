//! What a finding costs, computed from the ranges around it.

use super::stretch::Stretches;
use crate::clock::Clock;
use crate::finding::{Finding, Severity};
use crate::scan::stats::Transactions;

/// Adds to each error what can no longer be recovered because of it.
pub(super) fn say(findings: &mut [Finding], stretches: &Stretches, clock: &Clock) {
    for finding in findings.iter_mut().filter(|finding| finding.severity == Severity::Error) {
        finding.impact = impact(finding, stretches, clock);
    }
}

fn impact(finding: &Finding, stretches: &Stretches, clock: &Clock) -> Option<String> {
    let (timeline, lsn) = (finding.timeline?, finding.lsn?);
    let all = stretches.of(timeline);
    let behind = all.partition_point(|stretch| stretch.start <= lsn);
    let (before, after) = all.split_at(behind);
    let lost = after.iter().fold(Transactions::default(), |sum, s| sum.then(s.transactions));
    let end = before.last().map(|stretch| stretch.end.min(lsn.max(stretch.start)));
    let stops = match end {
        Some(end) => format!("replay on timeline {timeline} from any earlier backup ends at {end}"),
        None => format!("no replay on timeline {timeline} can pass {lsn}"),
    };
    Some(match (after.first(), lost.commit_times) {
        (Some(next), Some((first, last))) => format!(
            "{stops}; {} commit{} from {} to {} can be reached only from a backup that starts at {} or later",
            lost.commits,
            if lost.commits == 1 { "" } else { "s" },
            clock.iso(first),
            clock.iso(last),
            next.start
        ),
        (Some(next), None) => format!("{stops}; WAL from {} on needs a later backup", next.start),
        (None, _) => format!("{stops}; nothing behind it on this timeline can be verified"),
    })
}
