//! What may go and what stays, as text and as JSON.

use super::printable;
use super::text::{self, Palette, counted};
use super::timelines::{self, WindowAnswer, window_answers};
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::finding::Finding;
use crate::recovery::windows::Window;
use crate::retention::execute::Done;
use crate::retention::{Cleanup, Ruled};
use crate::wal::TimelineId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Bound;
use std::path::Path;

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

/// How the times among the options were read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReadAs {
    /// `--keep-since`.
    pub keep_since: Option<String>,
    /// `--now`.
    pub now: Option<String>,
}

/// The answer of `cleanup`.
#[derive(Clone, Debug, Serialize)]
pub struct CleanupAnswer<'a> {
    keep_from: BTreeMap<TimelineId, String>,
    remove: Vec<Removed>,
    keep: Vec<Kept>,
    /// Of what is gone; where nothing was carried out, of what would go.
    bytes_freed: u64,
    windows_before: Vec<WindowAnswer>,
    /// Where carrying out was stopped: with what is gone by then.
    windows_after: Vec<WindowAnswer>,
    refused: Option<String>,
    /// All of the plan was carried out.
    executed: bool,
    /// Names out of `remove` that are gone, in the order in which they went.
    removed: Vec<String>,
    /// Names out of `remove` that are still there.
    remaining: Vec<String>,
    /// Why carrying out was stopped.
    error: Option<String>,
    /// The trash, where files are moved and not deleted.
    trash: Option<String>,
    /// How the times among the options were read.
    read_as: &'a ReadAs,
    /// Gaps that the plan leaves behind backups that keep their own WAL only, as `verify` would name them.
    accepted_gaps: Vec<String>,
    /// Backups whose earliest time moves, each in a line.
    #[serde(skip)]
    moved_starts: Vec<String>,
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
    /// How carrying out went; `None`: it was not asked for, or refused.
    pub done: Option<&'a Done>,
    /// Where files are moved instead of deleted.
    pub trash: Option<&'a Path>,
    /// How the times among the options were read.
    pub read_as: &'a ReadAs,
    /// What is wrong with the archive.
    pub findings: &'a [Finding],
    /// Gaps that the plan makes.
    pub gaps: &'a [Finding],
}

/// The answer.
pub fn answer<'a>(outcome: &Outcome<'a>, backups: &[BaseBackup], clock: &Clock) -> CleanupAnswer<'a> {
    let plan = &outcome.cleanup.remove;
    let removed = |ruled: &Ruled| Removed {
        name: ruled.entry.stored_name(),
        bytes: ruled.entry.stored_size(),
        reason: ruled.reason.clone(),
    };
    let kept = |ruled: &Ruled| Kept { name: ruled.entry.stored_name(), reason: ruled.reason.clone() };
    let gone: &[usize] = outcome.done.map_or(&[], |done| &done.gone);
    let failure = outcome.done.and_then(|done| done.failure.as_ref());
    let size = |index: usize| plan.get(index).map_or(0, |ruled| ruled.entry.stored_size());
    let bytes_freed = match outcome.done {
        Some(_) => gone.iter().map(|index| size(*index)).sum(),
        None => (0..plan.len()).map(size).sum(),
    };
    let is_gone: BTreeSet<usize> = gone.iter().copied().collect();
    let left = plan.iter().enumerate().filter(|(index, _)| !is_gone.contains(index));
    let oldest = outcome.cleanup.keep_from();
    CleanupAnswer {
        keep_from: oldest.into_iter().map(|(timeline, name)| (timeline, name.to_string())).collect(),
        remove: plan.iter().map(removed).collect(),
        keep: outcome.cleanup.keep.iter().map(kept).collect(),
        bytes_freed,
        windows_before: window_answers(outcome.before, backups, clock),
        windows_after: window_answers(outcome.after, backups, clock),
        refused: outcome.refused.map(ToOwned::to_owned),
        executed: outcome.done.is_some() && failure.is_none(),
        removed: gone.iter().filter_map(|index| Some(plan.get(*index)?.entry.stored_name())).collect(),
        remaining: left.map(|(_, ruled)| ruled.entry.stored_name()).collect(),
        error: failure.map(ToString::to_string),
        trash: outcome.trash.map(|trash| trash.display().to_string()),
        read_as: outcome.read_as,
        accepted_gaps: outcome.gaps.iter().filter_map(|gap| gap.expected.clone()).collect(),
        moved_starts: moved_starts(outcome, backups, clock),
        findings: outcome.findings,
    }
}

/// Older WAL may tell more exactly than the backup from when on it can be recovered to.
fn moved_starts(outcome: &Outcome<'_>, backups: &[BaseBackup], clock: &Clock) -> Vec<String> {
    let names = timelines::names(backups);
    let mut moved: BTreeMap<usize, String> = BTreeMap::new();
    for old in outcome.before {
        let is_same = |new: &&Window| (new.backup, new.timeline) == (old.backup, old.timeline);
        let new = outcome.after.iter().find(is_same).and_then(|new| new.earliest);
        let (Some(from), Some(to), Some(name)) = (old.earliest, new, names.get(old.backup)) else {
            continue;
        };
        if from != to {
            let line = format!("{name}: earliest time {}, was {}", clock.iso(to), clock.iso(from));
            moved.entry(old.backup).or_insert(line);
        }
    }
    moved.into_values().collect()
}

