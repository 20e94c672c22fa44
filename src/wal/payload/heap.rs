//! Rows of tables as they lie on pages and in records: what little is needed to read catalogs.
//!
//! PostgreSQL: `src/include/storage/bufpage.h`, `itemid.h`, `src/include/access/htup_details.h`, `heapam_xlog.h`,
//! `heap_xlog_insert`, `heap_xlog_update` in `src/backend/access/heap/heapam_xlog.c` (`heapam.c` up to 17), 9.5 to 19.

use super::Reader;

/// Bytes in a page header (`SizeOfPageHeaderData`).
const PAGE_HEADER_BYTES: usize = 24;
/// Bytes of a row's header before its bitmap of nulls (`SizeofHeapTupleHeader`).
const ROW_HEADER_BYTES: usize = 23;
/// `LP_NORMAL`.
const ITEM_NORMAL: u32 = 1;
/// `HEAP_HASOID_OLD`: up to 11 a row may have its OID before the columns.
const HAS_OID: u16 = 0x0008;
/// `HEAP_XMIN_COMMITTED`.
const XMIN_COMMITTED: u16 = 0x0100;
/// `HEAP_XMIN_INVALID`; with the one before, the row is frozen.
const XMIN_INVALID: u16 = 0x0200;
/// `XLH_UPDATE_PREFIX_FROM_OLD`.
const PREFIX_FROM_OLD: u8 = 0x20;
/// `XLH_UPDATE_SUFFIX_FROM_OLD`.
const SUFFIX_FROM_OLD: u8 = 0x40;

/// A version of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// Its item on the page, from 1.
    pub offset: u16,
    /// The page says that the transaction that made it committed.
    pub committed: bool,
    /// Its OID, where it stands before the columns.
    pub oid: Option<u32>,
    /// The transaction that made it; 0 where only the record's header tells.
    pub xmin: u32,
    /// Its columns.
    pub columns: &'a [u8],
}

/// What an update writes of the new version of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update<'a> {
    /// Item of the old version.
    pub old_offset: u16,
    /// Its OID, where it stands before the columns.
    pub oid: Option<u32>,
    /// So many bytes of the columns are taken from the beginning of the old version's.
    pub prefix: u16,
    /// So many are taken from the end of the old version's.
    pub suffix: u16,
    /// Those between.
    pub columns: &'a [u8],
}

/// The position of the last record that changed a page (`pd_lsn`).
pub fn page_lsn(page: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(page);
    Some(u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?))
}

/// The rows on a page, without those that the page knows to have been rolled back; nothing of what cannot be on one.
pub fn rows(page: &[u8]) -> impl Iterator<Item = Row<'_>> {
    let lower = page.get(12..).and_then(|rest| Reader::new(rest).u16()).map_or(0, usize::from);
    let items = page.get(PAGE_HEADER_BYTES..lower.min(page.len())).unwrap_or_default();
    items.chunks_exact(4).zip(1u16..).filter_map(|(item, offset)| {
        let item = Reader::new(item).u32()?;
        let (start, length) = ((item & 0x7FFF) as usize, (item >> 17) as usize);
        if (item >> 15) & 3 != ITEM_NORMAL {
            return None;
        }
        let row = page.get(start..start.checked_add(length)?)?;
        let mask = Reader::new(row.get(20..)?).u16()?;
        let header = usize::from(*row.get(22)?);
        if mask & (XMIN_COMMITTED | XMIN_INVALID) == XMIN_INVALID {
            return None;
        }
        let committed = mask & XMIN_COMMITTED != 0;
        let xmin = Reader::new(row).u32()?;
        Some(Row { offset, committed, oid: oid(row, mask, header), xmin, columns: row.get(header..)? })
    })
}

/// The OID before the columns, which begin at `header`.
fn oid(row: &[u8], mask: u16, header: usize) -> Option<u32> {
    let at = header.checked_sub(4)?;
    Reader::new(row.get(at..)?).u32().filter(|_| mask & HAS_OID != 0)
}

