//! Makes a WAL archive anew with a real server: see `corpus/make`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a tool of the tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Parser;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Backup, Recovery, Server, workload};

/// Makes an archive of three timelines with base backups, and whatever the workload writes.
///
/// The folder gets `archive/` (what archive_command delivered) and `backups/NAME/` (label, control file, version).
#[derive(Parser)]
struct Options {
    /// Major version of the server: 10 to 18.
    major: u32,
    /// The folder to make; it must not exist.
    folder: PathBuf,
    /// WAL segment size in MiB (16 for version 10, which knows no other).
    #[arg(long)]
    segment_mib: Option<u32>,
    /// Changes what is written, not its kinds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A setting of the server, for example wal_compression=lz4.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// With data checksums.
    #[arg(long)]
    checksums: bool,
    /// Keep whole base backups rather than their labels and control files.
    #[arg(long)]
    whole_backups: bool,
    /// The small story of a shop that drops a table by mistake, instead of the full workload.
    #[arg(long)]
    story: bool,
}

fn main() {
    let options = Options::parse();
    fs::create_dir_all(options.folder.parent().unwrap_or(Path::new("."))).unwrap();
    fs::create_dir(&options.folder).expect("the folder must not exist");
    if options.story {
        story(&options);
    } else {
        everything(&options);
    }
    eprintln!("made {}", options.folder.display());
}

fn create(options: &Options) -> Server {
    let mut server = Server::create(options.major);
    if let Some(mebibytes) = options.segment_mib {
        server = server.segment_mib(mebibytes);
    }
    if options.checksums {
        server = server.checksums();
    }
    for setting in &options.set {
        let (name, value) = setting.split_once('=').expect("NAME=VALUE");
        server = server.set(name, value);
    }
    server.start()
}

/// Timeline 1 to its end, timeline 2 from its middle, timeline 3 from a backup of timeline 2.
fn everything(options: &Options) {
    let mut server = create(options);
    workload::schema(&server);
    let first = server.backup("b1");
    workload::round(&server, options.seed, 0);
    workload::round(&server, options.seed, 1);
    server.archive_everything();
    server.stop();

    let recovery = Recovery::of(&first, server.archive()).set("recovery_target_name", "round 0");
    let mut second = recovery.keep_archiving().run().promoted();
    workload::round(&second, options.seed + 1, 1);
    let backup_2 = second.backup("b2");
    workload::round(&second, options.seed + 1, 2);
    second.archive_everything();
    second.stop();

    let recovery = Recovery::of(&backup_2, server.archive()).set("recovery_target_timeline", "latest");
    let mut third = recovery.keep_archiving().run().promoted();
    third.sql("SELECT pg_create_restore_point('last words')");
    third.archive_everything();
    third.stop();
    keep(options, server.archive(), &[&first, &backup_2]);
}

/// A table is dropped by mistake; a copy is recovered to just before, and goes on as timeline 2.
fn story(options: &Options) {
    let mut server = create(options);
    workload::shop(&server);
    let monday = server.backup("monday");
    workload::trade(&server, 1, 1500);
    server.sql("SELECT pg_create_restore_point('before release 1.4')");
    workload::trade(&server, 2, 900);
    let before = server.value("SELECT clock_timestamp()");
    // The mistake has a second of its own.
    thread::sleep(Duration::from_secs(1));
    server.sql("DROP TABLE shop.invoice");
    workload::trade_without_invoices(&server, 3, 400);
    server.archive_everything();
    server.stop();

    let recovery = Recovery::of(&monday, server.archive()).set("recovery_target_time", &before);
    let mut rescued = recovery.keep_archiving().run().promoted();
    workload::trade(&rescued, 4, 2400);
    rescued.sql("SELECT pg_create_restore_point('after the rescue')");
    rescued.archive_everything();
    rescued.stop();
    keep(options, server.archive(), &[&monday]);
}

fn keep(options: &Options, archive: &Path, backups: &[&Backup]) {
    support::backup::copy_tree(archive, &options.folder.join("archive"), false);
    let folder = options.folder.join("backups");
    fs::create_dir(&folder).unwrap();
    for backup in backups {
        let to = folder.join(backup.label());
        if options.whole_backups {
            support::backup::copy_tree(&backup.path(), &to, false);
            continue;
        }
        fs::create_dir_all(to.join("global")).unwrap();
        for name in ["backup_label", "PG_VERSION", "global/pg_control"] {
            fs::copy(backup.path().join(name), to.join(name)).unwrap();
        }
    }
}
