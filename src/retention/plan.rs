//! What happens to each file of an archive, and why.

use super::choose::{Chosen, Guarded, Policy};
use crate::archive::Entry;
use crate::backup::BaseBackup;
use crate::recovery::Library;
use crate::timeline::Tree;
use crate::wal::{SegmentName, SegmentNumber, TimelineId, WalFileName};
use std::collections::{BTreeMap, BTreeSet};

/// One stored file and why it stays or goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruled {
    /// The file.
    pub entry: Entry,
    /// In a clause that a person can check.
    pub reason: String,
}

/// A plan. Nothing in it was done yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cleanup {
    /// What goes, in the order of removal: oldest first on each timeline, histories last.
    pub remove: Vec<Ruled>,
    /// What stays, by name.
    pub keep: Vec<Ruled>,
    /// Timelines that are pruned: all of each, or what is behind a segment.
    pub dead: BTreeMap<TimelineId, Option<SegmentNumber>>,
}

impl Cleanup {
    /// The oldest segment that stays, for each timeline that keeps any.
    pub fn keep_from(&self) -> BTreeMap<TimelineId, SegmentName> {
        let mut oldest = BTreeMap::new();
        for ruled in &self.keep {
            if let WalFileName::Segment(name) = ruled.entry.name {
                oldest
                    .entry(name.timeline)
                    .and_modify(|least: &mut SegmentName| *least = (*least).min(name))
                    .or_insert(name);
            }
        }
        oldest
    }

    /// Whether pruning takes segment `number` of `timeline`.
    pub fn prunes(&self, timeline: TimelineId, number: SegmentNumber) -> bool {
        self.dead.get(&timeline).is_some_and(|last| last.is_none_or(|last| number > last))
    }
}

/// Judges every file of the archive.
pub fn plan(library: &Library<'_>, backups: &[BaseBackup], chosen: &Chosen, policy: &Policy) -> Cleanup {
    let dead = if policy.prune_timelines { dead_branches(library, backups, chosen) } else { BTreeMap::new() };
    let mut cleanup = Cleanup { remove: Vec::new(), keep: Vec::new(), dead };
    let judge = Judge { library, backups, chosen, policy, strangers: strangers(library) };
    for entry in &library.plan.inventory.entries {
        let (goes, reason) = judge.file(entry, &cleanup);
        let ruled = Ruled { entry: entry.clone(), reason };
        if goes { cleanup.remove.push(ruled) } else { cleanup.keep.push(ruled) }
    }
    cleanup.remove.sort_by_key(|ruled| {
        let kind = match ruled.entry.name {
            WalFileName::Segment(_) | WalFileName::Partial(_) | WalFileName::Backup(..) => 0,
            WalFileName::History(_) => 1,
        };
        (kind, place(ruled.entry.name), ruled.entry.object.path.clone())
    });
    cleanup
}

/// Timeline, place in the WAL, and the segment itself after what hangs on it: a segment that stays keeps all.
fn place(name: WalFileName) -> (TimelineId, Option<SegmentName>, u8) {
    match name {
        WalFileName::Segment(name) => (name.timeline, Some(name), 2),
        WalFileName::Partial(name) => (name.timeline, Some(name), 0),
        WalFileName::Backup(name, _) => (name.timeline, Some(name), 1),
        WalFileName::History(timeline) => (timeline, None, 3),
    }
}

/// Names of which it is not certain that they are of the library's cluster; `None`: the archive holds no other.
struct Strangers {
    alone: bool,
    own: BTreeSet<SegmentName>,
}

fn strangers(library: &Library<'_>) -> Strangers {
    let is_own = |id: Option<crate::wal::SystemId>| id == Some(library.system_id);
    let identity = |facts: &crate::scan::SegmentFacts| facts.identity.map(|identity| identity.system_id);
    let others = library.facts_in_order().any(|f| identity(f).is_some_and(|id| !is_own(Some(id))));
    let mut groups: BTreeMap<WalFileName, BTreeSet<u16>> = BTreeMap::new();
    for entry in &library.plan.inventory.entries {
        groups.entry(entry.name).or_default().insert(entry.group);
    }
    let single = |name: SegmentName| groups.get(&WalFileName::Segment(name)).is_some_and(|g| g.len() == 1);
    let own = library.facts_in_order().filter(|facts| is_own(identity(facts)) && single(facts.name));
    Strangers {
        alone: !others && library.plan.inventory.groups.len() <= 1,
        own: own.map(|facts| facts.name).collect(),
    }
}

struct Judge<'a> {
    library: &'a Library<'a>,
    backups: &'a [BaseBackup],
    chosen: &'a Chosen,
    policy: &'a Policy,
    strangers: Strangers,
}

