//! A place that lists objects and gives their stored bytes.

use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What tells that an object is still the one that was read before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Stored size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970, where the store has one.
    pub modified_ns: Option<i64>,
    /// When the content or the inode last changed, in nanoseconds since 1970, in a directory: a copy that brings its
    /// old modification time along (`cp -p`, `rsync -t`) cannot set this one.
    pub changed_ns: Option<i64>,
    /// Number of the file system, in a directory.
    pub device: Option<u64>,
    /// Inode number, in a directory.
    pub inode: Option<u64>,
    /// Entity tag, in an object store. Of a member of a tar: all that tells the tar itself from a changed one.
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

/// What [`ObjectKind::Special`] says of a directory.
pub(crate) const A_DIRECTORY: &str = "a directory";

/// What [`ObjectKind::Special`] says of a directory that holds a database cluster: it is not entered.
pub(crate) const A_DATA_DIRECTORY: &str = "a data directory";

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

/// What [`ObjectKind::Special`] says of a tar that has no end.
pub(crate) const TAR_ENDS_EARLY: &str =
    "a tar that ends early: the last of its members is cut, or members are missing";

/// What [`ObjectKind::Special`] says of a compressed tar of which only the beginning can be decompressed.
pub(crate) const TAR_NOT_DECOMPRESSED: &str = "a compressed tar that cannot be decompressed to its end: the last of its members is cut, or members are missing";

/// What [`ObjectKind::Special`] says of a tar in which something else stands where a header must be.
pub(crate) const TAR_HAS_NO_HEADER: &str = "a tar with a damaged header: members are missing";

/// What [`ObjectKind::Special`] says of a tar with an extended header that is longer than any name.
pub(crate) const TAR_HAS_EXCESSIVE_HEADER: &str =
    "a tar with an extended header of excessive length: the name of a member is not known";

impl Object {
    /// Whether this stands for the file around the other objects, of which a part cannot be read.
    pub(crate) fn is_broken_tar(&self) -> bool {
        let broken = [TAR_ENDS_EARLY, TAR_NOT_DECOMPRESSED, TAR_HAS_NO_HEADER, TAR_HAS_EXCESSIVE_HEADER];
        matches!(self.kind, ObjectKind::Special(what) if broken.contains(&what))
    }

    /// Whether the object is a directory, entered or not.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, ObjectKind::Special(A_DIRECTORY | A_DATA_DIRECTORY))
    }
}

/// One name in a folder, as [`Store::children`] gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a folder (or leads to one).
    pub is_folder: bool,
}

/// How far a listing goes below one folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Descent {
    /// Not at all: what is in it is no concern of the archive's.
    Skip,
    /// The folder's own names; for each folder among them the question is asked again.
    Level,
    /// Everything below it. An object store answers this with one flat listing.
    Whole,
}

/// Whether removing an object makes its bytes go away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// Yes, as far as the store lets itself be asked.
    Final,
    /// No: the store keeps what is deleted. The text says why, for a person.
    Kept(String),
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
    /// An object could not be removed or moved.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// The object.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An object could not be moved to the trash.
    #[error("cannot move {} to the trash {}: {source}", path.display(), trash.display())]
    Trash {
        /// The object.
        path: PathBuf,
        /// The trash.
        trash: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Nothing can be moved to the trash.
    #[error("the trash {} {detail}", trash.display())]
    NoTrash {
        /// The trash.
        trash: PathBuf,
        /// Why, in a clause.
        detail: String,
    },
    /// An object is not what it was when it was listed.
    #[error("{} changed since it was listed: {detail}", path.display())]
    Changed {
        /// The object.
        path: PathBuf,
        /// What is different.
        detail: String,
    },
    /// A member's bytes were obtained with those of the file around it and cannot be decoded.
    #[error("{}: {detail}", path.display())]
    Damaged {
        /// The member.
        path: PathBuf,
        /// What the decoder said.
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

impl StoreError {
    /// Whether it says nothing of other objects.
    pub const fn is_of_one_object(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Changed { .. })
    }

    /// Whether it is of an object that was there when it was listed, and is not there any more.
    pub fn is_of_what_is_gone(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reading an object failed: the bytes could not be had, or were had and are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes could not be obtained. Ends in exit status 3.
    #[error(transparent)]
    Unobtainable(StoreError),
    /// The bytes were obtained and cannot be decoded. This is a finding (`unreadable`), not an error.
    #[error("{}: {detail}", path.display())]
    Undecodable {
        /// The object.
        path: PathBuf,
        /// What the decoder said, in one clause.
        detail: String,
    },
    /// The bytes were obtained, decoded and all handed out, and they are not those that the object's name
    /// promises by a checksum. A finding (`unreadable`) beside whatever is wrong with the WAL itself.
    #[error("{}: its name promises content with SHA-1 {expected}, it has {found}", path.display())]
    Checksum {
        /// The object.
        path: PathBuf,
        /// The checksum in the name, in hexadecimal.
        expected: String,
        /// The checksum of the content, in hexadecimal.
        found: String,
    },
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { path, detail } => Self::Undecodable { path, detail },
            other => Self::Unobtainable(other),
        }
    }
}

