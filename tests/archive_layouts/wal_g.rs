//! WAL-G's layout, written with the compressors themselves, in a directory and in a bucket.

use std::fs;
use std::path::Path;
use std::process::Command;

use walproof::archive::memory::Memory;
use walproof::archive::remote::Remote;
use walproof::archive::{Archive, BackupKind, Layout, LayoutChoice, Secrets};

use crate::original::{Original, in_store};
use crate::support::{bucket::Bucket, s3::S3, tools};

/// Suffix, program and options that write the compressed file to standard output.
const COMPRESSORS: [(&str, &str, &[&str]); 8] = [
    ("lz4", "lz4", &["-c", "-q"]),
    ("zst", "zstd", &["-c", "-q"]),
    ("br", "brotli", &["-c", "-q", "3"]),
    ("lzma", "xz", &["-c", "--format=lzma", "-1"]),
    ("gz", "gzip", &["-c"]),
    ("bz2", "bzip2", &["-c"]),
    ("xz", "xz", &["-c", "-1"]),
    ("", "cat", &[]),
];

fn compress(file: &Path, target: &Path, program: &str, options: &[&str]) {
    let output = tools::run(Command::new(program).args(options).arg(file));
    fs::write(target, output.stdout).unwrap();
}

fn write_archive(original: &Original, folder: &Path, suffix: &str, program: &str, options: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    for file in original.files() {
        let mut name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if !suffix.is_empty() {
            name = format!("{name}.{suffix}");
        }
        compress(&file, &folder.join(name), program, options);
    }
}

#[test]
fn wal_g_archives_of_every_compression_hold_the_same_wal() {
    let original = Original::start();
    original.work();
    original.server.backup("b1");
    original.server.archive_everything();
    let server = S3::start();
    for (suffix, program, options) in COMPRESSORS {
        let root = original.path(&format!("wal-g-{program}-{suffix}"));
        let wal = root.join("wal_005");
        write_archive(&original, &wal, suffix, program, options);
        let first = original.files()[0].file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(wal.join(format!("{first}_delta.{suffix}")), "a map").unwrap();
        fs::write(wal.join(format!("{first}.json")), "{}").unwrap();
        let backups = root.join("basebackups_005");
        fs::create_dir_all(backups.join(format!("base_{first}/tar_partitions"))).unwrap();
        let sentinel = r#"{"LSN":805306408,"PgVersion":150018,"SystemIdentifier":7710551062839694035}"#;
        fs::write(backups.join(format!("base_{first}_backup_stop_sentinel.json")), sentinel).unwrap();
        for at in ["", "wal_005"] {
            original.expect_same(&root.join(at), Layout::WalG);
        }
        let archive = Archive::open(root.to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let found = archive.inventory().unwrap().backups;
        assert_eq!((found.len(), found[0].kind), (1, BackupKind::WalGSentinel));
        assert_eq!(archive.read_object(&found[0].object, 1 << 20).unwrap(), sentinel.as_bytes());

        let prefix = format!("wal-g/{program}-{suffix}");
        server.put_folder(&root, &prefix);
        let store = Remote::open(&server.url(&prefix), server.variables()).unwrap();
        original.expect_same_contents(in_store(store, &[]).unwrap(), Layout::WalG);
        if matches!(suffix, "lz4" | "br") {
            original.expect_same_answers(&server.url(&prefix), &server.variables());
        }

        // The same files as an archive_command with a compressor leaves them.
        let plain = original.path(&format!("plain-{program}-{suffix}"));
        write_archive(&original, &plain, suffix, program, options);
        original.expect_same(&plain, Layout::Plain);
    }
}

/// What libsodium encrypted opens with the key that WAL-G's variables give; without it, it is told what is needed.
#[test]
fn encrypted_files_open_with_the_key() {
    let stored = include_bytes!("../data/libsodium.bin");
    let key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    for suffix in ["", ".lz4"] {
        let open = |secrets: Secrets| {
            let memory = Memory::new();
            memory.put(&format!("wal_005/000000010000000000000001{suffix}"), *stored);
            let choice = LayoutChoice::Given(Layout::WalG);
            let archive = Archive::of_store("memory", Box::new(memory), choice, secrets).unwrap();
            let inventory = archive.inventory().unwrap();
            archive.read_small(&inventory.entries[0], 1 << 20)
        };
        let keyed = |key: &str| open(Secrets::default().with_libsodium_key(key, Some("base64")));
        assert!(keyed(key).unwrap().starts_with(b"line 0 of what libsodium encrypted"), "{suffix}");
        let wrong = keyed("AAAABAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=").unwrap_err().to_string();
        let closed = open(Secrets::default()).unwrap_err().to_string();
        assert!(wrong.contains("WALG_LIBSODIUM_KEY"), "{suffix}: {wrong}");
        assert!(!suffix.is_empty() || closed.contains("WALG_LIBSODIUM_KEY"), "{suffix}: {closed}");
    }
}
