//! How timelines end, and what their commit times say.

use super::stretch::Stretches;
use super::timelines::ClusterView;
use super::{Options, Survey};
use crate::chain::range::Range;
use crate::clock::span;
use crate::finding::{Code, Finding, Severity};
use crate::scan::stats::Transactions;
use crate::wal::page::LONG_HEADER_BYTES;
use crate::wal::walk::Ending;
use crate::wal::{Lsn, PgTime, TimelineId};

/// A regression of commit times above this is worth a warning, in microseconds.
const REGRESSION_WARNING_US: i64 = 1_000_000;

/// What is worth knowing of each timeline's beginning, end and times.
pub(super) fn findings(view: &ClusterView<'_>, stretches: &Stretches) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (timeline, chain) in &view.cluster.chains {
        findings.extend(chain.ranges.last().and_then(|last| incomplete_tail(view, last)));
        findings.extend(regression(*timeline, stretches));
    }
    findings.extend(leading_fragment(view));
    findings
}

/// The newest WAL of a timeline need not be complete.
fn incomplete_tail(view: &ClusterView<'_>, last: &Range) -> Option<Finding> {
    let (at, message) = match (last.ending, &last.tail) {
        (Ending::Cut { .. }, _) => return None,
        (_, Some(tail)) => (
            tail.start,
            format!(
                "the last record, at {}, is not complete: {} of {} bytes are there",
                tail.start, tail.have, tail.total
            ),
        ),
        (Ending::Zero { from } | Ending::Stale { from, .. }, None) => {
            (from, format!("the WAL ends at {from}, in the middle of segment {}", last.last))
        }
        (Ending::Full | Ending::Switch { .. }, None) => return None,
    };
    Some(
        Finding::new(Code::IncompleteTail, message)
            .in_segment(last.last)
            .on(last.last.timeline)
            .at(at, at.offset_in_segment(view.id.segment_size)),
    )
}

/// Where the WAL of a range ends, if that is before `lsn`, which is in its last segment, by more than the header of a page
/// that would come next.
pub(super) fn ends_before(range: &Range, lsn: Lsn) -> Option<Lsn> {
    let (Ending::Zero { from } | Ending::Stale { from, .. }) = range.ending else { return None };
    let at_page = from.0.is_multiple_of(range.format.page_bytes as u64);
    let next = if at_page { from.plus(LONG_HEADER_BYTES as u64) } else { from };
    (next < lsn && lsn <= range.end).then_some(from)
}

/// The finding that WAL is missing behind `at` in the last segment of a range.
pub(super) fn ends_early(view: &ClusterView<'_>, range: &Range, at: Lsn, message: String) -> Finding {
    Finding::new(Code::SegmentEndsEarly, message)
        .in_segment(range.last)
        .on(range.last.timeline)
        .at(at, at.offset_in_segment(view.id.segment_size))
}

/// The archive's first segment may begin in the middle of a record.
fn leading_fragment(view: &ClusterView<'_>) -> Option<Finding> {
    let chain = view.cluster.chains.values().next()?;
    let first = chain.ranges.first()?;
    let head = first.head.as_ref()?;
    Some(
        Finding::new(
            Code::LeadingFragment,
            format!(
                "the oldest segment begins with the last {} bytes of a record that started before it",
                head.declared
            ),
        )
        .in_segment(first.first)
        .on(first.first.timeline)
        .at(first.start, 0),
    )
}

fn regression(timeline: TimelineId, stretches: &Stretches) -> Option<Finding> {
    let all = stretches.of(timeline).iter().fold(Transactions::default(), |sum, s| sum.then(s.transactions));
    let times = all.times.filter(|times| times.regressions > 0)?;
    let severity =
        if times.max_regression_us > REGRESSION_WARNING_US { Severity::Warning } else { Severity::Info };
    #[expect(clippy::cast_precision_loss, reason = "shown with six digits")]
    let seconds = times.max_regression_us as f64 / 1e6;
    Some(
        Finding::new(
            Code::CommitTimeRegression,
            format!(
                "on timeline {timeline} the time of a commit or abort is earlier than that of the one before it {} time{}, by at most {seconds:.6} s: a time target stops at the first that is later than it",
                times.regressions,
                if times.regressions == 1 { "" } else { "s" },
            ),
        )
        .rated(severity)
        .on(timeline)
        .expecting("times in the order of the WAL", format!("{} out of order, maximum {seconds:.6} s", times.regressions)),
    )
}

/// Whether the newest WAL is older than was asked for.
pub(super) fn staleness(survey: &Survey, options: &Options) -> Option<Finding> {
    let (limit, now) = options.max_age?;
    let newest = newest_time(survey);
    let age_us = newest.map(|newest| now.micros_since(newest));
    let limit_us = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
    if age_us.is_some_and(|age| age <= limit_us) {
        return None;
    }
    let message = match newest {
        Some(newest) => format!(
            "the newest WAL is of {}, {} ago",
            options.clock.iso(newest),
            span(now.micros_since(newest))
        ),
        None => "nothing in the WAL says when it was written".to_owned(),
    };
    let found = newest.map_or_else(|| "unknown".to_owned(), |newest| options.clock.iso(newest));
    Some(
        Finding::new(Code::ArchiveStale, message).expecting(format!("at most {} old", span(limit_us)), found),
    )
}

/// The latest time in the WAL: of a commit, abort, checkpoint or restore point.
fn newest_time(survey: &Survey) -> Option<PgTime> {
    let ranges = || {
        let chains = survey.chains.clusters.values().flat_map(|cluster| cluster.chains.values());
        chains.flat_map(|chain| &chain.ranges)
    };
    let transactions = ranges()
        .flat_map(|range| &range.runs)
        .filter_map(|counted| counted.transactions.times)
        .map(|t| t.max);
    let events = ranges().flat_map(|range| &range.events).filter_map(|event| event.time);
    transactions.chain(events).max()
}
