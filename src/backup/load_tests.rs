#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::wal::{Lsn, Major};
use std::path::Path;

const LABEL: &[u8] = include_bytes!("../../tests/data/backup/pg15/backup_label");
const CONTROL: &[u8] = include_bytes!("../../tests/data/backup/pg15/pg_control");
const HISTORY: &[u8] =
    include_bytes!("../../tests/data/backup/pg15/00000001000000000000000B.00000028.backup");

fn data_directory(path: &Path) {
    fs::create_dir_all(path.join("global")).unwrap();
    fs::create_dir_all(path.join("pg_wal")).unwrap();
    fs::write(path.join("backup_label"), LABEL).unwrap();
    fs::write(path.join("PG_VERSION"), "15\n").unwrap();
    fs::write(path.join("global/pg_control"), CONTROL).unwrap();
    fs::write(path.join("pg_wal/00000001000000000000000B"), "").unwrap();
}

fn one(path: &Path) -> BaseBackup {
    let mut found = load(path).unwrap();
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

#[test]
fn a_data_directory_with_and_without_its_parts() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b2");
    data_directory(&path);
    let backup = one(&path);
    assert_eq!((backup.label.as_str(), backup.start_lsn), ("b2", Lsn(0x160_0028)));
    assert_eq!((backup.version, backup.why_unusable()), (Some(Major::V15), None));
    assert_eq!(backup.wal.len(), 1);
    assert!(backup.is_called(path.to_str().unwrap()));
    // The directory that holds it is taken for a shelf of backups.
    assert_eq!(one(root.path()), backup);

    fs::remove_file(path.join("backup_label")).unwrap();
    let backup = one(&path);
    assert_eq!((backup.has_label, backup.checkpoint_lsn), (Some(false), Some(Lsn(0x160_0060))));
    assert_eq!(backup.label, path.to_str().unwrap());

    fs::write(path.join("global/pg_control"), &CONTROL[..100]).unwrap();
    assert!(matches!(load(&path), Err(LoadError::Control { .. })));
    fs::write(path.join("backup_label"), LABEL).unwrap();
    assert!(one(&path).why_unusable().unwrap().contains("100 bytes"));
    fs::remove_file(path.join("global/pg_control")).unwrap();
    assert_eq!(one(&path).why_unusable().unwrap(), "global/pg_control is missing");
    fs::write(path.join("global/pg_control"), CONTROL).unwrap();
    fs::write(path.join("PG_VERSION"), "16\n").unwrap();
    assert!(one(&path).why_unusable().is_some());
}

#[test]
fn single_files() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let backup = one(&file("backup_label", LABEL));
    assert_eq!((backup.source().unwrap().kind, backup.stop_lsn), (SourceKind::Label, None));
    let backup = one(&file("00000001000000000000000B.00000028.backup", HISTORY));
    assert_eq!(backup.source().unwrap().kind, SourceKind::HistoryFile);
    assert_eq!(backup.stop_lsn, Some(Lsn(0x160_0100)));
    assert!(matches!(load(&file("notes.txt", b"x")), Err(LoadError::NoBackup { .. })));
    assert!(matches!(load(&file("backup_label", b"x")), Err(LoadError::Label { .. })));
    assert!(matches!(load(&root.path().join("none")), Err(LoadError::Read { .. })));
    assert!(matches!(load(&file("backup_manifest", b"{}")), Err(LoadError::Manifest { .. })));
}
