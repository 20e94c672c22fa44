//! CRC-32C in the pattern of WAL records (payload, then header), for each record length: ours as the walk
//! uses it, its portable twin, and the crate `crc32c` for comparison.
//!
//! `cargo bench --bench crc`; the records lie end to end over 16 MiB, so they come from memory or the last cache.
#![allow(missing_docs, reason = "benchmarks")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use walproof::wal::crc::{Crc32c, Portable, Walk, checksum, record_checksum, with_best};

const BYTES: usize = 16 << 20;

/// Checksums of records of one length, as a walk over a segment computes them.
struct Records<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl Walk for Records<'_> {
    type Out = u32;

    #[expect(clippy::inline_always, reason = "see Walk")]
    #[inline(always)]
    fn walk<C: Crc32c>(self, crc: C) -> u32 {
        let mut sum = 0;
        for record in self.bytes.chunks_exact(self.length) {
            sum ^= record_checksum(crc, record).unwrap_or(0);
        }
        sum
    }
}

/// The same by the crate, which is entered twice for each record.
fn by_crate(bytes: &[u8], length: usize) -> u32 {
    let mut sum = 0;
    for record in bytes.chunks_exact(length) {
        sum ^= crc32c::crc32c_append(crc32c::crc32c(&record[24..]), &record[..20]);
    }
    sum
}

fn records(criterion: &mut Criterion) {
    let bytes: Vec<u8> =
        (0..BYTES as u64).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 13).to_le_bytes()[0]).collect();
    let bytes = bytes.as_slice();
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
    for length in [32, 48, 64, 96, 128, 160, 192, 256, 512, 1024, 8192] {
        group.bench_function(BenchmarkId::new("best", length), |b| {
            b.iter(|| with_best(Records { bytes: black_box(bytes), length }));
        });
        group.bench_function(BenchmarkId::new("crate", length), |b| {
            b.iter(|| by_crate(black_box(bytes), length));
        });
    }
    for length in [64, 160, 1024] {
        group.bench_function(BenchmarkId::new("portable", length), |b| {
            b.iter(|| Records { bytes: black_box(bytes), length }.walk(Portable));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("run");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
    group.bench_function("best", |b| b.iter(|| checksum(black_box(bytes))));
    group.bench_function("crate", |b| b.iter(|| crc32c::crc32c(black_box(bytes))));
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
