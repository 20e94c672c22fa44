//! The scan of one file.

use super::activity::{Activities, Gatherer};
use super::catalog_changes;
use super::catalog_rows::{self, Sighting};
use super::event::{Event, What};
use super::events::Events;
use super::facts::{FileFault, SegmentFacts};
use super::files::{BEGINNERS, may_begin_file};
use super::identify::Identity;
use super::stats::Transactions;
use super::workbench::{Room, Workbench};
use crate::archive::{Archive, Entry, ReadError, StoreError};
use crate::wal::crc;
use crate::wal::payload::xact;
use crate::wal::record::{RecordHeader, ResourceManager};
use crate::wal::walk::{
    Capture, Ending, Format, Glimpse, Managers, Record, Setup, Sink, Walk, Walked, Wound,
};
use crate::wal::{Lsn, Major, Owners, SegmentName, SegmentSize, WalFileName};
use std::ops::ControlFlow;

/// Bytes looked at before the walk begins: as many pages as vote on the magic, if the first piece has them.
const FIRST_PIECE_BYTES: usize = 256 << 10;

/// How much of what happened is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Transactions are counted; other events are kept.
    Summary,
    /// Every event is kept.
    Ends,
    /// Every event is kept, and what transactions did to rows, and what is seen of the catalogs that hold names.
    Events,
}

/// What is known of a file before it is read.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Who owns its bytes, by the history of its timeline.
    pub owners: Owners,
    /// Positions up to which a digest of its bytes is wanted: fork points inside it.
    pub digests: Vec<Lsn>,
    /// The place of every record that starts here or later is wanted.
    pub records_from: Option<Lsn>,
    /// A digest of all bytes is wanted too, to compare copies.
    pub digest_all: bool,
    /// What to keep.
    pub detail: Detail,
}

/// Reads the file of `entry` from end to end.
///
/// # Errors
/// Its bytes could not be obtained. Everything that is wrong with bytes that were obtained is in the facts.
pub fn scan_segment(
    archive: &Archive,
    entry: &Entry,
    expectation: &Expectation,
    bench: &mut Workbench,
) -> Result<SegmentFacts, StoreError> {
    let (name, partial) = name_of(entry);
    let mut scan = Scan::new(name, expectation, Some(entry.stored_size()));
    scan.room = std::mem::take(&mut bench.room);
    let read = archive.read(entry, &mut bench.scratch, &mut |piece| scan.feed(piece));
    let undecodable = match read {
        Ok(()) => None,
        Err(ReadError::Unobtainable(error)) => return Err(error),
        Err(ReadError::Undecodable { detail, .. }) => Some(detail),
        Err(other @ ReadError::Checksum { .. }) => Some(other.to_string()),
    };
    let mut facts = scan.finish();
    facts.partial = partial;
    facts.path = entry.object.path.display().to_string();
    if let Some(detail) = undecodable {
        facts.fault = Some(FileFault::Undecodable { detail });
    }
    Ok(facts)
}

/// The facts of a file whose bytes could not be obtained.
pub fn unread(entry: &Entry, expectation: &Expectation, why: &StoreError) -> SegmentFacts {
    let (name, partial) = name_of(entry);
    let nothing = Scan::new(name, expectation, None).finish();
    let path = entry.object.path.display().to_string();
    SegmentFacts { partial, path, fault: Some(FileFault::Unread { detail: why.to_string() }), ..nothing }
}

/// The segment that a file stands for, and whether it is called something else.
pub(crate) fn name_of(entry: &Entry) -> (SegmentName, bool) {
    match entry.name {
        WalFileName::Segment(name) => (name, false),
        WalFileName::Partial(name) | WalFileName::Backup(name, _) => (name, true),
        WalFileName::History(timeline) => (SegmentName { timeline, log: 0, segment: 0 }, true),
    }
}

