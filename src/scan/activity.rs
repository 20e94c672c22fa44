//! What transactions did to rows and files, record by record.
//!
//! Rows are those of user tables: relations with file numbers below 16384 are catalogs as initdb made them.
//!
//! PostgreSQL: `src/include/access/heapam_xlog.h`, `src/include/catalog/storage_xlog.h`,
//! `src/include/access/rmgrdesc_utils.h`, 9.5 to 19.

use super::catalog_changes::Change;
use super::files::{Files, may_begin_file};
use crate::wal::payload::Reader;
use crate::wal::payload::heap::Operation;
use crate::wal::record::{
    Fork, RecordHeader, RelationFile, ResourceManager, first_block, plain_first_relation,
};
use crate::wal::walk::{Glimpse, Record};
use crate::wal::{Major, Xid};
use indexmap::IndexSet;
use std::collections::HashMap;

/// `FirstNormalObjectId`: what initdb makes has lower numbers.
const FIRST_NORMAL_OBJECT: u32 = 16384;

/// `XLOG_HEAP_OPMASK`.
const OPERATION_MASK: u8 = 0x70;
/// `XLOG_HEAP2_MULTI_INSERT`.
const MULTI_INSERT: u8 = 0x50;

/// Rows of user tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Rows {
    /// Inserted, less those that were taken back and the new halves of rows that moved to another partition. A deletion
    /// comes before the insertion that it takes back, and they may lie in different files: below zero, as one file may
    /// leave it, it counts as none where the sum is shown.
    #[serde(serialize_with = "none_below_zero")]
    pub inserted: i64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn none_below_zero<S: serde::Serializer>(count: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64((*count).max(0))
}

impl Rows {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.inserted.max(0).unsigned_abs() + self.updated + self.deleted
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// What one transaction (or subtransaction) did in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// The timeline that owns these records.
    pub owner: u32,
    /// The transaction.
    pub xid: u32,
    /// Its database, by the blocks it touched; 0 if it touched none.
    pub database: u32,
    /// The tables that these rows are of: a place in [`Activities::table_sets`].
    pub tables: u32,
    /// Rows.
    pub rows: Rows,
    /// What it did to files: nothing, nearly always.
    pub files: Option<Box<Files>>,
}

impl Activity {
    fn files(&mut self) -> &mut Files {
        self.files.get_or_insert_default()
    }
}

/// What the transactions in one file did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Activities {
    /// By owner and transaction.
    pub of_transactions: Vec<Activity>,
    /// Tables that one transaction or another touched together; the first set is the empty one, if there is any.
    pub table_sets: Vec<Vec<RelationFile>>,
}

impl Activities {
    /// The tables that `activity`, which is one of these, touched.
    pub fn tables(&self, activity: &Activity) -> &[RelationFile] {
        self.table_sets.get(activity.tables as usize).map_or(&[], Vec::as_slice)
    }
}

/// Places that [`TableSets`] and [`Gatherer`] look at before they ask a table of hashes.
const RECENT: usize = 64;

/// Where `number` has its place among the recent ones.
const fn slot(number: u32) -> usize {
    number as usize % RECENT
}

/// Sets of tables, each kept once: most transactions touch the same ones.
#[derive(Debug)]
struct TableSets {
    sets: IndexSet<Vec<RelationFile>>,
    grown: HashMap<(u32, RelationFile), u32>,
    recent: [Option<(u32, RelationFile, u32)>; RECENT],
}

impl Default for TableSets {
    fn default() -> Self {
        Self { sets: IndexSet::from([Vec::new()]), grown: HashMap::new(), recent: [None; RECENT] }
    }
}

impl TableSets {
    /// The set that `set` becomes with `table`.
    #[inline]
    fn with(&mut self, set: u32, table: RelationFile) -> u32 {
        let slot = slot(set.wrapping_mul(7) ^ table.number);
        match self.recent[slot] {
            Some((of, with, grown)) if of == set && with == table => grown,
            _ => {
                let grown = self.find(set, table);
                self.recent[slot] = Some((set, table, grown));
                grown
            }
        }
    }

    #[inline(never)]
    fn find(&mut self, set: u32, table: RelationFile) -> u32 {
        if let Some(grown) = self.grown.get(&(set, table)) {
            return *grown;
        }
        let mut tables = self.sets.get_index(set as usize).cloned().unwrap_or_default();
        if let Err(place) = tables.binary_search(&table) {
            tables.insert(place, table);
        }
        let grown = u32::try_from(self.sets.insert_full(tables).0).unwrap_or_default();
        self.grown.insert((set, table), grown);
        grown
    }