impl Judge<'_> {
    /// Whether the file goes, and why.
    fn file(&self, entry: &Entry, cleanup: &Cleanup) -> (bool, String) {
        match entry.name {
            WalFileName::Segment(name) => self.segment(name, cleanup),
            WalFileName::Partial(name) => self.segment(name, cleanup),
            WalFileName::History(timeline) => self.history(timeline, cleanup),
            WalFileName::Backup(name, offset) => self.backup_history(name, offset),
        }
    }

    fn segment(&self, name: SegmentName, cleanup: &Cleanup) -> (bool, String) {
        if !self.strangers.alone && !self.strangers.own.contains(&name) {
            return (
                false,
                "the archive holds several clusters, and this is not surely of the newest".to_owned(),
            );
        }
        let Some(number) = name.number(self.library.segment_size) else {
            return (false, format!("no segment of {} has this name", self.library.segment_size));
        };
        if cleanup.prunes(name.timeline, number) {
            return (true, format!("no kept backup can reach this part of timeline {}", name.timeline));
        }
        if let Some(guarded) = self.guard(number) {
            return (false, self.needed_by(guarded));
        }
        let boundary = self.library.name(name.timeline, self.chosen.boundary);
        let why = &self.chosen.why;
        if number >= self.chosen.boundary {
            return (false, format!("not before {boundary}: {why}"));
        }
        (true, format!("before {boundary} ({why}), not needed by any kept backup"))
    }

    fn guard(&self, number: SegmentNumber) -> Option<&Guarded> {
        self.chosen.guarded.iter().find(|guarded| guarded.first <= number && number <= guarded.last)
    }

    fn needed_by(&self, guarded: &Guarded) -> String {
        let Some(backup) = self.backups.get(guarded.backup) else { return String::new() };
        let stop = backup.stop_lsn.map_or_else(|| "stop unknown".to_owned(), |stop| format!("stop {stop}"));
        let kept = if backup.permanent { "permanent backup" } else { "backup" };
        format!("needed by {kept} {}: start {}, {stop}", backup.label, backup.start_lsn)
    }

    fn history(&self, timeline: TimelineId, cleanup: &Cleanup) -> (bool, String) {
        let pruned = cleanup.dead.get(&timeline).is_some_and(Option::is_none);
        if pruned && self.strangers.alone {
            return (true, format!("no kept backup can reach timeline {timeline}"));
        }
        (
            false,
            format!(
                "history of timeline {timeline}: recovery needs it, and it keeps the number from being used again"
            ),
        )
    }

    fn backup_history(&self, name: SegmentName, offset: u32) -> (bool, String) {
        let size = self.library.segment_size;
        let Some(number) = name.number(size) else {
            return (false, format!("no segment of {size} has this name"));
        };
        let start = number.start(size).plus(u64::from(offset));
        let is_its = |guarded: &&Guarded| {
            self.backups
                .get(guarded.backup)
                .is_some_and(|b| b.start_lsn == start && b.timeline == name.timeline)
        };
        if let Some(guarded) = self.chosen.guarded.iter().find(is_its) {
            return (false, self.needed_by(guarded));
        }
        if !self.policy.clean_history {
            return (false, "a backup history file: they go with --clean-history only".to_owned());
        }
        if number >= self.chosen.boundary || !self.strangers.alone || self.guard(number).is_some() {
            return (false, format!("not before {}", self.library.name(name.timeline, self.chosen.boundary)));
        }
        (true, "the history of a backup that is not kept".to_owned())
    }
}

/// What no kept backup can reach: whole timelines (`None`), or what an ancestor has behind the segment in which
/// the last of the timelines that are kept left it.
fn dead_branches(
    library: &Library<'_>,
    backups: &[BaseBackup],
    chosen: &Chosen,
) -> BTreeMap<TimelineId, Option<SegmentNumber>> {
    let tree = Tree::new(
        library.plan.histories.values().cloned(),
        library.all().map(|(timeline, _, _)| timeline).chain(library.plan.history_files.iter().copied()),
    );
    let reaches = |timeline: TimelineId| {
        let history = tree.history_as_known(timeline);
        chosen
            .guarded
            .iter()
            .filter_map(|guarded| backups.get(guarded.backup))
            .any(|backup| history.owner(backup.start_lsn) == backup.timeline)
    };
    // Where a timeline came from without a history file, nobody can say what reaches it. The newest may be the
    // one to which a server is archiving.
    let newest = tree.timelines().max();
    let unknown = tree.without_file();
    let stays =
        |timeline: TimelineId| Some(timeline) == newest || unknown.contains(&timeline) || reaches(timeline);
    let alive: Vec<TimelineId> = tree.timelines().filter(|timeline| stays(*timeline)).collect();
    let mut dead = BTreeMap::new();
    for timeline in tree.timelines().filter(|timeline| !alive.contains(timeline)) {
        let left = alive.iter().filter_map(|child| {
            let history = tree.history_as_known(*child);
            let entry = history.entries.iter().find(|entry| entry.parent == timeline)?;
            Some(entry.switch.segment(library.segment_size))
        });
        dead.insert(timeline, left.max());
    }
    dead
}
