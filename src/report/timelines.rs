//! The tree of timelines and what can be recovered to, as text and as JSON.

use super::json;
use super::printable;
use super::text::{self, Palette, counted};
use super::verify::{TimelineAnswer, timeline_answers};
use crate::audit::{Audit, TimelineReport};
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::finding::Finding;
use crate::recovery::windows::Window;
use crate::wal::{Lsn, TimelineId};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write as _;

/// A window in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct WindowAnswer {
    backup: String,
    #[serde(serialize_with = "json::text")]
    start_lsn: Lsn,
    /// The timeline on which the backup began.
    #[serde(skip)]
    begun_on: TimelineId,
    /// What people call the backup, with its start where others have the same label.
    #[serde(skip)]
    name: String,
    timeline: TimelineId,
    path: Vec<TimelineId>,
    #[serde(serialize_with = "json::text")]
    consistent_lsn: Lsn,
    #[serde(serialize_with = "json::text")]
    end_lsn: Lsn,
    earliest_time: Option<String>,
    latest_time: Option<String>,
    latest_target_time: Option<String>,
}

impl WindowAnswer {
    /// In a line: from where, on which timeline, between what times.
    pub(super) fn line(&self) -> String {
        let path: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        let mut line = format!(
            "{} on timeline {}: {} to {}",
            self.name,
            path.join("→"),
            self.consistent_lsn,
            self.end_lsn
        );
        if let (Some(earliest), Some(latest)) = (&self.earliest_time, &self.latest_target_time) {
            let _ = write!(line, ", {earliest} to {latest}");
        }
        line
    }

    /// Whether both are windows of one backup on one timeline.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.backup, self.start_lsn, self.begun_on, self.timeline)
            == (&other.backup, other.start_lsn, other.begun_on, other.timeline)
    }
}

/// The answer of `timelines`.
#[derive(Clone, Debug, Serialize)]
pub struct TimelinesAnswer<'a> {
    timelines: Vec<TimelineAnswer>,
    findings: &'a [Finding],
    windows: Vec<WindowAnswer>,
}

/// The answer.
pub fn answer<'a>(
    audit: &'a Audit,
    windows: &[Window],
    backups: &[BaseBackup],
    clock: &Clock,
) -> TimelinesAnswer<'a> {
    TimelinesAnswer {
        timelines: timeline_answers(&audit.timelines, clock),
        findings: &audit.findings,
        windows: window_answers(windows, backups, clock),
    }
}

/// Windows in JSON, times printed by `clock`.
pub fn window_answers(windows: &[Window], backups: &[BaseBackup], clock: &Clock) -> Vec<WindowAnswer> {
    let names = names(backups);
    windows.iter().map(|window| window_answer(window, backups, &names, clock)).collect()
}

/// What people call each backup: its label, with its start where others have the same label (`pg_basebackup` gives all of
/// them one).
pub(super) fn names(backups: &[BaseBackup]) -> Vec<String> {
    let mut labels: HashMap<&str, u32> = HashMap::new();
    let mut starts: HashMap<(&str, Lsn), u32> = HashMap::new();
    for backup in backups {
        *labels.entry(&backup.label).or_default() += 1;
        *starts.entry((&backup.label, backup.start_lsn)).or_default() += 1;
    }
    let name = |backup: &BaseBackup| {
        let (label, start) = (&backup.label, backup.start_lsn);
        match (labels.get(label.as_str()), starts.get(&(label, start))) {
            (Some(0 | 1), _) => label.clone(),
            (_, Some(0 | 1)) => format!("{label} (start {start})"),
            _ => format!("{label} (start {start} on timeline {})", backup.timeline),
        }
    };
    backups.iter().map(name).collect()
}

fn window_answer(window: &Window, backups: &[BaseBackup], names: &[String], clock: &Clock) -> WindowAnswer {
    let backup = backups.get(window.backup);
    WindowAnswer {
        backup: backup.map(|backup| backup.label.clone()).unwrap_or_default(),
        start_lsn: backup.map_or(Lsn::INVALID, |backup| backup.start_lsn),
        begun_on: backup.map_or(window.timeline, |backup| backup.timeline),
        name: names.get(window.backup).cloned().unwrap_or_default(),
        timeline: window.timeline,
        path: window.path.clone(),
        consistent_lsn: window.consistent,
        end_lsn: window.end,
        earliest_time: window.earliest.map(|time| clock.iso(time)),
        latest_time: window.latest.map(|time| clock.iso(time)),
        latest_target_time: window.latest_target.map(|time| clock.iso(time)),
    }
}

/// The archive that was asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where it is.
    pub location: &'a str,
    /// The options that another command about it needs, a blank in front of each.
    pub given: &'a str,
}

