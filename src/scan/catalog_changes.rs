//! Rows of pg_class and pg_type that a transaction made, moved and removed: what tells a DROP from a rewrite, and a
//! TRUNCATE from both.
//!
//! Who drops a relation removes a row that was there before. TRUNCATE, REINDEX, CLUSTER and the like remove none, or only
//! that of a relation that they had made themselves. A file that a relation begins with has the relation's OID for its
//! number; one that a relation goes on with, as after TRUNCATE, has a number that no new row has.
//!
//! PostgreSQL: `heap_create`, `heap_create_with_catalog`, `heap_drop_with_catalog` in `src/backend/catalog/heap.c`,
//! `make_new_heap`, `finish_heap_swap` in `src/backend/commands/cluster.c`, `RelationSetNewRelfilenode` in
//! `src/backend/utils/cache/relcache.c`, 9.5 to 19.

use super::catalog_rows::{PAGE_BYTES, PG_CLASS};
use crate::wal::payload::Reader;
use crate::wal::payload::heap;
use crate::wal::payload::image::restore;
use crate::wal::record::{BlockReference, Fork, RecordHeader, RelationFile, ResourceManager};
use crate::wal::record::{block_references, first_block};
use crate::wal::walk::Record;
use crate::wal::{Major, Xid};
use std::collections::BTreeSet;

/// OID of pg_type.
const PG_TYPE: u32 = 1247;

/// The place of a row: a block of the table, and an item on it.
pub type RowPlace = (u32, u16);

/// What one transaction did to rows of one catalog of its database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowChanges {
    /// Where it inserted rows.
    pub made: Vec<RowPlace>,
    /// Where it replaced rows, and where their new versions are.
    pub moved: Vec<(RowPlace, RowPlace)>,
    /// Where it deleted rows.
    pub removed: Vec<RowPlace>,
}

/// What one transaction did to the catalogs that tell what becomes of relations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CatalogChanges {
    /// To pg_class: every relation has a row.
    pub class_rows: RowChanges,
    /// To pg_type: a table has two rows, for its rows and for arrays of them; up to 13 a TOAST table has one.
    pub type_rows: RowChanges,
    /// OIDs of the relations that it made.
    pub relations: Vec<u32>,
    /// Those of them that were only made to be filled and exchanged with one that is rewritten.
    pub transients: Vec<u32>,
}

/// Which catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Catalog {
    Class,
    Type,
}

/// What a record does to a row of a catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    catalog: Catalog,
    deed: Deed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Made(RowPlace, Option<NewRelation>),
    Moved(RowPlace, RowPlace),
    Removed(RowPlace),
}

/// A relation that a row of pg_class was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NewRelation {
    oid: u32,
    is_transient: bool,
}

