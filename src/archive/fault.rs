//! A store that fails on purpose, to show what the rest of the program makes of it.

use super::store::{Child, Deletion, Descent, Object, Sink, Store, StoreError};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The request is refused, as by a network that went away or a service that answers 503.
    Refused,
    /// The request is granted and breaks off half-way.
    BreaksOff,
    /// The object ends early, and the store does not know.
    Short,
    /// The object is no longer there.
    Vanished,
}

/// Wraps a store and makes one of its requests fail. Clones share the count.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: Arc<S>,
    fault: Fault,
    /// Requests that still go well.
    left: Arc<AtomicU64>,
}

impl<S> Faulty<S> {
    /// Lets `good_requests` listings and reads of `inner` pass and injects `fault` into the next one. Later
    /// ones go well again.
    pub fn new(inner: S, fault: Fault, good_requests: u64) -> Self {
        Self { inner: Arc::new(inner), fault, left: Arc::new(AtomicU64::new(good_requests)) }
    }

    /// Whether the fault has been met.
    pub fn has_struck(&self) -> bool {
        self.left.load(Ordering::Relaxed) == u64::MAX
    }

    /// Counts a request, and says whether it is the one that fails.
    fn strikes(&self) -> bool {
        let counted = |left: u64| (left != u64::MAX).then(|| left.checked_sub(1).unwrap_or(u64::MAX));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted) == Ok(0)
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "injected fault")
}

impl<S: Store + 'static> Store for Faulty<S> {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        self.inner.children(folder, limit)
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError> {
        self.inner.raised(levels)
    }

    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        if self.strikes() {
            return Err(StoreError::List { path: ".".into(), source: refused() });
        }
        self.inner.list(descend)
    }

    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        self.inner.find(path)
    }

    fn read(&self, object: &Object, buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        if !self.strikes() {
            return self.inner.read(object, buffer, sink);
        }
        let failed = |source| StoreError::Read { path: object.path.clone(), source };
        match self.fault {
            Fault::Refused => return Err(failed(refused())),
            Fault::Vanished => return Err(failed(io::ErrorKind::NotFound.into())),
            Fault::BreaksOff | Fault::Short => {}
        }
        let mut left = object.identity.size / 2;
        self.inner.read(object, buffer, &mut |piece| {
            let given = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= given as u64;
            if given == 0 || sink(&piece[..given]).is_break() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if self.fault == Fault::Short { Ok(()) } else { Err(failed(refused())) }
    }

    fn deletion(&self, sample: &Object) -> Result<Deletion, StoreError> {
        self.inner.deletion(sample)
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        for (index, object) in objects.iter().enumerate() {
            if self.strikes() {
                let failed = StoreError::Remove { path: object.path.clone(), source: refused() };
                if done(index, Err(failed)).is_break() {
                    return;
                }
                continue;
            }
            let mut flow = ControlFlow::Continue(());
            self.inner.remove(&[object], &mut |_, removed| {
                flow = done(index, removed);
                flow
            });
            if flow.is_break() {
                return;
            }
        }
    }

    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError> {
        if self.strikes() {
            return Err(StoreError::Remove { path: object.path.clone(), source: refused() });
        }
        self.inner.move_to(object, trash)
    }
}
