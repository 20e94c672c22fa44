//! Where this machine remembers things about one archive: its baseline, its lock, its journal.

use crate::archive::Archive;
use sha1::{Digest, Sha1};
use std::path::{Path, PathBuf};

/// The directory for small files of this program: `$XDG_STATE_HOME/walproof`, else `~/.local/state/walproof`.
/// `None` where the machine names neither.
pub fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("walproof"))
}

/// The file with `suffix` that belongs to `archive`, in the directory for such files.
pub fn of_archive(archive: &Archive, suffix: &str) -> Option<PathBuf> {
    state_directory().map(|directory| in_directory(&directory, archive, suffix))
}

/// The file with `suffix` that belongs to `archive`. The same place has the same file, however it is written.
pub fn in_directory(directory: &Path, archive: &Archive, suffix: &str) -> PathBuf {
    let local = archive.store().local_root().and_then(|root| std::fs::canonicalize(root).ok());
    let place = local.map_or_else(
        || archive.location().trim_end_matches('/').as_bytes().to_vec(),
        |path| path.as_os_str().as_encoded_bytes().to_vec(),
    );
    let digest = Sha1::digest(&place).iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    directory.join(format!("{digest:016x}.{suffix}"))
}
