//! Rows of catalogs from the data files of a base backup.
//!
//! The pages of a backup may be of any moment while it was taken; each says by the position on it how new it is.
//!
//! PostgreSQL: `src/backend/utils/cache/relmapper.c` (`pg_filenode.map`), `src/backend/access/transam/clog.c` (`pg_xact`),
//! 9.5 to 19.

use crate::backup::{BaseBackup, LoadError, read_files};
use crate::scan::catalog_rows::{KeptRow, PG_CLASS, PG_DATABASE, PG_NAMESPACE, Seen, Sighting, rows_of_page};
use crate::wal::Lsn;
use crate::wal::payload::Reader;
use crate::wal::payload::heap::page_lsn;
use crate::wal::record::RelationFile;
use std::collections::{BTreeMap, BTreeSet};

/// `RELMAPPER_FILEMAGIC`.
const MAP_MAGIC: u32 = 0x0059_2717;
/// `MAX_MAPPINGS` (62 up to 15, 64 from 16).
const MAPPINGS_MAX: u32 = 64;
/// Bytes of a catalog that are read: a million tables are within it.
const CATALOG_BYTES_MAX: u64 = 1 << 28;
/// `BLCKSZ`.
const PAGE_BYTES: usize = 8192;
/// `CLOG_XACTS_PER_PAGE`.
const STATUSES_ON_PAGE: u32 = 8192 * 4;
/// `SLRU_PAGES_PER_SEGMENT`.
const STATUS_PAGES: u32 = 32;
/// `TRANSACTION_STATUS_COMMITTED`.
const COMMITTED: u8 = 1;
/// `TRANSACTION_STATUS_ABORTED`.
const ABORTED: u8 = 2;
/// Where a relation is mapped to a file.
const MAP_NAME: &str = "pg_filenode.map";

/// The rows in the data files of `backup`; none if it has none (a manifest or a label alone).
///
/// # Errors
/// Something is there and could not be read.
pub fn rows_of_backup(backup: &BaseBackup) -> Result<Vec<Sighting>, LoadError> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let usual = |path: &str| {
        let (_, name) = path.rsplit_once('/').unwrap_or_default();
        let is_catalog = || catalogs(path).iter().any(|catalog| catalog.number.to_string() == name);
        name == MAP_NAME || is_status(path) || is_catalog()
    };
    read_files(backup, CATALOG_BYTES_MAX, &usual, &mut |path, bytes| {
        files.insert(path.to_owned(), bytes);
    })?;
    let rewritten: BTreeSet<String> =
        places(&files).into_iter().map(|(_, path)| path).filter(|path| !files.contains_key(path)).collect();
    if !rewritten.is_empty() {
        read_files(backup, CATALOG_BYTES_MAX, &|path| rewritten.contains(path), &mut |path, bytes| {
            files.insert(path.to_owned(), bytes);
        })?;
    }
    let mut sightings = Vec::new();
    for (catalog, path) in places(&files) {
        let bytes = files.get(&path).map_or(&[][..], Vec::as_slice);
        for (page, block) in bytes.chunks_exact(PAGE_BYTES).zip(0u32..) {
            let (Some(mut rows), Some(lsn)) = (rows_of_page(page), page_lsn(page)) else { continue };
            rows.retain_mut(|(_, row)| settle(row, &files));
            let (lsn, owner) = (Lsn(lsn), backup.timeline);
            sightings.push(Sighting { lsn, owner, file: catalog, block, seen: Seen::Page(rows) });
        }
    }
    Ok(sightings)
}

/// Whether this is a file of transactions' statuses.
fn is_status(path: &str) -> bool {
    let folder = path.rsplit_once('/').map(|(folder, _)| folder);
    matches!(folder, Some("pg_xact" | "pg_clog"))
}

/// Looks up whether the transaction that made the row committed. False if it was rolled back.
fn settle(row: &mut KeptRow, files: &BTreeMap<String, Vec<u8>>) -> bool {
    let (page, index) = (row.xmin / STATUSES_ON_PAGE, row.xmin % STATUSES_ON_PAGE);
    let (file, page) = (page / STATUS_PAGES, (page % STATUS_PAGES) as usize);
    let bytes = ["pg_xact", "pg_clog"].iter().find_map(|folder| files.get(&format!("{folder}/{file:04X}")));
    let byte = bytes.and_then(|bytes| bytes.get(page * PAGE_BYTES + (index / 4) as usize));
    match byte.map(|byte| byte >> (2 * (index % 4)) & 3) {
        Some(COMMITTED) => row.committed = true,
        Some(ABORTED) => return row.committed,
        _ => {}
    }
    true
}

/// The catalogs with names in the directory of `path`.
fn catalogs(path: &str) -> Vec<RelationFile> {
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    if folder == "global" {
        return vec![RelationFile { tablespace: 1664, database: 0, number: PG_DATABASE }];
    }
    let Some(Ok(database)) = folder.strip_prefix("base/").map(str::parse) else { return Vec::new() };
    [PG_CLASS, PG_NAMESPACE].map(|number| RelationFile { tablespace: 1663, database, number }).to_vec()
}

/// Each catalog under the number that it has in records as long as it is not rewritten, and the path of its file.
fn places(files: &BTreeMap<String, Vec<u8>>) -> Vec<(RelationFile, String)> {
    let folders: BTreeSet<&str> = files.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
    let mut places = Vec::new();
    for folder in folders {
        let map = format!("{folder}/{MAP_NAME}");
        let mapped = mapped(files.get(&map).map_or(&[][..], Vec::as_slice));
        places.extend(catalogs(&map).into_iter().map(|catalog| {
            let number = mapped.get(&catalog.number).unwrap_or(&catalog.number);
            (catalog, format!("{folder}/{number}"))
        }));
    }
    places
}

/// File numbers of mapped catalogs, by OID.
fn mapped(bytes: &[u8]) -> BTreeMap<u32, u32> {
    let mut reader = Reader::new(bytes);
    let (Some(MAP_MAGIC), Some(count)) = (reader.u32(), reader.u32()) else { return BTreeMap::new() };
    (0..count.min(MAPPINGS_MAX)).map_while(|_| Some((reader.u32()?, reader.u32()?))).collect()
}
