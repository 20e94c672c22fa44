//! What transactions did to rows and files, as a block of columns.

use super::column::{put_column, take_column};
use super::pack::{Pack, Unpacker, put_number};
use crate::scan::activity::{Activities, Activity, Rows};

/// What transactions did, as a block.
pub(super) fn pack_activity(activities: &Activities) -> Vec<u8> {
    let all = &activities.of_transactions;
    let mut out = Vec::new();
    if all.is_empty() {
        return out;
    }
    put_number(&mut out, all.len() as u64);
    for of in COLUMNS {
        let mut before = 0;
        let values = all.iter().map(|one| of(one).wrapping_sub(std::mem::replace(&mut before, of(one))));
        put_column(&values.collect::<Vec<i64>>(), &mut out);
    }
    for of in COUNTS {
        put_column(&all.iter().map(|one| of(one).cast_signed()).collect::<Vec<i64>>(), &mut out);
    }
    for one in all.iter().filter(|one| has_files(one)) {
        one.created.pack(&mut out);
        one.filled.pack(&mut out);
        one.truncated.pack(&mut out);
    }
    activities.table_sets.pack(&mut out);
    out
}

/// What changes little from one transaction to the next.
const COLUMNS: [fn(&Activity) -> i64; 3] =
    [|one| i64::from(one.owner), |one| i64::from(one.xid), |one| i64::from(one.database)];

/// What is counted, and whether there is more.
const COUNTS: [fn(&Activity) -> u64; 5] = [
    |one| one.rows.inserted,
    |one| one.rows.updated,
    |one| one.rows.deleted,
    |one| u64::from(one.tables),
    |one| u64::from(has_files(one)),
];

fn has_files(one: &Activity) -> bool {
    !one.created.is_empty() || one.filled || one.truncated > 0
}

/// The same, back.
pub(super) fn unpack_activity(bytes: &[u8]) -> Option<Activities> {
    if bytes.is_empty() {
        return Some(Activities::default());
    }
    let mut from = Unpacker::new(bytes);
    let count = usize::try_from(from.number()?).ok()?;
    let mut summed = || {
        let mut column = take_column(&mut from, count)?;
        let mut sum = 0i64;
        for value in &mut column {
            sum = sum.wrapping_add(*value);
            *value = sum;
        }
        Some(column)
    };
    let (owners, xids, databases) = (summed()?, summed()?, summed()?);
    let mut counts = || take_column(&mut from, count);
    let (inserted, updated, deleted, tables, files) = (counts()?, counts()?, counts()?, counts()?, counts()?);
    let mut all = Vec::with_capacity(owners.len());
    let ids = owners.into_iter().zip(xids).zip(databases);
    let rows = inserted.into_iter().zip(updated).zip(deleted).zip(tables).zip(files);
    for (((owner, xid), database), ((((inserted, updated), deleted), tables), files)) in ids.zip(rows) {
        let mut one = Activity {
            owner: u32::try_from(owner).ok()?,
            xid: u32::try_from(xid).ok()?,
            database: u32::try_from(database).ok()?,
            rows: Rows {
                inserted: inserted.cast_unsigned(),
                updated: updated.cast_unsigned(),
                deleted: deleted.cast_unsigned(),
            },
            tables: u32::try_from(tables).ok()?,
            ..Activity::default()
        };
        if files != 0 {
            one.created = Pack::unpack(&mut from)?;
            one.filled = Pack::unpack(&mut from)?;
            one.truncated = Pack::unpack(&mut from)?;
        }
        all.push(one);
    }
    let table_sets = Pack::unpack(&mut from)?;
    from.is_done().then_some(Activities { of_transactions: all, table_sets })
}
