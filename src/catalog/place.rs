//! Where the catalog of an archive is kept when nobody says it.

use crate::archive::local_path;
use sha2::{Digest, Sha256};
use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Bytes of the location's digest in the name.
const DIGEST_BYTES: usize = 10;

/// The catalog of the archive at `location`: a file under the user's cache directory. `None` if the user has none.
pub fn default_place(location: &str) -> Option<PathBuf> {
    Some(place_in(&cache_directory()?, location))
}

/// `XDG_CACHE_HOME`, else `.cache` in the home directory, as the XDG Base Directory Specification has it.
fn cache_directory() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
}

fn place_in(cache: &Path, location: &str) -> PathBuf {
    let digest = Sha256::digest(canonical(location).as_bytes());
    let mut name = String::new();
    for byte in digest.iter().take(DIGEST_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    cache.join("walproof").join(name + ".catalog")
}

/// One text for one place: links followed where the place is there, and no slash at the end.
pub(super) fn canonical(location: &str) -> String {
    let Ok(Some(path)) = local_path(location) else { return location.trim_end_matches('/').to_owned() };
    let whole = std::fs::canonicalize(&path).or_else(|_| std::path::absolute(&path));
    // A slash at the end goes with the parts.
    let parts = |whole: PathBuf| whole.components().collect::<PathBuf>().to_string_lossy().into_owned();
    whole.map_or_else(|_| path.to_string_lossy().into_owned(), parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_archive_has_one_catalog_however_it_is_written() {
        let place = |location: &str| place_in(Path::new("/cache"), location);
        assert_eq!(place("/"), place("file:///"));
        assert_eq!(place("/no/such/place"), place("/no/such/place/"));
        assert_eq!(place("/no/such place"), place("file:///no/such%20place"));
        assert_eq!(place("s3://bucket/a"), place("s3://bucket/a/"));
        assert_ne!(place("s3://bucket/a"), place("s3://bucket/b"));
        assert!(place("/").starts_with("/cache/walproof"));
    }
}
