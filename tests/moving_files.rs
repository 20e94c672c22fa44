//! Files that change while they are read: an archiver copies a segment under its own name, a server recycles its pg_wal.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::replica::Replica;
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{self, Audit, Options, Unread};

const VERSION: &str = "14";

/// The newest segment of timeline 1.
fn newest(archive: &Replica) -> String {
    let is_segment = |name: &&String| name.len() == 24 && name.starts_with("00000001");
    archive.names().iter().filter(is_segment).max().unwrap().clone()
}

/// Writes `bytes` to the file bit by bit, from when the first of them are there until all are.
fn write_slowly(path: PathBuf, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let (begun, begins) = mpsc::channel();
    let writer = thread::spawn(move || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
        for part in bytes.chunks(bytes.len() / 8) {
            file.write_all(part).unwrap();
            let _ = begun.send(());
            thread::sleep(Duration::from_millis(40));
        }
    });
    begins.recv().unwrap();
    writer
}

/// `archive_command = 'cp …'` at work: nothing is wrong, and nothing is said to be.
#[test]
fn a_segment_that_is_being_copied_is_waited_for() {
    let archive = Replica::of(VERSION);
    let name = newest(&archive);
    let bytes = archive.read(&name);
    archive.remove(&name);
    let writer = write_slowly(archive.path(&name), bytes);
    let verdict = archive.verify(&[]);
    writer.join().unwrap();
    assert_eq!((verdict.status, verdict.told("error")), (0, vec![]), "{}", verdict.stderr);
}

/// What stays short was not being written: it is told.
#[test]
fn a_segment_that_stays_short_is_told() {
    let archive = Replica::of(VERSION);
    let name = newest(&archive);
    let bytes = archive.read(&name);
    let half = bytes[..bytes.len() / 2].to_vec();
    archive.remove(&name);
    let writer = write_slowly(archive.path(&name), half);
    let verdict = archive.verify(&[]);
    writer.join().unwrap();
    assert_eq!((verdict.status, verdict.told("error")), (1, vec![format!("segment-truncated {name}")]));
}

/// The audit of a folder of which the oldest segment goes away between listing and reading.
fn audit_as_the_oldest_goes(folder: &str) -> Audit {
    let archive = Replica::of(VERSION);
    let folder = archive.archive().join(folder);
    fs::create_dir_all(&folder).unwrap();
    let names = archive.names();
    let mut segments: Vec<&String> =
        names.iter().filter(|name| name.len() == 24 && name.starts_with("00000001")).collect();
    segments.sort();
    segments.truncate(3);
    for name in &segments {
        fs::copy(archive.path(name), folder.join(name)).unwrap();
    }
    let place = folder.to_str().unwrap();
    let archive = Archive::open(place, LayoutChoice::Auto).unwrap();
    let options = Options { unread: Unread::IsTold, ..Options::default() };
    let plan = audit::plan(&archive, &options).unwrap();
    fs::remove_file(folder.join(segments[0])).unwrap();
    audit::audit_planned(&archive, &plan, &[], &options, None, &|_| {}).unwrap()
}

/// A server that removes its oldest segment loses nothing; an archive of which a file vanishes was not read.
#[test]
fn what_a_server_removes_from_its_pg_wal_is_not_missed() {
    let of_server = audit_as_the_oldest_goes("pg_wal");
    assert_eq!((of_server.unread.len(), of_server.segments.verified), (0, 2), "{:?}", of_server.findings);
    assert!(!of_server.is_damaged(), "{:?}", of_server.findings);
    let of_archive = audit_as_the_oldest_goes("archived");
    assert_eq!(of_archive.unread.len(), 1);
}
