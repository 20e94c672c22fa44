//! The tree that a set of history files makes.
//!
//! A server that misses a history file takes the timeline for one without parents; people who lost the file still
//! have its lines, because every descendant's file begins with a copy of them. Both views are here, and which
//! one an answer rests on is told.
//!
//! PostgreSQL: `src/backend/access/transam/timeline.c` (`writeTimeLineHistory`: the parent's file is copied
//! verbatim), 9.5 to 19.

use super::history::{History, HistoryEntry};
use crate::wal::TimelineId;
use std::collections::{BTreeMap, BTreeSet};

/// A timeline's origin, and how it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The parent, the switch point and the reason.
    pub entry: HistoryEntry,
    /// Whose history file says so: the timeline's own, or a descendant's where the own is missing.
    pub told_by: TimelineId,
}

/// All history files of one cluster, put together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    histories: BTreeMap<TimelineId, History>,
    seen: BTreeSet<TimelineId>,
}

impl Tree {
    /// The tree of `histories`; of two for one timeline the last counts. `seen`: timelines known from segment
    /// names, whether or not they have a history file.
    pub fn new(
        histories: impl IntoIterator<Item = History>,
        seen: impl IntoIterator<Item = TimelineId>,
    ) -> Self {
        let histories: BTreeMap<_, _> = histories.into_iter().map(|h| (h.timeline, h)).collect();
        let named = histories.values().flat_map(History::path);
        let seen = named.chain(seen).collect();
        Self { histories, seen }
    }

    /// Every timeline that was seen or is named as an ancestor, in ascending order.
    pub fn timelines(&self) -> impl Iterator<Item = TimelineId> + '_ {
        self.seen.iter().copied()
    }

    /// The history file of `timeline`, if there is one.
    pub fn history(&self, timeline: TimelineId) -> Option<&History> {
        self.histories.get(&timeline)
    }

    /// The history of `timeline`, told by its own file or else by the part of a descendant's that copies it;
    /// without parents where nobody knows any.
    pub fn history_as_known(&self, timeline: TimelineId) -> History {
        if let Some(own) = self.history(timeline) {
            return own.clone();
        }
        let copied = self.descendant_of(timeline).map(|(history, line)| History {
            timeline,
            entries: history.entries.iter().take(line).cloned().collect(),
        });
        copied.unwrap_or_else(|| History::without_parents(timeline))
    }

    /// Where `timeline` comes from. `None`: it has no parent as far as the files tell.
    pub fn parent(&self, timeline: TimelineId) -> Option<Parent> {
        if let Some(own) = self.history(timeline) {
            return own.parent().map(|entry| Parent { entry: entry.clone(), told_by: timeline });
        }
        let (history, line) = self.descendant_of(timeline)?;
        let entry = history.entries.get(line.checked_sub(1)?)?.clone();
        Some(Parent { entry, told_by: history.timeline })
    }

    /// The timelines whose parent is `timeline`, in ascending order.
    pub fn children(&self, timeline: TimelineId) -> Vec<TimelineId> {
        self.timelines()
            .filter(|child| self.parent(*child).is_some_and(|parent| parent.entry.parent == timeline))
            .collect()
    }

    /// Timelines other than 1 that were seen or named and have no history file.
    pub fn without_file(&self) -> Vec<TimelineId> {
        self.timelines().filter(|id| *id != TimelineId(1) && !self.histories.contains_key(id)).collect()
    }

    /// Whether the lines that `timeline`'s file copied from its parent's are still those of the parent's file;
    /// `None` where one of the files is missing.
    pub fn agrees_with_parent(&self, timeline: TimelineId) -> Option<bool> {
        let own = self.history(timeline)?;
        let (parent, copied) = own.entries.split_last()?;
        if parent.parent == TimelineId(1) && self.history(parent.parent).is_none() {
            return Some(copied.is_empty());
        }
        let lines = &self.history(parent.parent)?.entries;
        let places = |entries: &[HistoryEntry]| -> Vec<_> {
            entries.iter().map(|entry| (entry.parent, entry.switch)).collect()
        };
        Some(places(lines) == places(copied))
    }

    /// The lowest timeline whose file names `timeline` as an ancestor, and the number of the line (from 0).
    fn descendant_of(&self, timeline: TimelineId) -> Option<(&History, usize)> {
        self.histories.values().find_map(|history| {
            let line = history.entries.iter().position(|entry| entry.parent == timeline)?;
            Some((history, line))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(timeline: u32, lines: &str) -> History {
        History::parse(TimelineId(timeline), lines.as_bytes())
            .unwrap_or_else(|_| History::without_parents(TimelineId(0)))
    }

    #[test]
    fn a_lost_file_is_told_by_a_descendant_and_stays_lost() {
        let tree = Tree::new([history(4, "1\t0/100\ta\n\n2\t0/200\tb\n")], [TimelineId(1), TimelineId(7)]);
        let ids = |list: &[u32]| list.iter().map(|id| TimelineId(*id)).collect::<Vec<_>>();
        assert_eq!(tree.timelines().collect::<Vec<_>>(), ids(&[1, 2, 4, 7]));
        assert_eq!(tree.without_file(), ids(&[2, 7]));
        let Some(parent) = tree.parent(TimelineId(2)) else { unreachable!() };
        assert_eq!((parent.entry.parent, parent.told_by), (TimelineId(1), TimelineId(4)));
        assert_eq!(tree.history_as_known(TimelineId(2)), history(2, "1\t0/100\ta\n"));
        assert_eq!(tree.history(TimelineId(2)), None);
        assert_eq!(tree.parent(TimelineId(7)), None);
        assert_eq!(tree.children(TimelineId(1)), ids(&[2]));
        assert_eq!(tree.children(TimelineId(2)), ids(&[4]));
    }

    /// The files of a server of every version: 2 and 3 left 1, and 4 left 2.
    #[test]
    fn trees_that_servers_of_every_version_wrote() {
        macro_rules! written {
            ($($major:literal)*) => {
                [$([
                    include_str!(concat!("../../tests/data/backup/pg", $major, "/00000002.history")),
                    include_str!(concat!("../../tests/data/backup/pg", $major, "/00000003.history")),
                    include_str!(concat!("../../tests/data/backup/pg", $major, "/00000004.history")),
                ]),*]
            };
        }
        for [two, three, four] in written!("9.5" "9.6" "10" "11" "12" "13" "14" "15" "16" "17" "18" "19") {
            let tree = Tree::new([history(2, two), history(3, three), history(4, four)], []);
            let parents = [1, 2, 3, 4].map(|id| tree.parent(TimelineId(id)).map(|p| p.entry.parent.0));
            assert_eq!(parents, [None, Some(1), Some(1), Some(2)]);
            assert_eq!(tree.agrees_with_parent(TimelineId(4)), Some(true));
            assert_eq!(tree.without_file(), []);
            let switch = |id| tree.parent(TimelineId(id)).map(|parent| parent.entry.switch);
            assert!(switch(2) < switch(3) && switch(2) < switch(4));
        }
    }

    #[test]
    fn a_copy_that_is_not_its_parents_is_seen() {
        let two = history(2, "1\t0/100\ta\n");
        let good = history(3, "1\t0/100\tother words\n2\t0/200\tb\n");
        let bad = history(4, "1\t0/101\ta\n2\t0/200\tb\n");
        let tree = Tree::new([two, good, bad], []);
        let agrees = [2, 3, 4, 5].map(|id| tree.agrees_with_parent(TimelineId(id)));
        assert_eq!(agrees, [Some(true), Some(true), Some(false), None]);
    }
}
