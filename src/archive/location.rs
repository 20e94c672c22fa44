//! From what the user typed to a store.

use super::directory::Directory;
use super::store::{Store, StoreError};
use super::tar_file::{TarFile, is_tar_name};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "object-store")]
use std::sync::Arc;

/// Opens the store that `location` names: a directory, a tar file, or a URL.
pub(super) fn open(location: &str) -> Result<Box<dyn Store>, StoreError> {
    match local_path(location)? {
        Some(path) => open_path(&path),
        None => open_remote(location),
    }
}

/// The path that `location` stands for, unless it is in an object store.
///
/// # Errors
/// It is a `file://` URL of another host, or one that cannot be read.
pub fn local_path(location: &str) -> Result<Option<PathBuf>, StoreError> {
    match location.split_once("://") {
        Some(("file", path)) => file_url_path(location, path).map(Some),
        Some((scheme, _)) if is_scheme(scheme) => Ok(None),
        _ => Ok(Some(PathBuf::from(location))),
    }
}

/// The location that WAL-G's or pgBackRest's environment variables name, if one of them is set: what a user of
/// such a tool has in the environment already. Looked at in this order: `WALG_S3_PREFIX`, `WALE_S3_PREFIX`,
/// `WALG_GS_PREFIX`, `WALG_AZ_PREFIX`, `WALG_FILE_PREFIX`.
pub fn location_from_environment() -> Option<String> {
    let variables =
        ["WALG_S3_PREFIX", "WALE_S3_PREFIX", "WALG_GS_PREFIX", "WALG_AZ_PREFIX", "WALG_FILE_PREFIX"];
    let value = variables.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))?;
    Some(value)
}

fn open_path(path: &Path) -> Result<Box<dyn Store>, StoreError> {
    let found = fs::metadata(path).map_err(|source| StoreError::List { path: path.to_owned(), source })?;
    if found.is_file() {
        return Ok(Box::new(TarFile::open(path)?));
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().take(NAMES_LOOKED_AT);
    match wal_tar_among(entries.filter_map(|entry| entry.file_name().into_string().ok())) {
        Some(tar) => Ok(Box::new(TarFile::open(path.join(tar))?)),
        None => Ok(Box::new(Directory::open(path)?)),
    }
}

/// Names of a place that are looked at to find out whether it is what `pg_basebackup -Ft` wrote.
const NAMES_LOOKED_AT: usize = 1000;

/// The tar with the WAL among the names in a folder of `pg_basebackup -Ft`: it has a base.tar and no other WAL.
fn wal_tar_among(names: impl Iterator<Item = String>) -> Option<String> {
    let mut tars: Vec<String> = names.filter(|name| is_tar_name(name)).collect();
    tars.sort();
    let named = |stem: &str| tars.iter().find(|name| name.split('.').next() == Some(stem)).cloned();
    let base = named("base")?;
    Some(named("pg_wal").unwrap_or(base))
}

/// The place itself, or the tar that it names or holds.
#[cfg(feature = "object-store")]
fn tar_or_itself(place: super::remote::Remote) -> Result<Box<dyn Store>, StoreError> {
    if let Some(name) = place.names().last().filter(|name| is_tar_name(name)) {
        let folder: Arc<dyn Store> = place.raised(1)?.into();
        if let Some(tar) = folder.find(Path::new(name))? {
            return Ok(Box::new(TarFile::of_object(folder, tar)?));
        }
    }
    let children = place.children(Path::new(""), NAMES_LOOKED_AT)?;
    let files = children.into_iter().filter(|child| !child.is_folder).map(|child| child.name);
    match wal_tar_among(files) {
        Some(tar) => Ok(Box::new(TarFile::find_in(Arc::new(place), Path::new(&tar))?)),
        None => Ok(Box::new(place)),
    }
}

/// The path of a `file://` URL: its host is empty or `localhost`, and `%xx` stands for a byte.
fn file_url_path(location: &str, rest: &str) -> Result<PathBuf, StoreError> {
    use std::os::unix::ffi::OsStringExt;
    let refused =
        |detail: &str| StoreError::Location { location: location.to_owned(), detail: detail.to_owned() };
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(refused("names another host, or a path that is not absolute: write file:///path"));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.bytes();
    while let Some(byte) = left.next() {
        let decoded = if byte == b'%' {
            let digits = [left.next().unwrap_or(b'%'), left.next().unwrap_or(b'%')];
            let text = std::str::from_utf8(&digits).ok();
            text.and_then(|text| u8::from_str_radix(text, 16).ok())
                .ok_or_else(|| refused("has a % without two digits"))?
        } else {
            byte
        };
        bytes.push(decoded);
    }
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c))
}

#[cfg(feature = "object-store")]
fn open_remote(location: &str) -> Result<Box<dyn Store>, StoreError> {
    tar_or_itself(super::remote::Remote::open(location, text_variables())?)
}

/// The process's environment, as far as it is text.
#[cfg(feature = "object-store")]
fn text_variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(not(feature = "object-store"))]
fn open_remote(location: &str) -> Result<Box<dyn Store>, StoreError> {
    let detail = "this program was built without object stores (feature `object-store`)".to_owned();
    Err(StoreError::Location { location: location.to_owned(), detail })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_url_is_a_path_with_its_escapes_undone() {
        let path = |url: &str| file_url_path(url, url.strip_prefix("file://").unwrap());
        assert_eq!(path("file:///srv/wal%20archive").unwrap(), Path::new("/srv/wal archive"));
        assert_eq!(path("file://localhost/srv").unwrap(), Path::new("/srv"));
        for bad in ["file://other/srv", "file://srv", "file:///srv/%2", "file:///srv/%zz"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
