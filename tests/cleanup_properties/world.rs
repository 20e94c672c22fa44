//! A random archive, and the truth about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::random::Random;
use crate::writer::{SEGMENT, SYSTEM, Timeline, lsn, name};
use walproof::archive::memory::Memory;

const SECOND: i64 = 1_000_000;
/// 2026-01-01, in microseconds since 2000.
const BEGIN: i64 = 820_454_400 * SECOND;
const UNIX_SECONDS_IN_2000: i64 = 946_684_800;

/// A transaction that committed.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub timeline: u32,
    pub start: u64,
    pub end: u64,
    pub time: i64,
}

/// A base backup.
#[derive(Clone, Debug)]
pub struct Backup {
    pub timeline: u32,
    pub start: u64,
    pub checkpoint: u64,
    /// Where it is consistent.
    pub stop: u64,
    pub started: i64,
    pub finished: i64,
    pub permanent: bool,
    /// The tool's catalog tells of it, and not only the file that every backup leaves.
    pub told: bool,
}

/// Files that are there, and how they are.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Segments: whole or not.
    pub segments: BTreeMap<(u32, u64), bool>,
    pub histories: BTreeSet<u32>,
}

pub struct World {
    pub timelines: BTreeMap<u32, Timeline>,
    pub commits: Vec<Commit>,
    pub backups: Vec<Backup>,
    /// Every file, by its path in the archive.
    pub files: BTreeMap<String, Arc<[u8]>>,
    pub state: State,
    /// Nothing in it is missing or spoilt.
    pub is_sound: bool,
    /// WAL-G's layout; else plain.
    wal_g: bool,
    now: i64,
}

impl World {
    pub fn random(random: &mut Random) -> Self {
        let mut world = Self {
            timelines: BTreeMap::new(),
            commits: Vec::new(),
            backups: Vec::new(),
            files: BTreeMap::new(),
            state: State::default(),
            is_sound: true,
            wal_g: random.below(2) == 0,
            now: BEGIN,
        };
        // Near the end of a log: names carry over.
        let first = *random.pick(&[1, 4090, 4095]);
        let mut root = Timeline::first(first + random.below(3) as u64);
        root.checkpoint(root.next_start(), world.now);
        world.timelines.insert(1, root);
        let mut active = vec![1];
        for _ in 0..15 + random.below(25) {
            let id = *random.pick(&active);
            world.step(random, id, &mut active);
        }
        // As a DBA has it: there is a recent backup that all is well with.
        if random.below(4) > 0 {
            world.backup(random, *active.last().unwrap());
        }
        world.archive(random, &active);
        world
    }

    fn pass(&mut self, random: &mut Random) -> i64 {
        self.now += (1 + random.below(5000) as i64) * SECOND;
        self.now
    }

    fn step(&mut self, random: &mut Random, id: u32, active: &mut Vec<u32>) {
        match random.below(10) {
            0..=3 => self.work(random, id),
            4..=5 => self.timelines.get_mut(&id).unwrap().switch(),
            6 => {
                let timeline = self.timelines.get_mut(&id).unwrap();
                // Across the end of the segment, sometimes across a whole one.
                let segments = if random.below(4) == 0 { SEGMENT } else { 0 };
                let bytes = timeline.left() + segments + random.below(20_000) as u64;
                timeline.filler(usize::try_from(bytes).unwrap());
            }
            7..=8 => self.backup(random, id),
            _ => self.fork(random, id, active),
        }
    }

    fn work(&mut self, random: &mut Random, id: u32) {
        for _ in 0..=random.below(4) {
            let time = self.pass(random);
            let xid = 1000 + u32::try_from(self.commits.len()).unwrap();
            let timeline = self.timelines.get_mut(&id).unwrap();
            timeline.filler(random.below(12_000));
            let placed = timeline.commit(xid, time);
            self.commits.push(Commit { timeline: id, start: placed.start, end: placed.end, time });
        }
    }

    fn backup(&mut self, random: &mut Random, id: u32) {
        let started = self.pass(random);
        let timeline = self.timelines.get_mut(&id).unwrap();
        timeline.switch();
        let start = timeline.next_start();
        timeline.filler(30);
        let checkpoint = timeline.next_start();
        timeline.checkpoint(start, started);
        for _ in 0..random.below(3) {
            self.work(random, id);
            self.timelines.get_mut(&id).unwrap().switch();
        }
        let finished = self.pass(random);
        let timeline = self.timelines.get_mut(&id).unwrap();
        let stop = timeline.backup_end(start).end;
        timeline.switch();
        let permanent = self.wal_g && random.below(3) == 0;
        let told = self.wal_g && (permanent || random.below(6) > 0);
        self.backups.push(Backup {
            timeline: id,
            start,
            checkpoint,
            stop,
            started,
            finished,
            permanent,
            told,
        });
    }

    fn fork(&mut self, random: &mut Random, id: u32, active: &mut Vec<u32>) {
        let child = u32::try_from(self.timelines.len() + 1).unwrap();
        if child > 4 {
            return;
        }
        let time = self.pass(random);
        let parent = &self.timelines[&id];
        let record = parent.records.len() - 1 - random.below(parent.records.len().min(30));
        let mut timeline = parent.fork(child, record);
        timeline.begin(time);
        self.timelines.insert(child, timeline);
        if random.below(3) > 0 {
            active.retain(|other| *other != id);
        }
        active.push(child);
    }

