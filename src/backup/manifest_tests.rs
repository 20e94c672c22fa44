#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::backup::base::SourceKind;
use proptest::prelude::*;
use std::path::PathBuf;

const OF_15: &[u8] = include_bytes!("../../tests/data/backup/manifest-15.gz");
const OF_17: &[u8] = include_bytes!("../../tests/data/backup/manifest-17.gz");
const INCREMENTAL: &[u8] = include_bytes!("../../tests/data/backup/manifest-17-incremental.gz");

fn plain(compressed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(compressed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn backup(manifest: &Manifest) -> BaseBackup {
    manifest.backup(Source { kind: SourceKind::Manifest, path: PathBuf::from("backup_manifest") }).unwrap()
}

/// What pg_basebackup of 15 wrote; the numbers are those of another JSON reader.
#[test]
fn version_1() {
    let manifest = Manifest::read(plain(OF_15).as_slice()).unwrap();
    assert_eq!((manifest.version, manifest.system_identifier, manifest.sound), (1, None, Some(true)));
    assert_eq!((manifest.files, manifest.bytes), (964, 22_992_535));
    let backup = backup(&manifest);
    assert_eq!((backup.start_lsn, backup.stop_lsn), (Lsn(0x200_0028), Some(Lsn(0x200_0138))));
    assert_eq!((backup.timeline, backup.checkpoint_lsn), (TimelineId(1), None));
}

#[test]
fn version_2_has_an_identifier_above_2_to_the_53() {
    let manifest = Manifest::read(plain(OF_17).as_slice()).unwrap();
    assert_eq!((manifest.version, manifest.sound), (2, Some(true)));
    assert_eq!(manifest.system_identifier, Some(SystemId(7_710_593_163_576_004_645)));
    assert_eq!(backup(&manifest).why_unusable(), None);
}

#[test]
fn an_incremental_backup_is_told_by_its_files() {
    let manifest = Manifest::read(plain(INCREMENTAL).as_slice()).unwrap();
    assert!(manifest.incremental && manifest.sound == Some(true));
    assert!(backup(&manifest).why_unusable().is_some());
}

#[test]
fn a_changed_byte_breaks_the_checksum() {
    let mut bytes = plain(OF_15);
    let at = bytes.windows(6).position(|w| w == b"base/1").unwrap();
    bytes[at + 5] = b'2';
    let manifest = Manifest::read(bytes.as_slice()).unwrap();
    assert_eq!(manifest.sound, Some(false));
    assert_eq!(backup(&manifest).cautions.len(), 1);
}

#[test]
fn several_ranges_are_a_switch_of_timelines() {
    let text = r#"{"PostgreSQL-Backup-Manifest-Version": 1, "Files": [], "WAL-Ranges": [
        {"Timeline": 3, "Start-LSN": "0/300", "End-LSN": "0/400"},
        {"Timeline": 1, "Start-LSN": "0/00000100", "End-LSN": "0/300"}]}"#;
    let manifest = Manifest::read(text.as_bytes()).unwrap();
    assert_eq!(manifest.sound, None);
    let backup = backup(&manifest);
    assert_eq!((backup.start_lsn, backup.timeline), (Lsn(0x100), TimelineId(1)));
    assert_eq!((backup.stop_lsn, backup.stop_timeline), (Some(Lsn(0x400)), Some(TimelineId(3))));
}

#[test]
fn what_is_no_manifest_is_an_error() {
    let read = |text: &str| Manifest::read(text.as_bytes()).unwrap_err();
    for text in ["", "{}", "[]", "{\"Files\": []}", "{\"PostgreSQL-Backup-Manifest-Version\": 1} x"] {
        assert!(matches!(read(text), ManifestError::Json(_)), "{text}");
    }
    assert!(matches!(read("{\"PostgreSQL-Backup-Manifest-Version\": 3}"), ManifestError::Version(3)));
    let whole = plain(OF_15);
    assert!(Manifest::read(&whole[..whole.len() - 3]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Manifest::read(bytes.as_slice());
    }
}
