//! What there is to read, and what the histories say of it.

use super::{AuditError, Options};
use crate::archive::{Archive, Entry, Inventory, ReadError, Stray};
use crate::backup::{BaseBackup, SourceKind};
use crate::finding::{Code, Finding};
use crate::timeline::{History, HistoryError};
use crate::wal::{Lsn, Owners, SegmentName, SegmentNumber, SegmentSize, TimelineId, WalFileName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Bytes that a history file has at most: a timeline with ten thousand ancestors is within it.
const HISTORY_BYTES_MAX: usize = 1 << 20;

/// An archive's listing and histories.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The listing.
    pub inventory: Inventory,
    /// Segments and partial segments to be read, in the order of names.
    pub entries: Vec<Entry>,
    /// Histories, by timeline, of those that say where it came from.
    pub histories: BTreeMap<TimelineId, History>,
    /// Timelines that have a history file, readable or not.
    pub history_files: BTreeSet<TimelineId>,
    /// What is wrong with a history file that no server goes by: the server's words, where it has it to read.
    pub history_errors: BTreeMap<TimelineId, String>,
    /// The base backups, as far as whoever judges wants to tell what retention left out from what is lost.
    pub backups: Vec<BaseBackup>,
    /// What is wrong with them, and with the listing.
    pub findings: Vec<Finding>,
}

/// WAL that a backup history file tells of: the server archives it behind the segments that the backup needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldByBackup {
    /// The file's name in the archive.
    pub file: String,
    /// The timeline.
    pub timeline: TimelineId,
    /// The last segment that was archived before it.
    pub last: SegmentNumber,
    /// Where the backup ended, in that segment; `None`: the file was not understood, and its name tells the segment in
    /// which the backup began.
    pub up_to: Option<Lsn>,
}

/// Lists the archive and reads the history files.
pub fn plan(archive: &Archive, options: &Options) -> Result<Plan, AuditError> {
    plan_of(archive, archive.inventory()?, options)
}

/// Reads the history files of an archive that is listed already.
pub fn plan_of(archive: &Archive, inventory: Inventory, options: &Options) -> Result<Plan, AuditError> {
    let mut plan = Plan {
        entries: Vec::new(),
        histories: BTreeMap::new(),
        history_files: BTreeSet::new(),
        history_errors: BTreeMap::new(),
        backups: Vec::new(),
        findings: Vec::new(),
        inventory,
    };
    plan.read_histories(archive)?;
    plan.entries = plan.inventory.entries.iter().filter(|entry| is_wanted(entry, options)).cloned().collect();
    if plan.entries.is_empty() {
        let location = archive.location().to_owned();
        let whole = Options { timeline: None, from: None, to: None, ..options.clone() };
        let has_wal = plan.inventory.entries.iter().any(|entry| is_wanted(entry, &whole));
        return Err(if has_wal { AuditError::NoneWanted(location) } else { AuditError::NoWal(location) });
    }
    Ok(plan)
}

/// What is wrong where two stored copies of a history differ: which one a server gets nobody knows.
fn differing_copy(entry: &Entry, timeline: TimelineId) -> (String, Finding) {
    let error = format!("two stored copies of {} differ", entry.name);
    let finding = Finding::new(Code::DuplicateDiffers, format!("{error}: {} is the other", entry.object.path.display()))
        .in_segment(entry.name)
        .on(timeline)
        .costing(format!(
            "where a recovery to timeline {timeline} leaves its parents depends on which copy restore_command delivers"
        ));
    (error, finding)
}

impl Plan {
    fn read_histories(&mut self, archive: &Archive) -> Result<(), AuditError> {
        let mut first_copies: BTreeMap<TimelineId, Vec<u8>> = BTreeMap::new();
        for entry in &self.inventory.entries {
            let WalFileName::History(timeline) = entry.name else { continue };
            // No server reads one of timeline 1: `readTimeLineHistory` in timeline.c.
            if timeline == TimelineId(1) {
                continue;
            }
            self.history_files.insert(timeline);
            let read = archive.read_small(entry, HISTORY_BYTES_MAX + 1);
            match (first_copies.get(&timeline), &read) {
                (Some(first), Ok(bytes)) if first == bytes => continue,
                (Some(_), Ok(_)) => {
                    let (error, finding) = differing_copy(entry, timeline);
                    self.history_errors.insert(timeline, error);
                    self.findings.push(finding);
                    continue;
                }
                (None, Ok(bytes)) => {
                    first_copies.insert(timeline, bytes.clone());
                }
                (_, Err(_)) => {}
            }
            let (error, detail) = match read {
                // What stands behind that could give the timeline another parent.
                Ok(bytes) if bytes.len() > HISTORY_BYTES_MAX => (
                    format!("{} is too long to be a history", entry.name),
                    format!("it has more than {HISTORY_BYTES_MAX} bytes and was not read to its end"),
                ),
                Ok(bytes) => match History::parse(timeline, &bytes) {
                    Ok(history) if history.parent().is_none() => {
                        self.findings.push(without_parent(entry.name, timeline, bytes.is_empty()));
                        continue;
                    }
                    Ok(history) => {
                        self.histories.insert(timeline, history);
                        continue;
                    }
                    Err(error) => (error.to_string(), describe(&error)),
                },
                Err(ReadError::Unobtainable(error)) => return Err(error.into()),
                Err(other) => (format!("{} cannot be read: {other}", entry.name), other.to_string()),
            };
            self.history_errors.insert(timeline, error);
            self.findings.push(
                Finding::new(Code::TimelineHistoryInvalid, format!("{}: {detail}", entry.name))
                    .in_segment(entry.name)
                    .on(timeline),
            );
        }
        for (timeline, what) in self.inventory.strays.iter().filter_map(history_stand_in) {
            self.history_files.insert(timeline);
            let file = WalFileName::History(timeline);
            let error = format!("{file} is {what}; it was not read");
            self.history_errors.insert(timeline, error.clone());
            self.findings.push(
                Finding::new(Code::TimelineHistoryInvalid, error)
                    .in_segment(file)
                    .on(timeline)
                    .expecting("a regular file", what),
            );
        }
        Ok(())
    }

