//! What a transaction did to files.
//!
//! A relation's new file says by what is written into it what became of the relation. Indexes are built, and files are
//! copied to another tablespace, as whole pages; rows come into tables one by one, and a table that was emptied gets none.
//!
//! PostgreSQL: `log_newpage` in `src/backend/access/transam/xloginsert.c`, `src/backend/storage/smgr/bulk_write.c` (17 and
//! later), and the records with which each kind of index begins, 9.5 to 19.

use super::catalog_changes::CatalogChanges;
use crate::wal::record::{RecordHeader, RelationFile, ResourceManager};
use std::collections::BTreeSet;

/// What one transaction did to files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files {
    /// Those that it made (main forks).
    pub created: Vec<RelationFile>,
    /// Those that it wrote otherwise than row by row: of indexes and sequences, and copies.
    pub built: BTreeSet<RelationFile>,
    /// Those that it cut down to nothing where they lie.
    pub emptied: Vec<RelationFile>,
    /// OIDs of the tables that a TRUNCATE named (11 and later, and only at `wal_level` logical).
    pub truncated: Vec<u32>,
    /// What it did to the catalogs.
    pub catalogs: CatalogChanges,
}

impl Files {
    /// Adds what the same transaction did elsewhere.
    pub fn join(&mut self, other: &Self) {
        self.created.extend(&other.created);
        self.built.extend(&other.built);
        self.emptied.extend(&other.emptied);
        self.truncated.extend(&other.truncated);
        self.catalogs.join(&other.catalogs);
    }
}

/// Managers whose records may begin a file.
pub const BEGINNERS: [ResourceManager; 7] = [
    ResourceManager::HASH,
    ResourceManager::GIN,
    ResourceManager::GIST,
    ResourceManager::SEQUENCE,
    ResourceManager::SPGIST,
    ResourceManager::BRIN,
    ResourceManager::GENERIC,
];

/// Whether a record with this header may be the first of a file other than a table's: `XLOG_HASH_INIT_META_PAGE`,
/// `XLOG_GIN_CREATE_INDEX`, `XLOG_GIST_CREATE_INDEX`, `XLOG_SPGIST_CREATE_INDEX` (up to 11), `XLOG_BRIN_CREATE_INDEX`,
/// `XLOG_SEQ_LOG`, and what extensions write. Of the last two later records are alike, and the file may have been made in
/// the segment before.
#[inline]
pub(super) fn may_begin_file(header: &RecordHeader) -> bool {
    const BRIN_OPERATION: u8 = 0x70;
    match (header.resource_manager(), header.info() & 0xF0) {
        (ResourceManager::HASH | ResourceManager::GIN | ResourceManager::SPGIST, 0x00)
        | (ResourceManager::GIST, 0x50)
        | (ResourceManager::SEQUENCE | ResourceManager::GENERIC, _) => true,
        (ResourceManager::BRIN, info) => info & BRIN_OPERATION == 0,
        _ => false,
    }
}
