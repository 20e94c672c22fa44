//! The tars of `pg_basebackup -Ft`, as they come and compressed by it and by other programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use walproof::archive::{Archive, Layout, LayoutChoice};

use crate::original::{Original, contents, verify};
use crate::support::{account, tools};

fn segments(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<&String, &Vec<u8>> {
    files.iter().filter(|(name, _)| name.len() == 24).collect()
}

#[test]
fn the_wal_in_its_tars_is_the_wal_of_the_archive() {
    let original = Original::start();
    original.work();
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
