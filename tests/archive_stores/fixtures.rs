//! The stores under test, each with a way to put objects into it from outside.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use walproof::archive::Store;
use walproof::archive::directory::Directory;
use walproof::archive::memory::Memory;
use walproof::archive::remote::Remote;

use crate::support::azure::Azure;
use crate::support::bucket::Bucket;
use crate::support::gcs::Gcs;
use crate::support::s3::S3;

/// A place that holds objects.
pub trait Fixture {
    /// What to call it when a test fails.
    fn name(&self) -> &'static str;
    /// The store, seen from `prefix`, an existing folder of it.
    fn store(&self, prefix: &str) -> Box<dyn Store>;
    /// Writes an object.
    fn put(&self, key: &str, bytes: &[u8]);
    /// Takes an object away.
    fn take(&self, key: &str);
    /// Whether the store sees that an object was written again with the same size.
    fn tells_versions(&self) -> bool;
}

pub struct InDirectory(TempDir);

impl Fixture for InDirectory {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn store(&self, prefix: &str) -> Box<dyn Store> {
        let path = self.0.path().join(prefix);
        fs::create_dir_all(&path).unwrap();
        Box::new(Directory::open(path).unwrap())
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.0.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn take(&self, key: &str) {
        fs::remove_file(self.0.path().join(key)).unwrap();
    }

    fn tells_versions(&self) -> bool {
        false
    }
}

pub struct InMemory(Memory);

impl Fixture for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn store(&self, prefix: &str) -> Box<dyn Store> {
        Box::new(self.0.at(prefix))
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.0.put(key, bytes);
    }

    fn take(&self, key: &str) {
        self.0.take(key);
    }

    fn tells_versions(&self) -> bool {
        true
    }
}

/// A prefix of its own in a bucket that several tests share.
pub struct InBucket {
    server: Arc<dyn Bucket>,
    prefix: String,
}

impl InBucket {
    pub fn new(server: &Arc<dyn Bucket>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("suite-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { server: Arc::clone(server), prefix }
    }
}

impl Fixture for InBucket {
    fn name(&self) -> &'static str {
        self.server.scheme()
    }

    fn store(&self, prefix: &str) -> Box<dyn Store> {
        let url = self.server.url(&format!("{}/{prefix}", self.prefix));
        Box::new(Remote::open(&url, self.server.variables()).unwrap())
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.server.put(&format!("{}/{key}", self.prefix), bytes);
    }

    fn take(&self, key: &str) {
        self.server.take(&format!("{}/{key}", self.prefix));
    }

    fn tells_versions(&self) -> bool {
        true
    }
}

/// Each service that keeps buckets.
pub fn buckets() -> [Arc<dyn Bucket>; 3] {
    [Arc::new(S3::start()), Arc::new(Gcs::start()), Arc::new(Azure::start())]
}

/// Runs `check` over a fresh fixture of each kind.
pub fn for_each(check: impl Fn(&dyn Fixture)) {
    check(&InDirectory(tempfile::tempdir().unwrap()));
    check(&InMemory(Memory::new()));
    for bucket in buckets() {
        check(&InBucket::new(&bucket));
    }
}
