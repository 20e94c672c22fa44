//! Streaming decoders: the formats that have no faster way, and objects that the one-call decoders refused.

#![expect(clippy::unnecessary_wraps, reason = "openers of one type, of which some can fail")]

use super::{Meter, PIECE_BYTES, Refusal, Sink};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use liblzma::stream::Stream;
use std::io::{BufReader, Read};

/// Memory that an xz or lzma decoder may take for its dictionary: `xz -9` needs 65 MiB.
const LZMA_MEMORY_LIMIT: u64 = 256 << 20;

/// A decoder of one stream (member, frame) at the beginning of a slice.
type Opened<'a> = Result<(Box<dyn Read + 'a>, Name), Refusal>;

/// The format's name for messages.
type Name = &'static str;

/// Where a decoder leaves the slice that it read from.
type Left<'a> = std::rc::Rc<std::cell::Cell<&'a [u8]>>;

/// A slice that is shared with the one who wants to know how much of it was read.
struct Shared<'a>(Left<'a>);

impl Read for Shared<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut left = self.0.get();
        let count = left.read(buffer)?;
        self.0.set(left);
        Ok(count)
    }
}

impl std::io::BufRead for Shared<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(self.0.get())
    }

    fn consume(&mut self, count: usize) {
        self.0.set(self.0.get().get(count..).unwrap_or_default());
    }
}

/// Opens a decoder over what is left.
type Open = for<'a> fn(Left<'a>) -> Opened<'a>;

/// Decodes one stream after another until nothing is left.
pub(super) fn decode(stored: &[u8], limit: u64, sink: Sink<'_>, open: Open) -> Result<(), Refusal> {
    let mut meter = Meter::new(limit, sink);
    let mut piece = vec![0; PIECE_BYTES];
    let first = super::sniff(stored);
    let left: Left<'_> = std::rc::Rc::new(std::cell::Cell::new(stored));
    loop {
        let (mut decoder, name) = open(std::rc::Rc::clone(&left))?;
        loop {
            let count = decoder.read(&mut piece).map_err(|error| format!("{name}: {error}"))?;
            if count == 0 {
                break;
            }
            if meter.give(&piece[..count])?.is_break() {
                return Ok(());
            }
        }
        drop(decoder);
        match left.get() {
            [] => return Ok(()),
            // Nobody concatenates these two forms, and their magic bytes are weak.
            more if super::sniff(more) == first
                && !matches!(first, super::Codec::Zlib | super::Codec::Lzma) => {}
            more => {
                return Err(format!("{name}: {} bytes follow the end of the compressed data", more.len()));
            }
        }
    }
}

/// One member of gzip.
pub(super) fn gzip_member(left: Left<'_>) -> Opened<'_> {
    Ok((Box::new(flate2::bufread::GzDecoder::new(Shared(left))), "gzip"))
}

/// A zlib stream.
pub(super) fn zlib(left: Left<'_>) -> Opened<'_> {
    Ok((Box::new(flate2::bufread::ZlibDecoder::new(Shared(left))), "zlib"))
}

/// One frame of Zstandard.
pub(super) fn zstd_frame(left: Left<'_>) -> Opened<'_> {
    let decoder =
        zstd::stream::read::Decoder::with_buffer(Shared(left)).map_err(|error| format!("zstd: {error}"))?;
    Ok((Box::new(decoder.single_frame()), "zstd"))
}

/// One stream of bzip2.
pub(super) fn bzip2(left: Left<'_>) -> Opened<'_> {
    Ok((Box::new(bzip2::bufread::BzDecoder::new(Shared(left))), "bzip2"))
}

/// One stream of xz.
pub(super) fn xz(left: Left<'_>) -> Opened<'_> {
    lzma_family(left, Stream::new_stream_decoder(LZMA_MEMORY_LIMIT, 0), "xz")
}

/// The older `.lzma` form.
pub(super) fn lzma(left: Left<'_>) -> Opened<'_> {
    lzma_family(left, Stream::new_lzma_decoder(LZMA_MEMORY_LIMIT), "lzma")
}

fn lzma_family(left: Left<'_>, stream: Result<Stream, liblzma::stream::Error>, name: Name) -> Opened<'_> {
    let stream = stream.map_err(|error| format!("{name}: {error}"))?;
    Ok((Box::new(liblzma::bufread::XzDecoder::new_stream(Shared(left), stream)), name))
}

/// Brotli, which ends by itself and has no magic bytes and no checksum.
pub(super) fn brotli(stored: &[u8], limit: u64, sink: Sink<'_>) -> Result<(), Refusal> {
    let mut meter = Meter::new(limit, sink);
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let mut piece = vec![0; PIECE_BYTES];
    let (mut left, mut taken, mut given) = (stored.len(), 0, 0);
    loop {
        let (mut room, mut count) = (piece.len(), 0);
        let result = BrotliDecompressStream(
            &mut left, &mut taken, stored, &mut room, &mut count, &mut piece, &mut given, &mut state,
        );
        if meter.give(&piece[..count])?.is_break() {
            return Ok(());
        }
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if left == 0 => return Ok(()),
            BrotliResult::ResultSuccess => {
                return Err(format!("brotli: {left} bytes follow the end of the compressed data"));
            }
            BrotliResult::NeedsMoreInput => return Err("brotli: the compressed data ends early".to_owned()),
            BrotliResult::ResultFailure => return Err("brotli: the compressed data is damaged".to_owned()),
        }
    }
}

/// Snappy's framed form.
pub(super) fn snappy(stored: &[u8], limit: u64, sink: Sink<'_>) -> Result<(), Refusal> {
    drain(snap::read::FrameDecoder::new(stored), limit, sink, "snappy")
}

/// Reads a decoder that takes its whole input to its end.
fn drain(decoder: impl Read, limit: u64, sink: Sink<'_>, name: Name) -> Result<(), Refusal> {
    let mut meter = Meter::new(limit, sink);
    let mut decoder = BufReader::with_capacity(PIECE_BYTES, decoder);
    loop {
        let piece = std::io::BufRead::fill_buf(&mut decoder).map_err(|error| format!("{name}: {error}"))?;
        let count = piece.len();
        if count == 0 || meter.give(piece)?.is_break() {
            return Ok(());
        }
        std::io::BufRead::consume(&mut decoder, count);
    }
}