/// The plan for people.
pub fn render(answer: &CleanupAnswer<'_>, location: &str, palette: Palette) -> String {
    let mut text = String::new();
    headline(&mut text, answer, &printable(location), palette);
    for (option, read_as) in [("--keep-since", &answer.read_as.keep_since), ("--now", &answer.read_as.now)] {
        if let Some(read_as) = read_as {
            let _ = writeln!(text, "  {option} is read as {}", printable(read_as));
        }
    }
    let from: Vec<String> =
        answer.keep_from.iter().map(|(timeline, name)| format!("timeline {timeline} from {name}")).collect();
    if !from.is_empty() && answer.refused.is_none() {
        let _ = writeln!(text, "  oldest segment that stays: {}", from.join(", "));
    }
    let all = || answer.remove.iter().map(|r| (&r.name, &r.reason));
    let left: BTreeSet<&String> = answer.remaining.iter().collect();
    let names: BTreeSet<&String> =
        answer.remove.iter().map(|r| &r.name).chain(answer.keep.iter().map(|k| &k.name)).collect();
    if answer.error.is_some() {
        section(&mut text, "Gone", all().filter(|(name, _)| !left.contains(name)), &names, palette);
        section(&mut text, "Not gone yet", all().filter(|(name, _)| left.contains(name)), &names, palette);
    } else {
        let title = if answer.executed { "Gone" } else { "Would go" };
        section(&mut text, title, all(), &names, palette);
    }
    // Of a refused cleanup everything stays, for the reason that was told.
    if answer.refused.is_none() {
        section(&mut text, "Stays", answer.keep.iter().map(|k| (&k.name, &k.reason)), &names, palette);
        coverage(&mut text, answer, palette);
    }
    if !answer.findings.is_empty() {
        let _ = writeln!(text);
        text.push_str(&text::findings(answer.findings, palette));
    }
    text
}

/// What was done, or would be, in a line or two.
fn headline(text: &mut String, answer: &CleanupAnswer<'_>, location: &str, palette: Palette) {
    let count = counted(answer.remove.len() as u64, "file");
    let size = text::bytes(answer.bytes_freed);
    let (verdict, done) = match &answer.trash {
        Some(trash) => ("MOVED", format!("moved to {}", printable(trash))),
        None => ("REMOVED", "removed".to_owned()),
    };
    if let Some(reason) = &answer.refused {
        let _ = writeln!(text, "{}  {location}: nothing is removed", palette.bad("REFUSED"));
        let _ = writeln!(text, "  {}", printable(reason));
    } else if let Some(error) = &answer.error {
        let gone = answer.removed.len();
        let left = counted(answer.remaining.len() as u64, "file");
        let stopped = palette.bad("STOPPED");
        let _ = writeln!(text, "{stopped}  {location}: {gone} of {count} {done} ({size}), {left} not");
        let _ = writeln!(text, "  {}; the same command goes on where this one stopped", printable(error));
    } else if answer.executed {
        let _ = writeln!(text, "{}  {location}: {count} {done}, {size}", palette.good(verdict));
    } else if answer.remove.is_empty() {
        let _ = writeln!(text, "{}  {location}: there is nothing to remove", palette.good("OK"));
    } else {
        let go = if answer.trash.is_some() { format!("be {done}") } else { "be removed".to_owned() };
        let dry = palette.caution("DRY RUN");
        let _ = writeln!(
            text,
            "{dry}  {location}: {count}, {size}, would {go}; nothing was done yet (--execute does it)"
        );
    }
}

/// What can be recovered to once that is done, and what cannot any more.
fn coverage(text: &mut String, answer: &CleanupAnswer<'_>, palette: Palette) {
    let when = if answer.executed || answer.error.is_some() { "can" } else { "could then" };
    let _ = writeln!(text, "\n{}", palette.heading(&format!("What {when} be recovered to")));
    for window in &answer.windows_after {
        let _ = writeln!(text, "  {}", printable(&window.line()));
    }
    if answer.windows_after.is_empty() {
        let _ = writeln!(text, "  nothing is known: no base backup that can be recovered from is known");
    }
    let lost =
        answer.windows_before.iter().filter(|old| !answer.windows_after.iter().any(|new| new.is_of(old)));
    for window in lost {
        let _ = writeln!(text, "  no more: {}", palette.faint(&printable(&window.line())));
    }
    for moved in &answer.moved_starts {
        let _ = writeln!(text, "  {} (the WAL that told it more exactly goes)", printable(moved));
    }
    for gap in &answer.accepted_gaps {
        let _ = writeln!(
            text,
            "  {gap} will be missing behind a backup that keeps its own WAL only; verify tells it as accepted"
        );
    }
}

/// Files by name, whatever the order in which they go; those with the same reason are told together, where no other file
/// stands between them.
fn section<'a>(
    text: &mut String,
    title: &str,
    files: impl Iterator<Item = (&'a String, &'a String)>,
    all: &BTreeSet<&String>,
    palette: Palette,
) {
    let are_neighbours = |low: &String, high: &String| {
        all.range::<String, _>((Bound::Excluded(low), Bound::Excluded(high))).next().is_none()
    };
    let mut files: Vec<(&String, &String)> = files.collect();
    files.sort_unstable();
    let mut runs: Vec<(&String, &String, &String, u64)> = Vec::new();
    for (name, reason) in files {
        match runs.last_mut() {
            Some((_, last, of_run, count)) if *of_run == reason && are_neighbours(last, name) => {
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
