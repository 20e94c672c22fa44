//! A directory on this machine, listed with its sub-directories.

use super::regular::{describe, open_regular};
use super::store::{
    A_DATA_DIRECTORY, A_DIRECTORY, Child, Deletion, Descent, Identity, Object, ObjectKind, Sink, Store,
    StoreError,
};
use super::{links, trash};
use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes taken from a file at a time: small enough to be walked while they are still in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

/// The kernel copies page by page, and faster to where a page begins.
const PAGE_BYTES: usize = 4096;

/// Directories nested deeper than this are not entered.
const MAX_DEPTH: usize = 8;

/// What `mkfs` leaves in the root of a file system; root alone may enter it.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory, by its path.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Links below the root that a listing followed, and where they led then.
    followed: Mutex<BTreeMap<PathBuf, PathBuf>>,
}

impl Directory {
    /// Takes `root` for a directory, which must exist.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let list_error = |source| StoreError::List { path: root.clone(), source };
        let found = fs::metadata(&root).map_err(list_error)?;
        if !found.is_dir() {
            let detail = format!("is {}, not a directory", describe(&found));
            return Err(StoreError::Location { location: root.display().to_string(), detail });
        }
        Ok(Self { root, followed: Mutex::default() })
    }

    /// The absolute path by which the directory is known: links on it stay as they are, for what lies around a link is
    /// what the user means.
    fn whole(&self) -> PathBuf {
        // What comes before a `..` is resolved by the system, links and all.
        if self.root.components().any(|part| part == Component::ParentDir) {
            return fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        }
        let here = if self.root.is_absolute() { PathBuf::new() } else { links::working_directory() };
        here.join(&self.root).components().filter(|part| *part != Component::CurDir).collect()
    }

    /// `folder`, which may begin with `..` parts: those lead to what lies around this path.
    fn at(&self, folder: &Path) -> PathBuf {
        if !folder.starts_with("..") {
            return self.root.join(folder);
        }
        let mut path = self.whole();
        for part in folder.components() {
            match part {
                Component::ParentDir => drop(path.pop()),
                part => path.push(part),
            }
        }
        path
    }

    /// Notes that a link at `relative` is followed. The first listing counts: it is what everything is decided by.
    fn follow(&self, relative: &Path) {
        if let Ok(target) = fs::canonicalize(self.root.join(relative)) {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            followed.entry(relative.to_owned()).or_insert(target);
        }
    }

    /// Whether the link at `relative` was followed by a listing and still leads to the same place.
    fn leads_where_it_did(&self, relative: &Path) -> bool {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let target = followed.get(relative);
        target.is_some() && fs::canonicalize(self.root.join(relative)).ok().as_ref() == target
    }

    /// Lists `relative` and what is below it into `objects`.
    fn list_below(
        &self,
        relative: &Path,
        whole: bool,
        depth: usize,
        descend: &dyn Fn(&Path) -> Descent,
        objects: &mut Vec<Object>,
    ) -> Result<(), StoreError> {
        let entries = match read_folder(&self.root.join(relative)) {
            // A folder that went away since its name was read.
            Err(StoreError::List { source, .. }) if depth > 0 && source.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            entries => entries?,
        };
        for entry in entries {
            let below = relative.join(entry.file_name());
            let list_error = |source| StoreError::List { path: self.root.join(&below), source };
            let kind = entry.file_type().map_err(list_error)?;
            // A link is followed where the layout itself names the folder (`wals` on a volume of its own), and
            // never deeper: what it leads to would be there twice, or without end.
            let is_followed = !whole && kind.is_symlink() && entry.path().is_dir();
            let is_folder = kind.is_dir() || is_followed;
            if !is_folder {
                objects.extend(describe_file(&self.root, below)?);
                continue;
            }
            let descent = if whole { Descent::Whole } else { descend(&below) };
            if self.is_data_directory(&below, descent) {
                objects.push(special(below, A_DATA_DIRECTORY));
                continue;
            }
            if is_followed && descent != Descent::Skip {
                self.follow(&below);
            }
            if descent == Descent::Skip || entry.file_name() == LOST_AND_FOUND {
                objects.push(special(below, A_DIRECTORY));
            } else if depth == MAX_DEPTH {
                objects.push(special(below, "a directory nested too deep to be looked into"));
            } else {
                self.list_below(&below, descent == Descent::Whole, depth + 1, descend, objects)?;
                objects.push(special(below, A_DIRECTORY));
            }
        }
        Ok(())
    }

    /// Whether a folder that would be entered holds a database cluster: a base backup left among the WAL.
    fn is_data_directory(&self, relative: &Path, descent: Descent) -> bool {
        descent == Descent::Whole && self.root.join(relative).join("PG_VERSION").is_file()
    }

    /// Checks that `object` is still the regular file that was listed and that no part of its path below the
    /// root is a symbolic link that the listing did not follow, and gives its full path.
    fn unchanged_file(&self, object: &Object) -> Result<PathBuf, StoreError> {
        let changed = |detail: String| StoreError::Changed { path: self.root.join(&object.path), detail };
        let (mut path, mut relative) = (self.root.clone(), PathBuf::new());
        let mut found = None;
        for part in object.path.components() {
            let Component::Normal(part) = part else {
                return Err(changed("its path leads elsewhere".to_owned()));
            };
            path.push(part);
            relative.push(part);
            let here = fs::symlink_metadata(&path)
                .map_err(|source| StoreError::Remove { path: path.clone(), source })?;
            if here.file_type().is_symlink() && !self.leads_where_it_did(&relative) {
                return Err(changed("a part of its path is a symbolic link".to_owned()));
            }
            found = Some(here);
        }
        match found {
            Some(found) if found.is_file() && is_as_listed(&found, object) => Ok(path),
            Some(found) if found.is_file() => {
                Err(changed("it is another file, or was written to".to_owned()))
            }
            _ => Err(changed("it is no longer a regular file".to_owned())),
        }
    }
}

