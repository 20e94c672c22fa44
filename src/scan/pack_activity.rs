//! What transactions did to rows and files, as a block of columns.

use super::activity::{Activities, Activity, Rows};
use crate::pack::column::{Column, Steps, Sums, Values};
use crate::pack::{Pack, Unpacker, put_number};

/// What transactions did, as a block.
pub(crate) fn pack_activity(activities: &Activities) -> Vec<u8> {
    let all = &activities.of_transactions;
    let mut out = Vec::new();
    if all.is_empty() {
        return out;
    }
    put_number(&mut out, all.len() as u64);
    let (mut owners, mut xids, mut databases) = (Steps::new(), Steps::new(), Steps::new());
    let (mut inserted, mut updated, mut deleted) = (Column::new(), Column::new(), Column::new());
    let (mut tables, mut has_files) = (Column::new(), Column::new());
    for one in all {
        owners.push(i64::from(one.owner));
        xids.push(i64::from(one.xid));
        databases.push(i64::from(one.database));
        inserted.push(one.rows.inserted);
        updated.push(one.rows.updated.cast_signed());
        deleted.push(one.rows.deleted.cast_signed());
        tables.push(i64::from(one.tables));
        has_files.push(i64::from(one.files.is_some()));
    }
    for steps in [owners, xids, databases] {
        steps.finish(&mut out);
    }
    for column in [inserted, updated, deleted, tables, has_files] {
        column.finish(&mut out);
    }
    for files in all.iter().filter_map(|one| one.files.as_deref()) {
        files.pack(&mut out);
    }
    activities.table_sets.pack(&mut out);
    out
}

/// The same, back.
pub(crate) fn unpack_activity(bytes: &[u8]) -> Option<Activities> {
    if bytes.is_empty() {
        return Some(Activities::default());
    }
    let mut from = Unpacker::new(bytes);
    let count = from.count_of_records()?;
    let mut owners = Sums::take(&mut from, count)?;
    let mut xids = Sums::take(&mut from, count)?;
    let mut databases = Sums::take(&mut from, count)?;
    let mut counts = || Values::take(&mut from, count);
    let (mut inserted, mut updated, mut deleted) = (counts()?, counts()?, counts()?);
    let (mut tables, mut has_files) = (counts()?, counts()?);
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut one = Activity {
            owner: u32::try_from(owners.next()?).ok()?,
            xid: u32::try_from(xids.next()?).ok()?,
            database: u32::try_from(databases.next()?).ok()?,
            tables: u32::try_from(tables.next()?).ok()?,
            rows: Rows {
                inserted: inserted.next()?,
                updated: updated.next()?.cast_unsigned(),
                deleted: deleted.next()?.cast_unsigned(),
            },
            files: None,
        };
        if has_files.next()? != 0 {
            one.files = Some(Pack::unpack(&mut from)?);
        }
        all.push(one);
    }
    let table_sets = Pack::unpack(&mut from)?;
    from.is_done().then_some(Activities { of_transactions: all, table_sets })
}
