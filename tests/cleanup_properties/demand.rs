//! What a policy promises, found out without the library.

use crate::world::{Commit, State, World};
use crate::writer::SEGMENT;
use walproof::retention::Policy;

/// Something that must hold after a cleanup as it did before.
#[derive(Clone, Copy, Debug)]
pub enum Demand {
    /// Recovery from this backup along this timeline ends where it ended.
    Reach { backup: usize, timeline: u32, end: u64 },
    /// This backup can be recovered from at all, along this timeline.
    Start { backup: usize, timeline: u32 },
    /// Some backup leads to this commit.
    Commit { commit: Commit, timeline: u32 },
    /// Some backup leads to this end of a timeline.
    End { timeline: u32, end: u64 },
    /// The segment is there.
    Segment { timeline: u32, number: u64 },
}

impl World {
    fn reaches(&self, state: &State) -> Vec<(usize, u32, u64)> {
        let all = (0..self.backups.len()).flat_map(|i| self.timelines.keys().map(move |id| (i, *id)));
        all.filter_map(|(i, id)| Some((i, id, self.reach(state, &self.backups[i], id)?))).collect()
    }

    /// The last backups that a number of backups means: usable, not for ever.
    pub fn last_backups(&self, state: &State, count: usize) -> Vec<usize> {
        let reaches = self.reaches(state);
        let counts =
            |i: &usize| !self.backups[*i].permanent && reaches.iter().any(|(backup, _, _)| backup == i);
        let mut usable: Vec<usize> = (0..self.backups.len()).filter(counts).collect();
        usable.sort_by_key(|i| self.backups[*i].started);
        usable.split_off(usable.len().saturating_sub(count))
    }

    /// Everything that `policy` promises of the archive as it is. `oldest`: the number of the oldest segment to keep.
    pub fn demands(&self, policy: &Policy, oldest: Option<u64>) -> Vec<Demand> {
        let state = &self.state;
        let reaches = self.reaches(state);
        let mut demands = Vec::new();
        let last = policy.keep_backups.map(|count| self.last_backups(state, count)).unwrap_or_default();
        for (backup, timeline, end) in reaches.iter().copied() {
            let truth = &self.backups[backup];
            let behind = oldest.is_some_and(|oldest| truth.start / SEGMENT >= oldest);
            if last.contains(&backup) || behind && !policy.prune_timelines {
                demands.push(Demand::Reach { backup, timeline, end });
            }
            let is_kept = match policy.backups_since {
                Some(since) => truth.finished >= since.0,
                None => policy.keep_backups.is_none(),
            };
            if truth.permanent || is_kept {
                demands.push(Demand::Start { backup, timeline });
            }
        }
        if let Some(since) = policy.since {
            for timeline in self.timelines.keys().copied() {
                // What committed at that very time is in the state of that time, which is all that is promised of it.
                let commits = self.commits_on(timeline).into_iter().filter(|commit| commit.time > since.0);
                let feasible = commits.filter(|commit| self.is_feasible(state, commit, timeline));
                demands.extend(feasible.map(|commit| Demand::Commit { commit, timeline }));
            }
            let newest = reaches.iter().map(|(_, timeline, end)| (*timeline, *end)).max();
            demands.extend(newest.map(|(timeline, end)| Demand::End { timeline, end }));
        }
        if let (Some(oldest), false) = (oldest, policy.prune_timelines) {
            let kept = state.segments.keys().filter(|(_, number)| *number >= oldest);
            demands.extend(
                kept.map(|(timeline, number)| Demand::Segment { timeline: *timeline, number: *number }),
            );
        }
        demands
    }

    /// Whether a promise holds.
    pub fn holds(&self, state: &State, demand: &Demand) -> bool {
        match *demand {
            Demand::Reach { backup, timeline, end } => {
                self.reach(state, &self.backups[backup], timeline) == Some(end)
            }
            Demand::Start { backup, timeline } => {
                self.reach(state, &self.backups[backup], timeline).is_some()
            }
            Demand::Commit { commit, timeline } => self.is_feasible(state, &commit, timeline),
            Demand::End { timeline, end } => {
                self.backups.iter().any(|backup| self.reach(state, backup, timeline) == Some(end))
            }
            Demand::Segment { timeline, number } => state.segments.contains_key(&(timeline, number)),
        }
    }
}
