//! Rows and blocks in the tables.

use super::block::Blocks;
use super::database::{Catalog, CatalogError};
use crate::archive::Identity;
use crate::pack::{Pack, Unpacker, from_bytes, pack_struct, to_bytes};
use crate::scan::Detail;
use crate::scan::zone::FileZone;
use crate::wal::Lsn;
use rusqlite::{OptionalExtension, Params, Row as SqlRow, TransactionBehavior, params};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The row of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileRow {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) identity: Identity,
    /// What the facts depend on besides the bytes, in the keeper's words.
    pub(super) rests_on: Vec<u8>,
    pub(super) start: Lsn,
    pub(super) end: Lsn,
    pub(super) system_id: Option<u64>,
    pub(super) segment_size: Option<u64>,
    pub(super) magic: Option<u16>,
    pub(super) commits: u64,
    pub(super) aborts: u64,
    pub(super) zone: FileZone,
}

pack_struct! {
    FileRow {
        path, name, identity, rests_on, start, end, system_id, segment_size, magic, commits, aborts, zone,
    }
}

impl FileRow {
    /// The checksum that is kept beside it.
    pub(super) fn crc(&self) -> u32 {
        crc32fast::hash(&to_bytes(self))
    }
}

/// Writes the row and the blocks of one file.
pub(super) fn put(
    connection: &rusqlite::Connection,
    row: &FileRow,
    blocks: &Blocks,
    gone: bool,
) -> rusqlite::Result<()> {
    let crc = row.crc();
    let number = |value: u64| value.cast_signed();
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO file (path, name, size, mtime_ns, inode, etag, rests_on, start_lsn, end_lsn, \
         system_id, segment_size, magic, commits, aborts, zone, gone, crc, ctime_ns, device, id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
         (SELECT id FROM file WHERE path = ?1)) RETURNING id",
    )?;
    let values = params![
        row.path.as_os_str().as_bytes(),
        row.name,
        number(row.identity.size),
        row.identity.modified_ns,
        row.identity.inode.map(number),
        row.identity.etag,
        row.rests_on,
        number(row.start.0),
        number(row.end.0),
        row.system_id.map(number),
        row.segment_size.map(number),
        row.magic,
        number(row.commits),
        number(row.aborts),
        to_bytes(&row.zone),
        gone,
        crc,
        row.identity.changed_ns,
        row.identity.device.map(number),
    ];
    let id: i64 = returned(&mut insert, values)?;
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO block (file, facts_crc, ends_crc, rows_crc, facts, ends, extras, activity, names) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let [facts_crc, ends_crc, rows_crc] = block_crcs(crc, blocks);
    let Blocks { facts, ends, extras, activity, names } = blocks;
    insert.execute(params![id, facts_crc, ends_crc, rows_crc, facts, ends, extras, activity, names])?;
    Ok(())
}

/// The one value that a statement returns; the statement is run to its end.
fn returned(statement: &mut rusqlite::Statement<'_>, values: impl Params) -> rusqlite::Result<i64> {
    let mut rows = statement.query(values)?;
    let first = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?.get(0)?;
    while rows.next()?.is_some() {}
    Ok(first)
}

/// Checksums of the blocks that are read together, bound to the row that they belong to: of the facts, of the ends of
/// transactions, of what these did to rows.
fn block_crcs(row_crc: u32, blocks: &Blocks) -> [u32; 3] {
    let of = |parts: &[&[u8]]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&row_crc.to_le_bytes());
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    };
    [of(&[&blocks.facts]), of(&[&blocks.ends, &blocks.extras]), of(&[&blocks.activity, &blocks.names])]
}

