//! What a finding costs, computed from the ranges around it.

use super::stretch::{Stretch, Stretches};
use crate::clock::Clock;
use crate::finding::{Code, Finding, Severity};
use crate::scan::stats::Transactions;

/// Adds to each error what can no longer be recovered because of it.
pub(super) fn say(findings: &mut [Finding], stretches: &Stretches, clock: &Clock) {
    for finding in
        findings.iter_mut().filter(|finding| finding.severity == Severity::Error && finding.impact.is_none())
    {
        finding.impact = impact(finding, stretches, clock);
    }
}

fn impact(finding: &Finding, stretches: &Stretches, clock: &Clock) -> Option<String> {
    let timeline = finding.timeline?;
    let all = stretches.of(timeline);
    match finding.code {
        Code::TimelineHistoryMissing | Code::TimelineHistoryInvalid => {
            return Some(format!("no server can recover to timeline {timeline}{}", commits(all, clock)));
        }
        Code::DuplicateDiffers => {
            let segment = finding.segment.as_deref().unwrap_or_default();
            return Some(format!(
                "what a replay of {segment} brings depends on which copy restore_command delivers"
            ));
        }
        Code::TimelineDiverges => {
            return Some(format!(
                "a recovery to timeline {timeline} replays other WAL up to its fork than one to its parent: one of them is wrong"
            ));
        }
        _ => {}
    }
    let lsn = finding.lsn?;
    let behind = all.partition_point(|stretch| stretch.start <= lsn);
    let (before, after) = all.split_at(behind);
    let end = before.last().map(|stretch| stretch.end.min(lsn.max(stretch.start)));
    let stops = match end {
        Some(end) => format!("replay on timeline {timeline} from any earlier backup ends at {end}"),
        None => format!("no replay on timeline {timeline} can pass {lsn}"),
    };
    Some(match after.first() {
        Some(next) if lost(after).commit_times.is_some() => format!(
            "{stops}{} can be reached only from a backup that starts at {} or later",
            commits(after, clock),
            next.start
        ),
        Some(next) => format!("{stops}; WAL from {} on needs a later backup", next.start),
        None => format!("{stops}; nothing behind it on this timeline can be verified"),
    })
}

fn lost(stretches: &[Stretch]) -> Transactions {
    stretches.iter().fold(Transactions::default(), |sum, stretch| sum.then(stretch.transactions))
}

/// "; 12 commits from … to …", or nothing if there are none.
fn commits(stretches: &[Stretch], clock: &Clock) -> String {
    let lost = lost(stretches);
    let Some((first, last)) = lost.commit_times else { return String::new() };
    let plural = if lost.commits == 1 { "" } else { "s" };
    format!("; {} commit{plural} from {} to {}", lost.commits, clock.iso(first), clock.iso(last))
}
