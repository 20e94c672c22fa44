//! Single data files of a base backup, from its directory or out of its tar.

use super::base::{BaseBackup, SourceKind};
use super::directory::open_regular;
use super::load::{LoadError, tar_in};
use super::tarball;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Gives every file in `global`, in the databases' directories below `base` and in `pg_xact` (`pg_clog` up to 9.6) whose
/// path `wanted` accepts to `take`, with up to `limit` bytes of it. False: this account of the backup has no data files.
///
/// # Errors
/// Something is there and could not be read.
pub fn read_files(
    backup: &BaseBackup,
    limit: u64,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&str, Vec<u8>),
) -> Result<bool, LoadError> {
    let of = |kind| backup.sources.iter().find(|source| source.kind == kind).map(|source| &source.path);
    if let Some(root) = of(SourceKind::DataDirectory) {
        read_directory(root, limit, wanted, take)?;
        return Ok(true);
    }
    let Some(path) = of(SourceKind::Tar) else { return Ok(false) };
    let tar = if path.is_dir() { tar_in(path, "base.tar")? } else { Some(path.clone()) };
    let Some(tar) = tar else { return Ok(false) };
    let outcome = tarball::for_each_file(&tar, &mut |name, file| {
        if wanted(name) {
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            take(name, bytes);
        }
        Ok(())
    });
    outcome.map_err(|source| LoadError::Read { path: tar, source })?;
    Ok(true)
}

fn read_directory(
    root: &Path,
    limit: u64,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&str, Vec<u8>),
) -> Result<(), LoadError> {
    let mut folders = ["global", "pg_xact", "pg_clog"].map(ToOwned::to_owned).to_vec();
    folders.extend(names_in(&root.join("base"))?.into_iter().map(|name| format!("base/{name}")));
    for folder in folders {
        for name in names_in(&root.join(&folder))? {
            let name = format!("{folder}/{name}");
            if !wanted(&name) {
                continue;
            }
            let path = root.join(&name);
            let Some(file) = open_regular(&path)? else { continue };
            let mut bytes = Vec::new();
            let read = file.take(limit).read_to_end(&mut bytes);
            read.map_err(|source| LoadError::Read { path, source })?;
            take(&name, bytes);
        }
    }
    Ok(())
}

/// Names in a directory, in order; those that are not UTF-8 are none of the server's.
fn names_in(folder: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |source| LoadError::Read { path: PathBuf::from(folder), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