/// Whether `name` is that of the table that a rewrite fills and then exchanges with the one that it rewrites.
///
/// PostgreSQL: `make_new_heap` in `src/backend/commands/cluster.c`, 9.5 to 19.
pub fn is_transient(name: &[u8]) -> bool {
    let number = name.strip_prefix(b"pg_temp_");
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Whether a record changes rows of these catalogs, by its header and the beginning of its body.
#[inline]
pub fn may_change(header: &RecordHeader, body: &[u8], page_bytes: u32, major: Major) -> bool {
    header.resource_manager() == ResourceManager::HEAP
        && first_block(body, page_bytes, major)
            .is_some_and(|block| catalog(block.relation, block.fork).is_some())
}

fn catalog(file: RelationFile, fork: Fork) -> Option<Catalog> {
    if file.database == 0 || fork != Fork::MAIN {
        return None;
    }
    match file.number {
        PG_CLASS => Some(Catalog::Class),
        PG_TYPE => Some(Catalog::Type),
        _ => None,
    }
}

impl Change {
    /// What a record of Heap does to these catalogs; `None` if nothing.
    pub(super) fn of(record: &Record<'_>, page_bytes: u32, major: Major) -> Option<Self> {
        if record.header.xid() == Xid::INVALID {
            return None;
        }
        let first = first_block(record.body, page_bytes, major)?;
        let catalog = catalog(first.relation, first.fork)?;
        let main = record.main();
        let deed = match heap::Operation::of(record.header.info()) {
            heap::Operation::Insert => {
                let item = heap::inserted_item(main)?;
                let is_class = catalog == Catalog::Class;
                let relation = is_class.then(|| new_relation(record, item, page_bytes, major)).flatten();
                Deed::Made((first.block, item), relation)
            }
            heap::Operation::Delete => Deed::Removed((first.block, heap::deleted_item(main)?)),
            heap::Operation::Update => {
                let mut blocks = Vec::new();
                block_references(record.body, page_bytes, major, &mut blocks).ok()?;
                let old_block =
                    blocks.iter().find(|block| block.id == 1).map_or(first.block, |old| old.block);
                let (old, new) = heap::updated_items(main)?;
                Deed::Moved((old_block, old), (first.block, new))
            }
            heap::Operation::Truncate | heap::Operation::Other => return None,
        };
        Some(Self { catalog, deed })
    }
}

/// The relation whose row an insert into pg_class writes, or whose row is on the page that stands in its place.
fn new_relation(record: &Record<'_>, item: u16, page_bytes: u32, major: Major) -> Option<NewRelation> {
    let mut blocks: Vec<BlockReference<'_>> = Vec::new();
    block_references(record.body, page_bytes, major, &mut blocks).ok()?;
    let first = blocks.first()?;
    let Some(image) = &first.image else {
        return relation_in(&heap::inserted(record.main(), first.data)?, major);
    };
    let page = restore(image, PAGE_BYTES, major)?;
    let row = heap::rows(&page).find(|row| row.offset == item)?;
    relation_in(&row, major)
}

/// The relation that a row of pg_class is of: up to 11 its OID is no column but stands before them.
fn relation_in(row: &heap::Row<'_>, major: Major) -> Option<NewRelation> {
    let (oid, name) = if major >= Major::V12 {
        (Reader::new(row.columns).u32()?, row.columns.get(4..)?)
    } else {
        (row.oid?, row.columns)
    };
    let name = name.split(|byte| *byte == 0).next()?;
    Some(NewRelation { oid, is_transient: is_transient(name) })
}

impl CatalogChanges {
    pub(super) fn take(&mut self, change: Change) {
        if let Deed::Made(_, Some(relation)) = change.deed {
            self.relations.push(relation.oid);
            self.transients.extend(relation.is_transient.then_some(relation.oid));
        }
        match change.catalog {
            Catalog::Class => self.class_rows.take(change.deed),
            Catalog::Type => self.type_rows.take(change.deed),
        }
    }

    /// Adds what the same transaction did elsewhere.
    pub fn join(&mut self, other: &Self) {
        self.class_rows.join(&other.class_rows);
        self.type_rows.join(&other.type_rows);
        self.relations.extend(&other.relations);
        self.transients.extend(&other.transients);
    }
}

impl RowChanges {
    fn take(&mut self, deed: Deed) {
        match deed {
            Deed::Made(place, _) => self.made.push(place),
            Deed::Moved(old, new) => self.moved.push((old, new)),
            Deed::Removed(place) => self.removed.push(place),
        }
    }

    fn join(&mut self, other: &Self) {
        self.made.extend(&other.made);
        self.moved.extend(&other.moved);
        self.removed.extend(&other.removed);
    }

    /// Whether nothing is known. A catalog that was itself rewritten has another file, and its rows are not seen.
    pub const fn is_empty(&self) -> bool {
        self.made.is_empty() && self.moved.is_empty() && self.removed.is_empty()
    }

    /// How many rows it removed that it had not made.
    pub fn removed_of_others(&self) -> usize {
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
        self.removed.iter().filter(|place| !own.contains(place)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_removes_what_it_made_removes_nothing_of_others() {
        let rewrite = RowChanges {
            made: vec![(0, 1)],
            moved: vec![((1, 2), (1, 7)), ((0, 1), (1, 2))],
            removed: vec![(1, 7)],
        };
        assert_eq!(rewrite.removed_of_others(), 0);
        let mut drop = rewrite.clone();
        drop.join(&RowChanges { removed: vec![(4, 4)], ..RowChanges::default() });
        assert_eq!(drop.removed_of_others(), 1);
        let moved = RowChanges { moved: vec![((1, 1), (1, 2))], ..RowChanges::default() };
        assert_eq!(moved.removed_of_others(), 0);
        assert!(!moved.is_empty());
    }

    #[test]
    fn only_numbers_make_a_name_transient() {
        assert!(is_transient(b"pg_temp_16384"));
        for name in [&b"pg_temp_"[..], b"pg_temp_a1", b"pg_toast_16384", b"item"] {
            assert!(!is_transient(name));
        }
    }
}
