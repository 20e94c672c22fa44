//! Every file of an archive in its place: which cluster, which timeline, next to which other.

use super::range::Range;
use super::segments::Segments;
use crate::scan::{FileFault, SegmentFacts};
use crate::wal::{Lsn, Major, Owners, SegmentName, SegmentSize, SystemId, TimelineId};
use std::collections::{BTreeMap, BTreeSet};

/// Which cluster, and of which segment size: names mean nothing across either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId {
    /// `xlp_sysid`.
    pub system_id: SystemId,
    /// Size of its segments.
    pub segment_size: SegmentSize,
}

/// How a file came out of the scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileState {
    /// Every page and record in it is as it should be.
    Verified,
    /// Something in it is wrong.
    Damaged,
    /// It is kept for later use and holds old WAL or zeros.
    Recycled,
    /// A second copy of a segment.
    Duplicate,
}

/// What is remembered of a file when its WAL has been joined to its neighbours'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// Its name.
    pub name: SegmentName,
    /// It is called `.partial`.
    pub partial: bool,
    /// Where it is kept.
    pub path: String,
    /// Bytes of WAL in it.
    pub bytes: u64,
    /// Its cluster, where it tells.
    pub cluster: Option<ClusterId>,
    /// Its version, where it tells.
    pub major: Option<Major>,
    /// How it came out.
    pub state: FileState,
    /// What is wrong with it as a whole.
    pub fault: Option<FileFault>,
    /// First padding byte that is not zero, and how many.
    pub dirty_padding: Option<(u64, u64)>,
    /// Wounds that were too many to keep.
    pub wounds_not_kept: u64,
    /// It begins with this many bytes of a record begun earlier.
    pub leading_bytes: u32,
    /// Digests at fork points in it.
    pub digests: Vec<(Lsn, u32)>,
}

/// The chain of one timeline: its files in order, joined where they are neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// Unbroken stretches of files, in order.
    pub ranges: Vec<Range>,
    /// Numbers of the segments that are there, damaged or not.
    pub present: Segments,
    /// Copies of a range as it was at the start of a segment in which a timeline forks: what the fork's first
    /// file goes on from.
    pub edges: BTreeMap<Lsn, Range>,
}

impl Chain {
    /// The range that ends exactly at `lsn`, without its events.
    pub fn edge(&self, lsn: Lsn) -> Option<&Range> {
        self.edges.get(&lsn).or_else(|| self.ranges.iter().find(|range| range.end == lsn))
    }
}

/// One cluster's files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cluster {
    /// Versions seen, oldest first.
    pub versions: BTreeSet<Major>,
    /// The timelines.
    pub chains: BTreeMap<TimelineId, Chain>,
}

/// All files, sorted by cluster and timeline, joined as they come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chains {
    /// The clusters.
    pub clusters: BTreeMap<ClusterId, Cluster>,
    /// Every file, in the order of names.
    pub files: Vec<FileRecord>,
    /// What `.partial` files hold.
    pub partials: Vec<(FileRecord, Option<Range>)>,
    /// Pairs of copies that differ: indexes into `files`.
    pub differing_copies: Vec<(usize, usize)>,
}

impl Chains {
    /// Takes the next file's facts. Files come in the order of their names.
    pub fn push(&mut self, facts: SegmentFacts, owners: &Owners, forks: &BTreeSet<Lsn>) {
        let record = record(&facts);
        if facts.partial {
            let range = Range::of(facts, owners.clone()).filter(|_| record.state != FileState::Recycled);
            self.partials.push((record, range));
            return;
        }
        if self.is_second_copy(&record) {
            return;
        }
        let (cluster, state) = (record.cluster, record.state);
        self.files.push(record);
        let Some(id) = cluster.filter(|_| state != FileState::Recycled) else { return };
        let name = facts.name;
        let Some(range) = Range::of(facts, owners.clone()) else { return };
        let cluster = self.clusters.entry(id).or_default();
        cluster.versions.insert(range.format.major);
        let chain = cluster.chains.entry(name.timeline).or_default();
        if let Some(number) = name.number(id.segment_size) {
            chain.present.insert(number);
        }
        chain.append(range, id.segment_size, forks);
    }