/// A scan in progress: first bytes are gathered until the kind of WAL is known, then walked.
#[derive(Debug)]
pub struct Scan<'a> {
    name: SegmentName,
    expectation: &'a Expectation,
    /// Length of the plain file, where it is known beforehand.
    length: Option<u64>,
    first: Vec<u8>,
    bytes: u64,
    walk: Option<(Identity, Walk<Collector>)>,
    not_wal: bool,
    all_zero: bool,
    digests: Digests,
    room: Room,
}

impl<'a> Scan<'a> {
    /// Begins the scan of a file called `name`.
    pub fn new(name: SegmentName, expectation: &'a Expectation, length: Option<u64>) -> Self {
        Self {
            name,
            expectation,
            length,
            first: Vec::new(),
            bytes: 0,
            walk: None,
            not_wal: false,
            all_zero: true,
            digests: Digests::default(),
            room: Room::default(),
        }
    }

    /// Takes the next bytes. Breaks when what follows does not matter.
    pub fn feed(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.bytes += piece.len() as u64;
        if self.walk.is_some() {
            return self.walk_on(piece);
        }
        if self.first.is_empty() && piece.len() >= FIRST_PIECE_BYTES {
            self.begin(piece);
            return self.walk_on(piece);
        }
        self.first.extend_from_slice(piece);
        if self.first.len() < FIRST_PIECE_BYTES {
            return ControlFlow::Continue(());
        }
        self.begin_with_gathered()
    }

    fn begin_with_gathered(&mut self) -> ControlFlow<()> {
        let first = std::mem::take(&mut self.first);
        self.begin(&first);
        self.walk_on(&first)
    }

    /// Decides what kind of WAL this is.
    fn begin(&mut self, first: &[u8]) {
        let Some(identity) = Identity::of(first, self.name, self.length) else {
            self.not_wal = true;
            return;
        };
        let Some(start) = self.name.start(identity.format.segment_size) else {
            self.not_wal = true;
            return;
        };
        let setup = Setup {
            format: identity.format,
            start,
            timeline: self.name.timeline,
            owners: self.expectation.owners.clone(),
        };
        let room = std::mem::take(&mut self.room);
        let collector = Collector::new(&identity.format, self.expectation, room);
        self.digests = Digests::new(start, identity.format.segment_size.bytes(), self.expectation);
        self.walk = Some((identity, Walk::new(setup, collector)));
    }

