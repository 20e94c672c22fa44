//! The hot path asks the allocator for nothing for each record, and memory stays bounded however much is read.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "an allocator that counts what it is asked for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use walproof::archive::{Archive, LayoutChoice};
use walproof::scan::{Detail, Expectation, SegmentFacts, Workbench, scan_segment};
use walproof::wal::{Owners, TimelineId, WalFileName};

struct Counting;

thread_local! {
    /// Of this thread alone: other tests run beside this one.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_one() {
    // A thread that ends has no counter any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The recorded archive of version 10: segments of 16 MiB with tens of thousands of records each.
fn recorded() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/oracle/pg10.tar.zst");
    let decoder = zstd::Decoder::new(fs::File::open(packed).unwrap()).unwrap();
    let mut tar = tar::Archive::new(decoder);
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.parent().is_some_and(|parent| parent.ends_with("archive")) {
            entry.unpack(archive.join(name)).unwrap();
        }
    }
    (folder, archive)
}

#[test]
fn allocations_do_not_grow_with_records() {
    let (_folder, path) = recorded();
    let archive = Archive::open(path.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let mut entries = archive.inventory().unwrap().entries;
    entries
        .retain(|entry| matches!(entry.name, WalFileName::Segment(name) if name.timeline == TimelineId(1)));
    let expectation = Expectation {
        owners: Owners::root(TimelineId(1)),
        digests: Vec::new(),
        records_from: None,
        digest_all: false,
        detail: Detail::Summary,
    };
    let mut bench = Workbench::default();
    // The first scan fills the buffers that are used again.
    let mut scan = |entry| -> (u64, SegmentFacts) {
        let before = ALLOCATIONS.get();
        let facts = scan_segment(&archive, entry, &expectation, &mut bench).unwrap();
        (ALLOCATIONS.get() - before, facts)
    };
    scan(&entries[0]);
    let mut most = 0;
    for entry in &entries {
        let (allocations, facts) = scan(entry);
        let records: u64 = facts.walked.runs.iter().map(|run| run.records).sum();
        most = most.max(records);
        // Events that are kept (checkpoints and the like), and a few buffers for each piece that is read.
        let allowed = 200 + 2 * facts.events.len() as u64;
        assert!(
            allocations <= allowed,
            "{}: {allocations} allocations for {records} records, {} events",
            facts.path,
            facts.events.len()
        );
    }
    assert!(most > 20_000, "the archive must have segments with many records, the fullest has {most}");
}

/// The kernel refuses what is over the limit, so the program could not end well. The archive is larger than the limit:
/// a program that kept what it read would be seen.
#[test]
fn memory_is_bounded() {
    let (_folder, path) = recorded();
    let program = env!("CARGO_BIN_EXE_walproof");
    let jobs = 2;
    let limit = 48 * 1024 + 2 * 16 * 1024 * jobs + 80;
    let sizes = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() / 1024 > limit);
    let verify = |limit: u64| {
        let script = "ulimit -d \"$0\" && exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, &limit.to_string(), program, "verify"]).arg(&path);
        command.args(["--no-catalog", "--jobs", &jobs.to_string()]).output().unwrap()
    };
    let output = verify(limit);
    assert!(output.status.success(), "{output:?}");
    // The kernel does watch.
    assert!(!verify(2 * 1024).status.success());
}
