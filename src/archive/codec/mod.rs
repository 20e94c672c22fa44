//! Compression, told by the first bytes of an object whatever its name says.
//!
//! Decoding is from memory to memory, into buffers that are used again (`Buffers`), and never to a file. What a
//! decoder may give is limited: an object that would grow beyond the limit is refused, as are bytes after the
//! end of its stream. Where one call decodes a whole object of a usual size that is what is used; else a streaming
//! decoder goes over the object again, hands out what there is up to the damage and says what is wrong.

mod gzip;
mod lz4;
mod stream;
mod zstandard;

use super::store::Sink;
use crate::wal::page::{LONG_HEADER_BYTES, LongHeader};
use crate::wal::{Major, SegmentSize};
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

/// How many first bytes [`sniff`] looks at.
pub(crate) const MAGIC_BYTES: usize = 16;

/// Bytes handed out at a time: small enough to be walked while they are still in the second-level cache.
const PIECE_BYTES: usize = 256 << 10;

/// The usual segment.
const USUAL_BYTES: u64 = 16 << 20;

/// No object of more plain bytes is decoded in one call: pieces take little memory, whatever an object claims.
const AT_ONCE_BYTES_MAX: u64 = 64 << 20;

/// How an object is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// As it is.
    None,
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// zlib (RFC 1950), as pg_rman writes.
    Zlib,
    /// Zstandard frames.
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// bzip2, of one stream or several.
    Bzip2,
    /// xz, of one stream or several.
    Xz,
    /// The older `.lzma` form.
    Lzma,
    /// Brotli. Has no magic bytes: told by the suffix `.br`.
    Brotli,
    /// Snappy's framed form.
    Snappy,
    /// `openssl enc`'s form with a salt: pgBackRest's encryption.
    OpensslSalted,
    /// libsodium's secret stream: WAL-G's encryption. Has no magic bytes.
    SecretStream,
    /// OpenPGP, binary or armoured: GPG, WAL-G.
    OpenPgp,
    /// age.
    Age,
    /// lzop, as WAL-E wrote.
    Lzop,
}

/// What the first bytes of an object say about it. Bytes that say nothing are [`Codec::None`].
pub(crate) fn sniff(head: &[u8]) -> Codec {
    // Every page of WAL begins with a magic number from 0xD0?? or 0xD1??, low byte first.
    if head.get(1).is_some_and(|high| (0xD0..=0xD1).contains(high)) {
        return Codec::None;
    }
    match head {
        [0x1F, 0x8B, 0x08, ..] => Codec::Gzip,
        // 0x184D2A50 to 0x184D2A5F: a frame that decoders skip; pzstd begins with one.
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Codec::Zstd,
        [0x04, 0x22, 0x4D, 0x18, ..] => Codec::Lz4,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Codec::Bzip2,
        [0xFD, b'7', b'z', b'X', b'Z', 0x00, ..] => Codec::Xz,
        // Properties 93 (what every encoder writes), then the dictionary size, a multiple of 64 KiB.
        [0x5D, 0x00, 0x00, _, _, ..] => Codec::Lzma,
        [0xFF, 0x06, 0x00, 0x00, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Codec::Snappy,
        [b'S', b'a', b'l', b't', b'e', b'd', b'_', b'_', ..] => Codec::OpensslSalted,
        [0x89, b'L', b'Z', b'O', 0x00, ..] => Codec::Lzop,
        [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..] => Codec::Zlib,
        _ if is_open_pgp(head) => Codec::OpenPgp,
        _ if head.starts_with(b"age-encryption") => Codec::Age,
        _ => Codec::None,
    }
}

/// Whether a message begins with a packet that holds a session key (RFC 9580, tags 1 and 3), or with armour.
fn is_open_pgp(head: &[u8]) -> bool {
    match head {
        // Old and new packet forms; version 3 of a public-key packet, 4 to 6 of a symmetric one.
        [0x84 | 0xC1, _, 3, ..] | [0x85, _, _, 3, ..] | [0xC1, 0xC0..=0xDF, _, 3, ..] => true,
        [0x8C | 0xC3, _, 4..=6, ..] => true,
        _ => head.starts_with(b"-----BEGIN PGP M"),
    }
}

/// Why an object could not be decoded, in one clause for a person.
pub(crate) type Refusal = String;

/// Decoders and buffers that one worker uses again for each object.
#[derive(Default)]
pub(crate) struct Buffers {
    /// The plain bytes of an object that is decoded in one call.
    plain: Vec<u8>,
    gzip: gzip::OneShot,
    zstd: zstandard::OneShot,
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers").field("plain_bytes", &self.plain.capacity()).finish_non_exhaustive()
    }
}

