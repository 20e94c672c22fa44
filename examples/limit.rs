//! The limits that walproof is measured against: what reading and checksumming, or decoding, cost by themselves.
//!
//! ```text
//! limit flat DIRECTORY      every byte read, and one CRC-32C over it: less work no checker can do
//! limit read DIRECTORY      every byte read
//! limit decode DIRECTORY    every file decoded in one call, by the decoder that walproof uses, and nothing else
//! limit archive DIRECTORY   every file read and decoded as walproof does, and its bytes thrown away
//! limit pack CODEC FROM TO  compresses the files of FROM into TO (zst, lz4, gz), as archiving tools do
//! ```
//!
//! `benches/compare` runs it beside `walproof verify`. One thread; files in the order of their names.

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use walproof::archive::{Archive, LayoutChoice, Scratch};
use walproof::wal::crc;

/// As the archive is read: in pieces that stay in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sum = match arguments.as_slice() {
        ["flat", folder] => read(Path::new(folder), crc::update)?,
        ["read", folder] => read(Path::new(folder), |_, piece| u32::from(piece[0]))?,
        ["archive", folder] => archive(folder)?,
        ["decode", folder] => decode(Path::new(folder))?,
        ["pack", codec, from, to] => pack(codec, Path::new(from), Path::new(to))?,
        _ => return Err("limit flat|read|decode|archive DIRECTORY, or limit pack zst|lz4|gz FROM TO".into()),
    };
    // What was computed is printed, so that it must be computed.
    writeln!(io::stdout(), "{sum:08x}")?;
    Ok(())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn read(folder: &Path, mut take: impl FnMut(u32, &[u8]) -> u32) -> Outcome<u32> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut state = crc::INIT;
    for path in files(folder)? {
        let mut file = File::open(path)?;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            state = take(state, &buffer[..count]);
        }
    }
    Ok(state)
}

/// Each file is read into one buffer and decoded into another; both are used again.
fn decode(folder: &Path) -> Outcome<u32> {
    let mut stored = Vec::new();
    let mut plain = vec![0; 16 << 20];
    let mut gzip = libdeflater::Decompressor::new();
    let mut zstd = zstd::bulk::Decompressor::new()?;
    let mut bytes = 0;
    for path in files(folder)? {
        stored.clear();
        File::open(&path)?.read_to_end(&mut stored)?;
        bytes += match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => gzip.gzip_decompress(&stored, &mut plain)?,
            Some("zst") => zstd.decompress_to_buffer(&stored, &mut plain[..])?,
            Some("lz4") => {
                let mut decoder = lz4_flex::frame::FrameDecoder::new(&stored[..]);
                decoder.read_exact(&mut plain)?;
                plain.len()
            }
            _ => return Err(format!("{}: not .gz, .zst or .lz4", path.display()).into()),
        };
    }
    Ok(u32::try_from(bytes >> 20)?)
}

fn archive(folder: &str) -> Outcome<u32> {
    let archive = Archive::open(folder, LayoutChoice::Auto)?;
    let mut scratch = Scratch::default();
    let mut bytes = 0;
    for entry in &archive.inventory()?.entries {
        archive.read(entry, &mut scratch, &mut |piece| {
            bytes += black_box(piece).len();
            ControlFlow::Continue(())
        })?;
    }
    Ok(u32::try_from(bytes >> 20)?)
}

fn pack(codec: &str, from: &Path, to: &Path) -> Outcome<u32> {
    fs::create_dir_all(to)?;
    let files = files(from)?;
    for path in &files {
        let plain = fs::read(path)?;
        let packed = match codec {
            "gz" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&plain)?;
                encoder.finish()?
            }
            "zst" => zstd::encode_all(&plain[..], 3)?,
            "lz4" => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max4MB)
                    .content_checksum(true);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&plain)?;
                encoder.finish()?
            }
            _ => return Err(format!("{codec}: zst, lz4 or gz").into()),
        };
        let name = path.file_name().ok_or("a path without a name")?.to_string_lossy();
        fs::write(to.join(format!("{name}.{codec}")), packed)?;
    }
    Ok(u32::try_from(files.len())?)
}
