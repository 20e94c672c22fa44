//! What the WAL shows of the catalogs that hold names: pg_class, pg_namespace, pg_database.
//!
//! A catalog is known by the number of its file, which is its OID until it is rewritten as a whole (VACUUM FULL of
//! pg_class itself); after that its rows are not seen.
//!
//! PostgreSQL: `src/include/catalog/pg_class.h`, `pg_namespace.h`, `pg_database.h`, 9.5 to 19.

use crate::wal::payload::Reader;
use crate::wal::payload::heap::{self, Operation, Row};
use crate::wal::payload::image::restore;
use crate::wal::record::{BlockReference, Fork, RecordHeader, RelationFile, ResourceManager};
use crate::wal::record::{block_references, first_block};
use crate::wal::walk::Record;
use crate::wal::{Lsn, Major, TimelineId};

/// OID of pg_class.
pub const PG_CLASS: u32 = 1259;
/// OID of pg_namespace.
pub const PG_NAMESPACE: u32 = 2615;
/// OID of pg_database.
pub const PG_DATABASE: u32 = 1262;
/// `GLOBALTABLESPACE_OID`.
const GLOBAL: u32 = 1664;
/// Bytes kept of a row: up to `relkind`, the last column of pg_class that is looked at.
const ROW_BYTES: usize = 120;
/// `BLCKSZ` as it is nearly everywhere. Pages of another size are not read.
pub(super) const PAGE_BYTES: usize = 8192;

/// What a record shows of one page of a catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The record.
    pub lsn: Lsn,
    /// The timeline that owns it.
    pub owner: TimelineId,
    /// The catalog's file.
    pub file: RelationFile,
    /// Which of its pages.
    pub block: u32,
    /// What.
    pub seen: Seen,
}

/// What is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// All rows of the page.
    Page(Vec<(u16, KeptRow)>),
    /// One new row.
    Row {
        /// Its item.
        offset: u16,
        /// The row.
        row: KeptRow,
    },
    /// A new version of a row, of which parts are to be taken from the old one.
    Update {
        /// Item of the new version.
        offset: u16,
        /// Page and item of the old one.
        old: (u32, u16),
        /// So many bytes are taken from the old one's beginning.
        prefix: u16,
        /// So many are taken from its end.
        suffix: u16,
        /// What stands between.
        row: KeptRow,
    },
    /// A database is made unusable where its row lies, as DROP DATABASE does before it removes a file.
    Invalidated {
        /// Item of its row.
        offset: u16,
        /// Its row.
        row: KeptRow,
    },
}

/// The beginning of a row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptRow {
    /// The page says that the transaction that made it committed.
    pub committed: bool,
    /// Its OID, where it is no column (up to 11).
    pub oid: Option<u32>,
    /// The transaction that made it.
    pub xmin: u32,
    /// Bytes of all its columns.
    pub length: u16,
    /// The first of them.
    pub columns: Vec<u8>,
}

impl KeptRow {
    fn of(row: &Row<'_>) -> Self {
        Self::with(row.committed, row.oid, row.xmin, row.columns)
    }

    fn with(committed: bool, oid: Option<u32>, xmin: u32, columns: &[u8]) -> Self {
        let length = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        Self { committed, oid, xmin, length, columns: columns.get(..ROW_BYTES).unwrap_or(columns).to_vec() }
    }
}

/// The rows of a catalog's page. `None` if it is not of the usual size.
pub fn rows_of_page(page: &[u8]) -> Option<Vec<(u16, KeptRow)>> {
    (page.len() == PAGE_BYTES).then(|| heap::rows(page).map(|row| (row.offset, KeptRow::of(&row))).collect())
}

/// Whether a file is that of a catalog with names.
const fn is_named(file: RelationFile, fork: Fork) -> bool {
    let kind = match file.number {
        PG_CLASS | PG_NAMESPACE => file.database != 0,
        PG_DATABASE => file.tablespace == GLOBAL,
        _ => false,
    };
    kind && fork.0 == 0
}

