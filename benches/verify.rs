//! What `verify` does, from the inside out: the walk of a segment, its scan, and the verdict on a whole archive.
//!
//! `cargo bench --bench verify`; the WAL is the directory `WALPROOF_BENCH_WAL`, or the recorded archive of version
//! 10 in `corpus/`, whose segments have 16 MiB.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "benchmarks")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use walproof::archive::{Archive, LayoutChoice, Scratch};
use walproof::audit::{Options, Plan, audit, plan};
use walproof::scan::segment::Scan;
use walproof::scan::{Detail, Expectation};
use walproof::wal::record::RecordHeader;
use walproof::wal::walk::{Capture, Record, Setup, Sink, Walk};
use walproof::wal::{Lsn, Owners, SegmentName, WalFileName, crc};

/// Bytes handed over at a time, as a directory does.
const PIECE_BYTES: usize = 256 << 10;

/// The archive, and what keeps it there.
struct Place {
    folder: PathBuf,
    _unpacked: Option<tempfile::TempDir>,
}

fn place() -> Place {
    if let Some(folder) = std::env::var_os("WALPROOF_BENCH_WAL") {
        return Place { folder: folder.into(), _unpacked: None };
    }
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/oracle/pg10.tar.zst");
    let unpacked = tempfile::tempdir().unwrap();
    let mut decoder = zstd::Decoder::new(std::fs::File::open(packed).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    tar::Archive::new(decoder).unpack(unpacked.path()).unwrap();
    Place { folder: unpacked.path().join("archive"), _unpacked: Some(unpacked) }
}

fn open(place: &Place) -> (Archive, Plan) {
    let archive = Archive::open(place.folder.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let plan = plan(&archive, &Options::default()).unwrap();
    (archive, plan)
}

/// A full segment in the middle, with its bytes.
fn segment(archive: &Archive, plan: &Plan) -> (SegmentName, Vec<u8>) {
    let entry = &plan.entries[plan.entries.len() / 3];
    let WalFileName::Segment(name) = entry.name else { unreachable!("a segment") };
    let mut bytes = Vec::new();
    let mut take = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        ControlFlow::Continue(())
    };
    archive.read(entry, &mut Scratch::default(), &mut take).unwrap();
    (name, bytes)
}

/// Counts records and wants nothing of them.
struct Counter(u64);

impl Sink for Counter {
    fn capture(&self, _: &RecordHeader, _: &[u8]) -> Capture {
        Capture::Headers
    }
    #[inline(always)]
    fn record(&mut self, _: &Record<'_>) {
        self.0 += 1;
    }
    fn run(&mut self, _: usize) {}
}

/// All pages of a segment, walked by code compiled for this processor.
struct Pages<'a> {
    setup: Setup,
    bytes: &'a [u8],
}

impl crc::Walk for Pages<'_> {
    type Out = u64;

    #[inline(always)]
    fn walk<C: crc::Crc32c>(self, crc: C) -> u64 {
        let mut walk = Walk::new(self.setup, Counter(0));
        for piece in self.bytes.chunks(PIECE_BYTES) {
            walk.feed_by(crc, piece);
        }
        walk.finish().1.0
    }
}

fn scan(name: SegmentName, bytes: &[u8], expectation: &Expectation) -> walproof::scan::SegmentFacts {
    let mut scan = Scan::new(name, expectation, Some(bytes.len() as u64));
    for piece in bytes.chunks(PIECE_BYTES) {
        if scan.feed(piece).is_break() {
            break;
        }
    }
    scan.finish()
}

fn verify(criterion: &mut Criterion) {
    let place = place();
    let (archive, plan) = open(&place);
    let (name, bytes) = segment(&archive, &plan);
    let expectation = |detail| Expectation {
        owners: Owners::root(name.timeline),
        digests: Vec::new(),
        records_from: None,
        digest_all: false,
        detail,
    };
    let facts = scan(name, &bytes, &expectation(Detail::Summary));
    let setup = Setup {
        format: facts.identity.unwrap().format,
        start: facts.start,
        timeline: name.timeline,
        owners: Owners::root(name.timeline),
    };
    assert!(facts.start > Lsn::INVALID && facts.walked.wounds.is_empty());

    let mut group = criterion.benchmark_group("segment");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("walk", |bencher| {
        bencher.iter(|| crc::with_best(Pages { setup: setup.clone(), bytes: black_box(&bytes) }));
    });
    for (label, detail) in [("summary", Detail::Summary), ("events", Detail::Events)] {
        let expectation = expectation(detail);
        group.bench_function(BenchmarkId::new("scan", label), |bencher| {
            bencher.iter(|| scan(name, black_box(&bytes), &expectation));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("archive");
    let total: u64 = plan.entries.iter().map(walproof::archive::Entry::stored_size).sum();
    group.throughput(Throughput::Bytes(total)).sample_size(20);
    group.bench_function("verify", |bencher| {
        bencher.iter(|| audit(&archive, &Options::default(), &|_| {}).unwrap().records);
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