    /// What archive_command, pg_receivewal and the backup tool leave, and what time does to it.
    fn archive(&mut self, random: &mut Random, active: &[u32]) {
        for id in self.timelines.keys().copied().collect::<Vec<_>>() {
            if active.contains(&id) && random.below(4) > 0 {
                self.timelines.get_mut(&id).unwrap().switch();
            }
            self.archive_timeline(random, id);
        }
        for backup in self.backups.clone() {
            self.describe(random, &backup);
        }
        if random.below(3) == 0 {
            for _ in 0..=random.below(3) {
                self.spoil(random);
            }
        }
    }

    fn archive_timeline(&mut self, random: &mut Random, id: u32) {
        let timeline = self.timelines[&id].clone();
        for (number, bytes) in timeline.segments {
            let is_written = (number + 1) * SEGMENT <= timeline.position;
            let name = name(id, number);
            if is_written || random.below(3) == 0 {
                self.put_wal(&name, bytes.into());
                self.state.segments.insert((id, number), true);
            } else if random.below(2) == 0 {
                self.put_wal(&format!("{name}.partial"), bytes.into());
            }
        }
        if timeline.parent.is_some() {
            let lines: Vec<String> = self
                .ancestry(id)
                .windows(2)
                .map(|pair| format!("{}\t{}\tno recovery target specified\n", pair[0].id, lsn(pair[0].end)))
                .collect();
            self.put_wal(&format!("{id:08X}.history"), lines.concat().into_bytes().into());
            self.state.histories.insert(id);
        }
    }

    fn put_wal(&mut self, name: &str, bytes: Arc<[u8]>) {
        let folder = if self.wal_g { "wal_005/" } else { "" };
        self.files.insert(format!("{folder}{name}"), bytes);
    }

    fn describe(&mut self, random: &mut Random, backup: &Backup) {
        let segment = name(backup.timeline, backup.start / SEGMENT);
        if backup.told {
            let sentinel = format!(
                r#"{{"LSN":{},"PgVersion":160000,"FinishLSN":{},"SystemIdentifier":{SYSTEM},"StartTime":"{}","FinishTime":"{}","IsPermanent":{}}}"#,
                backup.start,
                backup.stop,
                stamp(backup.started, "%Y-%m-%dT%H:%M:%SZ"),
                stamp(backup.finished, "%Y-%m-%dT%H:%M:%SZ"),
                backup.permanent
            );
            let path = format!("basebackups_005/base_{segment}_backup_stop_sentinel.json");
            self.files.insert(path, sentinel.into_bytes().into());
        }
        if !backup.told || random.below(2) == 0 {
            let text = format!(
                "START WAL LOCATION: {} (file {segment})\nSTOP WAL LOCATION: {} (file {})\n\
                 CHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: {}\n\
                 LABEL: at {segment}\nSTART TIMELINE: {}\nSTOP TIME: {}\nSTOP TIMELINE: {}\n",
                lsn(backup.start),
                lsn(backup.stop),
                name(backup.timeline, (backup.stop - 1) / SEGMENT),
                lsn(backup.checkpoint),
                stamp(backup.started, "%Y-%m-%d %H:%M:%S UTC"),
                backup.timeline,
                stamp(backup.finished, "%Y-%m-%d %H:%M:%S UTC"),
                backup.timeline,
            );
            let name = format!("{segment}.{:08X}.backup", backup.start % SEGMENT);
            self.put_wal(&name, text.into_bytes().into());
        }
    }

    /// A segment or a history is lost, a byte flips, or a copy was cut off.
    fn spoil(&mut self, random: &mut Random) {
        self.is_sound = false;
        let whole = self.state.segments.iter().filter(|(_, is_whole)| **is_whole);
        let places: Vec<(u32, u64)> = whole.map(|(place, _)| *place).collect();
        let (id, number) = *random.pick(&places);
        let histories: Vec<u32> = self.state.histories.iter().copied().collect();
        let folder = if self.wal_g { "wal_005/" } else { "" };
        let path = format!("{folder}{}", name(id, number));
        match random.below(8) {
            0..=3 => {
                self.files.remove(&path);
                self.state.segments.remove(&(id, number));
            }
            4 if !histories.is_empty() => {
                let lost = *random.pick(&histories);
                self.files.remove(&format!("{folder}{lost:08X}.history"));
                self.state.histories.remove(&lost);
            }
            how => {
                let mut bytes = self.files[&path].to_vec();
                if how == 5 {
                    bytes.truncate(random.below(bytes.len()));
                } else {
                    bytes[40] ^= 1 << random.below(8);
                }
                self.files.insert(path, bytes.into());
                self.state.segments.insert((id, number), false);
            }
        }
    }

    /// The archive in memory, without the files `gone`.
    pub fn memory(&self, gone: &BTreeSet<String>) -> Memory {
        let memory = Memory::new();
        for (path, bytes) in self.files.iter().filter(|(path, _)| !gone.contains(*path)) {
            memory.put(path, Arc::clone(bytes));
        }
        memory
    }

    /// The way to a timeline, oldest first.
    pub fn ancestry(&self, id: u32) -> Vec<Ancestor> {
        let mut path = vec![Ancestor { id, begin: 0, end: u64::MAX }];
        while let Some((parent, switch)) = self.timelines[&path[0].id].parent {
            path[0].begin = switch;
            path.insert(0, Ancestor { id: parent, begin: 0, end: switch });
        }
        path
    }
}

/// What a timeline owns on the way to another.
#[derive(Clone, Copy, Debug)]
pub struct Ancestor {
    pub id: u32,
    pub begin: u64,
    pub end: u64,
}

fn stamp(time: i64, format: &str) -> String {
    let seconds = time / SECOND + UNIX_SECONDS_IN_2000;
    jiff::Timestamp::from_second(seconds).unwrap().strftime(format).to_string()
}
