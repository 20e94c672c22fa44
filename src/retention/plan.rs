//! What happens to each file of an archive, and why.

use super::choose::{Chosen, Guarded, Policy};
use crate::archive::Entry;
use crate::backup::BaseBackup;
use crate::recovery::Library;
use crate::timeline::Tree;
use crate::wal::{SegmentName, SegmentNumber, TimelineId, WalFileName};
use std::cmp::Reverse;
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cleanup {
    /// What goes, in the order of removal, so that an end at any point leaves no gap: dead branches from their newest
    /// file back, then what is too old from the oldest file on. Timeline histories never do.
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

    /// The plan that removes only those of its files, given by their indexes.
    #[must_use]
    pub fn only(&self, gone: &[usize]) -> Self {
        let remove = gone.iter().filter_map(|index| self.remove.get(*index).cloned()).collect();
        Self { remove, ..self.clone() }
    }

    /// Segments that go one after the other on a timeline, first and last of each run, where something in front of
    /// them stays.
    pub fn runs(&self, library: &Library<'_>) -> Vec<(SegmentName, SegmentName)> {
        let number = |name: SegmentName| name.number(library.segment_size);
        let stays = self.keep.iter().filter_map(|ruled| match ruled.entry.name {
            WalFileName::Segment(name) => number(name),
            _ => None,
        });
        let Some(oldest) = stays.min() else { return Vec::new() };
        let mut runs: Vec<(SegmentName, SegmentName)> = Vec::new();
        for ruled in &self.remove {
            let WalFileName::Segment(name) = ruled.entry.name else { continue };
            let Some(here) = number(name).filter(|here| *here > oldest) else { continue };
            if self.prunes(name.timeline, here) {
                continue;
            }
            match runs.last_mut() {
                Some((_, last))
                    if last.timeline == name.timeline
                        && number(*last).map(SegmentNumber::next) == Some(here) =>
                {
                    *last = name;
                }
                _ => runs.push((name, name)),
            }
        }
        runs
    }

    fn turn(&self, name: WalFileName, library: &Library<'_>) -> Turn {
        let (segment, kind) = match name {
            WalFileName::History(timeline) => return Turn::History(Reverse(timeline)),
            WalFileName::Partial(segment) => (segment, 0),
            WalFileName::Backup(segment, _) => (segment, 1),
            WalFileName::Segment(segment) => (segment, 2),
        };
        let is_dead =
            segment.number(library.segment_size).is_some_and(|number| self.prunes(segment.timeline, number));
        match name {
            WalFileName::Backup(..) if is_dead => Turn::Witness(segment),
            _ if is_dead => Turn::Dead(Reverse(segment), kind),
            _ => Turn::Old(segment, kind),
        }
    }

    /// Whether pruning takes segment `number` of `timeline`.
    pub fn prunes(&self, timeline: TimelineId, number: SegmentNumber) -> bool {
        self.dead.get(&timeline).is_some_and(|last| last.is_none_or(|last| number > last))
    }
}

/// Judges every file of the archive.
pub fn plan(library: &Library<'_>, backups: &[BaseBackup], chosen: &Chosen, policy: &Policy) -> Cleanup {
    let dead = if policy.prune_timelines {
        dead_branches(library, backups, chosen, policy)
    } else {
        BTreeMap::new()
    };
    let mut cleanup = Cleanup { remove: Vec::new(), keep: Vec::new(), dead };
    let judge = Judge { library, backups, chosen, policy, strangers: strangers(library) };
    for entry in &library.plan.inventory.entries {
        let (goes, reason) = judge.file(entry, &cleanup);
        let ruled = Ruled { entry: entry.clone(), reason };
        if goes { cleanup.remove.push(ruled) } else { cleanup.keep.push(ruled) }
    }
    let mut removals = std::mem::take(&mut cleanup.remove);
    removals.sort_by_cached_key(|ruled| {
        (cleanup.turn(ruled.entry.name, library), ruled.entry.object.path.clone())
    });
    cleanup.remove = removals;
    cleanup
}