/// Decodes `stored` and hands its plain bytes to `sink`, at most `limit` of them.
///
/// When it refuses, `sink` has had the bytes before the damage, as far as a decoder could give them.
pub(crate) fn decode(
    codec: Codec,
    stored: &[u8],
    limit: u64,
    buffers: &mut Buffers,
    sink: Sink<'_>,
) -> Result<(), Refusal> {
    let at_once = limit.min(at_once_bytes(codec, stored));
    let plain = match codec {
        Codec::None => Some(stored),
        Codec::Gzip => buffers.gzip.decode(stored, at_once, &mut buffers.plain),
        Codec::Zstd => buffers.zstd.decode(stored, at_once, &mut buffers.plain),
        _ => None,
    };
    match plain {
        Some(plain) => {
            give(plain, sink);
            Ok(())
        }
        None => decode_stream(codec, stored, limit, sink),
    }
}

/// Plain bytes up to which an object is decoded in one call: the usual segment, and more where the object says that it
/// is more and its first page says so too.
fn at_once_bytes(codec: Codec, stored: &[u8]) -> u64 {
    let claimed = match codec {
        Codec::Gzip => stored.last_chunk().map_or(0, |size| u64::from(u32::from_le_bytes(*size))),
        Codec::Zstd => zstd::zstd_safe::get_frame_content_size(stored).ok().flatten().unwrap_or(0),
        _ => 0,
    };
    if claimed <= USUAL_BYTES {
        return USUAL_BYTES;
    }
    segment_size(codec, stored).map_or(0, SegmentSize::bytes).clamp(USUAL_BYTES, AT_ONCE_BYTES_MAX)
}

/// The segment size in the first page of the WAL whose stored bytes begin with `stored`.
pub(crate) fn segment_size(codec: Codec, stored: &[u8]) -> Option<SegmentSize> {
    let mut head = Vec::with_capacity(LONG_HEADER_BYTES);
    // What is wrong behind the first page is of no concern here.
    let _ = decode_stream(codec, stored, u64::MAX, &mut |piece| {
        head.extend(piece.iter().take(LONG_HEADER_BYTES - head.len()));
        if head.len() < LONG_HEADER_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let header = LongHeader::read(&head)?;
    Major::from_magic(header.short().magic())?;
    SegmentSize::new(u64::from(header.segment_bytes()))
}

/// Decodes `stored` piece by piece.
fn decode_stream(codec: Codec, stored: &[u8], limit: u64, sink: Sink<'_>) -> Result<(), Refusal> {
    match codec {
        Codec::None => {
            give(stored, sink);
            Ok(())
        }
        Codec::Gzip => stream::decode(stored, limit, sink, stream::gzip_member),
        Codec::Zstd => stream::decode(stored, limit, sink, stream::zstd_frame),
        Codec::Lz4 => lz4::decode(stored, limit, sink),
        Codec::Zlib => stream::decode(stored, limit, sink, stream::zlib),
        Codec::Bzip2 => stream::decode(stored, limit, sink, stream::bzip2),
        Codec::Xz => stream::decode(stored, limit, sink, stream::xz),
        Codec::Lzma => stream::decode(stored, limit, sink, stream::lzma),
        Codec::Brotli => stream::brotli(stored, limit, sink),
        Codec::Snappy => stream::snappy(stored, limit, sink),
        Codec::OpensslSalted => {
            Err("is encrypted with AES (pgBackRest's form): its passphrase is needed, in \
                                     PGBACKREST_REPO1_CIPHER_PASS or pgBackRest's configuration"
                .to_owned())
        }
        Codec::SecretStream => Err("is encrypted with libsodium and is not decrypted here".to_owned()),
        Codec::OpenPgp => Err("is encrypted with OpenPGP and is not decrypted here".to_owned()),
        Codec::Age => Err("is encrypted with age, which this program does not decrypt".to_owned()),
        Codec::Lzop => Err("is compressed with lzop, which this program does not read".to_owned()),
    }
}

/// Hands out `plain` in pieces until the sink breaks.
fn give(plain: &[u8], sink: Sink<'_>) {
    for piece in plain.chunks(PIECE_BYTES) {
        if sink(piece).is_break() {
            return;
        }
    }
}

/// A decoder over a stream that may be longer than memory: a compressed tar.
pub(crate) fn reader(mut from: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let codec = sniff(from.fill_buf()?);
    Ok(match codec {
        Codec::None => Box::new(from),
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Codec::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(from)?),
        Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(from)),
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(from)),
        Codec::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(from)),
        other => return Err(io::Error::other(format!("a tar cannot be read from {other:?}"))),
    })
}

/// Counts plain bytes against the limit on their way to the sink.
struct Meter<'a> {
    left: u64,
    limit: u64,
    sink: Sink<'a>,
}

impl<'a> Meter<'a> {
    fn new(limit: u64, sink: Sink<'a>) -> Self {
        Self { left: limit, limit, sink }
    }

    /// Hands a piece on, or refuses it where it is too much.
    fn give(&mut self, piece: &[u8]) -> Result<ControlFlow<()>, Refusal> {
        match self.left.checked_sub(piece.len() as u64) {
            Some(left) => {
                self.left = left;
                Ok((self.sink)(piece))
            }
            None => Err(format!("decompresses to more than {} bytes", self.limit)),
        }
    }
}

#[cfg(test)]
mod tests;
