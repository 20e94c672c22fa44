//! LZ4 frames. The decoder's own block is handed on, so that nothing is copied.

use super::{Codec, Meter, Refusal, Sink, sniff};
use lz4_flex::frame::FrameDecoder;
use std::io::{self, BufRead, Read};

/// A slice that remembers whether more was asked of it than it had.
struct Watched<'a> {
    left: &'a [u8],
    ran_dry: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ran_dry |= self.left.len() < buffer.len();
        self.left.read(buffer)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.ran_dry |= self.left.len() < buffer.len();
        self.left.read_exact(buffer)
    }
}

/// Decodes one frame or several. lz4_flex takes a stream that ends between two blocks for whole; that the
/// end mark was never read is seen from the bytes it asked for.
pub(super) fn decode(stored: &[u8], limit: u64, sink: Sink<'_>) -> Result<(), Refusal> {
    let mut meter = Meter::new(limit, sink);
    let mut decoder = FrameDecoder::new(Watched { left: stored, ran_dry: false });
    loop {
        let block = decoder.fill_buf().map_err(|error| format!("LZ4: {error}"))?;
        let count = block.len();
        if count > 0 {
            for piece in block.chunks(super::PIECE_BYTES) {
                if meter.give(piece)?.is_break() {
                    return Ok(());
                }
            }
            decoder.consume(count);
            continue;
        }
        let watched = decoder.get_ref();
        if watched.ran_dry {
            return Err("LZ4: the compressed data ends early".to_owned());
        }
        match watched.left {
            [] => return Ok(()),
            more if sniff(more) == Codec::Lz4 => {}
            more => return Err(format!("LZ4: {} bytes follow the end of the compressed data", more.len())),
        }
    }
}
