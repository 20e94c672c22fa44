#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::wal::{Lsn, SystemId, TimelineId};
use proptest::prelude::*;

fn one(kind: SourceKind, path: &str, text: &str) -> BaseBackup {
    let mut found = read(kind, "", Path::new(path), text.as_bytes()).unwrap();
    assert_eq!((found.backups.len(), found.skipped.len()), (1, 0));
    found.backups.pop().unwrap()
}

fn unclear(kind: SourceKind, path: &str, text: &str) -> (String, String) {
    let mut found = read(kind, "", Path::new(path), text.as_bytes()).unwrap();
    assert_eq!((found.backups.len(), found.skipped.len()), (0, 0));
    found.unclear.pop().unwrap()
}

/// A file that was cut anywhere is no file, or unclear, or tells of the same backup.
fn cut_anywhere(kind: SourceKind, path: &str, text: &str) {
    let whole = one(kind, path, text);
    for end in 0..text.len() {
        let Ok(found) = read(kind, "", Path::new(path), &text.as_bytes()[..end]) else { continue };
        if found.unclear.is_empty() {
            assert_eq!((found.backups.len(), found.skipped.len()), (1, 0), "{end}");
            let backup = &found.backups[0];
            assert_eq!((backup.start_lsn, backup.why_unusable()), (whole.start_lsn, None), "{end}");
            assert!(backup.system_identifier.is_none_or(|id| Some(id) == whole.system_identifier), "{end}");
        }
    }
}

fn skipped(kind: SourceKind, path: &str, text: &str) -> (String, String) {
    let mut found = read(kind, "", Path::new(path), text.as_bytes()).unwrap();
    assert_eq!(found.backups.len(), 0);
    found.skipped.pop().unwrap()
}

const SENTINEL: &str = r#"{"LSN":805306408,"PgVersion":150018,"FinishLSN":805306624,
 "SystemIdentifier":7710551062839694035,"UncompressedSize":31650816,"ChkpNum":null,"Version":2,
 "StartTime":"2026-11-21T09:16:37.123456Z","FinishTime":"2026-11-21T09:16:51.654321Z","IsPermanent":true,
 "DeltaFrom":"base_000000010000000000000010"}"#;