/// A row's header and columns as records have them (`xl_heap_header`): the mask, and what begins behind the 23 bytes
/// that each header has.
fn written(reader: &mut Reader<'_>) -> Option<(u16, usize)> {
    reader.skip(2)?;
    let mask = reader.u16()?;
    let header = usize::from(reader.u8()?).checked_sub(ROW_HEADER_BYTES)?;
    Some((mask, header))
}

/// What a record of Heap does.
///
/// PostgreSQL: `XLOG_HEAP_` in `src/include/access/heapam_xlog.h`, 9.5 to 19.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It inserts a row.
    Insert,
    /// It deletes a row.
    Delete,
    /// It replaces a row, on the same page or another.
    Update,
    /// It names tables that are truncated (11 and later, `wal_level` logical).
    Truncate,
    /// It locks, confirms, changes in place.
    Other,
}

impl Operation {
    /// From `xl_info`.
    pub const fn of(info: u8) -> Self {
        match info & 0x70 {
            0x00 => Self::Insert,
            0x10 => Self::Delete,
            0x20 | 0x40 => Self::Update,
            0x30 => Self::Truncate,
            _ => Self::Other,
        }
    }
}

/// Whether a record of Heap writes over a row where it lies (`XLOG_HEAP_INPLACE`), by its `xl_info`.
pub const fn is_in_place(info: u8) -> bool {
    info & 0x70 == 0x70
}

/// The row that a record writes over where it lies: `main` and the data of block 0, which are its columns.
pub fn overwritten<'a>(main: &[u8], data: &'a [u8]) -> Option<Row<'a>> {
    let offset = Reader::new(main).u16()?;
    Some(Row { offset, committed: false, oid: None, xmin: 0, columns: data })
}

/// The item that an insert fills.
pub fn inserted_item(main: &[u8]) -> Option<u16> {
    Reader::new(main).u16()
}

/// The item that a delete marks.
pub fn deleted_item(main: &[u8]) -> Option<u16> {
    Reader::new(main.get(4..)?).u16()
}

/// The items of an update: that of the old version and that of the new one.
pub fn updated_items(main: &[u8]) -> Option<(u16, u16)> {
    Some((Reader::new(main.get(4..)?).u16()?, Reader::new(main.get(12..)?).u16()?))
}

/// The row that an insert writes: `main` and the data of block 0.
pub fn inserted<'a>(main: &[u8], data: &'a [u8]) -> Option<Row<'a>> {
    let offset = Reader::new(main).u16()?;
    let mut reader = Reader::new(data);
    let (mask, header) = written(&mut reader)?;
    let rest = reader.rest();
    let oid = oid(rest, mask, header);
    Some(Row { offset, committed: false, oid, xmin: 0, columns: rest.get(header..)? })
}

/// The new version that an update writes, and its item: `main` and the data of block 0.
pub fn updated<'a>(main: &[u8], data: &'a [u8]) -> Option<(u16, Update<'a>)> {
    let mut fields = Reader::new(main);
    fields.skip(4)?;
    let old_offset = fields.u16()?;
    fields.skip(1)?;
    let flags = fields.u8()?;
    fields.skip(4)?;
    let offset = fields.u16()?;
    let mut reader = Reader::new(data);
    let prefix = if flags & PREFIX_FROM_OLD != 0 { reader.u16()? } else { 0 };
    let suffix = if flags & SUFFIX_FROM_OLD != 0 { reader.u16()? } else { 0 };
    let (mask, header) = written(&mut reader)?;
    let rest = reader.rest();
    let update =
        Update { old_offset, oid: oid(rest, mask, header), prefix, suffix, columns: rest.get(header..)? };
    Some((offset, update))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_do_harm(page: Vec<u8>, main: Vec<u8>, data: Vec<u8>) {
            let _ = rows(&page).count();
            let _ = inserted(&main, &data);
            let _ = updated(&main, &data);
            let _ = page_lsn(&page);
        }
    }
}
