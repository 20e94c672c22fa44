//! The verdict on an archive, as text and as JSON.

use super::json;
use super::text::{self, Palette, counted};
use crate::audit::{Audit, SegmentCounts, TimelineReport};
use crate::clock::Clock;
use crate::finding::{Code, Finding, Severity};
use crate::wal::{Lsn, SegmentName, SystemId, TimelineId};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// The JSON answer of `verify`.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyAnswer<'a> {
    verdict: &'static str,
    #[serde(serialize_with = "json::optional_text")]
    system_identifier: Option<SystemId>,
    segment_size: Option<u64>,
    versions: Vec<&'static str>,
    segments: SegmentCounts,
    bytes: u64,
    records: u64,
    seconds: f64,
    timelines: Vec<TimelineAnswer>,
    other_clusters: Vec<OtherAnswer>,
    findings: &'a [Finding],
}

/// A timeline in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineAnswer {
    timeline: TimelineId,
    parent: Option<TimelineId>,
    #[serde(serialize_with = "json::optional_text")]
    switch_lsn: Option<Lsn>,
    reason: Option<String>,
    history_file: bool,
    #[serde(serialize_with = "json::optional_text")]
    start_lsn: Option<Lsn>,
    #[serde(serialize_with = "json::optional_text")]
    end_lsn: Option<Lsn>,
    #[serde(serialize_with = "json::optional_text")]
    first_segment: Option<SegmentName>,
    #[serde(serialize_with = "json::optional_text")]
    last_segment: Option<SegmentName>,
    segments: u64,
    commits: u64,
    aborts: u64,
    first_commit: Option<String>,
    last_commit: Option<String>,
    ranges: Vec<RangeAnswer>,
}

#[derive(Clone, Debug, Serialize)]
struct RangeAnswer {
    #[serde(serialize_with = "json::text")]
    start_lsn: Lsn,
    #[serde(serialize_with = "json::text")]
    end_lsn: Lsn,
}

#[derive(Clone, Debug, Serialize)]
struct OtherAnswer {
    #[serde(serialize_with = "json::text")]
    system_identifier: SystemId,
    segment_size: u64,
    versions: Vec<&'static str>,
    segments: u64,
    timelines: Vec<TimelineAnswer>,
}

/// The timelines in JSON, times printed by `clock`.
pub fn timeline_answers(reports: &[TimelineReport], clock: &Clock) -> Vec<TimelineAnswer> {
    reports.iter().map(|report| timeline_answer(report, clock)).collect()
}

fn timeline_answer(report: &TimelineReport, clock: &Clock) -> TimelineAnswer {
    let times = report.commit_times();
    TimelineAnswer {
        timeline: report.timeline,
        parent: report.parent,
        switch_lsn: report.switch,
        reason: report.reason.clone(),
        history_file: report.history_file,
        start_lsn: report.start,
        end_lsn: report.end,
        first_segment: report.first_segment,
        last_segment: report.last_segment,
        segments: report.segments,
        commits: report.transactions.commits,
        aborts: report.transactions.aborts,
        first_commit: times.map(|(first, _)| clock.iso(first)),
        last_commit: times.map(|(_, last)| clock.iso(last)),
        ranges: report
            .ranges
            .iter()
            .map(|(start_lsn, end_lsn)| RangeAnswer { start_lsn: *start_lsn, end_lsn: *end_lsn })
            .collect(),
    }
}

/// The JSON answer.
pub fn answer<'a>(audit: &'a Audit, took: Duration, clock: &Clock) -> VerifyAnswer<'a> {
    VerifyAnswer {
        verdict: if audit.is_damaged() { "damaged" } else { "ok" },
        system_identifier: audit.system_id,
        segment_size: audit.segment_size.map(super::super::wal::lsn::SegmentSize::bytes),
        versions: audit.versions.iter().map(|major| major.name()).collect(),
        segments: audit.segments,
        bytes: audit.bytes,
        records: audit.records,
        seconds: took.as_secs_f64(),
        timelines: timeline_answers(&audit.timelines, clock),
        other_clusters: audit
            .others
            .iter()
            .map(|other| OtherAnswer {
                system_identifier: other.system_id,
                segment_size: other.segment_size.bytes(),
                versions: other.versions.iter().map(|major| major.name()).collect(),
                segments: other.segments,
                timelines: timeline_answers(&other.timelines, clock),
            })
            .collect(),
        findings: &audit.findings,
    }
}

