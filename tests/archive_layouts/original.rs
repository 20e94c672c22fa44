//! The plain archive that all others are compared with, and the comparison.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use walproof::archive::{Archive, Layout, LayoutChoice, Scratch, Secrets, Store, StoreError};

use crate::answers::{BACKUP, answers};
use crate::support::{Backup, Server, account, tools, workload};

/// A server of PostgreSQL 15 that has written some WAL and archives it into a plain directory.
pub struct Original {
    pub server: Server,
    /// Taken before the work.
    backup: OnceCell<Backup>,
    told: OnceCell<(usize, Vec<Value>)>,
    /// For what a test makes; the servers' account may write here.
    pub scratch: TempDir,
}

impl Original {
    /// Starts the server.
    pub fn start() -> Self {
        Self::start_version(15)
    }

    /// Starts a server of another version.
    pub fn start_version(major: u32) -> Self {
        let scratch = account::temporary_directory();
        let server = Server::create(major).set("wal_compression", "on").start();
        Self { server, backup: OnceCell::new(), told: OnceCell::new(), scratch }
    }

    /// Lets the server archive by the shell command `first` as well, before its own copy.
    pub fn archive_also_by(&self, first: &str) {
        let to = self.server.archive().display();
        self.server.sql(&format!("ALTER SYSTEM SET archive_command = '{first} && cp %p {to}/%f'"));
        self.server.sql("SELECT pg_reload_conf()");
    }

    /// Takes a backup, writes a few segments and sees them archived.
    pub fn work(&self) {
        self.backup.get_or_init(|| self.server.backup(BACKUP));
        workload::shop(&self.server);
        for seed in 0..3 {
            workload::trade(&self.server, seed, 300);
            self.server.sql("CHECKPOINT");
            self.server.archive_everything();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The names in the plain archive, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.server.archive()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Name and bytes of every WAL file of the plain archive.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.files().iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
    }

    /// Checks that the archive at `location` holds the same, as files and in the eyes of `verify`.
    pub fn expect_same(&self, location: &Path, layout: Layout) {
        self.expect_same_contents(
            Archive::open(location.to_str().unwrap(), LayoutChoice::Auto).unwrap(),
            layout,
        );
        self.expect_same_answers(location.to_str().unwrap(), &[]);
    }

    /// Checks that every command answers about the archive at `location` as it does about the plain directory.
    pub fn expect_same_answers(&self, location: &str, variables: &[(String, String)]) {
        let backup = self.backup.get().unwrap().path();
        let expected = self.answers(&backup);
        for (found, expected) in answers(location, &backup, variables).iter().zip(expected) {
            assert_eq!(found, expected, "{location}");
        }
    }

    /// Those about the plain directory, asked once as long as it does not change.
    fn answers(&self, backup: &Path) -> &[Value] {
        let files = self.files().len();
        let told =
            self.told.get_or_init(|| (files, answers(self.server.archive().to_str().unwrap(), backup, &[])));
        assert_eq!(told.0, files, "the archive has changed");
        &told.1
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers make it for this")]
    pub fn expect_same_contents(&self, archive: Archive, layout: Layout) {
        assert_eq!(archive.layout(), layout);
        let (found, expected) = (contents(&archive), self.contents());
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{}", archive.location());
        assert!(found == expected, "{}", archive.location());
    }
}

/// An archive in a store, with passphrases.
pub fn in_store(store: impl Store + 'static, passphrases: &[&str]) -> Result<Archive, StoreError> {
    let secrets = Secrets::new(passphrases.iter().map(|&text| text.to_owned()));
    Archive::of_store("store", Box::new(store), LayoutChoice::Auto, secrets)
}

/// Name and plain bytes of every file; no name twice, no stray.
pub fn contents(archive: &Archive) -> BTreeMap<String, Vec<u8>> {
    let inventory = archive.inventory().unwrap();
    assert!(inventory.strays.is_empty(), "{:?}", inventory.strays);
    archive.prefetch(&inventory.entries);
    let mut scratch = Scratch::default();
    let mut files = BTreeMap::new();
    for entry in &inventory.entries {
        let mut bytes = Vec::new();
        let read = archive.read(entry, &mut scratch, &mut |piece| {
            bytes.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        read.unwrap_or_else(|error| panic!("{}: {error}", entry.object.path.display()));
        assert!(files.insert(entry.name.to_string(), bytes).is_none(), "{} twice", entry.name);
    }
    files
}

/// What `walproof verify` says, without what differs between two places and two runs.
pub fn verify(location: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
    command.arg("verify").arg(location).args(["--format", "json"]);
    let mut answer: Value = serde_json::from_slice(&tools::run(&mut command).stdout).unwrap();
    let keys = answer.as_object_mut().unwrap();
    keys.remove("seconds").unwrap();
    keys.remove("archive").unwrap();
    answer
}
