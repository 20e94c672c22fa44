//! What a policy promises, found out without the library.

use std::collections::BTreeSet;

use crate::world::{Commit, State, World};
use crate::writer::SEGMENT;
use walproof::retention::Policy;

/// Something that must hold after a cleanup as it did before.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Recovery from this backup along this timeline ends where it ended.
    Reach { backup: usize, timeline: u32, end: u64 },
    /// This backup can be recovered from at all, along this timeline.
    Start { backup: usize, timeline: u32 },
    /// Some backup leads to this commit.
    Commit { commit: Commit, timeline: u32 },
    /// One of these backups leads to this end of a timeline.
    End { timeline: u32, end: u64, leads: BTreeSet<usize> },
    /// The segment is there.
    Segment { timeline: u32, number: u64 },
}

impl World {
    fn reaches(&self, state: &State) -> Vec<(usize, u32, u64)> {
        let all = (0..self.backups.len()).flat_map(|i| self.timelines.keys().map(move |id| (i, *id)));
        all.filter_map(|(i, id)| Some((i, id, self.reach(state, &self.backups[i], id)?))).collect()
    }

    /// The last backups that a number of backups means: usable, not for ever; the last by time and the last by timeline and
    /// start. Those that count come first, others fill up the number.
    pub fn last_backups(&self, state: &State, count: usize) -> BTreeSet<usize> {
        let reaches = self.reaches(state);
        let is_usable =
            |i: &usize| !self.backups[*i].permanent && reaches.iter().any(|(backup, _, _)| backup == i);
        let mut usable: Vec<usize> = (0..self.backups.len()).filter(is_usable).collect();
        usable.sort_by_key(|i| (self.counts(*i), self.backups[*i].started));
        let mut last: BTreeSet<usize> = usable.iter().rev().take(count).copied().collect();
        usable.sort_by_key(|i| (self.counts(*i), self.backups[*i].timeline, self.backups[*i].start));
        last.extend(usable.iter().rev().take(count));
        last
    }

    /// The segment from which on a number of backups keeps everything: that of the first of them, or of one that leads to
    /// the end of the newest timeline, where none of them does.
    pub fn oldest_of_last(&self, state: &State, count: usize) -> u64 {
        let last = self.last_backups(state, count);
        let start = |backup: usize| self.backups[backup].start / SEGMENT;
        let mut oldest: Vec<u64> = last.iter().map(|backup| start(*backup)).collect();
        for (_, _, leads) in self.tips(state) {
            if leads.is_disjoint(&last) {
                let best = leads.into_iter().max_by_key(|i| (!self.backups[*i].permanent, start(*i)));
                oldest.extend(best.map(start));
            }
        }
        oldest.into_iter().min().unwrap()
    }

    /// A file that any backup leaves is as good as a catalog's word only where no catalog tells of any.
    fn counts(&self, backup: usize) -> bool {
        self.backups[backup].told || !self.backups.iter().any(|backup| backup.told)
    }

    /// How far the newest timeline can be recovered, and from which backups: those that count, and all.
    fn tips(&self, state: &State) -> Vec<(u32, u64, BTreeSet<usize>)> {
        let reaches = self.reaches(state);
        let tip = |all: bool| {
            let of = || reaches.iter().filter(|(backup, _, _)| all || self.counts(*backup));
            let (timeline, end) = of().map(|(_, timeline, end)| (*timeline, *end)).max()?;
            let leads = of().filter(|reach| (reach.1, reach.2) == (timeline, end));
            Some((timeline, end, leads.map(|reach| reach.0).collect()))
        };
        [false, true].into_iter().filter_map(tip).collect()
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
        }
        let tips = self.tips(state).into_iter();
        demands.extend(tips.map(|(timeline, end, leads)| Demand::End { timeline, end, leads }));
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
        match demand.clone() {
            Demand::Reach { backup, timeline, end } => {
                self.reach(state, &self.backups[backup], timeline) == Some(end)
            }
            Demand::Start { backup, timeline } => {
                self.reach(state, &self.backups[backup], timeline).is_some()
            }
            Demand::Commit { commit, timeline } => self.is_feasible(state, &commit, timeline),
            Demand::End { timeline, end, leads } => {
                leads.iter().any(|i| self.reach(state, &self.backups[*i], timeline) == Some(end))
            }
            Demand::Segment { timeline, number } => state.segments.contains_key(&(timeline, number)),
        }
    }
}
