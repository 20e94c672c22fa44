//! What an archive tells besides its segments, kept so that questions can be answered without it.

use super::database::{Catalog, CatalogError};
use super::place::canonical;
use crate::archive::store::Sink;
use crate::archive::{
    Archive, Child, Deletion, Descent, Entry, Inventory, LayoutChoice, Object, Secrets, Store, StoreError,
};
use crate::backup::{BaseBackup, Discovered, Problem};
use crate::pack::{Pack, from_bytes, to_bytes};
use crate::wal::{PgTime, WalFileName};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Bytes kept of one history file: more is not read of one either.
const HISTORY_BYTES_MAX: usize = 1 << 20;
/// No listing is longer.
const DOCUMENT_BYTES_MAX: u64 = 1 << 32;
/// Listings are repetitive.
const DOCUMENT_LEVEL: i32 = 1;

/// The document that says when.
pub(super) const UPDATED: &str = "updated";
/// The time is not written again within this.
const UPDATED_STEP_US: i64 = 1_000_000;

/// An archive as it was at the last run.
#[derive(Debug)]
pub struct Offline {
    /// Where it is.
    pub location: String,
    /// Its listing.
    pub inventory: Inventory,
    /// Its own accounts of base backups.
    pub discovered: Discovered,
    pub(super) histories: Vec<(PathBuf, Vec<u8>)>,
    /// When it was last seen to hold all that the archive had, where that was written down.
    pub updated: Option<PgTime>,
}

impl Catalog {
    /// Keeps the listing, the history files and the backups of `archive`.
    pub fn keep_listing(
        &mut self,
        archive: &Archive,
        inventory: &Inventory,
        discovered: &Discovered,
    ) -> Result<(), CatalogError> {
        let mut histories: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for entry in inventory.entries.iter().filter(|entry| matches!(entry.name, WalFileName::History(_))) {
            let bytes = stored_bytes(archive, entry).map_err(|error| CatalogError::Unusable {
                path: self.path.clone(),
                detail: error.to_string(),
            })?;
            histories.push((entry.object.path.clone(), bytes));
        }
        let backups = (discovered.backups.clone(), discovered.problems.clone());
        self.put_documents(&[
            ("archive", to_bytes(&canonical(archive.location()))),
            ("inventory", to_bytes(inventory)),
            ("histories", to_bytes(&histories)),
            ("backups", to_bytes(&backups)),
        ])?;
        self.note_time();
        Ok(())
    }

    /// Writes down that the catalog holds what the archive has now. Where that cannot be written, an earlier time stands.
    fn note_time(&mut self) {
        let now = crate::clock::now();
        let is_told = |then: PgTime| (0..UPDATED_STEP_US).contains(&now.0.saturating_sub(then.0));
        if !matches!(self.updated(), Ok(Some(then)) if is_told(then)) {
            let _ = self.put_documents(&[(UPDATED, to_bytes(&now))]);
        }
    }