    /// The sets that `used` points to, which then points into these.
    fn keep<'a>(self, used: impl Iterator<Item = &'a mut u32>) -> Vec<Vec<RelationFile>> {
        let mut kept = vec![Vec::new()];
        // The place among those that are kept, where a set has one.
        let mut places = vec![None; self.sets.len()];
        if let Some(empty) = places.first_mut() {
            *empty = Some(0);
        }
        for set in used {
            let Some(place) = places.get_mut(*set as usize) else { continue };
            *set = *place.get_or_insert_with(|| {
                kept.extend(self.sets.get_index(*set as usize).cloned());
                u32::try_from(kept.len() - 1).unwrap_or_default()
            });
        }
        if kept.len() == 1 { Vec::new() } else { kept }
    }
}

/// Gathers what transactions do.
///
/// Nearly every record is of one of the transactions met last, and nearly every new one has a number above all
/// others: only the rest costs a look into a table of hashes.
#[derive(Debug)]
pub struct Gatherer {
    /// What each did: by owner and transaction, but for those in `stragglers`.
    all: Vec<Activity>,
    /// Those that came when a later one was known, and their places in `late`.
    stragglers: HashMap<(u32, u32), usize>,
    late: Vec<Activity>,
    recent: [Option<Recent>; RECENT],
    table_sets: TableSets,
}

/// A transaction met lately.
#[derive(Clone, Copy, Debug)]
struct Recent {
    key: (u32, u32),
    place: Place,
}

/// Where what a transaction did is kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    InOrder(usize),
    Late(usize),
}

impl Gatherer {
    /// Gathers in `room`, an empty list.
    pub fn with_room(room: Vec<Activity>) -> Self {
        Self {
            all: room,
            stragglers: HashMap::new(),
            late: Vec::new(),
            recent: [None; RECENT],
            table_sets: TableSets::default(),
        }
    }

