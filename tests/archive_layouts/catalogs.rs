//! The catalogs of pg_probackup and pg_rman, as their sources write them, around the WAL of a real server: neither program
//! can be installed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use walproof::archive::{Archive, BackupKind, Layout, LayoutChoice};

use crate::original::Original;
use crate::support::tools;

/// Where the last backup that the archive has a history file of starts and stops.
fn positions(original: &Original) -> (String, String) {
    let files = original.files();
    let history =
        files.iter().rfind(|file| file.extension().is_some_and(|suffix| suffix == "backup")).unwrap();
    let text = fs::read_to_string(history).unwrap();
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    (of("START WAL LOCATION: "), of("STOP WAL LOCATION: "))
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

fn is_segment(file: &Path) -> bool {
    name(file).len() == 24
}

/// Copies `file` into `folder`, a segment through `gzip` if `packed`.
fn put(file: &Path, folder: &Path, packed: bool) {
    fs::create_dir_all(folder).unwrap();
    if packed && is_segment(file) {
        let bytes = tools::run(Command::new("gzip").arg("-c").arg(file)).stdout;
        fs::write(folder.join(format!("{}.gz", name(file))), bytes).unwrap();
    } else {
        fs::copy(file, folder.join(name(file))).unwrap();
    }
}

/// The one backup that the catalog at `root` tells of, and where it starts in the eyes of `resolve`.
fn expect_backup(root: &Path, kind: BackupKind, label: &str, start: &str) {
    let archive = Archive::open(root.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let kinds: Vec<BackupKind> =
        archive.inventory().unwrap().backups.iter().map(|backup| backup.kind).collect();
    assert_eq!(kinds, [kind]);
    let mut resolve = Command::new(env!("CARGO_BIN_EXE_walproof"));
    resolve.arg("resolve").arg(root).args(["--format", "json", "--no-catalog", "--backup-label", label]);
    let answer: Value = serde_json::from_slice(&resolve.output().unwrap().stdout).unwrap();
    assert_eq!(
        (&answer["feasible"], &answer["backup"]["start_lsn"]),
        (&true.into(), &start.into()),
        "{answer:#}"
    );
}

fn write_pg_probackup(original: &Original, packed: bool) -> PathBuf {
    let root = original.path(&format!("pg_probackup-{packed}"));
    for file in original.files() {
        put(&file, &root.join("wal/main"), packed);
    }
    // What a killed archive-push leaves.
    fs::write(root.join("wal/main/0000000100000000000000FF.gz.part"), "cut").unwrap();
    let (start, stop) = positions(original);
    let backup = root.join("backups/main/T0SPLC");
    fs::create_dir_all(&backup).unwrap();
    fs::write(root.join("backups/main/pg_probackup.conf"), "pgdata = /pgdata\nxlog-seg-size = 1048576\n")
        .unwrap();
    let control = format!(
        "#Configuration\nbackup-mode = FULL\nstream = false\ncompress-alg = none\nfrom-replica = false\n\n\
         #Compatibility\nprogram-version = 2.5.15\nserver-version = 15\n\n\
         #Result backup info\ntimelineid = 1\nstart-lsn = {start}\nstop-lsn = {stop}\n\
         start-time = '2026-11-21 09:16:37+00'\nend-time = '2026-11-21 09:16:51+00'\nstatus = OK\n"
    );
    fs::write(backup.join("backup.control"), control).unwrap();
    root
}

/// Two backups took the WAL along that was there, and removed it from the archive.
fn write_pg_rman(original: &Original) -> PathBuf {
    let root = original.path("pg_rman");
    let files = original.files();
    let (first, second) = files.split_at(files.len() / 2);
    for (file, folder) in first
        .iter()
        .map(|file| (file, "20261121/091637"))
        .chain(second.iter().map(|file| (file, "20261121/101500")))
    {
        put(file, &root.join(folder).join("arclog"), false);
    }
    fs::create_dir_all(root.join("timeline_history")).unwrap();
    fs::write(root.join("pg_rman.ini"), "ARCLOG_PATH='/srv/wal'\n").unwrap();
    fs::write(root.join("system_identifier"), "SYSTEM_IDENTIFIER='7710551062839694035'\n").unwrap();
    let (start, stop) = positions(original);
    let padded = |lsn: &str| {
        let (high, low) = lsn.split_once('/').unwrap();
        format!("{}/{:0>8}", high.to_lowercase(), low.to_lowercase())
    };
    let result = format!(
        "# result\nTIMELINEID=1\nSTART_LSN={}\nSTOP_LSN={}\nSTART_TIME='2026-11-21 09:16:37'\n\
         END_TIME='2026-11-21 09:16:51'\nBLOCK_SIZE=8192\nXLOG_BLOCK_SIZE=8192\nSTATUS=OK\n",
        padded(&start),
        padded(&stop)
    );
    let ini = format!("# configuration\nBACKUP_MODE=FULL\nCOMPRESS_DATA=false\n{result}");
    fs::write(root.join("20261121/091637/backup.ini"), ini).unwrap();
    root
}

#[test]
fn catalogs_of_pg_probackup_and_pg_rman_hold_the_same_wal() {
    let original = Original::start();
    original.work();
    original.server.backup("b1");
    original.server.archive_everything();
    let (start, _) = positions(&original);
    for packed in [false, true] {
        let root = write_pg_probackup(&original, packed);
        for at in ["", "wal", "wal/main"] {
            original.expect_same(&root.join(at), Layout::PgProbackup);
        }
        expect_backup(&root, BackupKind::PgProbackupControl, "T0SPLC", &start);
    }
    let root = write_pg_rman(&original);
    original.expect_same(&root, Layout::PgRman);
    expect_backup(&root, BackupKind::PgRmanIni, "20261121/091637", &start);
}
