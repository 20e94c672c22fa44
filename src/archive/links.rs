//! The paths by which a directory on this machine is known, where symbolic links lead to it.
//!
//! A tool's folder of WAL may be a link to a volume of its own, or be reached by a link from elsewhere: only one of the
//! paths then has the tool's catalog around it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links on the way to one file that the kernel follows at most (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// Paths to the directory at `path`, absolute and without `..`: each with the first link on it resolved, the last without any.
/// `path` itself is not among them.
pub(super) fn ways_to(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut ways: Vec<PathBuf> = Vec::new();
    while let Some(next) = without_first_link(ways.last().map_or(path, PathBuf::as_path))? {
        if ways.len() == LINKS_MAX {
            return Err(io::Error::other("more symbolic links than any path may have"));
        }
        ways.push(next);
    }
    Ok(ways)
}

/// The path with the first link on it resolved; `None` if there is none on it.
fn without_first_link(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut there = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        let before = there.clone();
        there.push(part);
        if !there.is_symlink() {
            continue;
        }
        let target = before.join(fs::read_link(&there)?);
        let resolved = match going_up(&target) {
            // No link is in front of it.
            Some(resolved) => resolved,
            None => fs::canonicalize(&target)?,
        };
        return Ok(Some(resolved.join(parts.as_path())));
    }
    Ok(None)
}

/// A path without its `..` parts, if there is no link in front of any of them.
fn going_up(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    let mut ups = path.components().filter(|part| *part == Component::ParentDir).count();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
                ups -= 1;
            }
            part => plain.push(part),
        }
        if ups > 0 && plain.is_symlink() {
            return None;
        }
    }
    Some(plain)
}

/// The directory in which the user stands, by the path that the user took: the shell's `PWD`, where it is that.
pub(super) fn working_directory() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let told = std::env::var_os("PWD").map(PathBuf::from).filter(|told| is_plain(told));
    let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    told.filter(|told| place(told).is_some() && place(told) == place(&here)).unwrap_or(here)
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| part != Component::ParentDir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_path_between_a_link_and_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("big/wal")).unwrap();
        fs::create_dir_all(root.join("main/deep")).unwrap();
        symlink("../big/wal", root.join("main/wals")).unwrap();
        symlink(root.join("main"), root.join("server")).unwrap();
        symlink("server/wals", root.join("x")).unwrap();
        let ways = ways_to(&root.join("x")).unwrap();
        let expected = ["server/wals", "main/wals", "big/wal"].map(|way| root.join(way));
        assert_eq!(ways, expected);
        assert_eq!(ways_to(&root.join("big/wal")).unwrap(), Vec::<PathBuf>::new());
        // What comes before a `..` may itself be a link.
        symlink("main/deep", root.join("d")).unwrap();
        symlink("d/../wals", root.join("y")).unwrap();
        assert_eq!(ways_to(&root.join("y")).unwrap(), [root.join("big/wal")]);
        symlink("loop", root.join("loop")).unwrap();
        assert!(ways_to(&root.join("loop")).is_err());
    }
}
