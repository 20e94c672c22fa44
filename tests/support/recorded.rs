//! The recorded archives of `corpus/oracle`: what servers of every version wrote, and how they recovered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

/// Every version that has a recording, as its name in PostgreSQL's own numbering.
pub const VERSIONS: [&str; 12] = ["9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"];

/// One recording, unpacked.
pub struct Recording {
    /// The folder with `archive/`, `backups/` and `oracle.json`. Shared by tests: read only.
    pub directory: PathBuf,
    /// What was done, and what the real server answered.
    pub oracle: Value,
}

impl Recording {
    /// Unpacks the recording of one version, once for all tests of a build.
    pub fn of(version: &str) -> Self {
        static UNPACKING: Mutex<()> = Mutex::new(());
        let _guard = UNPACKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("corpus/oracle/pg{version}.tar.zst"));
        // Not CARGO_TARGET_TMPDIR: only integration tests have it, and this is compiled elsewhere too.
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(format!("oracle/pg{version}"));
        if stale(&source, &directory) {
            unpack(&source, &directory);
        }
        let text = fs::read(directory.join("oracle.json")).unwrap();
        Self { directory, oracle: serde_json::from_slice(&text).unwrap() }
    }

    /// The archive that archive_command filled.
    pub fn archive(&self) -> PathBuf {
        self.directory.join("archive")
    }

    /// One backup's label file, control file and version.
    pub fn backup(&self, name: &str) -> PathBuf {
        self.directory.join("backups").join(name)
    }
}

fn stale(source: &Path, directory: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let packed = modified(source).unwrap_or_else(|| panic!("{} is missing", source.display()));
    modified(directory).is_none_or(|unpacked| unpacked < packed)
}

/// Other test binaries may do the same at this moment: the folder appears whole, by a rename.
fn unpack(source: &Path, directory: &Path) {
    let parent = directory.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    let fresh = tempfile::tempdir_in(parent).unwrap();
    let mut decoder = zstd::Decoder::new(File::open(source).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    tar::Archive::new(decoder).unpack(fresh.path()).unwrap();
    let _ = fs::remove_dir_all(directory);
    let fresh = fresh.keep();
    if fs::rename(&fresh, directory).is_err() {
        assert!(directory.join("oracle.json").exists(), "{} cannot be made", directory.display());
        fs::remove_dir_all(&fresh).unwrap();
    }
    // The archive's own times came with it; what counts is when it was unpacked.
    File::open(directory).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
}
