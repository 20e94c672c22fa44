//! What pg_basebackup writes, in every form, is read as what the server's own backup history files say of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use support::{Server, account, tools};
use walproof::archive::{Archive, LayoutChoice};
use walproof::backup::{BackupEnd, BaseBackup, Method, SourceKind, discover, load, merge};
use walproof::timeline::TimelineTarget;
use walproof::wal::TimelineId;

/// Takes a backup under the name `label` with further options and gives its directory.
fn pg_basebackup(server: &Server, to: &Path, label: &str, options: &[&str]) -> PathBuf {
    let directory = to.join(label);
    let mut command = account::command(&tools::program(server.major(), "pg_basebackup"));
    command.args(["--checkpoint=fast", "--username=postgres", "--no-sync", "--label", label]);
    command.arg("--host").arg(server.data().parent().unwrap()).arg("--pgdata").arg(&directory);
    tools::run(command.args(options));
    directory
}

/// The backups that the archive's history files tell of.
fn archived(server: &Server) -> Vec<BaseBackup> {
    let archive = Archive::open(server.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let found = discover(&archive, &archive.inventory().unwrap());
    assert_eq!(found.problems, []);
    found.backups
}

fn one(path: &Path) -> BaseBackup {
    let mut backups = load(path).unwrap();
    assert_eq!(backups.len(), 1, "{}", path.display());
    backups.pop().unwrap()
}

fn every_form(major: u32, forms: &[(&str, &[&str])]) {
    let server = Server::create(major).start();
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 10000) AS i");
    let to = account::temporary_directory();
    let paths: Vec<_> =
        forms.iter().map(|(label, options)| pg_basebackup(&server, to.path(), label, options)).collect();
    server.archive_everything();
    let history = archived(&server);
    for ((label, options), path) in forms.iter().zip(&paths) {
        let backup = one(path);
        let told = history.iter().find(|backup| backup.label == *label).unwrap();
        assert_eq!(backup.label, *label);
        assert_eq!((backup.start_lsn, backup.timeline), (told.start_lsn, TimelineId(1)), "{label}");
        assert_eq!(backup.checkpoint_lsn, told.checkpoint_lsn, "{label}");
        assert_eq!((backup.started, backup.method.clone()), (told.started, Some(Method::Streamed)));
        assert_eq!(backup.version.unwrap().name(), major.to_string());
        assert_eq!(backup.cautions, Vec::<String>::new());
        assert_eq!(backup.why_unusable(), None, "{label}");
        let no_manifest = options.contains(&"--no-manifest");
        let written_first = options.contains(&"fetch") || !options.contains(&"none");
        assert_eq!(backup.stop_lsn.is_none(), no_manifest, "{label}");
        assert_eq!(!backup.wal.is_empty(), written_first, "{label}: {:?}", backup.wal);
        assert!(backup.stop_lsn.is_none_or(|stop| Some(stop) == told.stop_lsn));
        let startup = backup.startup().unwrap();
        assert_eq!(startup.end, BackupEnd::Record { start: told.start_lsn });
        let resolved = TimelineTarget::Latest.resolve(startup.target_timeline_start, |_| false);
        assert_eq!(resolved, Ok(TimelineId(1)));
        let merged = merge(vec![told.clone(), backup]);
        assert_eq!((merged.len(), merged[0].stop_lsn), (1, told.stop_lsn));
    }
    assert_eq!(load(to.path()).unwrap().len(), forms.len());
}

#[test]
fn every_form_of_15() {
    every_form(
        15,
        &[
            ("plain", &["-Fp", "-X", "stream"]),
            ("plain-fetch", &["-Fp", "-X", "fetch"]),
            ("without", &["-Fp", "-X", "none", "--no-manifest"]),
            ("tar", &["-Ft", "-X", "stream"]),
            ("tar-gz", &["-Ft", "-X", "stream", "-z"]),
            ("tar-gz-fetch", &["-Ft", "-X", "fetch", "-z"]),
            ("tar-lz4", &["-Ft", "-X", "fetch", "--compress=server-lz4"]),
            ("tar-lz4-client", &["-Ft", "-X", "stream", "--compress=client-lz4"]),
            ("tar-zst", &["-Ft", "-X", "stream", "--compress=server-zstd"]),
        ],
    );
}

#[test]
fn incremental_backups_and_what_they_build_on() {
    let server = Server::create(17).set("summarize_wal", "on").start();
    let to = account::temporary_directory();
    let full = pg_basebackup(&server, to.path(), "full", &[]);
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 10000) AS i");
    let manifest = full.join("backup_manifest");
    let on_full = format!("--incremental={}", manifest.display());
    let second = pg_basebackup(&server, to.path(), "second", &[&on_full]);
    let on_second = format!("--incremental={}", second.join("backup_manifest").display());
    let third = pg_basebackup(&server, to.path(), "third", &[&on_second, "-Ft", "-z"]);
    server.archive_everything();

    for backups in [load(to.path()).unwrap(), archived(&server)] {
        let named = |label: &str| backups.iter().find(|backup| backup.label == label).unwrap();
        let second = named("second");
        assert_eq!(named("third").incremental_from, Some((second.start_lsn, second.timeline)));
        assert!(named("third").why_unusable().unwrap().contains("pg_combinebackup"));
        assert_eq!(named("full").why_unusable(), None);
    }
    let system_identifier: u64 =
        server.value("SELECT system_identifier FROM pg_control_system()").parse().unwrap();
    for path in [&manifest, &third.join("backup_manifest")] {
        let backup = one(path);
        assert_eq!(backup.source().unwrap().kind, SourceKind::Manifest);
        assert_eq!(backup.system_identifier.unwrap().0, system_identifier);
        assert_eq!(backup.stop_lsn, one(path.parent().unwrap()).stop_lsn);
    }

    let combined = to.path().join("combined");
    let mut command = account::command(&tools::program(17, "pg_combinebackup"));
    tools::run(command.arg(&full).arg(&second).arg("-o").arg(&combined));
    let backup = one(&combined);
    assert_eq!((backup.why_unusable(), backup.label.as_str()), (None, "second"));
    // The archive's history file calls it incremental; the directory at hand knows better.
    let merged = merge(archived(&server).into_iter().chain([backup]).collect());
    let second = merged.iter().find(|backup| backup.label == "second").unwrap();
    assert_eq!((second.why_unusable(), second.sources.len()), (None, 2));
}
