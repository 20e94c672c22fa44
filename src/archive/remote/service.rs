//! The thread that talks to the store, and requests that it repeats until they are answered in full.
//!
//! One current-thread runtime on one thread: measured faster than a multi-threaded one, at less than half the CPU
//! time, because the other cores are busy with WAL.

use super::complaint;
use bytes::Bytes;
use object_store::list::PaginatedListStore;
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectStore};
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A client of a store that can also list page by page.
pub(super) trait Backend: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Backend for T {}

/// How often an object is asked for. The client repeats refused requests and bodies that break off by itself, and
/// gives up after a while; what it cannot see is a body that ends early without saying so.
const ATTEMPTS: u32 = 2;

/// The pause before the second attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// An object, or a range of it, as it was listed.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) key: Key,
    /// Size of the whole object.
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    pub(super) range: Option<Range<u64>>,
}

/// Why an object was not had.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is another object than the one listed.
    Changed(String),
    /// The store did not give it.
    Failed(io::Error),
}

/// What a fetch gives.
pub(super) type Fetched = Result<Bytes, Failure>;

/// The client and its thread. The thread ends when this is dropped.
pub(super) struct Service {
    backend: Arc<dyn Backend>,
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output names endpoints, and who knows what a later version of it adds.
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    pub(super) fn start(backend: Arc<dyn Backend>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("object-store".to_owned()).spawn(move || {
            // Whatever it says, the sender is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { backend, runtime: handle, _stop: stop })
    }

    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    /// Lets the thread run `work` without waiting for it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Waits for `work`, whose input and output the thread sees to.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Fetches and waits.
    pub(super) fn fetch(&self, request: Request) -> Fetched {
        self.begin_fetch(request).wait()
    }

    /// Begins to fetch.
    pub(super) fn begin_fetch(&self, request: Request) -> Pending {
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = fetch(self.backend(), request);
        self.spawn(async move {
            // Nobody may be waiting any more.
            let _ = sender.send(work.await);
        });
        Pending(receiver)
    }
}

/// A fetch that was begun.
pub(super) struct Pending(mpsc::Receiver<Fetched>);

impl Pending {
    /// Waits for the bytes.
    pub(super) fn wait(self) -> Fetched {
        self.0.recv().unwrap_or_else(|_| Err(Failure::Failed(io::Error::other("the download was given up"))))
    }
}

/// Fetches what `request` names, again while the answer is not whole.
pub(super) async fn fetch(backend: Arc<dyn Backend>, request: Request) -> Fetched {
    let mut attempt = 1;
    loop {
        let failure = match fetch_once(backend.as_ref(), &request).await {
            Err(Failure::Failed(error)) if is_passing(&error) => error,
            settled => return settled,
        };
        if attempt == ATTEMPTS {
            return Err(Failure::Failed(failure));
        }
        tracing::debug!("{}: {failure}; trying again", request.key);
        tokio::time::sleep(PAUSE).await;
        attempt += 1;
    }
}

/// Whether a failure may go away by itself.
fn is_passing(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

async fn fetch_once(backend: &dyn Backend, request: &Request) -> Fetched {
    let failed = |failure: object_store::Error| complaint::failure(&failure);
    let options = GetOptions::new().with_range(request.range.clone());
    let answer = backend.get_opts(&request.key, options).await.map_err(failed)?;
    if answer.meta.size != request.size {
        let detail = format!("it had {} bytes then and {} now", request.size, answer.meta.size);
        return Err(Failure::Changed(detail));
    }
    if let (Some(listed), Some(found)) = (&request.etag, answer.meta.e_tag.as_ref().map(super::quoted))
        && *listed != found
    {
        return Err(Failure::Changed("it was written again".to_owned()));
    }
    let expected = request.range.clone().map_or(request.size, |range| range.end - range.start);
    let bytes = answer.bytes().await.map_err(failed)?;
    if bytes.len() as u64 == expected {
        return Ok(bytes);
    }
    let detail = format!("{} bytes came of {expected}", bytes.len());
    Err(Failure::Failed(io::Error::new(io::ErrorKind::UnexpectedEof, detail)))
}
