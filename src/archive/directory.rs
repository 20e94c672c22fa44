//! A directory on this machine, listed with its sub-directories.

use super::store::{Identity, Object, ObjectKind, Store, StoreError};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes taken from a file at a time: small enough to be walked while they are still in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

/// Directories nested deeper than this are not entered.
const MAX_DEPTH: usize = 8;

/// A directory, by its path.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Takes `location` for a directory, which must exist.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        let root = PathBuf::from(location);
        let list_error = |source| StoreError::List { path: root.clone(), source };
        let found = fs::metadata(&root).map_err(list_error)?;
        if !found.is_dir() {
            let detail = format!("is {}, not a directory", describe(&found));
            return Err(StoreError::Location { location: location.to_owned(), detail });
        }
        Ok(Self { root })
    }

    /// Lists `relative` and what is below it into `objects`.
    fn list_below(&self, relative: &Path, depth: usize, objects: &mut Vec<Object>) -> Result<(), StoreError> {
        let path = self.root.join(relative);
        let list_error = |source| StoreError::List { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(list_error)? {
            let entry = entry.map_err(list_error)?;
            let below = relative.join(entry.file_name());
            let file_type = entry.file_type().map_err(list_error)?;
            if file_type.is_dir() {
                if depth < MAX_DEPTH {
                    self.list_below(&below, depth + 1, objects)?;
                }
                objects.push(special(below, "a directory"));
            } else if let Some(object) = describe_file(&self.root, below)? {
                objects.push(object);
            }
        }
        Ok(())
    }
}

impl Store for Directory {
    fn list(&self) -> Result<Vec<Object>, StoreError> {
        let mut objects = Vec::new();
        self.list_below(Path::new(""), 0, &mut objects)?;
        Ok(objects)
    }

    fn read(
        &self,
        object: &Object,
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let path = self.root.join(&object.path);
        let read_error = |source| StoreError::Read { path: path.clone(), source };
        let mut file = File::open(&path).map_err(read_error)?;
        buffer.resize(PIECE_BYTES, 0);
        let mut taken = 0;
        loop {
            let count = match file.read(buffer) {
                Ok(count) => count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(read_error(source)),
            };
            if count == 0 {
                break;
            }
            taken += count as u64;
            if sink(&buffer[..count]).is_break() {
                return Ok(());
            }
        }
        if taken == object.identity.size {
            return Ok(());
        }
        let detail = format!("it had {} bytes when it was listed and {taken} now", object.identity.size);
        Err(StoreError::Changed { path, detail })
    }

    fn local_root(&self) -> Option<&Path> {
        Some(&self.root)
    }
}

/// What stands at `path`; `None` if it went away since the directory was listed.
fn describe_file(root: &Path, path: PathBuf) -> Result<Option<Object>, StoreError> {
    let found = match fs::metadata(root.join(&path)) {
        Ok(found) => found,
        Err(_) if root.join(&path).is_symlink() => {
            return Ok(Some(special(path, "a symbolic link that leads nowhere")));
        }
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::List { path: root.join(path), source }),
    };
    if !found.is_file() {
        return Ok(Some(special(path, describe(&found))));
    }
    let modified_ns = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    let identity =
        Identity { size: found.len(), modified_ns: Some(modified_ns), inode: Some(found.ino()), etag: None };
    Ok(Some(Object { path, kind: ObjectKind::Regular, identity }))
}

fn special(path: PathBuf, what: &'static str) -> Object {
    Object { path, kind: ObjectKind::Special(what), identity: Identity::default() }
}

fn describe(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "a regular file"
    }
}