/// The tree and the windows for people.
pub fn render(
    audit: &Audit,
    windows: &[Window],
    backups: &[BaseBackup],
    asked: Asked<'_>,
    clock: &Clock,
    palette: Palette,
) -> String {
    let mut text = String::new();
    let count = counted(audit.timelines.len() as u64, "timeline");
    let verdict = if audit.is_damaged() { palette.bad("DAMAGED") } else { palette.good("OK") };
    let _ = writeln!(text, "{verdict}  {}: {count}\n", printable(asked.location));
    let known =
        |timeline: Option<TimelineId>| audit.timelines.iter().any(|report| Some(report.timeline) == timeline);
    for root in audit.timelines.iter().filter(|report| !known(report.parent)) {
        branch(
            &mut text,
            audit,
            root,
            &Rails { prefix: String::new(), last: true, root: true },
            backups,
            clock,
        );
    }
    let _ = writeln!(text, "\n{}", palette.heading("What can be recovered to"));
    if backups.is_empty() {
        let _ = writeln!(text, "  nothing: no base backup is known (name one with --backup)");
    } else if windows.is_empty() {
        let _ = writeln!(text, "  nothing");
    } else {
        text.push_str(&window_table(windows, backups, clock));
    }
    text.push_str(&useless(windows, backups, asked));
    if !audit.findings.is_empty() {
        let _ = writeln!(text);
        text.push_str(&text::findings(&audit.findings, palette));
    }
    text
}

/// What is drawn to the left of a branch.
struct Rails {
    prefix: String,
    last: bool,
    root: bool,
}

/// One timeline and those that left it, in the order in which they did.
fn branch(
    text: &mut String,
    audit: &Audit,
    report: &TimelineReport,
    rails: &Rails,
    backups: &[BaseBackup],
    clock: &Clock,
) {
    let joint = match (rails.root, rails.last) {
        (true, _) => "",
        (false, true) => "└─ ",
        (false, false) => "├─ ",
    };
    let _ = writeln!(text, "  {}{joint}{}", rails.prefix, describe(report, clock));
    let below = match (rails.root, rails.last) {
        (true, _) => String::new(),
        (false, true) => format!("{}   ", rails.prefix),
        (false, false) => format!("{}│  ", rails.prefix),
    };
    let mut children: Vec<&TimelineReport> =
        audit.timelines.iter().filter(|child| child.parent == Some(report.timeline)).collect();
    children.sort_by_key(|child| (child.switch, child.timeline));
    let rail = if children.is_empty() { "   " } else { "│  " };
    for backup in backups.iter().filter(|backup| backup.timeline == report.timeline) {
        let _ =
            writeln!(text, "  {below}{rail}· backup {} at {}", printable(&backup.label), backup.start_lsn);
    }
    for (index, child) in children.iter().enumerate() {
        let last = index + 1 == children.len();
        branch(text, audit, child, &Rails { prefix: below.clone(), last, root: false }, backups, clock);
    }
}

fn describe(report: &TimelineReport, clock: &Clock) -> String {
    let mut line = format!("timeline {}", report.timeline);
    if let (Some(start), Some(end)) = (report.start, report.end) {
        let _ = write!(line, "  {start} – {end}");
    } else {
        line.push_str("  no WAL");
    }
    if let Some(switch) = report.switch {
        let _ =
            write!(line, "  left at {switch}, {}", printable(report.reason.as_deref().unwrap_or_default()));
    }
    let _ = write!(line, "  ({}", counted(report.transactions.commits, "commit"));
    if let Some((first, last)) = report.commit_times() {
        let _ = write!(line, ", {} – {}", clock.iso(first), clock.iso(last));
    }
    line.push(')');
    if report.ranges.len() > 1 {
        let _ = write!(line, "  broken into {} pieces", report.ranges.len());
    }
    line
}

/// Backups from which nothing can be recovered that are shown at most: an old archive has many.
const USELESS_SHOWN: usize = 8;

/// The backups from which nothing can be recovered.
fn useless(windows: &[Window], backups: &[BaseBackup], asked: Asked<'_>) -> String {
    let has_window = |index: usize| windows.iter().any(|window| window.backup == index);
    let useless: Vec<&BaseBackup> = backups
        .iter()
        .enumerate()
        .filter(|(index, _)| !has_window(*index))
        .map(|(_, backup)| backup)
        .collect();
    let mut text = String::new();
    for backup in useless.iter().take(USELESS_SHOWN) {
        let label = printable(&backup.label);
        let why = backup.why_unusable().map_or_else(
            || {
                let (archive, given) = (text::shell_path(&printable(asked.location)), asked.given);
                let label = text::shell_word(&label);
                format!("walproof resolve {archive} --target-latest --backup-label {label}{given} says why")
            },
            |why| printable(&why),
        );
        let _ = writeln!(text, "  not from {label}: {why}");
    }
    if let more @ 1.. = useless.len().saturating_sub(USELESS_SHOWN) {
        let _ = writeln!(text, "  nor from {} more", counted(more as u64, "backup"));
    }
    text
}

fn window_table(windows: &[Window], backups: &[BaseBackup], clock: &Clock) -> String {
    let header = ["backup", "TL", "path", "from", "to", "earliest time", "latest time target"];
    let time = |time: Option<crate::wal::PgTime>| time.map_or_else(|| "-".to_owned(), |time| clock.iso(time));
    let names = names(backups);
    let row = |window: &Window| {
        let path: Vec<String> = window.path.iter().map(ToString::to_string).collect();
        vec![
            names.get(window.backup).map(|name| printable(name)).unwrap_or_default(),
            window.timeline.to_string(),
            path.join("→"),
            window.consistent.to_string(),
            window.end.to_string(),
            time(window.earliest),
            time(window.latest_target),
        ]
    };
    text::table(&header, windows.iter().map(row).collect())
}