/// Whether a record shows rows of a catalog, by its header and the beginning of its body.
#[inline]
pub fn may_show(header: &RecordHeader, body: &[u8], page_bytes: u32, major: Major) -> bool {
    let touches_rows = match header.resource_manager() {
        ResourceManager::HEAP | ResourceManager::HEAP2 => true,
        ResourceManager::XLOG => matches!(header.info() & 0xF0, 0xA0 | 0xB0 | 0xC0),
        _ => false,
    };
    touches_rows
        && first_block(body, page_bytes, major).is_some_and(|block| is_named(block.relation, block.fork))
}

/// Appends what a record shows.
pub fn gather(record: &Record<'_>, page_bytes: u32, major: Major, sightings: &mut Vec<Sighting>) {
    if !may_show(&record.header, record.body, page_bytes, major) {
        return;
    }
    let mut blocks = Vec::new();
    if block_references(record.body, page_bytes, major, &mut blocks).is_err() {
        return;
    }
    let mut see = |block: &BlockReference<'_>, seen| {
        let (lsn, owner, file) = (record.lsn, record.owner, block.relation);
        sightings.push(Sighting { lsn, owner, file, block: block.block, seen });
    };
    for block in blocks.iter().filter(|block| is_named(block.relation, block.fork)) {
        let page = block.image.and_then(|image| restore(&image, PAGE_BYTES, major));
        if let Some(rows) = page.as_deref().and_then(rows_of_page) {
            see(block, Seen::Page(rows));
        }
    }
    let of_database = blocks.first().filter(|block| block.id == 0 && block.relation.number == PG_DATABASE);
    if let Some(block) = of_database
        && let Some(seen) = invalidated(record, block, major)
    {
        see(block, seen);
    }
    let first = blocks.first().filter(|block| block.id == 0 && block.image.is_none());
    let Some(first) = first.filter(|_| record.header.resource_manager() == ResourceManager::HEAP) else {
        return;
    };
    let xid = record.header.xid().0;
    match Operation::of(record.header.info()) {
        Operation::Insert => {
            if let Some(row) = heap::inserted(record.main(), first.data) {
                let offset = row.offset;
                see(first, Seen::Row { offset, row: KeptRow { xmin: xid, ..KeptRow::of(&row) } });
            }
        }
        Operation::Update => {
            let old_block = blocks.iter().find(|block| block.id == 1).map_or(first.block, |old| old.block);
            if let Some((offset, update)) = heap::updated(record.main(), first.data) {
                let row = KeptRow::with(false, update.oid, xid, update.columns);
                let old = (old_block, update.old_offset);
                let (prefix, suffix) = (update.prefix, update.suffix);
                see(first, Seen::Update { offset, old, prefix, suffix, row });
            }
        }
        _ => {}
    }
}

/// The database that a record makes unusable (late minors of 11 to 15, and all of 16 and later): whoever recovers to behind
/// it has a database that nobody can connect to, whether it was dropped then or not.
///
/// PostgreSQL: `dropdb` in `src/backend/commands/dbcommands.c`, `heap_inplace_update` and its successors in `heapam.c`.
fn invalidated(record: &Record<'_>, block: &BlockReference<'_>, major: Major) -> Option<Seen> {
    /// `DATCONNLIMIT_INVALID_DB`.
    const INVALID: i32 = -2;
    let header = &record.header;
    if header.resource_manager() != ResourceManager::HEAP || !heap::is_in_place(header.info()) {
        return None;
    }
    let row = heap::overwritten(record.main(), block.data)?;
    let page = block.image.and_then(|image| restore(&image, PAGE_BYTES, major));
    let row = match &page {
        Some(page) => heap::rows(page).find(|on_page| on_page.offset == row.offset)?,
        None => row,
    };
    let is_invalid = connection_limit(row.columns, major)? == INVALID;
    is_invalid.then(|| Seen::Invalidated { offset: row.offset, row: KeptRow::of(&row) })
}

/// `datconnlimit` of a row of pg_database.
fn connection_limit(columns: &[u8], major: Major) -> Option<i32> {
    let at = if major >= Major::V15 {
        80
    } else if major >= Major::V12 {
        208
    } else {
        204
    };
    Reader::new(columns.get(at..)?).i32()
}
