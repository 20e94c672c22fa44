//! Where bytes come from: one listing, then the plain bytes of each object, in pieces.
//!
//! An [`Archive`] hides the place (a directory, an object store, a tar in either), the layout of the tool that wrote it
//! and the compression of each object. What stands to the right of this module sees [`Entry`]s with
//! PostgreSQL's own file names and reads decompressed WAL.

mod cipher;
pub mod codec;
pub mod directory;
pub mod fault;
pub mod inventory;
mod layout;
mod links;
mod location;
pub mod memory;
mod open_pgp;
mod ranges;
mod read;
mod regular;
#[cfg(feature = "object-store")]
pub mod remote;
mod secrets;
mod sodium;
pub mod store;
pub mod tar_file;
mod tar_members;
mod trash;

pub use inventory::{BackupKind, BackupObject, Entry, Inventory, Stray};
pub use layout::{Layout, LayoutChoice, ParseLayoutError};
pub use location::{local_path, location_from_environment};
pub(crate) use ranges::{ReadSeek, open_stored};
pub use read::Scratch;
pub(crate) use regular::open_regular;
pub use secrets::Secrets;
pub use store::{Child, Deletion, Descent, Identity, Object, ObjectKind, ReadError, Store, StoreError};

use cipher::Passphrase;
use layout::Rules;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// An archive of WAL, whatever holds it and whoever wrote it.
#[derive(Debug)]
pub struct Archive {
    location: String,
    store: Arc<dyn Store>,
    rules: Arc<dyn Rules>,
    /// The part that alone is looked at; `None` for the newest.
    part: Option<String>,
    secrets: Secrets,
    /// The passphrase that opens the WAL, once it was looked for.
    wal_passphrase: OnceLock<Option<Passphrase>>,
}

impl Archive {
    /// Opens the archive at `location`: a directory, a tar file, or a URL (`file:///…`, `s3://bucket/prefix`,
    /// `gs://…`, `az://…`). Folder names are looked at to find out the layout unless `choice` says it; no
    /// object is read yet.
    pub fn open(location: &str, choice: LayoutChoice) -> Result<Self, StoreError> {
        Self::of_store(location, location::open(location)?, choice, Secrets::from_environment())
    }

    /// The archive in a store that is already at hand. `location` is for messages.
    pub fn of_store(
        location: &str,
        store: Box<dyn Store>,
        choice: LayoutChoice,
        secrets: Secrets,
    ) -> Result<Self, StoreError> {
        let (store, rules) = layout::recognise(store, choice)?;
        Ok(Self {
            location: location.to_owned(),
            store: store.into(),
            rules: rules.into(),
            part: None,
            secrets,
            wal_passphrase: OnceLock::new(),
        })
    }

    /// The same archive with another of its parts in view: one of [`Inventory::groups`]. Each part holds the WAL of
    /// a cluster of its own under the same names, so only one is in view at a time.
    #[must_use]
    pub fn part(&self, group: &str) -> Self {
        Self {
            location: self.location.clone(),
            store: Arc::clone(&self.store),
            rules: Arc::clone(&self.rules),
            part: Some(group.to_owned()),
            secrets: self.secrets.clone(),
            wal_passphrase: OnceLock::new(),
        }
    }

    /// The location as it was given.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// How the archive is laid out.
    pub fn layout(&self) -> Layout {
        self.rules.layout()
    }

    /// The store that holds the objects, rooted where the layout begins: what a cleanup removes from.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Lists the archive once and sorts out what each object is. Of an archive in several parts the entries are
    /// those of the newest, unless another was [asked for](Self::part).
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let objects = self.store.list(&|folder: &Path| self.rules.descend(folder))?;
        let mut inventory = Inventory::sort_out(objects, self.rules.as_ref(), self.part.as_deref());
        if let Some(folder) = self.store.around() {
            inventory.backups.extend(layout::backup_beside(folder.as_ref())?);
        }
        Ok(inventory)
    }

    /// The entry as it looks now, if it is a file in a directory that is still there and has changed since `entry` was
    /// made. Objects of a store never change: they are replaced as a whole.
    pub(crate) fn changed(&self, entry: &Entry) -> Option<Entry> {
        entry.object.identity.inode?;
        let object = self.store.find(&entry.object.path).ok()??;
        (object.identity != entry.object.identity).then(|| Entry { object, ..entry.clone() })
    }

    /// The store in which the descriptions of base backups lie: of a tar's members, the folder of the tar.
    pub(crate) fn backup_store(&self) -> &Arc<dyn Store> {
        self.store.around().unwrap_or(&self.store)
    }

    /// Says which entries will be read next, in that order: see [`Store::prefetch`].
    pub fn prefetch<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        let objects: Vec<&Object> = entries.into_iter().map(|entry| &entry.object).collect();
        self.store.prefetch(&objects);
    }
}
