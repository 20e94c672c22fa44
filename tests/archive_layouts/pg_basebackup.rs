//! The tars of `pg_basebackup -Ft`, as they come and compressed by it and by other programs, in a directory and in a
//! bucket.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use walproof::archive::{Archive, Layout, LayoutChoice};

use crate::original::{Original, contents, verify};
use crate::support::bucket::Bucket;
use crate::support::s3::S3;
use crate::support::{account, tools};

fn segments(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<&String, &Vec<u8>> {
    files.iter().filter(|(name, _)| name.len() == 24).collect()
}

#[test]
fn the_wal_in_its_tars_is_the_wal_of_the_archive() {
    let original = Original::start();
    original.work();
    let bucket = S3::start();
    let socket = original.server.data().parent().unwrap().display().to_string();
    for (name, options) in [
        ("stream", &["-X", "stream"][..]),
        ("stream-gz", &["-X", "stream", "-z"]),
        ("fetch", &["-X", "fetch"]),
        ("fetch-gz", &["-X", "fetch", "-z"]),
        ("server-zstd", &["-X", "stream", "--compress=server-zstd"]),
        ("fetch-lz4", &["-X", "fetch", "--compress=server-lz4"]),
    ] {
        let target = original.path(name);
        let mut command = account::command(&tools::program(15, "pg_basebackup"));
        command.args(["-h", &socket, "-U", "postgres", "-Ft", "-c", "fast", "-D"]).arg(&target).args(options);
        tools::run(&mut command);
        original.server.archive_everything();
        expect_part(&original, &target);
        expect_in_bucket(&bucket, &target, name);
        if name == "stream" {
            expect_compressed_by_others(&original, &target.join("pg_wal.tar"));
        }
    }
}

/// The archive at `location` holds one segment or more, all of them as the server archived them.
fn expect_part(original: &Original, location: &Path) {
    let archive = Archive::open(location.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    assert_eq!(archive.layout(), Layout::Tar, "{}", location.display());
    let (found, whole) = (contents(&archive), original.contents());
    let (found, whole) = (segments(&found), segments(&whole));
    assert!(!found.is_empty(), "{}", location.display());
    for (name, bytes) in found {
        assert!(whole.get(name) == Some(&bytes), "{name} of {}", location.display());
    }
    assert_eq!(verify(location)["verdict"], "ok");
}

/// The same tars in a bucket answer as they do in their directory, from the base backup that lies among them.
fn expect_in_bucket(bucket: &S3, folder: &Path, name: &str) {
    bucket.put_folder(folder, name);
    let tar = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let tar = tar.filter(|name| name.contains(".tar")).max().unwrap();
    for (command, arguments) in [
        ("verify", &[][..]),
        ("resolve", &["--target-immediate"]),
        ("resolve", &["--target-latest"]),
        ("resolve", &["--target-xid", "4000000000"]),
    ] {
        let (expected, status) = ask(command, folder.to_str().unwrap(), arguments, &[]);
        for location in [bucket.url(name), bucket.url(&format!("{name}/{tar}"))] {
            let found = ask(command, &location, arguments, &bucket.variables());
            assert_eq!(found, (expected.clone(), status), "{command} {arguments:?} {location}");
        }
        let should = i32::from(arguments.contains(&"4000000000"));
        assert_eq!(status, should, "{command} {arguments:?} {name}: {expected:#}");
    }
}

/// What a command answers, without what speaks of the place and the run, and its exit status.
fn ask(command: &str, location: &str, arguments: &[&str], variables: &[(String, String)]) -> (Value, i32) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
    program.arg(command).arg(location).args(["--format", "json", "--no-catalog"]).args(arguments);
    let output = program.envs(variables.iter().cloned()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let mut answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{location}: {said}"));
    let keys = answer.as_object_mut().unwrap();
    for key in ["archive", "seconds", "settings", "files", "rejected_backups", "message"] {
        keys.remove(key);
    }
    if let Some(backup) = keys.get_mut("backup").and_then(Value::as_object_mut) {
        backup.remove("source");
        // How much of a tar could be looked at.
        backup.remove("cautions");
    }
    (answer, output.status.code().unwrap())
}

/// Every segment of the archive in one tar, compressed by each program: read in order and not.
fn expect_compressed_by_others(original: &Original, tar: &Path) {
    expect_part(original, tar);
    let all = original.path("all.tar");
    let mut command = Command::new("tar");
    tools::run(command.arg("-C").arg(original.server.archive()).arg("-cf").arg(&all).arg("."));
    for program in ["gzip", "zstd", "lz4", "bzip2", "xz"] {
        let suffix = [("gzip", "gz"), ("zstd", "zst"), ("lz4", "lz4"), ("bzip2", "bz2"), ("xz", "xz")]
            .iter()
            .find(|(name, _)| *name == program)
            .map_or("", |(_, suffix)| suffix);
        let packed = original.path(&format!("all.tar.{suffix}"));
        fs::write(&packed, tools::run(Command::new(program).arg("-c").arg(&all)).stdout).unwrap();
        original.expect_same(&packed, Layout::Tar);
        backwards(original, &packed);
    }
    original.expect_same(&all, Layout::Tar);
    backwards(original, &all);
}

fn backwards(original: &Original, location: &Path) {
    let archive = Archive::open(location.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let mut inventory = archive.inventory().unwrap();
    inventory.entries.reverse();
    let whole = original.contents();
    for entry in inventory.entries.iter().chain(inventory.entries.iter().step_by(3)) {
        let bytes = archive.read_small(entry, 64 << 20).unwrap();
        assert!(whole.get(&entry.name.to_string()) == Some(&bytes), "{}", entry.name);
    }
}