/// When a file goes. A segment goes after what hangs on it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Turn {
    /// What tells of WAL of a dead branch: without the WAL it would tell of a loss.
    Witness(SegmentName),
    /// A branch dies from its end back, and children before their parents: what is left always leads somewhere.
    Dead(Reverse<SegmentName>, u8),
    /// From the oldest on.
    Old(SegmentName, u8),
    /// Behind the WAL that needs them, should one ever go.
    History(Reverse<TimelineId>),
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
            WalFileName::History(timeline) => (false, Self::history(timeline, cleanup)),
            WalFileName::Backup(name, offset) => self.backup_history(name, offset, cleanup),
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
        if let Some(guarded) = self.guard_on(name.timeline, number) {
            return (false, self.needed_by(guarded));
        }
        let boundary = self.library.name(name.timeline, self.chosen.boundary);
        let why = &self.chosen.why;
        if number >= self.chosen.boundary {
            return (false, format!("not before {boundary}: {why}"));
        }
        if let Some(guarded) = self.guard(number) {
            return (false, format!("of the same place as a segment that is {}", self.needed_by(guarded)));
        }
        (true, format!("before {boundary} ({why}), not needed by any kept backup"))
    }

    fn guard(&self, number: SegmentNumber) -> Option<&Guarded> {
        self.chosen.guarded.iter().find(|guarded| guarded.first <= number && number <= guarded.last)
    }

    /// A backup that may ask for this segment by name.
    fn guard_on(&self, timeline: TimelineId, number: SegmentNumber) -> Option<&Guarded> {
        let is_asked_for = |guarded: &&Guarded| {
            let Some(backup) = self.backups.get(guarded.backup) else { return false };
            let ranges = backup.wal_ranges.iter().map(|range| range.timeline);
            let mut timelines = ranges.chain(backup.stop_timeline).chain([backup.timeline]);
            guarded.first <= number && number <= guarded.last && timelines.any(|own| own == timeline)
        };
        self.chosen.guarded.iter().find(is_asked_for)
    }

    fn needed_by(&self, guarded: &Guarded) -> String {
        let Some(backup) = self.backups.get(guarded.backup) else { return String::new() };
        let stop = backup.stop_lsn.map_or_else(|| "stop unknown".to_owned(), |stop| format!("stop {stop}"));
        let kept = if backup.permanent { "permanent backup" } else { "backup" };
        format!("needed by {kept} {}: start {}, {stop}", backup.label, backup.start_lsn)
    }

    /// Why a history stays. It does even where its timeline is pruned: a server that looks for the newest timeline asks for
    /// one history after the other and stops at the first that is missing (`findNewestTimeLine`), and the newest
    /// timeline always stays.
    fn history(timeline: TimelineId, cleanup: &Cleanup) -> String {
        if cleanup.dead.get(&timeline).is_some_and(Option::is_none) {
            return format!(
                "no kept backup can reach timeline {timeline}, but recovery finds the newest timeline by asking for one \
                 history after the other, and would stop at this one"
            );
        }
        format!(
            "history of timeline {timeline}: recovery needs it, and it keeps the number from being used again"
        )
    }

    fn backup_history(&self, name: SegmentName, offset: u32, cleanup: &Cleanup) -> (bool, String) {
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
        if !self.strangers.alone {
            return (
                false,
                "the archive holds several clusters, and this is not surely of the newest".to_owned(),
            );
        }
        if cleanup.prunes(name.timeline, number) {
            return (
                true,
                format!(
                    "the history of a backup on timeline {}, which no kept backup can reach",
                    name.timeline
                ),
            );
        }
        let boundary = self.library.name(name.timeline, self.chosen.boundary);
        if number >= self.chosen.boundary {
            return (false, format!("not before {boundary}: {}", self.chosen.why));
        }
        if let Some(guarded) = self.guard(number) {
            return (false, format!("it hangs on a segment that is {}", self.needed_by(guarded)));
        }
        (true, format!("before {boundary} ({}), and its backup is not kept", self.chosen.why))
    }
}

/// What no kept backup can reach: whole timelines (`None`), or what an ancestor has behind the segment in which
/// the last of the timelines that are kept left it.
fn dead_branches(
    library: &Library<'_>,
    backups: &[BaseBackup],
    chosen: &Chosen,
    policy: &Policy,
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
    let named = match policy.oldest_kept {
        Some(WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::Backup(name, _)) => {
            Some(name.timeline)
        }
        _ => None,
    };
    let stays = |timeline: TimelineId| {
        [newest, named].contains(&Some(timeline)) || unknown.contains(&timeline) || reaches(timeline)
    };
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
