//! Compressed segments through [`Archive::read`] against their decoders alone: what the archive adds.
//!
//! `cargo bench --bench decode`; the WAL is the directory `WALPROOF_BENCH_WAL`, or the recorded archive of version
//! 10 in `corpus/`, whose segments have 16 MiB.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "benchmarks")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use walproof::archive::directory::Directory;
use walproof::archive::{Archive, LayoutChoice, Scratch, Secrets};

/// Segments measured: enough to leave every cache.
const SEGMENTS: usize = 8;

fn segments() -> Vec<Vec<u8>> {
    let mut found = match std::env::var_os("WALPROOF_BENCH_WAL") {
        Some(folder) => of_folder(Path::new(&folder)),
        None => of_corpus(),
    };
    found.retain(|(name, bytes)| name.len() == 24 && bytes.len() == 16 << 20);
    found.sort();
    found.into_iter().map(|(_, bytes)| bytes).take(SEGMENTS).collect()
}

fn of_folder(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn of_corpus() -> Vec<(String, Vec<u8>)> {
    let packed = fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/oracle/pg10.tar.zst")).unwrap();
    let mut tar = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let mut found = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        found.push((name, bytes));
    }
    found
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// As tools stream it: the frame does not say how large it is.
fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

/// Blocks of 4 MiB, as the `lz4` program and WAL-G write.
fn lz4(plain: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max4MB)
        .content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);

const CODECS: [Codec; 4] = [("none", <[u8]>::to_vec), ("gz", gzip), ("zst", zstd), ("lz4", lz4)];

/// The decoder alone, into a buffer that is used again.
fn decoder_alone(codec: &str, stored: &[u8], plain: &mut Vec<u8>) -> usize {
    match codec {
        "gz" => libdeflater::Decompressor::new().gzip_decompress(stored, plain).unwrap(),
        "zst" => {
            plain.clear();
            zstd::bulk::Decompressor::new().unwrap().decompress_to_buffer(stored, plain).unwrap()
        }
        "lz4" => lz4_flex::frame::FrameDecoder::new(stored).read_exact(plain).map(|()| plain.len()).unwrap(),
        _ => {
            plain.copy_from_slice(stored);
            plain.len()
        }
    }
}

fn decode(criterion: &mut Criterion) {
    let segments = segments();
    let bytes: usize = segments.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(10);
    for (codec, encode) in CODECS {
        let folder = tempfile::tempdir().unwrap();
        let stored: Vec<Vec<u8>> = segments.iter().map(|plain| encode(plain)).collect();
        for (index, bytes) in stored.iter().enumerate() {
            fs::write(folder.path().join(format!("0000000100000000000000{index:02X}")), bytes).unwrap();
        }
        let mut plain = vec![0; 16 << 20];
        group.bench_function(BenchmarkId::new("decoder alone", codec), |bencher| {
            bencher
                .iter(|| stored.iter().map(|stored| decoder_alone(codec, stored, &mut plain)).sum::<usize>());
        });
        let store = Box::new(Directory::open(folder.path()).unwrap());
        let archive = Archive::of_store("bench", store, LayoutChoice::Auto, Secrets::default()).unwrap();
        let inventory = archive.inventory().unwrap();
        let mut scratch = Scratch::default();
        group.bench_function(BenchmarkId::new("archive", codec), |bencher| {
            bencher.iter(|| {
                for entry in &inventory.entries {
                    let read = archive.read(entry, &mut scratch, &mut |piece| {
                        black_box(piece);
                        ControlFlow::Continue(())
                    });
                    read.unwrap();
                }
            });
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
