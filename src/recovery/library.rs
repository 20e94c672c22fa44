//! The files that a recovery would read, by the names under which it asks for them.

use crate::archive::{Archive, Entry, StoreError};
use crate::audit::{Options, Plan, Progress, expectations};
use crate::chain::chains::{ClusterId, newest_cluster};
use crate::scan::{Expectation, FactStore, FileFault, SegmentFacts, Workbench, scan_or_recall, scan_segment};
use crate::timeline::History;
use crate::wal::{Lsn, Major, SegmentName, SegmentNumber, SegmentSize, SystemId, TimelineId, WalFileName};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The facts of every segment of one cluster.
#[derive(Debug)]
pub struct Library<'a> {
    archive: &'a Archive,
    /// Listing and histories.
    pub plan: &'a Plan,
    /// The cluster: the newest in the archive.
    pub system_id: SystemId,
    /// Size of its segments.
    pub segment_size: SegmentSize,
    /// Its version (the newest).
    pub major: Major,
    files: BTreeMap<(TimelineId, SegmentNumber), Arc<Volume>>,
    /// Files that no recovery is given by this model: further copies of segments, and partial segments.
    besides: Vec<Arc<Volume>>,
    /// Of segments that are stored twice with different content: where the other copy is.
    differing: BTreeMap<SegmentName, String>,
}

/// One file.
#[derive(Debug)]
struct Volume {
    facts: SegmentFacts,
    entry: Entry,
    expectation: Expectation,
}

/// So many files are recalled one after the other.
const FEW_FILES: usize = 8;

thread_local! {
    static BENCH: RefCell<Workbench> = RefCell::default();
}

