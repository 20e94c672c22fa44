//! Tars that other programs wrote, cut and damaged everywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::archive::{Archive, LayoutChoice, ReadError, Scratch, Secrets};
use std::io::Write;

const SEGMENTS: u8 = 3;
const SEGMENT_BYTES: usize = 5000;

fn content(number: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..SEGMENT_BYTES).map(|at| u8::try_from(at % 251).unwrap() ^ number).collect();
    bytes[..4].copy_from_slice(&[0x10, 0xD1, 2, 0]);
    bytes
}

fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for number in 1..=SEGMENTS {
        let mut header = Header::new_gnu();
        header.set_size(SEGMENT_BYTES as u64);
        header.set_mode(0o600);
        header.set_cksum();
        let name = format!("00000001000000000000000{number}");
        builder.append_data(&mut header, name, content(number).as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

use tar::Header;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// What an archive of these bytes gives: whole segments, and whether anything was told to be wrong.
fn read(bytes: &[u8]) -> (usize, bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pg_wal.tar");
    std::fs::write(&path, bytes).unwrap();
    let store = Box::new(TarFile::open(&path).unwrap());
    let archive =
        Archive::of_store("tar", store, LayoutChoice::Given(super::super::Layout::Tar), Secrets::default());
    let archive = archive.unwrap();
    let inventory = archive.inventory().unwrap();
    let mut told = !inventory.strays.is_empty();
    let mut whole = 0;
    for (index, entry) in inventory.entries.iter().enumerate() {
        let mut plain = Vec::new();
        let outcome = archive.read(entry, &mut Scratch::default(), &mut |piece| {
            plain.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        let expected = content(u8::try_from(index + 1).unwrap());
        assert!(!matches!(outcome, Err(ReadError::Unobtainable(_))), "{outcome:?}");
        told |= outcome.is_err();
        whole += usize::from(outcome.is_ok() && plain == expected);
    }
    (whole, told)
}

#[test]
fn a_whole_tar_gives_all_its_members() {
    assert_eq!(read(&tar()), (3, false));
    assert_eq!(read(&gzip(&tar())), (3, false));
}

#[test]
fn a_cut_tar_gives_what_is_whole_and_says_that_it_is_cut() {
    let plain = tar();
    let member = 512 + SEGMENT_BYTES.next_multiple_of(512);
    for length in (0..plain.len()).step_by(97) {
        let (whole, told) = read(&plain[..length]);
        assert!(whole >= (length / member).min(3), "{length}");
        // A cut between two members leaves a tar that lacks nothing but its end blocks.
        assert!(told || length % member == 0 || length >= 3 * member, "{length}");
    }
    let packed = gzip(&plain);
    for length in (20..packed.len()).step_by(41) {
        let (whole, told) = read(&packed[..length]);
        assert!(told && whole <= 3, "{length}");
    }
}

#[test]
fn a_damaged_tar_never_panics_and_is_told() {
    let plain = tar();
    for at in (0..600).chain((600..plain.len()).step_by(511)) {
        let mut damaged = plain.clone();
        damaged[at] ^= 0x55;
        let (whole, told) = read(&damaged);
        assert!(whole < 3 || told || at % 512 > 100 || at > 3 * 5632, "{at}");
    }
    let packed = gzip(&plain);
    for at in (20..packed.len()).step_by(7) {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x55;
        let (whole, told) = read(&damaged);
        assert!(told || whole <= 3, "{at}");
    }
}