impl Catalog {
    /// Does something in one transaction.
    pub(super) fn write(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), CatalogError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let done = begun.and_then(|transaction| {
            work(&transaction)?;
            transaction.commit()
        });
        done.map_err(|error| self.failed(&error))
    }

    /// The blocks of a file; `None` if they are not those that were written with its row.
    pub(super) fn blocks(
        &self,
        id: i64,
        row_crc: u32,
        detail: Detail,
    ) -> Result<Option<Blocks>, CatalogError> {
        let read = || {
            let (parts, columns) = match detail {
                Detail::Summary => (1, "facts_crc, facts"),
                Detail::Ends => (2, "facts_crc, ends_crc, facts, ends, extras"),
                Detail::Events => (3, "facts_crc, ends_crc, rows_crc, facts, ends, extras, activity, names"),
            };
            let query = format!("SELECT {columns} FROM block WHERE file = ?1");
            let mut query = self.connection.prepare_cached(&query)?;
            let row = |row: &SqlRow<'_>| {
                // The first part is one block, the others are two each; blocks stand behind the checksums.
                let block = |index: usize| {
                    if index < 2 * parts - 1 { row.get(parts + index) } else { Ok(Vec::new()) }
                };
                let blocks = Blocks {
                    facts: block(0)?,
                    ends: block(1)?,
                    extras: block(2)?,
                    activity: block(3)?,
                    names: block(4)?,
                };
                let crcs = block_crcs(row_crc, &blocks);
                for (index, crc) in crcs.iter().enumerate().take(parts) {
                    if row.get::<_, u32>(index)? != *crc {
                        return Ok(None);
                    }
                }
                Ok(Some(blocks))
            };
            query.query_row([id], row).optional()
        };
        Ok(read().map_err(|error| self.failed(&error))?.flatten())
    }

    /// The checksum of a row as it is now.
    pub(super) fn row_crc(&self, id: i64) -> Result<Option<u32>, CatalogError> {
        let query = "SELECT crc FROM file WHERE id = ?1";
        let found = self.connection.query_row(query, [id], |row| row.get(0)).optional();
        found.map_err(|error| self.failed(&error))
    }

    /// A row and its checksum.
    pub(super) fn row(&self, id: i64) -> Result<(FileRow, u32), CatalogError> {
        let read = || {
            let mut query =
                self.connection.prepare_cached("SELECT * FROM file WHERE id = ?1 AND gone = 0")?;
            query.query_row([id], |row| Ok((read_row(row)?, row.get("crc")?)))
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Every row with its number, checksum and whether the file is gone.
    pub(super) fn rows(&self) -> Result<Vec<(i64, FileRow, u32, bool)>, CatalogError> {
        let failed = |error| self.failed(&error);
        let mut query = self.connection.prepare("SELECT * FROM file ORDER BY id").map_err(failed)?;
        let rows = query
            .query_map([], |row| Ok((row.get("id")?, read_row(row)?, row.get("crc")?, row.get("gone")?)));
        rows.and_then(Iterator::collect).map_err(failed)
    }
}

fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<FileRow> {
    let number = |name: &str| row.get::<_, i64>(name).map(i64::cast_unsigned);
    let optional = |name: &str| row.get::<_, Option<i64>>(name).map(|value| value.map(i64::cast_unsigned));
    let path: Vec<u8> = row.get("path")?;
    let zone: Vec<u8> = row.get("zone")?;
    let zone = from_bytes(&zone).ok_or_else(|| {
        let detail = "a zone that cannot be read".into();
        rusqlite::Error::FromSqlConversionFailure(zone.len(), rusqlite::types::Type::Blob, detail)
    })?;
    Ok(FileRow {
        path: std::ffi::OsString::from_vec(path).into(),
        name: row.get("name")?,
        identity: Identity {
            size: number("size")?,
            modified_ns: row.get("mtime_ns")?,
            changed_ns: row.get("ctime_ns")?,
            device: optional("device")?,
            inode: optional("inode")?,
            etag: row.get("etag")?,
        },
        rests_on: row.get("rests_on")?,
        start: Lsn(number("start_lsn")?),
        end: Lsn(number("end_lsn")?),
        system_id: optional("system_id")?,
        segment_size: optional("segment_size")?,
        magic: row.get("magic")?,
        commits: number("commits")?,
        aborts: number("aborts")?,
        zone,
    })
}
