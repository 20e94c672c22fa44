//! A directory of this machine to which files are moved instead of being deleted.

use super::regular::open_regular;
use super::store::{Object, StoreError};
use rustix::fs::{Access, access, statvfs};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// That `objects` can be moved to `trash`: it is a directory, or can be made, may be written to, and has room for those that
/// come from another file system.
pub(super) fn check(objects: &[&Object], trash: &Path) -> Result<(), StoreError> {
    let refused = |detail: String| StoreError::NoTrash { trash: trash.to_owned(), detail };
    let place = there_of(trash).map_err(|error| refused(format!("cannot be looked at: {error}")))?;
    let found = fs::metadata(&place).map_err(|error| refused(format!("cannot be looked at: {error}")))?;
    let shown = place.display();
    if !found.is_dir() {
        let what = if place == trash { String::new() } else { format!(" cannot be made: {shown}") };
        return Err(refused(format!("{what} is not a directory").trim_start().to_owned()));
    }
    access(&place, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| refused(format!("cannot be written to ({shown}): {error}")))?;
    let from_elsewhere = objects.iter().filter(|object| object.identity.device != Some(found.dev()));
    let needed: u64 = from_elsewhere.map(|object| object.identity.size).sum();
    // One that tells no size at all has no number of blocks.
    let told = statvfs(&place).ok().filter(|place| place.f_blocks > 0);
    let room = told.map(|place| place.f_bavail.saturating_mul(place.f_frsize));
    match room {
        Some(room) if needed > room => Err(refused(format!(
            "has no room: {needed} bytes would go to another file system, which has {room} left"
        ))),
        _ => Ok(()),
    }
}

/// What is there of a path: itself, or the innermost directory around it.
fn there_of(path: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    let there = whole.ancestors().find(|folder| folder.symlink_metadata().is_ok());
    Ok(there.filter(|there| *there != whole).map_or_else(|| path.to_owned(), Path::to_owned))
}

/// Moves the file at `path` into `trash`, where it is called `name`. Nothing is ever replaced there.
pub(super) fn take(path: &Path, trash: &Path, name: &Path) -> Result<(), StoreError> {
    let target = trash.join(name);
    let failed = |source| StoreError::Trash { path: path.to_owned(), trash: trash.to_owned(), source };
    let folder = target.parent().unwrap_or(trash);
    fs::create_dir_all(folder).map_err(failed)?;
    if target.symlink_metadata().is_ok() {
        let taken = io::Error::new(io::ErrorKind::AlreadyExists, "the trash already holds this name");
        return Err(failed(taken));
    }
    match fs::rename(path, &target) {
        Err(other) if other.kind() == io::ErrorKind::CrossesDevices => {
            copy_away(path, &target, trash).map_err(failed)
        }
        moved => moved.map_err(failed),
    }
}

/// Moves a file to another file system: the original goes only when the copy, and its name, are safe on their disk.
fn copy_away(path: &Path, target: &Path, trash: &Path) -> io::Result<()> {
    if let Err(failed) = copy(path, target).and_then(|()| keep_name(target, trash)) {
        fs::remove_file(target)?;
        return Err(failed);
    }
    fs::remove_file(path)
}

/// A copy with everything that a server, or `mv` back, goes by: mode, owner and time. Until it has them nobody else reads it.
fn copy(path: &Path, target: &Path) -> io::Result<()> {
    let mut original = open_regular(path)?;
    let known = original.metadata()?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target)?;
    io::copy(&mut original, &mut copy)?;
    match chown(target, Some(known.uid()), Some(known.gid())) {
        // Only root may give files away.
        Err(failed) if failed.kind() != io::ErrorKind::PermissionDenied => return Err(failed),
        _ => {}
    }
    copy.set_permissions(known.permissions())?;
    copy.set_times(FileTimes::new().set_accessed(known.accessed()?).set_modified(known.modified()?))?;
    copy.sync_all()
}

/// A name is safe when the directories that lead to it are.
fn keep_name(target: &Path, trash: &Path) -> io::Result<()> {
    let below = target.ancestors().skip(1).take_while(|folder| folder.starts_with(trash));
    // The trash may have been made for this file.
    for folder in below.chain(trash.parent()) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // A directory that may be entered and not read, a file system that syncs none.
            Err(no)
                if [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput].contains(&no.kind()) => {}
            synced => synced?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::archive::{Identity, ObjectKind};
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_copy_is_what_the_original_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, trash) = (folder.path().join("file"), folder.path().join("trash"));
        fs::write(&path, "WAL").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let known = fs::metadata(&path).unwrap();
        fs::create_dir_all(trash.join("sub")).unwrap();
        copy_away(&path, &trash.join("sub/file"), &trash).unwrap();
        let copy = fs::metadata(trash.join("sub/file")).unwrap();
        assert_eq!((copy.mode(), copy.uid(), copy.gid()), (known.mode(), known.uid(), known.gid()));
        assert_eq!((copy.modified().unwrap(), copy.len()), (time, 3));
        assert!(!path.exists());
    }

    #[test]
    fn a_trash_without_room_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let of = |device: Option<u64>| {
            let identity = Identity { size: u64::MAX >> 8, device, ..Identity::default() };
            Object { path: PathBuf::from("x"), kind: ObjectKind::Regular, identity }
        };
        let (far, near) = (of(None), of(Some(fs::metadata(folder.path()).unwrap().dev())));
        let trash = folder.path().join("a/b");
        let told = check(&[&far], &trash).unwrap_err().to_string();
        assert!(told.contains("has no room") && told.contains("a/b"), "{told}");
        check(&[&near], &trash).unwrap();
        assert!(!folder.path().join("a").exists());
    }
}