    /// What the backup history files tell, by their names and by what was read of them into [`Plan::backups`].
    pub fn told_by_backups(&self, size: SegmentSize) -> impl Iterator<Item = ToldByBackup> + '_ {
        let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let begun = self.inventory.entries.iter().filter_map(move |entry| {
            let WalFileName::Backup(first, _) = entry.name else { return None };
            let last = first.number(size)?;
            Some(ToldByBackup { file: file(&entry.object.path), timeline: first.timeline, last, up_to: None })
        });
        // Names mean nothing across the parts of an archive.
        let group = self.inventory.entries.first().map(|entry| usize::from(entry.group));
        let group = group.and_then(|group| self.inventory.groups.get(group)).filter(|name| !name.is_empty());
        let own = self.backups.iter().filter(move |backup| backup.group.as_ref() == group);
        let ended = own.filter_map(move |backup| {
            let source = backup.sources.iter().find(|source| source.kind == SourceKind::HistoryFile)?;
            let (timeline, up_to) = (backup.stop_timeline.unwrap_or(backup.timeline), backup.stop_lsn?);
            let last = up_to.segment_of_end(size);
            Some(ToldByBackup { file: file(&source.path), timeline, last, up_to: Some(up_to) })
        });
        begun.chain(ended)
    }

    /// Who owns what in the files of `timeline`.
    pub fn owners(&self, timeline: TimelineId) -> Owners {
        match self.histories.get(&timeline) {
            Some(history) => owners(history),
            None if timeline == TimelineId(1) => Owners::root(timeline),
            None => Owners::unknown(timeline),
        }
    }

    /// The history of `timeline`, if what it says is known: timeline 1 needs no file.
    pub fn history(&self, timeline: TimelineId) -> Option<History> {
        match self.histories.get(&timeline) {
            Some(history) => Some(history.clone()),
            None if timeline == TimelineId(1) => Some(History::without_parents(timeline)),
            None => None,
        }
    }

    /// Positions at which a timeline leaves `timeline` or `timeline` leaves its parent.
    pub fn forks(&self, timeline: TimelineId) -> BTreeSet<Lsn> {
        self.histories
            .values()
            .filter_map(|history| history.parent().map(|parent| (history.timeline, parent)))
            .filter(|(child, parent)| *child == timeline || parent.parent == timeline)
            .map(|(_, parent)| parent.switch)
            .collect()
    }
}

/// The stretches that a history gives to each timeline on it.
fn owners(history: &History) -> Owners {
    let mut begins: Vec<Lsn> = history.ancestry().iter().map(|ancestor| ancestor.begin).collect();
    begins.sort_unstable();
    begins.dedup();
    let mut stretches: Vec<(Lsn, TimelineId)> = Vec::new();
    for begin in begins {
        let owner = history.owner(begin);
        if stretches.last().is_none_or(|(_, last)| *last != owner) {
            stretches.push((begin, owner));
        }
    }
    Owners::new(stretches).unwrap_or_else(|| Owners::unknown(history.timeline))
}

/// Something with the name of a history file that is no regular file.
fn history_stand_in(stray: &Stray) -> Option<(TimelineId, &'static str)> {
    match super::files::stand_in(stray)? {
        (WalFileName::History(timeline), what) => Some((timeline, what)),
        _ => None,
    }
}

/// A server takes such a file for what it says: the timeline has no parent. Only a backup of the timeline itself is on
/// the way to it then, and nobody can tell which of its first file's bytes are its parent's.
fn without_parent(file: WalFileName, timeline: TimelineId, is_empty: bool) -> Finding {
    let found = if is_empty { "an empty file" } else { "no line of that kind" };
    let message = format!("{file} does not say which timeline {timeline} left: {found}");
    Finding::new(Code::TimelineHistoryInvalid, message)
        .in_segment(file)
        .on(timeline)
        .expecting("a line for the parent", found)
        .costing(format!("a server can recover to timeline {timeline} from backups of it only"))
}

fn describe(error: &HistoryError) -> String {
    match error.line() {
        Some(line) => format!("{error} (line {line})"),
        None => error.to_string(),
    }
}

fn is_wanted(entry: &Entry, options: &Options) -> bool {
    let name = match entry.name {
        WalFileName::Segment(name) | WalFileName::Partial(name) => name,
        WalFileName::Backup(..) | WalFileName::History(_) => return false,
    };
    // A boundary is a place in the WAL, whatever the timeline.
    let place = |name: SegmentName| (name.log, name.segment);
    let segment_of = |name: WalFileName| match name {
        WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::Backup(name, _) => Some(name),
        WalFileName::History(_) => None,
    };
    let bound = |name: Option<WalFileName>| name.and_then(segment_of).map(place);
    options.timeline.is_none_or(|timeline| timeline == name.timeline)
        && bound(options.from).is_none_or(|from| place(name) >= from)
        && bound(options.to).is_none_or(|to| place(name) <= to)
}