    /// Takes a record of any resource manager.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        match record.header.resource_manager() {
            ResourceManager::HEAP => self.heap(record, major, page_bytes),
            ResourceManager::HEAP2 if record.header.info() & OPERATION_MASK == MULTI_INSERT => {
                self.multi_insert(record, major, page_bytes);
            }
            ResourceManager::STORAGE => self.storage(record),
            ResourceManager::XLOG if matches!(record.header.info() & 0xF0, 0xB0 | 0xC0) => {
                self.built(record, major, page_bytes);
            }
            _ if may_begin_file(&record.header) => {
                self.built(record, major, page_bytes);
            }
            _ => {}
        }
    }

    /// Whether it is the main data of a record with this header, behind all images and rows, that tell how many rows it is
    /// about, or whether they are rows at all.
    pub fn counts_by_main(header: &RecordHeader) -> bool {
        match header.resource_manager() {
            ResourceManager::HEAP => {
                matches!(Operation::of(header.info()), Operation::Delete | Operation::Truncate)
            }
            ResourceManager::HEAP2 => header.info() & OPERATION_MASK == MULTI_INSERT,
            _ => false,
        }
    }

    /// Takes a record of Heap or Heap2 if its first block reference says all that counts; false if
    /// [`Self::record`], or who looks for rows of catalogs, needs more of it.
    #[inline]
    pub fn glance(&mut self, glimpse: &Glimpse<'_>) -> bool {
        let Some((table, fork)) = plain_first_relation(glimpse.body) else { return false };
        if table.number < FIRST_NORMAL_OBJECT {
            return false;
        }
        let info = glimpse.header.info();
        if glimpse.header.resource_manager() == ResourceManager::HEAP2 {
            return info & OPERATION_MASK != MULTI_INSERT;
        }
        let key = (glimpse.owner.0, glimpse.header.xid().0);
        match Operation::of(info) {
            Operation::Insert if fork == Fork::MAIN => self.of_rows(key, table).rows.inserted += 1,
            Operation::Update if fork == Fork::MAIN => self.of_rows(key, table).rows.updated += 1,
            // These say more in their main data.
            Operation::Delete | Operation::Truncate => return false,
            _ => {}
        }
        true
    }

    /// What was gathered, in a fixed order.
    pub fn finish(self) -> Activities {
        let mut all = self.all;
        let in_order = self.late.is_empty();
        all.extend(self.late);
        all.retain(|activity| !is_bare(activity));
        if !in_order {
            all.sort_by_key(key_of);
        }
        let table_sets = self.table_sets.keep(all.iter_mut().map(|activity| &mut activity.tables));
        Activities { of_transactions: all, table_sets }
    }

    /// What the transaction of `record` does. Nothing is ever taken out of the lists that places are in.
    fn of(&mut self, record: &Record<'_>) -> &mut Activity {
        match self.place(key_of_record(record)) {
            Place::InOrder(index) => &mut self.all[index],
            Place::Late(index) => &mut self.late[index],
        }
    }

    /// What `key`, owner and transaction, does, once it is noted that it touches rows of `table`.
    #[inline]
    fn of_rows(&mut self, key: (u32, u32), table: RelationFile) -> &mut Activity {
        let activity = match self.place(key) {
            Place::InOrder(index) => &mut self.all[index],
            Place::Late(index) => &mut self.late[index],
        };
        activity.tables = self.table_sets.with(activity.tables, table);
        activity.database = table.database;
        activity
    }

    /// Where the transaction is kept, made if need be.
    #[inline]
    fn place(&mut self, key: (u32, u32)) -> Place {
        let slot = slot(key.1);
        match self.recent[slot] {
            Some(recent) if recent.key == key => recent.place,
            _ => {
                let place = self.find(key);
                self.recent[slot] = Some(Recent { key, place });
                place
            }
        }
    }

    #[inline(never)]
    fn find(&mut self, key: (u32, u32)) -> Place {
        let new = || Activity { owner: key.0, xid: key.1, ..Activity::default() };
        if self.all.last().is_none_or(|last| key_of(last) < key) {
            self.all.push(new());
            return Place::InOrder(self.all.len() - 1);
        }
        match self.all.binary_search_by_key(&key, key_of) {
            Ok(index) => Place::InOrder(index),
            Err(_) => Place::Late(*self.stragglers.entry(key).or_insert_with(|| {
                self.late.push(new());
                self.late.len() - 1
            })),
        }
    }

    /// The file of a user's relation that the record's first block belongs to.
    fn table(record: &Record<'_>, major: Major, page_bytes: u32) -> Option<RelationFile> {
        let block = first_block(record.body, page_bytes, major)?;
        (block.relation.number >= FIRST_NORMAL_OBJECT && block.fork == Fork::MAIN).then_some(block.relation)
    }

    fn heap(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        const SUPER_DELETE: u8 = 0x08;
        const PARTITION_MOVE: u8 = 0x10;
        let operation = Operation::of(record.header.info());
        if operation == Operation::Truncate && major >= Major::V11 {
            let tables = truncated(record.main());
            self.of(record).files().truncated.extend(tables);
            return;
        }
        if matches!(operation, Operation::Truncate | Operation::Other) {
            return;
        }
        if let Some(change) = Change::of(record, page_bytes, major) {
            self.of(record).files().catalogs.take(change);
            return;
        }
        let Some(table) = Self::table(record, major, page_bytes) else { return };
        let flags = record.main().get(7).copied().unwrap_or(0);
        let rows = &mut self.of_rows(key_of_record(record), table).rows;
        match operation {
            Operation::Insert => rows.inserted += 1,
            // A speculative insert is taken back.
            Operation::Delete if flags & SUPER_DELETE != 0 => rows.inserted -= 1,
            // One half of an update; the other is an insert.
            Operation::Delete if flags & PARTITION_MOVE != 0 => {
                rows.updated += 1;
                rows.inserted -= 1;
            }
            Operation::Delete => rows.deleted += 1,
            _ => rows.updated += 1,
        }
    }

    fn multi_insert(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        let Some(table) = Self::table(record, major, page_bytes) else { return };
        let count = record.main().get(2..).and_then(|rest| Reader::new(rest).u16()).unwrap_or(0);
        self.of_rows(key_of_record(record), table).rows.inserted += i64::from(count);
    }

    fn storage(&mut self, record: &Record<'_>) {
        let main = record.main();
        match record.header.info() & 0xF0 {
            0x10 => {
                let fork = main.get(12..).and_then(|rest| Reader::new(rest).i32());
                if let (Some(file), Some(0)) = (RelationFile::read(main), fork) {
                    let activity = self.of(record);
                    activity.database = file.database;
                    activity.files().created.push(file);
                }
            }
            // Vacuum cuts off empty tails; only a cut down to nothing empties a table.
            0x20 if Reader::new(main).u32() == Some(0) && record.header.xid() != Xid::INVALID => {
                if let Some(file) = main.get(4..).and_then(RelationFile::read) {
                    self.of(record).files().emptied.push(file);
                }
            }
            _ => {}
        }
    }

    /// The pages of one record are all of one file.
    fn built(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        if record.header.xid() == Xid::INVALID {
            return;
        }
        let Some(file) = Self::table(record, major, page_bytes) else { return };
        self.of(record).files().built.insert(file);
    }
}

/// The OIDs in a TRUNCATE's record (`xl_heap_truncate`): database, their number, flags, and they.
fn truncated(main: &[u8]) -> impl Iterator<Item = u32> {
    let count = main.get(4..).and_then(|rest| Reader::new(rest).u32()).unwrap_or(0);
    let oids = main.get(12..).unwrap_or_default().chunks_exact(4);
    oids.take(count as usize).filter_map(|oid| Reader::new(oid).u32())
}

/// Owner and transaction of a record.
fn key_of_record(record: &Record<'_>) -> (u32, u32) {
    (record.owner.0, record.header.xid().0)
}

/// What activities are in order of.
const fn key_of(activity: &Activity) -> (u32, u32) {
    (activity.owner, activity.xid)
}

/// Whether nothing of an activity is worth keeping.
fn is_bare(activity: &Activity) -> bool {
    activity.rows == Rows::default()
        && activity.database == 0
        && activity.tables == 0
        && activity.files.as_deref().is_none_or(|files| *files == Files::default())
}
