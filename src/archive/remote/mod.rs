//! An object store: S3 and what speaks its protocol, Google Cloud Storage, Azure.
//!
//! One listing; downloads by a thread of their own (`service`), a few at a time and ahead of the reader
//! (`window`), in memory that is bounded whatever the archive holds. An object is the one that was listed while its
//! entity tag and size are the same. Credentials come from the environment (`connect`), are kept by the client
//! alone, and no error text carries them (`complaint`).

mod complaint;
mod connect;
mod credentials;
mod service;
mod window;

use super::store::{Child, Deletion, Descent, Identity, Object, ObjectKind, Sink, Store, StoreError};
use bytes::Bytes;
use connect::{Protocol, Variables};
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::PaginatedListOptions;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStoreExt};
use service::{Failure, Request, Service};
use std::fmt;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use window::Window;

/// Bytes handed out at a time: small enough to be walked while they are still in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

/// Larger objects are fetched in ranges of this size, one ahead of the reader.
const RANGE_BYTES: u64 = 16 << 20;

/// Requests under way at once where many small ones are needed: before a removal.
const CHECKS_IN_FLIGHT: usize = 16;

/// Objects that are removed together: as many as one request names at most, so that an answer is for all of them. Of
/// Google's protocol each request names one.
const fn removals_per_batch(protocol: Protocol) -> usize {
    match protocol {
        Protocol::S3 => 1000,
        Protocol::Azure | Protocol::Google => 256,
    }
}

/// A prefix of a bucket.
pub struct Remote {
    service: Arc<Service>,
    window: Arc<Window>,
    protocol: Protocol,
    /// `s3://bucket`, for messages.
    bucket: String,
    prefix: Vec<String>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("location", &self.shown(Path::new(""))).finish_non_exhaustive()
    }
}

