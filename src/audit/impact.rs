//! What a finding costs, computed from the ranges around it.

use super::stretch::{Stretch, Stretches};
use crate::clock::Clock;
use crate::finding::{Code, Finding, Severity};
use crate::scan::stats::Transactions;
use crate::wal::{Lsn, TimelineId};
use std::collections::BTreeMap;

/// Adds to each error what can no longer be recovered because of it.
pub(super) fn say(findings: &mut [Finding], stretches: &Stretches, clock: &Clock) {
    let mut sums: BTreeMap<TimelineId, Vec<Transactions>> = BTreeMap::new();
    for finding in
        findings.iter_mut().filter(|finding| finding.severity == Severity::Error && finding.impact.is_none())
    {
        let Some(timeline) = finding.timeline else { continue };
        let all = stretches.of(timeline);
        // Added up once: there may be a finding for each stretch.
        let sums = sums.entry(timeline).or_insert_with(|| sums_from(all));
        finding.impact = impact(finding, timeline, all, sums, clock);
    }
}

/// `sums` has the transactions of each stretch and all behind it.
fn impact(
    finding: &Finding,
    timeline: TimelineId,
    all: &[Stretch],
    sums: &[Transactions],
    clock: &Clock,
) -> Option<String> {
    let commits_from = |from: usize| commits(&sums.get(from).copied().unwrap_or_default(), clock);
    match finding.code {
        Code::TimelineHistoryMissing | Code::TimelineHistoryInvalid => {
            let held = commits_from(0).map_or_else(String::new, |held| format!("; its files hold {held}"));
            return Some(format!("no server can recover to timeline {timeline}{held}"));
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
    let lsn = match finding.code {
        // The server takes no part of such a file.
        Code::SegmentTruncated => Lsn(finding.lsn?.0.saturating_sub(finding.offset?)),
        _ => finding.lsn?,
    };
    let behind = first_behind(all, lsn);
    let (before, after) = all.split_at(behind);
    let end = before.last().map(|stretch| stretch.end.min(lsn.max(stretch.start)));
    let stops = match end {
        Some(end) => format!("replay on timeline {timeline} from any earlier backup ends at {end}"),
        None => format!("no replay on timeline {timeline} can pass {lsn}"),
    };
    Some(match (after.first(), commits_from(behind)) {
        // The record that crosses into the wrong page is lost too.
        (Some(next), Some(lost)) if next.start <= lsn => {
            format!("{stops}; {lost} can be reached only from a backup that starts behind {lsn}")
        }
        (Some(next), Some(lost)) => format!(
            "{stops}; {lost} can be reached only from a backup that starts at {} or later",
            next.start
        ),
        (Some(next), None) => {
            format!("{stops}; WAL from {} on needs a later backup", next.start.max(lsn))
        }
        (None, _) => format!("{stops}; nothing behind it on this timeline can be verified"),
    })
}

/// How many of the stretches end before what is wrong at `lsn`: the next one may begin with a record that crosses
/// into the page there.
fn first_behind(all: &[Stretch], lsn: Lsn) -> usize {
    let behind = all.partition_point(|stretch| stretch.start <= lsn);
    let crosses = match all.get(..behind) {
        Some([.., before, last]) => before.end == last.start && lsn < last.end,
        _ => false,
    };
    behind - usize::from(crosses)
}

fn sums_from(stretches: &[Stretch]) -> Vec<Transactions> {
    let mut sum = Transactions::default();
    let mut sums: Vec<Transactions> = Vec::with_capacity(stretches.len());
    for stretch in stretches.iter().rev() {
        sum = stretch.transactions.then(sum);
        sums.push(sum);
    }
    sums.reverse();
    sums
}

/// "12 commits from … to …"; `None` if there are none.
fn commits(lost: &Transactions, clock: &Clock) -> Option<String> {
    let (first, last) = lost.commit_times?;
    let plural = if lost.commits == 1 { "" } else { "s" };
    Some(format!("{} commit{plural} from {} to {}", lost.commits, clock.iso(first), clock.iso(last)))
}
