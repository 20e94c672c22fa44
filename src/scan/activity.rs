//! What transactions did to rows and files, record by record.
//!
//! Rows are those of user tables: relations with file numbers below 16384 are catalogs as initdb made them.
//!
//! PostgreSQL: `src/include/access/heapam_xlog.h`, `src/include/catalog/storage_xlog.h`,
//! `src/include/access/rmgrdesc_utils.h`, 9.5 to 19.

use crate::wal::payload::Reader;
use crate::wal::record::{RelationFile, ResourceManager, first_block};
use crate::wal::walk::Record;
use crate::wal::{Major, TimelineId, Xid};
use std::collections::HashMap;

/// `FirstNormalObjectId`: what initdb makes has lower numbers.
const FIRST_NORMAL_OBJECT: u32 = 16384;

/// Rows of user tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Rows {
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

impl Rows {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// What one transaction (or subtransaction) did in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Activity {
    /// The timeline that owns these records.
    pub owner: u32,
    /// The transaction.
    pub xid: u32,
    /// Its database, by the blocks it touched; 0 if it touched none.
    pub database: u32,
    /// Rows.
    pub rows: Rows,
    /// Files that it made (main forks): tablespace, database, number.
    pub created: Vec<(u32, u32, u32)>,
    /// Whole pages were written into other than the first block of a file that it made: it filled it.
    pub filled: bool,
    /// Tables truncated in place or by OID (the latter only at wal_level logical).
    pub truncated: u32,
}

/// Gathers what transactions do.
#[derive(Debug, Default)]
pub struct Gatherer {
    by_transaction: HashMap<(TimelineId, Xid), Activity>,
}

impl Gatherer {
    /// Takes a record of any resource manager.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        match record.header.resource_manager() {
            ResourceManager::HEAP => self.heap(record, major, page_bytes),
            ResourceManager::HEAP2 if record.header.info() & 0x70 == 0x50 => {
                self.multi_insert(record, major, page_bytes);
            }
            ResourceManager::STORAGE => self.storage(record),
            ResourceManager::XLOG if matches!(record.header.info() & 0xF0, 0xB0 | 0xC0) => {
                self.page_image(record, major, page_bytes);
            }
            _ => {}
        }
    }

    /// What was gathered, in a fixed order.
    pub fn finish(self) -> Vec<Activity> {
        let mut all: Vec<Activity> = self.by_transaction.into_values().filter(|a| *a != bare(a)).collect();
        all.sort_by_key(|activity| (activity.owner, activity.xid));
        all
    }

    fn of(&mut self, record: &Record<'_>) -> &mut Activity {
        let (owner, xid) = (record.owner, record.header.xid());
        let new = || Activity { owner: owner.0, xid: xid.0, ..Activity::default() };
        self.by_transaction.entry((owner, xid)).or_insert_with(new)
    }

    /// The user table that the record's first block belongs to.
    fn table(record: &Record<'_>, major: Major, page_bytes: u32) -> Option<RelationFile> {
        let block = first_block(record.body, page_bytes, major)?;
        (block.relation.number >= FIRST_NORMAL_OBJECT && block.fork.0 == 0).then_some(block.relation)
    }

    fn heap(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        const SUPER_DELETE: u8 = 0x08;
        const PARTITION_MOVE: u8 = 0x10;
        let operation = record.header.info() & 0x70;
        if operation == 0x30 && major >= Major::V11 {
            let count =
                Reader::new(record.main()).skip(4).and_then(|()| Reader::new(record.main().get(4..)?).u32());
            self.of(record).truncated += count.unwrap_or(0);
            return;
        }
        if !matches!(operation, 0x00 | 0x10 | 0x20 | 0x40) {
            return;
        }
        let Some(table) = Self::table(record, major, page_bytes) else { return };
        let flags = record.main().get(7).copied().unwrap_or(0);
        let activity = self.of(record);
        activity.database = table.database;
        let rows = &mut activity.rows;
        match operation {
            0x00 => rows.inserted += 1,
            // A speculative insert is taken back.
            0x10 if flags & SUPER_DELETE != 0 => rows.inserted = rows.inserted.saturating_sub(1),
            // One half of an update; the other is an insert.
            0x10 if flags & PARTITION_MOVE != 0 => {
                rows.updated += 1;
                rows.inserted = rows.inserted.saturating_sub(1);
            }
            0x10 => rows.deleted += 1,
            _ => rows.updated += 1,
        }
    }

    fn multi_insert(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        let Some(table) = Self::table(record, major, page_bytes) else { return };
        let count = record.main().get(2..).and_then(|rest| Reader::new(rest).u16()).unwrap_or(0);
        let activity = self.of(record);
        activity.database = table.database;
        activity.rows.inserted += u64::from(count);
    }

    fn storage(&mut self, record: &Record<'_>) {
        let main = record.main();
        match record.header.info() & 0xF0 {
            0x10 => {
                let fork = main.get(12..).and_then(|rest| Reader::new(rest).i32());
                if let (Some(file), Some(0)) = (RelationFile::read(main), fork) {
                    let activity = self.of(record);
                    activity.database = file.database;
                    activity.created.push((file.tablespace, file.database, file.number));
                }
            }
            // Vacuum cuts off empty tails; only a cut down to nothing empties a table.
            0x20 if Reader::new(main).u32() == Some(0) && record.header.xid() != Xid::INVALID => {
                self.of(record).truncated += 1;
            }
            _ => {}
        }
    }

    fn page_image(&mut self, record: &Record<'_>, major: Major, page_bytes: u32) {
        if record.header.xid() == Xid::INVALID {
            return;
        }
        let Some(block) = first_block(record.body, page_bytes, major) else { return };
        let file = (block.relation.tablespace, block.relation.database, block.relation.number);
        let activity = self.of(record);
        activity.filled |= block.block > 0 && activity.created.contains(&file);
    }
}

/// An activity of which nothing is worth keeping.
fn bare(activity: &Activity) -> Activity {
    Activity { owner: activity.owner, xid: activity.xid, ..Activity::default() }
}
