//! How far a server gets, found out by walking from segment to segment: nothing of the library is in it.

use crate::world::{Backup, Commit, State, World};
use crate::writer::SEGMENT;

impl World {
    /// Where recovery from `backup` along `timeline` ends with the files of `state`; `None` where it gets nowhere.
    pub fn reach(&self, state: &State, backup: &Backup, timeline: u32) -> Option<u64> {
        if self.timelines[&timeline].parent.is_some() && !state.histories.contains(&timeline) {
            return None;
        }
        let path = self.ancestry(timeline);
        let own = path.iter().find(|ancestor| ancestor.id == backup.timeline)?;
        if backup.start < own.begin || backup.stop > own.end {
            return None;
        }
        let mut number = backup.start / SEGMENT;
        let mut reached = 0;
        loop {
            let mut limit = u64::MAX;
            let mut file = None;
            for ancestor in path.iter().rev().filter(|ancestor| ancestor.begin / SEGMENT <= number) {
                if let Some(is_whole) = state.segments.get(&(ancestor.id, number)) {
                    file = Some((ancestor.id, *is_whole));
                    break;
                }
                limit = limit.min(ancestor.begin);
            }
            let Some((id, true)) = file.filter(|_| limit > number * SEGMENT) else { break };
            reached = self.timelines[&id].position.min((number + 1) * SEGMENT).min(limit);
            if reached < (number + 1) * SEGMENT || limit <= reached {
                break;
            }
            number += 1;
        }
        (reached >= backup.stop).then_some(reached)
    }

    /// Where the last record on the way to a timeline ends that ends by `limit`.
    pub fn last_record(&self, timeline: u32, limit: u64) -> u64 {
        let ends = self.ancestry(timeline).into_iter().flat_map(|ancestor| {
            let records = self.timelines[&ancestor.id].records.iter();
            records.map(|record| record.end).filter(move |end| *end <= limit.min(ancestor.end))
        });
        ends.max().unwrap()
    }

    /// Commits on the way to a timeline, in order.
    pub fn commits_on(&self, timeline: u32) -> Vec<Commit> {
        let path = self.ancestry(timeline);
        let owns = |commit: &&Commit| {
            path.iter().any(|a| a.id == commit.timeline && a.begin <= commit.start && commit.start < a.end)
        };
        let mut commits: Vec<Commit> = self.commits.iter().filter(owns).copied().collect();
        commits.sort_by_key(|commit| commit.start);
        commits
    }

    /// Whether some backup leads to the end of `commit` along `timeline`.
    pub fn is_feasible(&self, state: &State, commit: &Commit, timeline: u32) -> bool {
        self.backups.iter().any(|backup| {
            backup.stop <= commit.start
                && self.reach(state, backup, timeline).is_some_and(|end| end >= commit.end)
        })
    }
}
