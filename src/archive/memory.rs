//! Objects in memory: for tests, and for programs that have WAL in hand and no place to put it.

use super::store::{Child, Deletion, Descent, Identity, Object, ObjectKind, Sink, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes handed out at a time. Odd on purpose: nothing may depend on where pieces end.
const PIECE_BYTES: usize = 65_521;

/// The objects, by key: their bytes and how often the key was written.
type Shelf = BTreeMap<String, (Arc<[u8]>, u64)>;

/// A store in memory. Clones share their objects.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    shelf: Arc<Mutex<Shelf>>,
    prefix: Vec<String>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same objects seen from the folder `prefix`.
    #[must_use]
    pub fn at(&self, prefix: &str) -> Self {
        let parts = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        Self { shelf: Arc::clone(&self.shelf), prefix: self.prefix.iter().cloned().chain(parts).collect() }
    }

    /// Puts an object at `key` below the root, replacing what was there.
    pub fn put(&self, key: &str, bytes: impl Into<Arc<[u8]>>) {
        let key = self.key(Path::new(key));
        let mut shelf = self.shelf();
        let writes = shelf.get(&key).map_or(0, |(_, writes)| writes + 1);
        shelf.insert(key, (bytes.into(), writes));
    }

    /// Takes an object away without any check.
    pub fn take(&self, key: &str) {
        let key = self.key(Path::new(key));
        self.shelf().remove(&key);
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The full key of `path`, `..` parts resolved.
    fn key(&self, path: &Path) -> String {
        let mut parts = self.prefix.clone();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                _ => {}
            }
        }
        parts.join("/")
    }

    fn folder_key(&self, path: &Path) -> String {
        let key = self.key(path);
        if key.is_empty() { key } else { key + "/" }
    }

    /// The bytes of `object` if it is still what was listed.
    fn current(&self, object: &Object) -> Result<Arc<[u8]>, StoreError> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let shelf = self.shelf();
        let (bytes, writes) = shelf
            .get(&self.key(&object.path))
            .ok_or_else(|| StoreError::Read { path: object.path.clone(), source: gone() })?;
        if identity(bytes, *writes) == object.identity {
            return Ok(Arc::clone(bytes));
        }
        Err(StoreError::Changed { path: object.path.clone(), detail: "it was written again".to_owned() })
    }
}

impl Store for Memory {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        let folder = self.folder_key(folder);
        let mut seen = BTreeSet::new();
        for (key, _) in self.shelf().range(folder.clone()..) {
            let Some(rest) = key.strip_prefix(&folder) else { break };
            if seen.len() >= limit {
                break;
            }
            match rest.split_once('/') {
                Some((name, _)) => seen.insert((name.to_owned(), true)),
                None => seen.insert((rest.to_owned(), false)),
            };
        }
        Ok(seen.into_iter().map(|(name, is_folder)| Child { name, is_folder }).collect())
    }

    fn names(&self) -> Vec<String> {
        self.prefix.clone()
    }

    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError> {
        let kept = self.prefix.len().saturating_sub(levels);
        Ok(Box::new(Self { shelf: Arc::clone(&self.shelf), prefix: self.prefix[..kept].to_vec() }))
    }

    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        let root = self.folder_key(Path::new(""));
        let mut objects = Vec::new();
        for (key, (bytes, writes)) in self.shelf().range(root.clone()..) {
            let Some(rest) = key.strip_prefix(&root) else { break };
            let path = PathBuf::from(rest);
            if entered(&path, descend) {
                objects.push(Object { path, kind: ObjectKind::Regular, identity: identity(bytes, *writes) });
            }
        }
        Ok(objects)
    }

    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        let shelf = self.shelf();
        let found = shelf.get(&self.key(path)).map(|(bytes, writes)| identity(bytes, *writes));
        Ok(found.map(|identity| Object { path: path.to_owned(), kind: ObjectKind::Regular, identity }))
    }

    fn read(&self, object: &Object, _buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        for piece in self.current(object)?.chunks(PIECE_BYTES) {
            if sink(piece).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn deletion(&self, _sample: &Object) -> Result<Deletion, StoreError> {
        Ok(Deletion::Final)
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        for (index, object) in objects.iter().enumerate() {
            let removed = self.current(object).map(|_| drop(self.shelf().remove(&self.key(&object.path))));
            if done(index, removed).is_break() {
                return;
            }
        }
    }

    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError> {
        let bytes = self.current(object)?;
        let target = self.key(&trash.join(&object.path));
        let mut shelf = self.shelf();
        if shelf.contains_key(&target) {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "the trash already holds this name");
            return Err(StoreError::Remove { path: object.path.clone(), source });
        }
        shelf.insert(target, (bytes, 0));
        shelf.remove(&self.key(&object.path));
        Ok(())
    }
}

fn identity(bytes: &[u8], writes: u64) -> Identity {
    Identity { size: bytes.len() as u64, etag: Some(writes.to_string()), ..Identity::default() }
}

/// Whether a listing that asks `descend` at every folder comes to `path`.
fn entered(path: &Path, descend: &dyn Fn(&Path) -> Descent) -> bool {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    for folder in folders {
        match descend(folder) {
            Descent::Skip => return false,
            Descent::Whole => return true,
            Descent::Level => {}
        }
    }
    true
}