    /// Whether the file is a copy of the one before; if they differ, the one with less damage counts.
    fn is_second_copy(&mut self, record: &FileRecord) -> bool {
        let index = self.files.len();
        let Some(before) = self.files.last().filter(|before| before.name == record.name) else {
            return false;
        };
        if before.digests.last() != record.digests.last() || before.fault != record.fault {
            self.differing_copies.push((index - 1, index));
        }
        self.files.push(FileRecord { state: FileState::Duplicate, ..record.clone() });
        true
    }

    /// The cluster that a person means (see [`newest_cluster`]).
    pub fn newest(&self) -> Option<ClusterId> {
        let files = self.files.iter().filter(|file| self.has(file));
        newest_cluster(files.filter_map(|file| Some((file.cluster?, file.major?, file.name))))
    }

    /// Whether a file is one of its cluster's chains.
    fn has(&self, file: &FileRecord) -> bool {
        let chains = file.cluster.and_then(|id| self.clusters.get(&id)).map(|cluster| &cluster.chains);
        chains.is_some_and(|chains| chains.contains_key(&file.name.timeline))
            && matches!(file.state, FileState::Verified | FileState::Damaged)
    }
}

/// The newest cluster of which there are `files`: by version, then by the time of its making; `pg_resetwal` changes the
/// size of segments and goes on behind what was there.
///
/// A damaged header can invent a cluster. It will not invent several files of it, nor one of a later version that stands
/// behind all others, as the first of an upgraded cluster does.
pub fn newest_cluster(files: impl Iterator<Item = (ClusterId, Major, SegmentName)>) -> Option<ClusterId> {
    let mut clusters: BTreeMap<ClusterId, (u64, Major, Lsn)> = BTreeMap::new();
    for (id, major, name) in files {
        let start = name.start(id.segment_size).unwrap_or(Lsn::INVALID);
        let (count, newest, last) = clusters.entry(id).or_insert((0, major, start));
        (*count, *newest, *last) = (*count + 1, major.max(*newest), start.max(*last));
    }
    let is_upgraded = |id: &ClusterId, (_, major, last): &(u64, Major, Lsn)| {
        let mut others = clusters.iter().filter(|(other, _)| *other != id).map(|(_, other)| other);
        clusters.len() > 1 && others.all(|(_, older, end)| older < major && end < last)
    };
    let rank = |(id, cluster): &(&ClusterId, &(u64, Major, Lsn))| {
        let (count, major, last) = **cluster;
        (
            count > 1 || is_upgraded(id, cluster),
            major,
            id.system_id,
            last.plus(id.segment_size.bytes()),
            id.segment_size,
        )
    };
    clusters.iter().max_by_key(rank).map(|(id, _)| *id)
}

impl Chain {
    /// Puts `range`, of one segment, behind what is there.
    fn append(&mut self, range: Range, size: SegmentSize, forks: &BTreeSet<Lsn>) {
        let goes_on = |last: &Range| last.end == range.start && last.format == range.format;
        match self.ranges.pop_if(|last| goes_on(last)) {
            Some(mut last) => {
                let next_fork = forks.range(range.start..).next();
                if next_fork.is_some_and(|fork| fork.segment(size) == range.start.segment(size)) {
                    // All that happened so far is not copied for each fork.
                    let events = std::mem::take(&mut last.events);
                    let wounds = std::mem::take(&mut last.wounds);
                    self.edges.insert(range.start, last.clone());
                    (last.events, last.wounds) = (events, wounds);
                }
                self.ranges.push(last.join(range));
            }
            None => self.ranges.push(Range { leads: true, ..range }),
        }
    }
}

fn record(facts: &SegmentFacts) -> FileRecord {
    let identity = facts.identity;
    let recycled = facts.is_recycled() || facts.is_zero();
    let damaged = facts.fault.is_some() || !facts.walked.wounds.is_empty();
    FileRecord {
        name: facts.name,
        partial: facts.partial,
        path: facts.path.clone(),
        bytes: facts.bytes,
        cluster: identity.map(|identity| ClusterId {
            system_id: identity.system_id,
            segment_size: identity.format.segment_size,
        }),
        major: identity.map(|identity| identity.format.major),
        state: match (recycled, damaged) {
            (true, _) => FileState::Recycled,
            (false, true) => FileState::Damaged,
            (false, false) => FileState::Verified,
        },
        fault: facts.fault.clone(),
        dirty_padding: facts.walked.dirty_padding,
        wounds_not_kept: facts.walked.wounds_not_kept,
        leading_bytes: facts.walked.head.as_ref().map_or(0, |head| head.declared),
        digests: facts.digests.clone(),
    }
}