#[test]
fn wal_g() {
    let path =
        "basebackups_005/base_00000002000000000000000C_D_000000010000000000000010_backup_stop_sentinel.json";
    let backup = one(SourceKind::WalG, path, SENTINEL);
    assert_eq!(backup.label, "base_00000002000000000000000C_D_000000010000000000000010");
    assert_eq!((backup.start_lsn, backup.stop_lsn), (Lsn(0x3000_0028), Some(Lsn(0x3000_0100))));
    assert_eq!((backup.timeline, backup.version), (TimelineId(2), Some(Major::V15)));
    assert_eq!(backup.system_identifier, Some(SystemId(7_710_551_062_839_694_035)));
    assert!(backup.permanent && backup.why_unusable().is_none());
    assert_eq!(backup.depends_on, ["base_000000010000000000000010"]);
    assert!(backup.finished.unwrap() > backup.started.unwrap());
    cut_anywhere(SourceKind::WalG, path, SENTINEL);
    let old = unclear(SourceKind::WalG, path, r#"{"LSN":null}"#);
    assert!(old.1.contains("start position"));
}

/// Written by pgBackRest 2.45, checksum and all.
const PGBACKREST: &str = include_str!("../../../tests/data/backup/pgbackrest-backup.info");

#[test]
fn pgbackrest() {
    let backup = one(SourceKind::PgBackRest, "backup/main/backup.info", PGBACKREST);
    assert_eq!(backup.label, "20261121-092219F");
    assert_eq!((backup.start_lsn, backup.stop_lsn), (Lsn(0x7300_0028), Some(Lsn(0x7400_0050))));
    assert_eq!(backup.system_identifier, Some(SystemId(7_710_551_062_839_694_035)));
    assert_eq!((backup.timeline, backup.version), (TimelineId(1), Some(Major::V15)));
    assert!(backup.depends_on.is_empty() && backup.cautions.is_empty());
    assert_eq!(backup.group.as_deref(), Some("15-1"));
    cut_anywhere(SourceKind::PgBackRest, "backup.info", PGBACKREST);
    // A changed digit breaks the checksum.
    let changed = PGBACKREST.replace("0/73000028", "0/73000029");
    let error = read(SourceKind::PgBackRest, "", Path::new("backup.info"), changed.as_bytes());
    assert!(matches!(error, Err(CatalogError::Checksum { .. })));
    let without = PGBACKREST.replace("backrest-checksum", "backrest-no-sum");
    let error = read(SourceKind::PgBackRest, "", Path::new("backup.info"), without.as_bytes());
    assert!(matches!(error, Err(CatalogError::Missing(_))));
}

/// In the form of Barman's own writer.
const BARMAN: &str = r"backup_label='START WAL LOCATION: 0/30000028 (file 000000010000000000000030)\nCHECKPOINT LOCATION: 0/30000060\nBACKUP FROM: standby\n'
backup_name=before-upgrade
begin_time=2026-11-21 09:16:37.123456+01:00
begin_wal=000000010000000000000030
begin_xlog=0/30000028
copy_stats={'copy_time': 14.5, 'total_time': 15.1}
end_time=2026-11-21 09:16:51.654321+01:00
end_wal=000000010000000000000030
end_xlog=0/30000138
error=None
mode=postgres
parent_backup_id=None
status=DONE
systemid=7710551062839694035
tablespaces=[('ts1', 16400, '/srv/ts1')]
timeline=1
version=150018
xlog_segment_size=16777216
";

#[test]
fn barman() {
    let backup = one(SourceKind::Barman, "main/base/20261121T091637/backup.info", BARMAN);
    assert_eq!((backup.label.as_str(), backup.start_lsn), ("20261121T091637", Lsn(0x3000_0028)));
    assert!(backup.is_called("before-upgrade"));
    assert_eq!((backup.checkpoint_lsn, backup.stop_lsn), (Some(Lsn(0x3000_0060)), Some(Lsn(0x3000_0138))));
    assert_eq!((backup.from_standby, backup.version), (Some(true), Some(Major::V15)));
    assert_eq!(Clock::utc().server(backup.started.unwrap()), "2026-11-21 08:16:37.123456+00");
    assert!(backup.why_unusable().is_none() && backup.depends_on.is_empty());
    let meta = one(SourceKind::Barman, "main/meta/20261121T091637-backup.info", BARMAN);
    assert_eq!(meta.label, "20261121T091637");

    cut_anywhere(SourceKind::Barman, "b/backup.info", BARMAN);
    let failed = BARMAN.replace("status=DONE", "status=FAILED").replace("error=None", "error=disk full");
    let reason = one(SourceKind::Barman, "b/backup.info", &failed).why_unusable().unwrap();
    assert_eq!(reason, "Barman gives its status as FAILED: disk full");
    let waiting = BARMAN.replace("DONE", "WAITING_FOR_WALS");
    let backup = one(SourceKind::Barman, "b/backup.info", &waiting);
    assert_eq!((backup.why_unusable(), backup.cautions.len()), (None, 1));
    let empty = "begin_xlog=None\nstatus=EMPTY\n";
    assert!(skipped(SourceKind::Barman, "b/backup.info", empty).1.contains("EMPTY"));
}

/// In the form of pg_probackup's own writer.
const PROBACKUP: &str = "#Configuration\nbackup-mode = FULL\nstream = true\nfrom-replica = false\n\n#Compatibility\n\
    block-size = 8192\nserver-version = 15\n\n#Result backup info\ntimelineid = 1\nstart-lsn = 0/30000028\n\
    stop-lsn = 0/30000100\nstart-time = '2026-11-21 09:16:37+00'\nend-time = '2026-11-21 09:16:51+00'\n\
    recovery-xid = 751\nstatus = OK\nparent-backup-id = 'T3F2P1'\ncontent-crc = 305419896\n";

#[test]
fn pg_probackup() {
    let backup = one(SourceKind::PgProbackup, "backups/db/T3F2XY/backup.control", PROBACKUP);
    assert_eq!((backup.label.as_str(), backup.start_lsn), ("T3F2XY", Lsn(0x3000_0028)));
    assert_eq!((backup.version, backup.stop_lsn), (Some(Major::V15), Some(Lsn(0x3000_0100))));
    assert_eq!(backup.depends_on, ["T3F2P1"]);
    assert!(backup.started.is_some() && backup.why_unusable().is_none());
    cut_anywhere(SourceKind::PgProbackup, "x/backup.control", PROBACKUP);
    for status in ["CORRUPT", "ORPHAN", "RUNNING", "ERROR"] {
        let text = PROBACKUP.replace("status = OK", &format!("status = {status}"));
        let backup = one(SourceKind::PgProbackup, "backups/db/T3F2XY/backup.control", &text);
        assert!(backup.why_unusable().unwrap().ends_with(status));
    }
    assert_eq!(backup.kept_until, None);
    let until = |told: &str| {
        let text = PROBACKUP.replace("status = OK", &format!("expire-time = '{told}'\nstatus = OK"));
        one(SourceKind::PgProbackup, "x/backup.control", &text).kept_until
    };
    assert_eq!(until("2026-11-22 09:16:51+00"), time("2026-11-22 09:16:51+00"));
    assert_eq!(until("2026-11-22 09:16:51"), Some(PgTime(i64::MAX)), "of no zone: nobody knows");
    let running = skipped(SourceKind::PgProbackup, "x/backup.control", "status = RUNNING\nstart-lsn = 0/0\n");
    assert!(running.1.contains("RUNNING"));
}

#[test]
fn pg_rman() {
    let text = "# configuration\nBACKUP_MODE=FULL\n# result\nTIMELINEID=1\nSTART_LSN=0/0200ab28\nSTOP_LSN=0/02000130\n\
                START_TIME='2026-11-21 09:16:37'\nSTATUS=OK\n";
    let backup = one(SourceKind::PgRman, "cat/20261121/091637/backup.ini", text);
    cut_anywhere(SourceKind::PgRman, "x/backup.ini", text);
    assert_eq!((backup.label.as_str(), backup.start_lsn), ("20261121/091637", Lsn(0x200_AB28)));
    assert_eq!((backup.started, backup.why_unusable()), (None, None));
    let archive = text.replace("FULL", "ARCHIVE");
    let found = read(SourceKind::PgRman, "", Path::new("backup.ini"), archive.as_bytes()).unwrap();
    assert_eq!(found, Catalogued::default());
}

#[test]
fn files_are_told_by_name_and_beginning() {
    assert_eq!(recognise("backup.info", PGBACKREST.as_bytes()), Some(SourceKind::PgBackRest));
    assert_eq!(recognise("backup.info", BARMAN.as_bytes()), Some(SourceKind::Barman));
    assert_eq!(recognise("backup.control", b""), Some(SourceKind::PgProbackup));
    assert_eq!(recognise("x_backup_stop_sentinel.json", b"{}"), Some(SourceKind::WalG));
    assert_eq!(recognise("notes", b""), None);
}

#[test]
fn version_numbers() {
    let read = [90_524, 90_624, 100_023, 150_018, 190_000, 80_400, 200_000].map(major_of_version_number);
    let known = [Major::V9_5, Major::V9_6, Major::V10, Major::V15, Major::V19].map(Some);
    assert_eq!(read[..5], known);
    assert_eq!(read[5..], [None, None]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, cut in 0..2000_usize, at in 0..900_usize, byte: u8) {
        let kinds = [
            (SourceKind::WalG, SENTINEL),
            (SourceKind::PgBackRest, PGBACKREST),
            (SourceKind::Barman, BARMAN),
            (SourceKind::PgProbackup, PROBACKUP),
            (SourceKind::PgRman, PROBACKUP),
        ];
        for (kind, sample) in kinds {
            let _ = read(kind, "", Path::new("x"), &bytes);
            let mut changed = sample.as_bytes()[..cut.min(sample.len())].to_vec();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let _ = read(kind, "", Path::new("x"), &changed);
        }
    }
}
