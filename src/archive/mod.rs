//! Where bytes come from: one listing, then the plain bytes of each object, in pieces.
//!
//! An [`Archive`] hides the place (a directory, an object store, a tar), the layout of the tool that wrote it
//! and the compression of each object. What stands to the right of this module sees [`Entry`]s with
//! PostgreSQL's own file names and reads decompressed WAL.

pub mod directory;
pub mod inventory;
pub mod store;

pub use inventory::{Entry, Inventory, Layout, Stray};
pub use store::{Identity, Object, ReadError, Store, StoreError};

use std::ops::ControlFlow;

/// Buffers that one worker uses again for each object that it reads.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Bytes as they are stored.
    pub raw: Vec<u8>,
}

/// An archive of WAL, whatever holds it and whoever wrote it.
#[derive(Debug)]
pub struct Archive {
    location: String,
    store: Box<dyn Store>,
}

impl Archive {
    /// Opens the archive at `location`, a directory. Nothing is read yet.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        Ok(Self { location: location.to_owned(), store: Box::new(directory::Directory::open(location)?) })
    }

    /// The location as it was given.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Lists the archive once and sorts out what each object is.
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        Ok(Inventory::from_objects(self.store.list()?))
    }

    /// Hands the plain bytes of `entry` to `sink` in order, in pieces of the reader's choosing, until the object
    /// ends or `sink` breaks.
    pub fn read(
        &self,
        entry: &Entry,
        scratch: &mut Scratch,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.store.read(&entry.object, &mut scratch.raw, sink).map_err(ReadError::Unobtainable)
    }

    /// The plain bytes of a small object (a history, a label), of which at most `limit` are taken.
    pub fn read_small(&self, entry: &Entry, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read(entry, &mut Scratch::default(), &mut |piece| {
            let room = limit - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            if bytes.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(bytes)
    }
}
