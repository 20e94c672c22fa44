//! A million objects listed and sorted out, of each layout; a hundred thousand files on disk.
//!
//! `cargo bench --bench inventory`
#![allow(missing_docs, clippy::unwrap_used, reason = "benchmarks")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::fs;
use std::sync::Arc;
use walproof::archive::directory::Directory;
use walproof::archive::memory::Memory;
use walproof::archive::{Archive, LayoutChoice, Secrets, Store};

const OBJECTS: u32 = 1_000_000;
const FILES: u32 = 100_000;

fn name(number: u32) -> String {
    format!("00000001{:08X}{:08X}", number / 256, number % 256)
}

fn key_of(layout: &str, number: u32) -> String {
    let name = name(number);
    match layout {
        "wal-g" => format!("wal_005/{name}.lz4"),
        "pgbackrest" => {
            format!(
                "archive/main/15-1/{}/{name}-0123456789abcdef0123456789abcdef{number:08x}.zst",
                &name[..16]
            )
        }
        _ => name,
    }
}

fn open(store: impl Store + 'static) -> Archive {
    Archive::of_store("bench", Box::new(store), LayoutChoice::Auto, Secrets::default()).unwrap()
}

fn inventory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inventory");
    group.sample_size(10);
    for layout in ["plain", "wal-g", "pgbackrest"] {
        let memory = Memory::new();
        let bytes: Arc<[u8]> = Arc::from(&b"x"[..]);
        for number in 0..OBJECTS {
            memory.put(&key_of(layout, number), Arc::clone(&bytes));
        }
        if layout == "pgbackrest" {
            memory.put("archive/main/archive.info", *b"x");
        }
        let archive = open(memory);
        group.bench_function(format!("{layout}, a million"), |bencher| {
            bencher.iter_batched(|| (), |()| archive.inventory().unwrap(), BatchSize::PerIteration);
        });
    }
    let folder = tempfile::tempdir().unwrap();
    for number in 0..FILES {
        fs::write(folder.path().join(name(number)), "x").unwrap();
    }
    let archive = open(Directory::open(folder.path()).unwrap());
    group.bench_function("directory, a hundred thousand", |bencher| {
        bencher.iter_batched(|| (), |()| archive.inventory().unwrap(), BatchSize::PerIteration);
    });
}

criterion_group!(benches, inventory);
criterion_main!(benches);
