//! What tests ask of a service that keeps a bucket called `wal`.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

/// The secret of the one account; looked for in everything that is printed.
pub const SECRET_KEY: &str = "s3cr3t-s3cr3t-s3cr3t-s3cr3t";

/// A service on loopback. Tests put objects into it by a client of their own.
pub trait Bucket: Send + Sync {
    /// The scheme of its URLs.
    fn scheme(&self) -> &'static str;

    /// The port on which it answers.
    fn port(&self) -> u16;

    /// The environment that reaches it through a port.
    fn variables_at(&self, port: u16) -> Vec<(String, String)>;

    /// A client.
    fn client(&self) -> Arc<dyn ObjectStore>;

    /// `SCHEME://wal/PREFIX`.
    fn url(&self, prefix: &str) -> String {
        format!("{}://wal/{prefix}", self.scheme())
    }

    /// The environment that reaches it.
    fn variables(&self) -> Vec<(String, String)> {
        self.variables_at(self.port())
    }

    /// Stores an object.
    fn put(&self, key: &str, bytes: &[u8]) {
        let payload = PutPayload::from(bytes.to_vec());
        wait(self.client().put(&Key::from(key), payload)).unwrap();
    }

    /// Deletes an object.
    fn take(&self, key: &str) {
        wait(self.client().delete(&Key::from(key))).unwrap();
    }

    /// The names right below `prefix`, sorted.
    fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = wait(self.client().list_with_delimiter(Some(&Key::from(prefix)))).unwrap().objects;
        let mut keys: Vec<String> =
            listed.into_iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect();
        keys.sort();
        keys
    }

    /// Stores every file below `folder` under `prefix`.
    fn put_folder(&self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                self.put_folder(&path, &name);
            } else {
                self.put(&name, &fs::read(&path).unwrap());
            }
        }
    }
}

/// Variables with their values.
pub fn named<const N: usize>(variables: [(&str, &str); N]) -> Vec<(String, String)> {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// Waits for a client's answer.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
