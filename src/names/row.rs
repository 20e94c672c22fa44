//! The columns of catalog rows that hold names.
//!
//! PostgreSQL: `src/include/catalog/pg_class.h`, `pg_namespace.h`, `pg_database.h`, 9.5 to 19. Up to 11 the OID is no
//! column but stands before them.

use crate::scan::catalog_changes::is_transient;
use crate::scan::catalog_rows::KeptRow;
use crate::wal::payload::Reader;
use crate::wal::{Major, byte_text};

/// Bytes of a name (`NAMEDATALEN`).
const NAME_BYTES: usize = 64;

/// What a relation is (`relkind`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(pub u8);

impl Kind {
    /// A table, a partitioned or foreign one, or a materialized view.
    pub const fn is_table(self) -> bool {
        matches!(self.0, b'r' | b'p' | b'f' | b'm')
    }
}

/// A row of pg_class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Class {
    /// OID.
    pub oid: u32,
    /// `relname`.
    pub name: String,
    /// `relnamespace`.
    pub namespace: u32,
    /// `relfilenode`; 0 for what has no file.
    pub file: u32,
    /// `reltablespace`; 0 for the database's own.
    pub tablespace: u32,
    /// `relkind`.
    pub kind: Kind,
}

impl Class {
    /// Whether this is the table that a rewrite fills and then exchanges with the one that it rewrites: its file is that
    /// one's, before or after.
    pub(super) fn is_transient(&self) -> bool {
        is_transient(self.name.as_bytes())
    }
}

/// A row that has a name and nothing else that matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub(super) oid: u32,
    pub(super) name: String,
}

/// OID and name, which begin every row here, and how many bytes they take of the columns.
fn named(row: &KeptRow, major: Major) -> Option<(Named, usize)> {
    let (oid, name_at) =
        if major >= Major::V12 { (Reader::new(&row.columns).u32()?, 4) } else { (row.oid?, 0) };
    let end = name_at + NAME_BYTES;
    let name = row.columns.get(name_at..end)?;
    let length = name.iter().position(|byte| *byte == 0)?;
    let name = name.get(..length).filter(|name| !name.is_empty())?;
    Some((Named { oid, name: byte_text::shown(name) }, end))
}

/// A row of pg_namespace or pg_database.
pub(super) fn name(row: &KeptRow, major: Major) -> Option<Named> {
    named(row, major).map(|(named, _)| named)
}

/// A row of pg_class.
pub(super) fn class(row: &KeptRow, major: Major) -> Option<Class> {
    let (Named { oid, name }, end) = named(row, major)?;
    let number = |offset: usize| Reader::new(row.columns.get(end + offset..)?).u32();
    // relallfrozen came before it in 18.
    let kind_at = if major >= Major::V18 { end + 51 } else { end + 47 };
    Some(Class {
        oid,
        name,
        namespace: number(0)?,
        file: number(20)?,
        tablespace: number(24)?,
        kind: Kind(*row.columns.get(kind_at)?),
    })
}