impl Store for Directory {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        let path = self.at(folder);
        if !path.is_dir() {
            return Ok(Vec::new());
        }
        let child = |entry: DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let kind = entry.file_type().ok()?;
            let is_folder = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
            Some(Child { name, is_folder })
        };
        Ok(read_folder(&path)?.into_iter().filter_map(child).take(limit).collect())
    }

    fn names(&self) -> Vec<String> {
        self.whole()
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect()
    }

    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError> {
        // The path as it was typed is good as far as it goes.
        let typed = self.root.components().rev().take_while(|part| matches!(part, Component::Normal(_)));
        let is_enough = typed.count() >= levels && !self.root.components().any(|p| p == Component::ParentDir);
        let mut root = if is_enough { self.root.clone() } else { self.whole() };
        for _ in 0..levels {
            root.pop();
        }
        if root.as_os_str().is_empty() {
            root.push(".");
        }
        Ok(Box::new(Self::open(root)?))
    }

    fn other_ways(&self) -> Result<Vec<Box<dyn Store>>, StoreError> {
        let failed = |source| StoreError::List { path: self.root.clone(), source };
        let ways = links::ways_to(&self.whole()).map_err(failed)?;
        ways.into_iter().map(|way| Ok(Box::new(Self::open(way)?) as Box<dyn Store>)).collect()
    }

    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        let mut objects = Vec::new();
        match descend(Path::new("")) {
            Descent::Skip => {}
            how => self.list_below(Path::new(""), how == Descent::Whole, 0, descend, &mut objects)?,
        }
        Ok(objects)
    }

    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        let found = describe_file(&self.root, path.to_owned())?;
        Ok(found.filter(|object| object.kind == ObjectKind::Regular))
    }

    fn read(&self, object: &Object, buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        let path = self.root.join(&object.path);
        let read_error = |source| StoreError::Read { path: path.clone(), source };
        let mut file = open_regular(&path).map_err(read_error)?;
        buffer.resize(PIECE_BYTES + PAGE_BYTES, 0);
        let before = buffer.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        let (_, from_page) = buffer.split_at_mut(before);
        let (piece, _) = from_page.split_at_mut(PIECE_BYTES);
        let mut taken = 0;
        loop {
            let count = match file.read(piece) {
                Ok(count) => count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(read_error(source)),
            };
            if count == 0 {
                break;
            }
            taken += count as u64;
            if sink(&piece[..count]).is_break() {
                return Ok(());
            }
        }
        if taken == object.identity.size {
            return Ok(());
        }
        let detail = format!("it had {} bytes then and {taken} now", object.identity.size);
        Err(StoreError::Changed { path, detail })
    }

    fn deletion(&self, _sample: &Object) -> Result<Deletion, StoreError> {
        Ok(Deletion::Final)
    }

    fn holds_on_to(&self, object: &Object) -> Option<String> {
        let is_link = self.root.join(&object.path).is_symlink();
        is_link.then(|| {
            "is a symbolic link, and what it leads to is not touched: put the file itself in its place, or remove the link \
             by hand"
                .to_owned()
        })
    }

    fn check_trash(&self, objects: &[&Object], trash: &Path) -> Result<(), StoreError> {
        trash::check(objects, trash)
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        for (index, object) in objects.iter().enumerate() {
            let removed = self.unchanged_file(object).and_then(|path| {
                fs::remove_file(&path).map_err(|source| StoreError::Remove { path, source })
            });
            if done(index, removed).is_break() {
                return;
            }
        }
    }

    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError> {
        trash::take(&self.unchanged_file(object)?, trash, &object.path)
    }

    fn local_root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn linked_places(&self) -> Vec<PathBuf> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// What is in a directory, read at one go.
fn read_folder(path: &Path) -> Result<Vec<DirEntry>, StoreError> {
    let list_error = |source| StoreError::List { path: path.to_owned(), source };
    fs::read_dir(path).map_err(list_error)?.collect::<Result<_, _>>().map_err(list_error)
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
    if found.is_dir() {
        return Ok(Some(special(path, "a symbolic link to a directory, which is not followed")));
    }
    if !found.is_file() {
        return Ok(Some(special(path, describe(&found))));
    }
    Ok(Some(Object { path, kind: ObjectKind::Regular, identity: identity(&found) }))
}

fn identity(found: &Metadata) -> Identity {
    let nanoseconds = |seconds: i64, more: i64| seconds.saturating_mul(1_000_000_000).saturating_add(more);
    Identity {
        size: found.len(),
        modified_ns: Some(nanoseconds(found.mtime(), found.mtime_nsec())),
        changed_ns: Some(nanoseconds(found.ctime(), found.ctime_nsec())),
        device: Some(found.dev()),
        inode: Some(found.ino()),
        etag: None,
    }
}

/// Whether a file is still the one that was listed. The time of the inode's change is no part of that: removing one of
/// two hard links changes the other's.
fn is_as_listed(found: &Metadata, object: &Object) -> bool {
    let listed = &object.identity;
    Identity { changed_ns: listed.changed_ns, ..identity(found) } == *listed
}

fn special(path: PathBuf, what: &'static str) -> Object {
    Object { path, kind: ObjectKind::Special(what), identity: Identity::default() }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