/// What takes the bytes of an object, piece by piece, and may say that it has seen enough.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// Where objects are kept.
pub trait Store: Send + Sync + Debug {
    /// The names in one folder, at most `limit` of them; empty if there is no such folder. `folder` may begin
    /// with `..` parts, which lead above the root.
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError>;

    /// The last parts of the root's own path, outermost first: what its folder and those around it are called.
    fn names(&self) -> Vec<String>;

    /// The same store with its root `levels` folders further up.
    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError>;

    /// The same place by other paths, each with one symbolic link less on it: what lies around a place is not what lies
    /// around a link to it. This store is not among them.
    fn other_ways(&self) -> Result<Vec<Box<dyn Store>>, StoreError> {
        Ok(Vec::new())
    }

    /// Every object below the root, in any order. `descend` says for each folder whether to enter it; the
    /// root (the empty path) is asked about first.
    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError>;

    /// What stands at `path` now; `None` if nothing does.
    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError>;

    /// Hands the stored bytes of `object` to `sink` in order until they end or `sink` breaks. `buffer` is the
    /// caller's, kept between calls so that nothing is allocated for each object.
    ///
    /// An object with more or fewer bytes than when it was listed is [`StoreError::Changed`], so that no
    /// reader takes the torn end of a file for the whole.
    fn read(&self, object: &Object, buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError>;

    /// The stored bytes of a part of `object`; fewer where it ends early.
    fn read_range(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let (mut skipped, mut bytes) = (0, Vec::new());
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.read(object, &mut Vec::new(), &mut |piece| {
            let passed = usize::try_from(range.start - skipped).unwrap_or(usize::MAX).min(piece.len());
            skipped += passed as u64;
            let taken = piece.len().saturating_sub(passed).min(wanted - bytes.len());
            bytes.extend_from_slice(&piece[passed..passed + taken]);
            if bytes.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(bytes)
    }

    /// Says which objects will be read next, in that order, so that a store far away can fetch ahead of the
    /// reader. What was said before is forgotten. Never needed for a right answer.
    fn prefetch(&self, objects: &[&Object]) {
        let _ = objects;
    }

    /// Whether removing `sample` (any object of the archive) would make its bytes go away.
    fn deletion(&self, sample: &Object) -> Result<Deletion, StoreError>;

    /// Why `object`, as it was listed, can be neither removed nor moved, in one clause.
    fn holds_on_to(&self, object: &Object) -> Option<String> {
        let _ = object;
        None
    }

    /// That `objects` can be moved to `trash`, as far as that can be told without doing it.
    fn check_trash(&self, objects: &[&Object], trash: &Path) -> Result<(), StoreError> {
        let _ = (objects, trash);
        Ok(())
    }

    /// Removes objects in the order given, in batches where the store has them. `done` hears of each object,
    /// by its index, once it is gone or could not be removed; when it breaks, nothing more is begun (it still hears of
    /// the rest of a batch that was on its way). Only what still is as it was listed is removed.
    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    );

    /// Moves an object into `trash`: a directory of this machine for a directory, a prefix beside the root
    /// for an object store. Never replaces anything there.
    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError>;

    /// The store in which the file lies whose members these objects are, if they are members of a file.
    fn around(&self) -> Option<&Arc<dyn Store>> {
        None
    }

    /// The directory on this machine that holds the objects, if there is one.
    fn local_root(&self) -> Option<&Path> {
        None
    }

    /// The directories on this machine to which links led when the objects were listed.
    fn linked_places(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
