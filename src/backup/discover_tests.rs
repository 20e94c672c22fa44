#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::archive::LayoutChoice;
use crate::wal::Lsn;
use std::fs;

const HISTORY: &str = include_str!("../../tests/data/backup/pg15/00000001000000000000000B.00000028.backup");
const LABEL: &str = include_str!("../../tests/data/backup/pg15/backup_label");
const SEGMENT: &[u8] = &[0x10, 0xD1, 2, 0, 1, 0, 0, 0];

fn discovered(root: &Path) -> Discovered {
    let archive = Archive::open(root.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    discover(&archive, &archive.inventory().unwrap())
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn history_files_in_a_plain_archive() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "00000001000000000000000B", SEGMENT);
    put(root.path(), "00000001000000000000000B.00000028.backup", HISTORY.as_bytes());
    put(root.path(), "00000001000000000000000C.00000028.backup", b"nonsense");
    let found = discovered(root.path());
    assert_eq!(found.backups.len(), 1);
    let backup = &found.backups[0];
    assert_eq!((backup.label.as_str(), backup.start_lsn), ("b2", Lsn(0x160_0028)));
    assert_eq!((backup.has_label, backup.why_unusable()), (None, None));
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].kind, ProblemKind::Damaged);
}

#[test]
fn a_backup_that_lies_in_the_archive_completes_its_history_file() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "wal/00000001000000000000000B", SEGMENT);
    put(root.path(), "wal/00000001000000000000000B.00000028.backup", HISTORY.as_bytes());
    put(root.path(), "base/backup_label", LABEL.as_bytes());
    let found = discovered(root.path());
    assert_eq!((found.backups.len(), found.problems.as_slice()), (1, &[][..]));
    assert_eq!(found.backups[0].sources.len(), 2);
    assert_eq!(found.backups[0].has_label, Some(true));
}

#[test]
fn barman_with_a_keep() {
    let root = tempfile::tempdir().unwrap();
    let info = "begin_wal=00000001000000000000000B\nbegin_xlog=0/1600028\nend_xlog=0/1600100\nstatus=DONE\n";
    put(root.path(), "wals/0000000100000000/00000001000000000000000B", SEGMENT);
    put(root.path(), "wals/0000000100000000/00000001000000000000000B.00000028.backup", HISTORY.as_bytes());
    put(root.path(), "base/20261121T091637/backup.info", info.as_bytes());
    put(root.path(), "base/20261121T091637/annotations/keep", b"standalone");
    put(root.path(), "base/20261122T091637/backup.info", b"status=EMPTY\nbegin_xlog=None\n");
    let found = discovered(root.path());
    assert_eq!(found.backups.len(), 1);
    let backup = &found.backups[0];
    assert_eq!(backup.label, "20261121T091637");
    assert!(backup.permanent && backup.is_called("b2") && backup.cautions.len() == 1);
    assert_eq!(backup.checkpoint_lsn, Some(Lsn(0x160_0060)));
    assert_eq!(found.problems[0].kind, ProblemKind::NotPlaced);
}

#[test]
fn wal_g_s_metadata_knows_better_than_its_sentinel() {
    let sentinel = |permanent: bool| {
        format!(r#"{{"LSN":23068712,"FinishLSN":23068928,"PgVersion":150018,"IsPermanent":{permanent}}}"#)
    };
    let metadata = |start: u64, permanent: &str| {
        format!(
            r#"{{"start_time":"2026-11-21T09:16:37.1Z","finish_time":"2026-11-21T09:16:51.6Z","start_lsn":{start},
            "finish_lsn":23068928,"is_permanent":{permanent}}}"#
        )
    };
    let name = "basebackups_005/base_00000001000000000000000B";
    let found = |permanent: bool, metadata: &str| {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "wal_005/00000001000000000000000B", SEGMENT);
        let path = format!("{name}_backup_stop_sentinel.json");
        put(root.path(), &path, sentinel(permanent).as_bytes());
        put(root.path(), &format!("{name}/metadata.json"), metadata.as_bytes());
        put(root.path(), &format!("{name}/tar_partitions/part_001.tar"), b"");
        discovered(root.path())
    };
    for (marked, expected) in [("true", true), ("false", false)] {
        let found = found(!expected, &metadata(23_068_712, marked));
        assert_eq!(found.problems, []);
        assert_eq!(found.backups[0].permanent, expected);
        assert!(found.backups[0].started < found.backups[0].finished);
    }
    for unclear in ["", "{", "[]", &metadata(23_068_713, "false"), &metadata(23_068_712, "\"no\"")] {
        let found = found(true, unclear);
        assert_eq!(found.problems.len(), 1, "{unclear}");
        assert_eq!(found.problems[0].kind, ProblemKind::Damaged, "{unclear}");
        assert!(found.problems[0].path.ends_with("metadata.json") && found.backups.len() == 1);
    }
}
