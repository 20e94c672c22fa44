//! Rows of pg_class that a transaction made, moved and removed: what tells a DROP from a rewrite where the server does
//! not write the statistics that a transaction drops (up to 14).
//!
//! Who drops a relation removes a row that was there before. TRUNCATE, REINDEX, CLUSTER and the like remove none, or only
//! that of a relation that they had made themselves.
//!
//! PostgreSQL: `heap_drop_with_catalog` in `src/backend/catalog/heap.c`, `finish_heap_swap` in
//! `src/backend/commands/cluster.c`, 9.5 to 14.

use super::catalog_rows::PG_CLASS;
use crate::wal::payload::heap;
use crate::wal::record::{Fork, block_references, first_block};
use crate::wal::walk::Record;
use crate::wal::{Major, Xid};
use std::collections::BTreeSet;

/// The place of a row: a block of the table, and an item on it.
pub type RowPlace = (u32, u16);

/// What one transaction did to rows of the pg_class of its database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClassRows {
    /// Where it inserted rows.
    pub made: Vec<RowPlace>,
    /// Where it replaced rows, and where their new versions are.
    pub moved: Vec<(RowPlace, RowPlace)>,
    /// Where it deleted rows.
    pub removed: Vec<RowPlace>,
}

/// What a record does to a row of pg_class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It inserts one.
    Made(RowPlace),
    /// It replaces one.
    Moved(RowPlace, RowPlace),
    /// It deletes one.
    Removed(RowPlace),
}

impl Change {
    /// What a record of Heap does to pg_class; `None` if nothing, or where 15 or later tell more directly.
    pub(super) fn of(record: &Record<'_>, page_bytes: u32, major: Major) -> Option<Self> {
        if major >= Major::V15 || record.header.xid() == Xid::INVALID {
            return None;
        }
        let first = first_block(record.body, page_bytes, major)?;
        let is_class = first.relation.number == PG_CLASS && first.relation.database != 0;
        if !is_class || first.fork != Fork::MAIN {
            return None;
        }
        let main = record.main();
        match heap::Operation::of(record.header.info()) {
            heap::Operation::Insert => Some(Self::Made((first.block, heap::inserted_item(main)?))),
            heap::Operation::Delete => Some(Self::Removed((first.block, heap::deleted_item(main)?))),
            heap::Operation::Update => {
                let mut blocks = Vec::new();
                block_references(record.body, page_bytes, major, &mut blocks).ok()?;
                let old_block =
                    blocks.iter().find(|block| block.id == 1).map_or(first.block, |old| old.block);
                let (old, new) = heap::updated_items(main)?;
                Some(Self::Moved((old_block, old), (first.block, new)))
            }
            heap::Operation::Truncate | heap::Operation::Other => None,
        }
    }
}

impl ClassRows {
    pub(super) fn take(&mut self, change: Change) {
        match change {
            Change::Made(place) => self.made.push(place),
            Change::Moved(old, new) => self.moved.push((old, new)),
            Change::Removed(place) => self.removed.push(place),
        }
    }

    /// Adds what the same transaction did elsewhere.
    pub fn join(&mut self, other: &Self) {
        self.made.extend(&other.made);
        self.moved.extend(&other.moved);
        self.removed.extend(&other.removed);
    }

    /// Whether it removed a row that it had not made.
    pub fn removed_others(&self) -> bool {
        let mut own: BTreeSet<RowPlace> = self.made.iter().copied().collect();
        // A row may have moved more than once, and the moves need not be in order.
        let mut moves: Vec<(RowPlace, RowPlace)> = self.moved.clone();
        loop {
            let known = moves.len();
            moves.retain(|(old, new)| {
                !(own.contains(old) && {
                    own.insert(*new);
                    true
                })
            });
            if moves.len() == known {
                break;
            }
        }
        self.removed.iter().any(|place| !own.contains(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_removes_what_it_made_removes_nothing_of_others() {
        let rewrite = ClassRows {
            made: vec![(0, 1)],
            moved: vec![((1, 2), (1, 7)), ((0, 1), (1, 2))],
            removed: vec![(1, 7)],
        };
        assert!(!rewrite.removed_others());
        let mut drop = rewrite.clone();
        drop.join(&ClassRows { removed: vec![(4, 4)], ..ClassRows::default() });
        assert!(drop.removed_others());
        assert!(!ClassRows { moved: vec![((1, 1), (1, 2))], ..ClassRows::default() }.removed_others());
    }
}
