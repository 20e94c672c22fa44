//! Every codec against encoders that are not ours, whole, cut, damaged, lengthened and blown up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use std::io::Write;

/// Something with the texture of WAL: page headers, counters, zeros and noise.
fn wal_like(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut plain = Vec::with_capacity(bytes);
    while plain.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        plain.extend_from_slice(&[0x10, 0xD1, 0x02, 0x00]);
        plain.extend_from_slice(&(plain.len() as u64).to_le_bytes());
        plain.extend_from_slice(&state.to_le_bytes());
        plain.extend_from_slice(&[0; 40]);
    }
    plain.truncate(bytes);
    plain
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// As a streaming writer leaves it: the frame does not say how large it is.
fn zstd_streamed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd_sized(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 1).unwrap()
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn lz4_bare(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn xz(plain: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn lzma(plain: &[u8]) -> Vec<u8> {
    let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
    let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.into_inner().unwrap()
}

/// What `brotli -q 5` (Debian's 1.0.9) made of `wal_like(4096)`.
const BROTLI: &[u8] = include_bytes!("wal_like_4096.br");

type Encoder = fn(&[u8]) -> Vec<u8>;

const ENCODERS: [(Codec, Encoder); 10] = [
    (Codec::Gzip, gzip),
    (Codec::Zlib, zlib),
    (Codec::Zstd, zstd_streamed),
    (Codec::Zstd, zstd_sized),
    (Codec::Lz4, lz4),
    (Codec::Lz4, lz4_bare),
    (Codec::Bzip2, bzip2),
    (Codec::Xz, xz),
    (Codec::Lzma, lzma),
    (Codec::Snappy, snappy),
];

fn decoded(codec: Codec, stored: &[u8], limit: u64, buffers: &mut Buffers) -> (Vec<u8>, Result<(), Refusal>) {
    let mut plain = Vec::new();
    let result = decode(codec, stored, limit, buffers, &mut |piece| {
        plain.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    (plain, result)
}

#[test]
fn what_other_encoders_wrote_comes_back_and_is_told_by_its_magic() {
    let buffers = &mut Buffers::default();
    for bytes in [1, 100, 65_536, 700_001, 3 << 20] {
        let plain = wal_like(bytes);
        for (index, (codec, encode)) in ENCODERS.iter().enumerate() {
            let stored = encode(&plain);
            assert_eq!(sniff(&stored), *codec, "{index}");
            let (found, result) = decoded(*codec, &stored, bytes as u64, buffers);
            assert_eq!(result, Ok(()), "{codec:?} {index}");
            assert!(found == plain, "{codec:?} {index} {bytes}");
        }
    }
    let (found, result) = decoded(Codec::Brotli, BROTLI, 4096, buffers);
    assert_eq!(result, Ok(()));
    assert!(found == wal_like(4096));
}

#[test]
fn several_members_one_after_another_are_one_object() {
    let buffers = &mut Buffers::default();
    let (first, second) = (wal_like(5000), wal_like(70_000));
    let whole = [&first[..], &second].concat();
    for (codec, encode) in ENCODERS {
        if [Codec::Zlib, Codec::Lzma].contains(&codec) {
            continue;
        }
        let stored = [encode(&first), encode(&second)].concat();
        let (found, result) = decoded(codec, &stored, 1 << 20, buffers);
        assert_eq!(result, Ok(()), "{codec:?}");
        assert!(found == whole, "{codec:?}");
    }
    // Two members of the same size: a decoder that stops after the first would not notice.
    let stored = [gzip(&first), gzip(&first)].concat();
    let (found, result) = decoded(Codec::Gzip, &stored, 1 << 20, buffers);
    assert_eq!((found.len(), result), (10_000, Ok(())));
}

#[test]
fn every_cut_is_refused_and_gives_no_byte_that_was_not_there() {
    let buffers = &mut Buffers::default();
    let plain = wal_like(4096);
    let brotli: (Codec, Encoder) = (Codec::Brotli, |_| BROTLI.to_vec());
    for (codec, encode) in ENCODERS.into_iter().chain([brotli]) {
        let stored = encode(&plain);
        for length in 0..stored.len() {
            let (found, result) = decoded(codec, &stored[..length], 1 << 20, buffers);
            assert!(plain.starts_with(&found), "{codec:?} {length}");
            // Snappy's form has no end: a cut between two chunks gives a shorter object.
            let whole = result.is_ok() && codec != Codec::Snappy;
            assert!(!whole, "{codec:?} cut to {length} of {} bytes", stored.len());
        }
    }
}

#[test]
fn a_flipped_byte_never_panics_and_is_noticed_where_the_format_has_a_checksum() {
    let buffers = &mut Buffers::default();
    let plain = wal_like(4096);
    for (index, (codec, encode)) in ENCODERS.into_iter().enumerate() {
        let mut stored = encode(&plain);
        for at in 0..stored.len() {
            stored[at] ^= 0x55;
            let (found, result) = decoded(codec, &stored, 1 << 20, buffers);
            let checked = matches!(codec, Codec::Gzip | Codec::Zlib | Codec::Bzip2 | Codec::Xz) || index == 2;
            assert!(!checked || result.is_err() || found == plain, "{codec:?} {at}");
            stored[at] ^= 0x55;
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let buffers = &mut Buffers::default();
    let plain = wal_like(4096);
    for (codec, encode) in ENCODERS {
        for rest in [&b"x"[..], &[0; 7], &[0, 16, 0, 0], &[0x10, 0xD1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let stored = [&encode(&plain)[..], rest].concat();
            let (found, result) = decoded(codec, &stored, 1 << 20, buffers);
            assert!(result.is_err(), "{codec:?} {rest:?}");
            assert!(found == plain || codec == Codec::Snappy, "{codec:?} {rest:?}");
        }
    }
    assert!(decoded(Codec::Brotli, &[BROTLI, b"x"].concat(), 1 << 20, buffers).1.is_err());
}

#[test]
fn what_would_grow_beyond_the_limit_is_refused_early() {
    let buffers = &mut Buffers::default();
    let bomb = vec![0; 64 << 20];
    for (codec, encode) in ENCODERS {
        let stored = encode(&bomb);
        let (found, result) = decoded(codec, &stored, 1 << 20, buffers);
        assert!(result.is_err_and(|why| why.contains("more than 1048576 bytes")), "{codec:?}");
        assert!(found.len() <= 1 << 20, "{codec:?}");
    }
    assert!(buffers.plain.capacity() <= 16 << 20);
}

#[test]
fn a_frame_that_claims_a_large_size_gets_no_memory_for_it() {
    let buffers = &mut Buffers::default();
    // A zstd frame header with a content size of 2^62.
    let stored = [0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0];
    assert!(decoded(Codec::Zstd, &stored, 1 << 30, buffers).1.is_err());
    let mut stored = gzip(b"x");
    let trailer = stored.len() - 4;
    stored[trailer..].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    assert!(decoded(Codec::Gzip, &stored, 1 << 30, buffers).1.is_err());
    assert!(buffers.plain.capacity() <= 16 << 20);
}

#[test]
fn a_sink_that_has_enough_ends_the_work_without_complaint() {
    let buffers = &mut Buffers::default();
    for (codec, encode) in ENCODERS {
        let stored = encode(&wal_like(3 << 20));
        let mut pieces = 0;
        let result = decode(codec, &stored, 4 << 20, buffers, &mut |_| {
            pieces += 1;
            ControlFlow::Break(())
        });
        assert_eq!((pieces, result), (1, Ok(())), "{codec:?}");
    }
}

#[test]
fn encrypted_objects_are_told_as_such() {
    for (head, codec) in [
        (&b"Salted__12345678"[..], Codec::OpensslSalted),
        (b"-----BEGIN PGP MESSAGE-----", Codec::OpenPgp),
        (&[0x8C, 0x0D, 0x04, 0x09, 0x03, 0x02], Codec::OpenPgp),
        (&[0x85, 0x01, 0x0C, 0x03, 0x12], Codec::OpenPgp),
        (b"age-encryption.org/v1\n", Codec::Age),
    ] {
        assert_eq!(sniff(head), codec);
        let (found, result) = decoded(codec, head, 1 << 20, &mut Buffers::default());
        assert!(found.is_empty() && result.is_err_and(|why| why.contains("encrypted")));
    }
}

#[test]
fn a_page_of_wal_is_nothing_but_itself() {
    for low in 0..=255 {
        for high in [0xD0, 0xD1] {
            assert_eq!(sniff(&[low, high, 2, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), Codec::None);
        }
    }
    assert_eq!(sniff(b"1\t0/3000000\tno recovery target"), Codec::None);
    assert_eq!(sniff(b"START WAL LOCATION: 0/2000028"), Codec::None);
}

#[test]
fn what_claims_to_be_large_is_decoded_in_pieces() {
    let plain = vec![0; 200 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    Write::write_all(&mut gzip, &plain).unwrap();
    for (codec, stored) in
        [(Codec::Gzip, gzip.finish().unwrap()), (Codec::Zstd, zstd::bulk::compress(&plain, 1).unwrap())]
    {
        let mut buffers = Buffers::default();
        let mut given = 0;
        let decoded = decode(codec, &stored, 1 << 30, &mut buffers, &mut |piece| {
            given += piece.len();
            if given > 1 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(decoded, Ok(()), "{codec:?}");
        assert!(given > 1 << 20 && given < 2 << 20, "{codec:?} {given}");
        assert!(buffers.plain.capacity() <= 16 << 20, "{codec:?} {buffers:?}");
    }
}
