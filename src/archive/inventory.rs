//! One listing sorted out: which object is which file of PostgreSQL's.

use super::store::{Object, ObjectKind};
use crate::wal::WalFileName;
use std::path::Path;

/// Which tool's way of laying out an archive was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layout {
    /// Files under PostgreSQL's own names, as `archive_command = 'cp …'` leaves them, or a pg_wal.
    #[default]
    Plain,
}

/// An object that holds a WAL file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file's name as PostgreSQL knows it.
    pub name: WalFileName,
    /// Where it is kept.
    pub object: Object,
}

/// An object that is no WAL file, and what it is taken for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// The object.
    pub object: Object,
    /// Whether its name is that of a WAL file (but it is no regular file).
    pub named_like_wal: bool,
}

/// Everything in an archive, sorted by name and then by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// How the archive is laid out.
    pub layout: Layout,
    /// Segments, partial segments, histories and backup history files.
    pub entries: Vec<Entry>,
    /// What else was found and is not part of any layout.
    pub strays: Vec<Stray>,
    /// The place is a server's own pg_wal (or a copy): it has an `archive_status` directory or such a name.
    pub is_pg_wal: bool,
}

impl Inventory {
    /// Sorts out a listing of a plain archive.
    pub fn from_objects(objects: Vec<Object>) -> Self {
        let mut inventory = Self::default();
        for object in objects {
            if object.path.starts_with("archive_status") {
                inventory.is_pg_wal = true;
                continue;
            }
            match (wal_name(&object.path), object.kind) {
                (Some(name), ObjectKind::Regular) => inventory.entries.push(Entry { name, object }),
                (None, ObjectKind::Special("a directory")) => {}
                (name, _) => inventory.strays.push(Stray { object, named_like_wal: name.is_some() }),
            }
        }
        inventory.entries.sort_by(|a, b| (a.name, &a.object.path).cmp(&(b.name, &b.object.path)));
        inventory.strays.sort_by(|a, b| a.object.path.cmp(&b.object.path));
        inventory
    }
}

/// The WAL file that a path's last part names.
fn wal_name(path: &Path) -> Option<WalFileName> {
    WalFileName::parse(path.file_name()?.to_str()?)
}
