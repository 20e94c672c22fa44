//! A place that lists objects and gives their stored bytes.

use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What tells that an object is still the one that was read before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Stored size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970, where the store has one.
    pub modified_ns: Option<i64>,
    /// Inode number, in a directory.
    pub inode: Option<u64>,
    /// Entity tag, in an object store.
    pub etag: Option<String>,
}

/// What kind of thing a listing found under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// A regular file or an object: can be read.
    Regular,
    /// Something that must not be opened, named for a person: "a directory", "a FIFO", "a dangling symbolic link".
    Special(&'static str),
}

/// One thing in a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Path or key below the archive's root. In a directory it need not be UTF-8.
    pub path: PathBuf,
    /// What it is.
    pub kind: ObjectKind,
    /// What it looked like when it was listed.
    pub identity: Identity,
}

/// The store could not be looked at, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening or listing failed.
    #[error("cannot list {}: {source}", path.display())]
    List {
        /// What was being listed.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An object could not be read to its end.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The object.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An object is not what it was when it was listed.
    #[error("{} changed while it was being read: {detail}", path.display())]
    Changed {
        /// The object.
        path: PathBuf,
        /// What is different.
        detail: String,
    },
    /// The location names nothing that can be an archive.
    #[error("{location}: {detail}")]
    Location {
        /// The location as given.
        location: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reading an object failed: the bytes could not be had, or were had and are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes could not be obtained. Ends in exit status 3.
    #[error(transparent)]
    Unobtainable(#[from] StoreError),
    /// The bytes were obtained and cannot be decoded. This is a finding (`unreadable`), not an error.
    #[error("{}: {detail}", path.display())]
    Undecodable {
        /// The object.
        path: PathBuf,
        /// What the decoder said, in one clause.
        detail: String,
    },
}

/// Where objects are kept.
pub trait Store: Send + Sync + Debug {
    /// Every object below the root, in any order.
    fn list(&self) -> Result<Vec<Object>, StoreError>;

    /// Hands the stored bytes of `object` to `sink` in order until they end or `sink` breaks. `buffer` is the
    /// caller's, kept between calls so that nothing is allocated for each object.
    fn read(
        &self,
        object: &Object,
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The directory on this machine that holds the objects, if there is one.
    fn local_root(&self) -> Option<&Path> {
        None
    }
}
