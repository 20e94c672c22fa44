//! What may go and what stays, as text and as JSON.

use super::printable;
use super::text::{self, Palette, counted};
use super::timelines::{WindowAnswer, window_answers};
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::finding::Finding;
use crate::recovery::windows::Window;
use crate::retention::{Cleanup, Ruled};
use crate::wal::TimelineId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Clone, Debug, Serialize)]
struct Removed {
    name: String,
    bytes: u64,
    reason: String,
}

#[derive(Clone, Debug, Serialize)]
struct Kept {
    name: String,
    reason: String,
}

/// The answer of `cleanup`.
#[derive(Clone, Debug, Serialize)]
pub struct CleanupAnswer<'a> {
    keep_from: BTreeMap<TimelineId, String>,
    remove: Vec<Removed>,
    keep: Vec<Kept>,
    bytes_freed: u64,
    windows_before: Vec<WindowAnswer>,
    windows_after: Vec<WindowAnswer>,
    refused: Option<String>,
    executed: bool,
    findings: &'a [Finding],
}

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// What goes and what stays.
    pub cleanup: &'a Cleanup,
    /// What can be recovered to now.
    pub before: &'a [Window],
    /// What can be recovered to then.
    pub after: &'a [Window],
    /// Why nothing may be removed.
    pub refused: Option<&'a str>,
    /// It was done.
    pub executed: bool,
    /// What is wrong with the archive.
    pub findings: &'a [Finding],
}

/// The answer.
pub fn answer<'a>(outcome: &Outcome<'a>, backups: &[BaseBackup], clock: &Clock) -> CleanupAnswer<'a> {
    let removed = |ruled: &Ruled| Removed {
        name: ruled.entry.stored_name(),
        bytes: ruled.entry.stored_size(),
        reason: ruled.reason.clone(),
    };
    let kept = |ruled: &Ruled| Kept { name: ruled.entry.stored_name(), reason: ruled.reason.clone() };
    let oldest = outcome.cleanup.keep_from();
    CleanupAnswer {
        keep_from: oldest.into_iter().map(|(timeline, name)| (timeline, name.to_string())).collect(),
        remove: outcome.cleanup.remove.iter().map(removed).collect(),
        keep: outcome.cleanup.keep.iter().map(kept).collect(),
        bytes_freed: outcome.cleanup.remove.iter().map(|ruled| ruled.entry.stored_size()).sum(),
        windows_before: window_answers(outcome.before, backups, clock),
        windows_after: window_answers(outcome.after, backups, clock),
        refused: outcome.refused.map(ToOwned::to_owned),
        executed: outcome.executed,
        findings: outcome.findings,
    }
}

/// The plan for people.
pub fn render(answer: &CleanupAnswer<'_>, location: &str, palette: Palette) -> String {
    let mut text = String::new();
    let location = printable(location);
    let count = counted(answer.remove.len() as u64, "file");
    let size = text::bytes(answer.bytes_freed);
    if let Some(reason) = &answer.refused {
        let _ = writeln!(text, "{}  {location}: nothing is removed", palette.bad("REFUSED"));
        let _ = writeln!(text, "  {}", printable(reason));
    } else if answer.executed {
        let _ = writeln!(text, "{}  {location}: {count}, {size}", palette.good("REMOVED"));
    } else {
        let verdict = palette.caution("DRY RUN");
        let _ = writeln!(
            text,
            "{verdict}  {location}: {count}, {size} would go; nothing was removed (--execute removes)"
        );
    }
    let from: Vec<String> =
        answer.keep_from.iter().map(|(timeline, name)| format!("timeline {timeline} from {name}")).collect();
    let _ = writeln!(text, "  stays: {}", from.join(", "));
    section(&mut text, "Goes", answer.remove.iter().map(|r| (&r.name, &r.reason)), palette);
    section(&mut text, "Stays", answer.keep.iter().map(|k| (&k.name, &k.reason)), palette);
    if !answer.findings.is_empty() {
        let _ = writeln!(text);
        text.push_str(&text::findings(answer.findings, palette));
    }
    text
}

/// Files with the same reason are told together.
fn section<'a>(
    text: &mut String,
    title: &str,
    files: impl Iterator<Item = (&'a String, &'a String)>,
    palette: Palette,
) {
    let mut runs: Vec<(&String, &String, &String, u64)> = Vec::new();
    for (name, reason) in files {
        match runs.last_mut() {
            Some((_, last, of_run, count)) if *of_run == reason => {
                *last = name;
                *count += 1;
            }
            _ => runs.push((name, name, reason, 1)),
        }
    }
    if runs.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", palette.heading(title));
    for (first, last, reason, count) in runs {
        let names = if count == 1 {
            printable(first)
        } else {
            format!("{} … {} ({count})", printable(first), printable(last))
        };
        let _ = writeln!(text, "  {names}  {}", palette.faint(&printable(reason)));
    }
}