impl<'a> Library<'a> {
    /// Reads every segment of `plan`. `None`: there is no WAL among them.
    pub fn read(
        archive: &'a Archive,
        plan: &'a Plan,
        options: &Options,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Self>, StoreError> {
        Self::read_with(archive, plan, options, None, progress)
    }

    /// Reads those segments of `plan` that `store` does not know yet, and takes the others from it.
    pub fn read_with(
        archive: &'a Archive,
        plan: &'a Plan,
        options: &Options,
        store: Option<&dyn FactStore>,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Self>, StoreError> {
        let entries: Vec<(&Entry, SegmentName, Expectation)> = expectations(plan, options)
            .filter_map(|(entry, expectation)| match entry.name {
                WalFileName::Segment(name) => Some((entry, name, expectation)),
                _ => None,
            })
            .collect();
        let files_total = entries.len() as u64;
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let read = |(entry, _, expectation): (&Entry, SegmentName, Expectation)| {
            let facts =
                BENCH.with_borrow_mut(|bench| scan_or_recall(archive, entry, &expectation, bench, store))?;
            let bytes = bytes.fetch_add(facts.bytes, Ordering::Relaxed) + facts.bytes;
            let files = files.fetch_add(1, Ordering::Relaxed) + 1;
            progress(Progress { files, files_total, bytes });
            Ok(Volume { facts, entry: entry.clone(), expectation })
        };
        // Waking threads takes longer than recalling a few files.
        let few = entries.len() <= FEW_FILES
            && store.is_some_and(|store| {
                entries.iter().all(|(entry, _, expectation)| store.knows(entry, expectation))
            });
        let volumes: Result<Vec<Volume>, StoreError> = if few {
            entries.into_iter().map(read).collect()
        } else {
            entries.into_par_iter().map(read).collect()
        };
        Ok(Self::of(archive, plan, volumes?))
    }

    fn of(archive: &'a Archive, plan: &'a Plan, volumes: Vec<Volume>) -> Option<Self> {
        let identified = || {
            volumes.iter().filter_map(|volume| {
                let identity = volume.facts.identity.filter(|_| volume.facts.holds_wal())?;
                let (system_id, segment_size) = (identity.system_id, identity.format.segment_size);
                Some((ClusterId { system_id, segment_size }, identity.format.major, volume.facts.name))
            })
        };
        let newest = newest_cluster(identified())?;
        let major = identified().filter(|(id, ..)| *id == newest).map(|(_, major, _)| major).max()?;
        let ClusterId { system_id, segment_size } = newest;
        let mut files: BTreeMap<_, Arc<Volume>> = BTreeMap::new();
        let (mut besides, mut differing) = (Vec::new(), BTreeMap::new());
        for volume in volumes {
            let Some(number) = volume.facts.name.number(segment_size) else { continue };
            match files.entry((volume.facts.name.timeline, number)) {
                MapEntry::Vacant(place) => {
                    place.insert(Arc::new(volume));
                }
                // Of several copies the first one counts, which may not be the one that a restore command finds.
                MapEntry::Occupied(first) => {
                    if !first.get().facts.is_copy_of(&volume.facts) {
                        differing.insert(volume.facts.name, volume.facts.path.clone());
                    }
                    besides.push(Arc::new(volume));
                }
            }
        }
        Some(Self { archive, plan, system_id, segment_size, major, files, besides, differing })
    }

    /// The same archive as it would be without the segments `removed`, and with the histories of `plan`.
    pub fn without<'b>(&'b self, plan: &'b Plan, removed: &BTreeSet<SegmentName>) -> Library<'b> {
        let kept = self.files.iter().filter(|(_, volume)| !removed.contains(&volume.facts.name));
        let files = kept.map(|(place, volume)| (*place, Arc::clone(volume))).collect();
        let listed: BTreeSet<(WalFileName, &Path)> =
            plan.entries.iter().map(|entry| (entry.name, entry.object.path.as_path())).collect();
        let stays =
            |volume: &&Arc<Volume>| listed.contains(&(volume.entry.name, volume.entry.object.path.as_path()));
        let besides = self.besides.iter().filter(stays).map(Arc::clone).collect();
        let differing = self.differing.clone();
        Library { archive: self.archive, plan, files, besides, differing, ..*self }
    }

    /// The facts of a file, if there is one under that name.
    pub fn facts(&self, timeline: TimelineId, number: SegmentNumber) -> Option<&SegmentFacts> {
        self.files.get(&(timeline, number)).map(|volume| &volume.facts)
    }

    /// All files, by timeline and number.
    pub fn all(&self) -> impl Iterator<Item = (TimelineId, SegmentNumber, &SegmentFacts)> {
        self.files.iter().map(|((timeline, number), volume)| (*timeline, *number, &volume.facts))
    }

    /// The files of this cluster that bear a timeline of `history`, by timeline and number.
    pub fn on_path(&self, history: &History) -> impl Iterator<Item = (SegmentNumber, &SegmentFacts)> {
        let on_path = self.own().filter(|(timeline, _, _)| history.contains(*timeline));
        on_path.map(|(_, number, facts)| (number, facts))
    }

    /// The files of this cluster, by timeline and number; one without a header that can be read counts as one.
    pub fn own(&self) -> impl Iterator<Item = (TimelineId, SegmentNumber, &SegmentFacts)> {
        self.all().filter(|(_, _, facts)| facts.identity.is_none_or(|id| id.system_id == self.system_id))
    }

    /// The facts of all files, in the order of their names.
    pub fn facts_in_order(&self) -> impl Iterator<Item = &SegmentFacts> {
        self.files.values().map(|volume| &volume.facts)
    }

    /// Reads the partial segments of the plan as well, for [`every_file`](Self::every_file).
    pub fn read_partials(&mut self, options: &Options) -> Result<(), StoreError> {
        let is_partial = |entry: &Entry| matches!(entry.name, WalFileName::Partial(_));
        for (entry, expectation) in expectations(self.plan, options).filter(|(entry, _)| is_partial(entry)) {
            let facts =
                BENCH.with_borrow_mut(|bench| scan_segment(self.archive, entry, &expectation, bench))?;
            self.besides.push(Arc::new(Volume { facts, entry: entry.clone(), expectation }));
        }
        Ok(())
    }

    /// The facts of all files, further copies of segments and what was read of partial ones included: what an audit is to
    /// join. In the order of the listing.
    pub fn every_file(&self) -> impl Iterator<Item = &SegmentFacts> {
        let mut volumes: Vec<&Arc<Volume>> = self.files.values().chain(&self.besides).collect();
        let place = |volume: &Volume| (volume.entry.name, volume.entry.object.path.clone());
        if !self.besides.is_empty() {
            volumes.sort_by_cached_key(|volume| place(volume));
        }
        volumes.into_iter().map(|volume| &volume.facts)
    }

    /// Where another copy of a segment is stored that holds something else.
    pub fn differing_copy(&self, name: SegmentName) -> Option<&str> {
        self.differing.get(&name).map(String::as_str)
    }

    /// Name of a segment.
    pub const fn name(&self, timeline: TimelineId, number: SegmentNumber) -> SegmentName {
        SegmentName::new(timeline, number, self.segment_size)
    }

    /// Whether the history file of `timeline` can be had.
    pub fn has_history(&self, timeline: TimelineId) -> bool {
        self.plan.history_files.contains(&timeline)
    }

    /// Why a server that goes to `timeline` dies of its history file. Of timeline 1 it reads none.
    ///
    /// PostgreSQL: `readTimeLineHistory` in `src/backend/access/transam/timeline.c`, 9.5 to 19.
    pub fn history_error(&self, timeline: TimelineId) -> Option<&str> {
        let is_read = timeline != TimelineId(1) && self.has_history(timeline);
        self.plan.history_errors.get(&timeline).filter(|_| is_read).map(String::as_str)
    }

    /// The history as a server reads it: one without a file, or with an empty one, has no parents. What it makes of
    /// one that it does not read is in [`history_error`](Self::history_error).
    pub fn history(&self, timeline: TimelineId) -> History {
        let known = self.plan.histories.get(&timeline).cloned();
        known.unwrap_or_else(|| History::without_parents(timeline))
    }

    /// Whether the server takes the file for a segment at all: it refuses one of the wrong size.
    pub fn wrong_size(&self, facts: &SegmentFacts) -> Option<u64> {
        match facts.fault {
            Some(FileFault::Truncated { .. } | FileFault::Empty | FileFault::TooLong { .. }) => {
                Some(facts.bytes)
            }
            _ => None,
        }
    }

    /// Start and end of every verified record in a file that starts at `from` or later, read again.
    pub fn records(
        &self,
        timeline: TimelineId,
        number: SegmentNumber,
        from: Lsn,
    ) -> Result<Vec<(Lsn, Lsn)>, StoreError> {
        let Some(volume) = self.files.get(&(timeline, number)) else { return Ok(Vec::new()) };
        let expectation = Expectation { records_from: Some(from), ..volume.expectation.clone() };
        let facts =
            BENCH.with_borrow_mut(|bench| scan_segment(self.archive, &volume.entry, &expectation, bench))?;
        Ok(facts.records)
    }
}
