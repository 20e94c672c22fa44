//! Directories as they are found: links, pipes, base backups among the WAL, depths, removal that is not fooled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::archive::{Archive, BackupKind, LayoutChoice, ReadError, Secrets};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn write(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, name).unwrap();
}

fn archive(root: &Path) -> Archive {
    let store = Box::new(Directory::open(root).unwrap());
    Archive::of_store("test", store, LayoutChoice::Auto, Secrets::default()).unwrap()
}

#[test]
fn what_is_no_regular_file_is_a_stray_and_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "000000010000000000000001");
    write(root, "elsewhere/x");
    symlink(root.join("000000010000000000000001"), root.join("000000010000000000000002")).unwrap();
    symlink(root.join("nowhere"), root.join("000000010000000000000003")).unwrap();
    symlink(root, root.join("loop")).unwrap();
    let _socket = UnixListener::bind(root.join("000000010000000000000004")).unwrap();
    fs::create_dir(root.join("000000010000000000000005")).unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    let inventory = archive(root).inventory().unwrap();
    let names: Vec<String> = inventory.entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["000000010000000000000001", "000000010000000000000002"]);
    let strays: Vec<(&str, bool)> = inventory
        .strays
        .iter()
        .map(|stray| (stray.object.path.to_str().unwrap(), stray.named_like_wal))
        .collect();
    let expected = [
        ("000000010000000000000003", true),
        ("000000010000000000000004", true),
        ("000000010000000000000005", true),
        ("elsewhere/x", false),
        ("loop", false),
    ];
    assert_eq!(strays, expected);
}

#[test]
fn a_file_that_became_something_else_since_the_listing_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003"].map(|name| {
            write(folder.path(), name);
            folder.path().join(name)
        });
    let archive = archive(folder.path());
    let inventory = archive.inventory().unwrap();
    assert_eq!(inventory.entries.len(), 3);
    for path in &names {
        fs::remove_file(path).unwrap();
    }
    let made = std::process::Command::new("mkfifo").arg(&names[0]).status().unwrap();
    assert!(made.success());
    let _socket = UnixListener::bind(&names[1]).unwrap();
    fs::create_dir(&names[2]).unwrap();
    let refusals: Vec<String> = inventory
        .entries
        .iter()
        .map(|entry| match archive.read_small(entry, 100) {
            Err(error @ ReadError::Unobtainable(_)) => error.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        refusals[0].ends_with("000000010000000000000001: it is a FIFO, not a regular file"),
        "{refusals:?}"
    );
    assert!(
        refusals[2].ends_with("000000010000000000000003: it is a directory, not a regular file"),
        "{refusals:?}"
    );
}

#[test]
fn a_base_backup_among_the_wal_is_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["000000010000000000000001", "b/PG_VERSION", "b/base/1/1259", "b/pg_wal/000000010000000000000009"]
    {
        write(folder.path(), name);
    }
    let inventory = archive(folder.path()).inventory().unwrap();
    assert_eq!((inventory.entries.len(), inventory.strays.len()), (1, 0));
    assert_eq!(
        inventory.backups.iter().map(|b| (b.kind, &*b.label)).collect::<Vec<_>>(),
        [(BackupKind::DataDirectory, "b")]
    );
}

#[test]
fn what_is_too_deep_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "1/2/3/4/5/6/7/8/000000010000000000000001");
    write(folder.path(), "1/2/3/4/5/6/7/8/9/000000010000000000000002");
    let inventory = archive(folder.path()).inventory().unwrap();
    assert_eq!((inventory.entries.len(), inventory.strays.len()), (1, 1));
}

#[test]
fn removal_does_not_follow_a_folder_that_became_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(folder.path(), "sub/000000010000000000000001");
    write(outside.path(), "keep");
    let store = Directory::open(folder.path()).unwrap();
    let listed = store.list(&|_| Descent::Whole).unwrap();
    let file = listed.iter().find(|object| !object.is_directory()).unwrap();
    fs::rename(folder.path().join("sub"), outside.path().join("sub")).unwrap();
    symlink(outside.path().join("sub"), folder.path().join("sub")).unwrap();
    let mut outcome = None;
    store.remove(&[file], &mut |_, removed| {
        outcome = Some(removed);
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Some(Err(StoreError::Changed { .. }))));
    assert!(outside.path().join("sub/000000010000000000000001").exists());
}

#[test]
fn the_names_around_a_relative_place_are_known() {
    let here = Directory::open(".").unwrap();
    let expected = std::env::current_dir().unwrap();
    assert_eq!(here.names().last().map(String::as_str), expected.file_name().unwrap().to_str());
    assert_eq!(
        here.raised(1).unwrap().names().last().map(String::as_str),
        expected.parent().unwrap().file_name().unwrap().to_str()
    );
}