impl Remote {
    /// Makes a client for the store that the URL `location` names, with what `variables` (the environment, as a
    /// rule) say of it. Nothing is asked of the store yet.
    pub fn open(
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let (scheme, rest) = location.split_once("://").unwrap_or(("", location));

        if rest.contains(['@', '?', '#']) {
            return Err(StoreError::Location {
                location: format!("{scheme}://…"),
                detail: "credentials and options belong in the environment, not in the URL".to_owned(),
            });
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let refused = |detail| StoreError::Location { location: location.to_owned(), detail };
        let protocol = Protocol::of_scheme(scheme).map_err(refused)?;
        let backend = connect::connect(protocol, bucket, &Variables::new(variables)).map_err(refused)?;
        let service = Service::start(backend)
            .map_err(|source| StoreError::List { path: PathBuf::from(location), source })?;
        let prefix = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let service = Arc::new(service);
        let window = Arc::new(Window::new(Arc::clone(&service)));
        Ok(Self { service, window, protocol, bucket: format!("{scheme}://{bucket}"), prefix })
    }

    /// The same bucket, seen from `prefix`.
    fn at(&self, prefix: Vec<String>) -> Self {
        Self {
            service: Arc::clone(&self.service),
            window: Arc::new(Window::new(Arc::clone(&self.service))),
            protocol: self.protocol,
            bucket: self.bucket.clone(),
            prefix,
        }
    }

    /// `path` as a person would type it.
    fn shown(&self, path: &Path) -> PathBuf {
        let mut shown = PathBuf::from(&self.bucket);
        shown.extend(&self.prefix);
        shown.join(path)
    }

    /// The parts of the key of `path`, `..` resolved.
    fn key_parts(&self, path: &Path) -> Vec<String> {
        let mut parts = self.prefix.clone();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                _ => {}
            }
        }
        parts
    }

    fn key(&self, path: &Path) -> Key {
        let text = self.key_parts(path).join("/");
        // A key that was listed parses again; one that cannot be named gets its odd characters escaped.
        Key::parse(&text).unwrap_or_else(|_| Key::from(text.as_str()))
    }

    fn list_error(&self, folder: &Path, failure: &object_store::Error) -> StoreError {
        StoreError::List { path: self.shown(folder), source: complaint::io_error(failure) }
    }

    fn read_error(&self, path: &Path, failure: Failure) -> StoreError {
        let path = self.shown(path);
        match failure {
            Failure::Changed(detail) => StoreError::Changed { path, detail },
            Failure::Failed(source) => StoreError::Read { path, source },
        }
    }

    fn request(&self, object: &Object) -> Request {
        Request {
            key: self.key(&object.path),
            size: object.identity.size,
            etag: object.identity.etag.clone(),
            range: None,
        }
    }

    /// What a listing's entry is below the root; `None` for the marker of the root itself.
    fn object(&self, meta: ObjectMeta) -> Option<Object> {
        let key = String::from(meta.location);
        let below = key.split('/').skip(self.prefix.len());
        let path: PathBuf = below.collect();
        let modified_ns = meta.last_modified.timestamp_nanos_opt();
        let etag = meta.e_tag.as_ref().map(quoted);
        let identity = Identity { size: meta.size, modified_ns, etag, ..Identity::default() };
        (!path.as_os_str().is_empty()).then_some(Object { path, kind: ObjectKind::Regular, identity })
    }

    /// Lists `folder` and what `descend` wants below it.
    fn list_below(
        &self,
        folder: &Path,
        descend: &dyn Fn(&Path) -> Descent,
        objects: &mut Vec<Object>,
    ) -> Result<(), StoreError> {
        let key = self.key(folder);
        let backend = self.service.backend();
        let list_error = |failure| self.list_error(folder, &failure);
        match descend(folder) {
            Descent::Skip => {}
            Descent::Whole => {
                let listing = async move { backend.list(prefix_of(&key)).try_collect::<Vec<_>>().await };
                let found = self.service.wait(listing).map_err(list_error)?;
                objects.extend(found.into_iter().filter_map(|meta| self.object(meta)));
            }
            Descent::Level => {
                let listing = async move { backend.list_with_delimiter(prefix_of(&key)).await };
                let found = self.service.wait(listing).map_err(list_error)?;
                objects.extend(found.objects.into_iter().filter_map(|meta| self.object(meta)));
                for below in found.common_prefixes {
                    if let Some(name) = below.filename() {
                        self.list_below(&folder.join(name), descend, objects)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The whole object, fetched ahead or now.
    fn fetch_whole(&self, object: &Object) -> Result<Bytes, StoreError> {
        let request = self.request(object);
        let fetched = match self.window.take(&request.key) {
            Some(fetched) => fetched,
            None => self.service.fetch(request),
        };
        fetched.map_err(|failure| self.read_error(&object.path, failure))
    }

    /// Hands out a large object range by range, the next one under way while one is read.
    fn read_ranges(&self, object: &Object, sink: Sink<'_>) -> Result<(), StoreError> {
        let size = object.identity.size;
        let range = |start: u64| {
            (start < size).then(|| {
                let range = Some(start..size.min(start + RANGE_BYTES));
                self.service.begin_fetch(Request { range, ..self.request(object) })
            })
        };
        let mut start = 0;
        let mut pending = range(start);
        while let Some(waited_for) = pending {
            start += RANGE_BYTES;
            pending = range(start);
            let bytes = waited_for.wait().map_err(|failure| self.read_error(&object.path, failure))?;
            if give(&bytes, sink).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Which of `objects` still are as they were listed, in order.
    fn check_unchanged(&self, objects: &[&Object]) -> Vec<Result<(), StoreError>> {
        let backend = self.service.backend();
        let keys: Vec<Key> = objects.iter().map(|object| self.key(&object.path)).collect();
        let heads = async move {
            let head = |key: Key| {
                let backend = Arc::clone(&backend);
                async move { backend.head(&key).await }
            };
            futures_util::stream::iter(keys).map(head).buffered(CHECKS_IN_FLIGHT).collect::<Vec<_>>().await
        };
        let found = self.service.wait(heads);
        found.into_iter().zip(objects).map(|(head, object)| self.compare(head, object)).collect()
    }

    fn compare(&self, head: object_store::Result<ObjectMeta>, object: &Object) -> Result<(), StoreError> {
        let path = self.shown(&object.path);
        match head {
            Ok(ObjectMeta { size, e_tag, .. })
                if size == object.identity.size && e_tag.as_ref().map(quoted) == object.identity.etag =>
            {
                Ok(())
            }
            Ok(_) => Err(StoreError::Changed { path, detail: "it was written again".to_owned() }),
            Err(failure) => Err(StoreError::Remove { path, source: complaint::io_error(&failure) }),
        }
    }

    /// Removes a batch that was checked, and says for each object how that went.
    fn remove_batch(&self, objects: &[&Object]) -> Vec<Result<(), StoreError>> {
        let backend = self.service.backend();
        let keys: Vec<Key> = objects.iter().map(|object| self.key(&object.path)).collect();
        let removal = async move {
            let keys = futures_util::stream::iter(keys.into_iter().map(Ok)).boxed();
            backend.delete_stream(keys).collect::<Vec<_>>().await
        };
        let mut results = self.service.wait(removal).into_iter();
        let mut last = None;
        let outcome = |object: &&Object| {
            // A batch that failed as a whole gives one answer for all.
            let failure = match results.next() {
                Some(Ok(_)) => return Ok(()),
                Some(Err(failure)) => last.insert(complaint::text(&failure)).clone(),
                None => last.clone().unwrap_or_else(|| "the store did not answer for it".to_owned()),
            };
            Err(StoreError::Remove { path: self.shown(&object.path), source: io::Error::other(failure) })
        };
        let outcomes: Vec<Result<(), StoreError>> = objects.iter().map(outcome).collect();
        self.look_again(objects, outcomes)
    }

    /// A removal whose answer was lost may have been done: what is not there any more is removed.
    fn look_again(
        &self,
        objects: &[&Object],
        outcomes: Vec<Result<(), StoreError>>,
    ) -> Vec<Result<(), StoreError>> {
        let failed: Vec<&Object> = objects
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_err())
            .map(|(object, _)| *object)
            .collect();
        if failed.is_empty() {
            return outcomes;
        }
        let mut now = self.check_unchanged(&failed).into_iter();
        let is_gone = |check: Option<Result<(), StoreError>>| matches!(check, Some(Err(StoreError::Remove { source, .. })) if source.kind() == io::ErrorKind::NotFound);
        outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|error| if is_gone(now.next()) { Ok(()) } else { Err(error) }))
            .collect()
    }

    /// The folder that `trash` names: below the root, or in the same bucket where it is a URL.
    fn trash_key(&self, object: &Object, trash: &Path) -> Result<Key, StoreError> {
        let Some(text) = trash.to_str().filter(|text| text.contains("://")) else {
            return Ok(self.key(&trash.join(&object.path)));
        };
        match text.strip_prefix(&self.bucket).and_then(|rest| rest.strip_prefix('/')) {
            Some(folder) => {
                let parts = folder.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                Ok(self.at(parts).key(&object.path))
            }
            None => Err(StoreError::Location {
                location: text.to_owned(),
                detail: format!("is not in {}, where the archive is", self.bucket),
            }),
        }
    }
}

impl Store for Remote {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        let mut prefix = self.key_parts(folder).join("/");
        if !prefix.is_empty() {
            prefix.push('/');
        }
        let backend = self.service.backend();
        let prefix = (!prefix.is_empty()).then_some(prefix.as_str());
        let named = |key: &Key, is_folder| Some(Child { name: key.filename()?.to_owned(), is_folder });
        let (mut children, mut page_token) = (Vec::new(), None);
        // A page may be shorter than was asked for, and even empty, with more behind it.
        loop {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                max_keys: Some(limit.saturating_sub(children.len())),
                page_token,
                ..PaginatedListOptions::default()
            };
            let page = self.service.wait(backend.list_paginated(prefix, options));
            let page = page.map_err(|failure| self.list_error(folder, &failure))?;
            children.extend(page.result.common_prefixes.iter().filter_map(|key| named(key, true)));
            children.extend(page.result.objects.iter().filter_map(|meta| named(&meta.location, false)));
            page_token = page.page_token;
            if page_token.is_none() || children.len() >= limit {
                return Ok(children);
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.prefix.clone()
    }

    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError> {
        let kept = self.prefix.len().saturating_sub(levels);
        Ok(Box::new(self.at(self.prefix[..kept].to_vec())))
    }

    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        let mut objects = Vec::new();
        self.list_below(Path::new(""), descend, &mut objects)?;
        Ok(objects)
    }

    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        let (backend, key) = (self.service.backend(), self.key(path));
        match self.service.wait(async move { backend.head(&key).await }) {
            Ok(meta) => Ok(self.object(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(failure) => Err(self.read_error(path, Failure::Failed(complaint::io_error(&failure)))),
        }
    }

    fn read(&self, object: &Object, _buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        if object.identity.size > window::OBJECT_BYTES_MAX {
            return self.read_ranges(object, sink);
        }
        let bytes = self.fetch_whole(object)?;
        let _ = give(&bytes, sink);
        Ok(())
    }

    fn read_range(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let fetched = self.service.fetch(Request { range: Some(range), ..self.request(object) });
        fetched.map(Vec::from).map_err(|failure| self.read_error(&object.path, failure))
    }

    fn prefetch(&self, objects: &[&Object]) {
        let wanted = objects.iter().filter(|object| object.kind == ObjectKind::Regular);
        self.window.plan(wanted.map(|object| self.request(object)));
    }

    fn deletion(&self, sample: &Object) -> Result<Deletion, StoreError> {
        let (backend, key) = (self.service.backend(), self.key(&sample.path));
        let head = self.service.wait(async move { backend.head(&key).await });
        let meta = head.map_err(|failure| self.read_error(&sample.path, complaint::failure(&failure)))?;
        // Google's store gives every object a generation, whether it keeps old ones or not.
        let says_versions = self.protocol != Protocol::Google;
        Ok(match meta.version {
            Some(version) if says_versions && version != "null" => Deletion::Kept(format!(
                "{} keeps the versions of its objects (and object lock needs versions): what is deleted stays and is \
                 paid for",
                self.bucket
            )),
            _ => Deletion::Final,
        })
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        let mut at = 0;
        for batch in objects.chunks(removals_per_batch(self.protocol)) {
            let mut checks = self.check_unchanged(batch).into_iter().peekable();
            let mut rest = batch;
            while let Some(first) = checks.next() {
                // Up to the first that is not as it was: whoever hears of that one may want nothing more removed.
                let count = match &first {
                    Ok(()) => 1 + std::iter::from_fn(|| checks.next_if(Result::is_ok)).count(),
                    Err(_) => 0,
                };
                let (run, behind) = rest.split_at(count);
                let outcomes = match first {
                    Ok(()) => self.remove_batch(run),
                    Err(changed) => vec![Err(changed)],
                };
                rest = behind.get(usize::from(count == 0)..).unwrap_or_default();
                // What was begun is told to its end, even to one who wants no more.
                let mut flow = ControlFlow::Continue(());
                for outcome in outcomes {
                    if done(at, outcome).is_break() {
                        flow = ControlFlow::Break(());
                    }
                    at += 1;
                }
                if flow.is_break() {
                    return;
                }
            }
        }
    }

    fn check_trash(&self, objects: &[&Object], trash: &Path) -> Result<(), StoreError> {
        objects.first().map_or(Ok(()), |object| self.trash_key(object, trash).map(drop))
    }

    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError> {
        let target = self.trash_key(object, trash)?;
        self.check_unchanged(&[object]).into_iter().next().unwrap_or(Ok(()))?;
        let (backend, key) = (self.service.backend(), self.key(&object.path));
        let moved = self.service.wait(async move {
            match backend.head(&target).await {
                Ok(_) => return Ok(false),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(failure) => return Err(failure),
            }
            backend.copy(&key, &target).await?;
            backend.delete(&key).await.map(|()| true)
        });
        let failed = |source| Err(StoreError::Remove { path: self.shown(&object.path), source });
        match moved {
            Ok(true) => Ok(()),
            Ok(false) => {
                failed(io::Error::new(io::ErrorKind::AlreadyExists, "the trash already holds this name"))
            }
            Err(failure) => failed(complaint::io_error(&failure)),
        }
    }
}

/// An entity tag as HTTP writes it. Azure's listings leave the quotation marks out that its answers to other requests
/// have.
fn quoted(etag: &String) -> String {
    if etag.ends_with('"') { etag.clone() } else { format!("\"{etag}\"") }
}

/// The client takes no prefix at all for the bucket itself.
fn prefix_of(key: &Key) -> Option<&Key> {
    (!key.as_ref().is_empty()).then_some(key)
}

/// Hands out `bytes` in pieces until the sink breaks.
fn give(bytes: &[u8], sink: Sink<'_>) -> ControlFlow<()> {
    bytes.chunks(PIECE_BYTES).try_for_each(sink)
}