/// The report for people: verdict, findings, timelines.
pub fn render(audit: &Audit, location: &str, took: Duration, clock: &Clock, palette: Palette) -> String {
    let mut text = verdict(audit, location, palette);
    let _ = writeln!(text, "{}", summary(audit, took));
    if !audit.findings.is_empty() {
        let _ = writeln!(text);
        text.push_str(&text::findings(&audit.findings, palette));
    }
    let _ = writeln!(text, "\n{}", palette.heading("Timelines"));
    text.push_str(&timelines(&audit.timelines, clock));
    for other in &audit.others {
        let _ =
            writeln!(text, "\n{}", palette.heading(&format!("Timelines of the cluster {}", other.system_id)));
        text.push_str(&timelines(&other.timelines, clock));
    }
    text
}

fn verdict(audit: &Audit, location: &str, palette: Palette) -> String {
    let location = super::printable(location);
    let count = |severity| audit.findings.iter().filter(|f| f.severity == severity).count() as u64;
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let of_accepted = |f: &&Finding| f.acknowledged && f.code.severity() == Severity::Error;
    let accepted = audit.findings.iter().filter(of_accepted).count() as u64;
    let mut line = if !audit.unread.is_empty() {
        let unread = counted(audit.unread.len() as u64, "file");
        let errors = counted(errors, "error");
        format!("{}  {location}: {unread} left unread; {errors} in all", palette.bad("NOT VERIFIED"))
    } else if errors > 0 {
        format!("{}  {location}: {}", palette.bad("DAMAGED"), counted(errors, "error"))
    } else if accepted > 0 {
        let known = format!(
            "{} that somebody accepted",
            if accepted == 1 { "a loss".to_owned() } else { format!("{} losses", text::number(accepted)) }
        );
        format!("{}  {location}: nothing is wrong beyond {}", palette.good("OK"), palette.caution(&known))
    } else if audit.findings.iter().any(|f| f.code == Code::SegmentMissing && f.severity == Severity::Warning)
    {
        format!("{}  {location}: every segment that is there is whole", palette.good("OK"))
    } else if audit.of_part {
        format!("{}  {location}: every segment that was asked for is there and whole", palette.good("OK"))
    } else {
        format!("{}  {location}: every segment is there and whole", palette.good("OK"))
    };
    if warnings > 0 {
        let _ = write!(line, ", {}", palette.caution(&counted(warnings, "warning")));
    }
    line.push('\n');
    line
}

fn summary(audit: &Audit, took: Duration) -> String {
    let counts = &audit.segments;
    let versions: Vec<&str> = audit.versions.iter().map(|major| major.name()).collect();
    let mut parts = vec![
        format!("PostgreSQL {}", versions.join(", ")),
        counted(counts.total, "segment")
            + &audit.segment_size.map(|size| format!(" of {size}")).unwrap_or_default(),
    ];
    for (count, what) in [
        (counts.damaged, "damaged"),
        (counts.missing, "missing"),
        (counts.partial, "partial"),
        (counts.foreign, "of other clusters"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", text::number(count)));
        }
    }
    parts.push(counted(audit.records, "record"));
    parts.push(format!("{} in {:.1} s", text::bytes(audit.bytes), took.as_secs_f64()));
    parts.join(", ")
}

/// The table of timelines.
fn timelines(reports: &[TimelineReport], clock: &Clock) -> String {
    let header = ["TL", "parent", "from", "to", "segments", "commits", "aborts", "last commit", "unbroken"];
    let optional = |lsn: Option<Lsn>| lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
    let row = |report: &TimelineReport| {
        let parent = report.parent.map_or_else(|| "-".to_owned(), |parent| parent.to_string());
        vec![
            report.timeline.to_string(),
            parent,
            optional(report.start),
            optional(report.end),
            text::number(report.segments),
            text::number(report.transactions.commits),
            text::number(report.transactions.aborts),
            report.commit_times().map_or_else(|| "-".to_owned(), |(_, last)| clock.iso(last)),
            match report.ranges.len() {
                0 => "nothing".to_owned(),
                1 => "yes".to_owned(),
                pieces => format!("no: {pieces} pieces"),
            },
        ]
    };
    text::table(&header, reports.iter().map(row).collect())
}