    /// When the catalog was last brought up to date.
    pub(super) fn updated(&self) -> Result<Option<PgTime>, CatalogError> {
        match self.document(UPDATED) {
            Ok(time) => Ok(Some(time)),
            Err(CatalogError::Lacks { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was kept of the archive.
    pub fn offline(&self) -> Result<Offline, CatalogError> {
        let backups: (Vec<BaseBackup>, Vec<Problem>) = self.document("backups")?;
        Ok(Offline {
            location: self.document("archive")?,
            inventory: self.document("inventory")?,
            histories: self.document("histories")?,
            discovered: Discovered { backups: backups.0, problems: backups.1 },
            updated: self.updated()?,
        })
    }

    /// Where the archive is that this is the catalog of, if it was written down.
    pub fn location(&self) -> Result<Option<String>, CatalogError> {
        match self.document("archive") {
            Ok(location) => Ok(Some(location)),
            Err(CatalogError::Lacks { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes those documents that are not there in the same words.
    pub(super) fn put_documents(&mut self, documents: &[(&str, Vec<u8>)]) -> Result<(), CatalogError> {
        let mut changed = Vec::new();
        for (name, body) in documents {
            let crc = crc32fast::hash(body);
            let query = "SELECT crc FROM document WHERE name = ?1";
            let known: Option<u32> = self
                .connection
                .query_row(query, [name], |row| row.get(0))
                .optional()
                .map_err(|error| self.failed(&error))?;
            if known == Some(crc) {
                continue;
            }
            let packed = zstd::encode_all(body.as_slice(), DOCUMENT_LEVEL).map_err(|error| {
                CatalogError::Unusable { path: self.path.clone(), detail: error.to_string() }
            })?;
            changed.push((*name, packed, crc));
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let insert = "INSERT OR REPLACE INTO document (name, body, crc) VALUES (?1, ?2, ?3)";
            for (name, body, crc) in &changed {
                transaction.execute(insert, params![name, body, crc])?;
            }
            Ok(())
        })
    }

    pub(super) fn document<T: Pack>(&self, name: &str) -> Result<T, CatalogError> {
        let query = "SELECT body, crc FROM document WHERE name = ?1";
        let found: Option<(Vec<u8>, u32)> = self
            .connection
            .query_row(query, [name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| self.failed(&error))?;
        let lacks = || CatalogError::Lacks { path: self.path.clone(), what: format!("the archive's {name}") };
        let (packed, crc) = found.ok_or_else(lacks)?;
        let damaged = || self.damaged(format!("the archive's {name}"));
        let mut body = Vec::new();
        let decoder = zstd::Decoder::new(packed.as_slice()).map_err(|_| damaged())?;
        decoder.take(DOCUMENT_BYTES_MAX).read_to_end(&mut body).map_err(|_| damaged())?;
        if crc32fast::hash(&body) != crc {
            return Err(damaged());
        }
        from_bytes(&body).ok_or_else(damaged)
    }
}

impl Offline {
    /// Whether `location` is the place that this was kept of.
    pub fn is_of(&self, location: &str) -> bool {
        [location.to_owned(), canonical(location)].contains(&self.location)
    }

    /// An archive that has nothing but its history files.
    pub fn archive(&self, location: &str) -> Result<Archive, StoreError> {
        let files: HashMap<PathBuf, Vec<u8>> = self.histories.iter().cloned().collect();
        let layout = LayoutChoice::Given(self.inventory.layout);
        Archive::of_store(location, Box::new(Shelf { files }), layout, Secrets::default())
    }
}

/// The bytes of a history file as they are stored.
fn stored_bytes(archive: &Archive, entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    archive.store().read(&entry.object, &mut Vec::new(), &mut |piece| {
        bytes.extend_from_slice(piece);
        if bytes.len() > HISTORY_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(bytes)
}

/// A store of a few small files that stands for an archive that must not be touched.
#[derive(Debug)]
struct Shelf {
    files: HashMap<PathBuf, Vec<u8>>,
}

fn untouched() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "not in the catalog, and the archive is not read with --offline")
}

impl Store for Shelf {
    fn children(&self, _folder: &Path, _limit: usize) -> Result<Vec<Child>, StoreError> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn raised(&self, _levels: usize) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Self { files: self.files.clone() }))
    }

    fn list(&self, _descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        Err(StoreError::List { path: PathBuf::from("."), source: untouched() })
    }

    fn find(&self, _path: &Path) -> Result<Option<Object>, StoreError> {
        Ok(None)
    }

    fn read(&self, object: &Object, _buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        let failed = || StoreError::Read { path: object.path.clone(), source: untouched() };
        let bytes = self.files.get(&object.path).ok_or_else(failed)?;
        let _ = sink(bytes);
        Ok(())
    }

    fn deletion(&self, _sample: &Object) -> Result<Deletion, StoreError> {
        Ok(Deletion::Kept("the archive is not touched with --offline".to_owned()))
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        for (index, object) in objects.iter().enumerate() {
            let refused = StoreError::Remove { path: object.path.clone(), source: untouched() };
            if done(index, Err(refused)).is_break() {
                return;
            }
        }
    }

    fn move_to(&self, object: &Object, _trash: &Path) -> Result<(), StoreError> {
        Err(StoreError::Remove { path: object.path.clone(), source: untouched() })
    }
}