    fn walk_on(&mut self, piece: &[u8]) -> ControlFlow<()> {
        let Some((identity, walk)) = &mut self.walk else {
            self.all_zero &= piece.iter().all(|byte| *byte == 0);
            if self.first.is_empty() {
                self.first.extend_from_slice(piece.get(..2).unwrap_or_default());
            }
            // No segment is larger, and zeros may go on for ever.
            let may_be_zero = self.all_zero && self.bytes <= SegmentSize::MAX.bytes();
            return if may_be_zero { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        };
        let room = identity.format.segment_size.bytes().saturating_sub(walk.bytes());
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(piece.len());
        let piece = piece.get(..taken).unwrap_or_default();
        self.digests.feed(piece);
        walk.feed(piece);
        // One byte more than a segment is enough to know that there are too many.
        if self.bytes > identity.format.segment_size.bytes() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The facts, after the last byte there is.
    pub fn finish(mut self) -> SegmentFacts {
        if self.walk.is_none() && !self.not_wal && !self.first.is_empty() {
            let _ = self.begin_with_gathered();
        }
        let mut facts = SegmentFacts {
            name: self.name,
            partial: false,
            path: String::new(),
            identity: None,
            fault: None,
            bytes: self.bytes,
            start: Lsn::INVALID,
            walked: Walked::default(),
            transactions: Vec::new(),
            events: Events::default(),
            activity: Activities::default(),
            sightings: Vec::new(),
            records: Vec::new(),
            digests: self.digests.done,
        };
        let Some((identity, walk)) = self.walk else {
            facts.fault = Some(match self.first.first_chunk() {
                None if self.bytes == 0 => FileFault::Empty,
                _ if self.all_zero => FileFault::Zero,
                magic => FileFault::NotWal { magic: magic.map_or(0, |b| u16::from_le_bytes(*b)) },
            });
            return facts;
        };
        let expected = identity.format.segment_size.bytes();
        facts.fault = match self.bytes {
            short if short < expected => Some(FileFault::Truncated { expected }),
            long if long > expected => Some(FileFault::TooLong { expected }),
            _ => None,
        };
        let (walked, collector) = walk.finish();
        facts.start = self.name.start(identity.format.segment_size).unwrap_or(Lsn::INVALID);
        facts.identity = Some(identity);
        facts.walked = walked;
        facts.transactions = collector.transactions;
        facts.events = collector.events.into();
        facts.records = collector.records;
        facts.activity = collector.gatherer.finish();
        facts.sightings = collector.sightings;
        facts
    }
}

/// Keeps what happened.
#[derive(Debug)]
struct Collector {
    major: Major,
    detail: Detail,
    transactions: Vec<Transactions>,
    events: Vec<Event>,
    /// From where on every record's place is kept; [`Lsn::MAX`] for none.
    records_from: Lsn,
    records: Vec<(Lsn, Lsn)>,
    gatherer: Gatherer,
    sightings: Vec<Sighting>,
    page_bytes: u32,
}

impl Collector {
    fn new(format: &Format, expectation: &Expectation, room: Room) -> Self {
        Self {
            major: format.major,
            detail: expectation.detail,
            transactions: Vec::new(),
            events: room.events,
            records_from: expectation.records_from.unwrap_or(Lsn::MAX),
            records: Vec::new(),
            gatherer: Gatherer::with_room(room.activities),
            sightings: Vec::new(),
            page_bytes: u32::try_from(format.page_bytes).unwrap_or(u32::MAX),
        }
    }

    /// Whether a record of the Transaction manager is done with: it has no time, where only times are wanted, or nothing
    /// but main data, whose time is counted here.
    fn counts_end(&mut self, glimpse: &Glimpse<'_>) -> bool {
        if self.detail != Detail::Summary {
            return self.takes_end(glimpse);
        }
        let Some(operation) = xact::Operation::from_info(glimpse.header.info()) else { return false };
        let time = glimpse.bare_main().and_then(xact::end_time);
        match (operation.ends_transaction(), time, self.transactions.last_mut()) {
            (true, Some(time), Some(run)) => {
                run.add(operation.is_commit(), time);
                true
            }
            (ends, ..) => !ends,
        }
    }

    /// Takes the end of a transaction that says nothing but its time; any other record must be taken apart.
    fn takes_end(&mut self, glimpse: &Glimpse<'_>) -> bool {
        let (Some(event), Some(run)) = (Event::plain_end(glimpse), self.transactions.last_mut()) else {
            return false;
        };
        run.add_event(&event);
        self.events.push(event);
        true
    }

    fn transaction(&mut self, record: &Record<'_>) {
        let Some(operation) = xact::Operation::from_info(record.header.info()) else { return };
        if let (true, Some(time)) = (operation.ends_transaction(), xact::end_time(record.main()))
            && let Some(run) = self.transactions.last_mut()
        {
            run.add(operation.is_commit(), time);
        }
        if self.detail != Detail::Summary {
            self.events.extend(Event::from_record(record, self.major));
        }
    }
}

/// Whose records tell of transactions, checkpoints and the like.
const OF_SUMMARY: Managers = Managers::of(&[
    ResourceManager::XLOG,
    ResourceManager::TRANSACTION,
    ResourceManager::DATABASE,
    ResourceManager::TABLESPACE,
]);

/// Those, and whose tell of rows and files.
const OF_EVENTS: Managers = OF_SUMMARY
    .with(&[ResourceManager::STORAGE, ResourceManager::HEAP, ResourceManager::HEAP2])
    .with(&BEGINNERS);

impl Sink for Collector {
    fn capture(&self, header: &RecordHeader, body: &[u8]) -> Capture {
        let is_of_catalogs = || {
            catalog_rows::may_show(header, body, self.page_bytes, self.major)
                || catalog_changes::may_change(header, body, self.page_bytes, self.major)
        };
        let is_wanted = || Gatherer::counts_by_main(header) || is_of_catalogs();
        let wanted = Event::may_be(header) || (self.detail == Detail::Events && is_wanted());
        if wanted { Capture::Whole } else { Capture::Headers }
    }

    #[inline(always)]
    fn managers(&self) -> Managers {
        if self.records_from != Lsn::MAX {
            return Managers::ALL;
        }
        if self.detail == Detail::Events { OF_EVENTS } else { OF_SUMMARY }
    }

    #[inline(always)]
    fn wants(&mut self, glimpse: &Glimpse<'_>) -> bool {
        if glimpse.lsn >= self.records_from {
            return true;
        }
        match glimpse.header.resource_manager() {
            ResourceManager::TRANSACTION => !self.counts_end(glimpse),
            ResourceManager::XLOG | ResourceManager::DATABASE | ResourceManager::TABLESPACE => true,
            ResourceManager::HEAP | ResourceManager::HEAP2 => {
                self.detail == Detail::Events && !self.gatherer.glance(glimpse)
            }
            ResourceManager::STORAGE => self.detail == Detail::Events,
            _ => self.detail == Detail::Events && may_begin_file(&glimpse.header),
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        if record.lsn >= self.records_from {
            self.records.push((record.lsn, record.end));
        }
        match record.header.resource_manager() {
            ResourceManager::TRANSACTION => self.transaction(record),
            ResourceManager::XLOG => {
                let event = Event::from_record(record, self.major);
                self.events
                    .extend(event.filter(|e| self.detail != Detail::Summary || e.what != What::Switch));
            }
            ResourceManager::DATABASE | ResourceManager::TABLESPACE => {
                self.events.extend(Event::from_record(record, self.major));
            }
            _ => {}
        }
        if self.detail == Detail::Events {
            self.gatherer.record(record, self.major, self.page_bytes);
            catalog_rows::gather(record, self.page_bytes, self.major, &mut self.sightings);
        }
    }

    fn run(&mut self, index: usize) {
        self.transactions.resize_with(index + 1, Transactions::default);
    }
}

/// Digests of the bytes up to given positions.
#[derive(Debug, Default)]
struct Digests {
    /// Positions not yet reached, as offsets, the next one last.
    waiting: Vec<(u64, Lsn)>,
    offset: u64,
    state: u32,
    done: Vec<(Lsn, u32)>,
}

impl Digests {
    fn new(start: Lsn, segment_bytes: u64, expectation: &Expectation) -> Self {
        let end = expectation.digest_all.then(|| start.plus(segment_bytes));
        let mut waiting: Vec<_> = expectation
            .digests
            .iter()
            .filter(|at| **at > start && at.bytes_since(start) < segment_bytes)
            .chain(&end)
            .map(|at| (at.bytes_since(start), *at))
            .collect();
        waiting.sort_unstable();
        waiting.dedup();
        waiting.reverse();
        Self { waiting, offset: 0, state: crc::INIT, done: Vec::new() }
    }

    fn feed(&mut self, mut piece: &[u8]) {
        while let Some((offset, position)) = self.waiting.last().copied() {
            let wanted = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            let (head, rest) = piece.split_at(wanted.min(piece.len()));
            self.state = crc::update(self.state, head);
            self.offset += head.len() as u64;
            if self.offset < offset {
                return;
            }
            self.done.push((position, crc::finish(self.state)));
            self.waiting.pop();
            piece = rest;
        }
    }
}

/// A wound and the file that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedWound {
    /// The file.
    pub segment: SegmentName,
    /// What and where.
    pub wound: Wound,
}

/// Whether WAL of this ending can go on in the next segment.
pub const fn reaches_segment_end(ending: Ending) -> bool {
    matches!(ending, Ending::Full | Ending::Switch { .. })
}
