//! Small blocks, compressed: many are read for one answer, so the decoder is kept.

use std::cell::RefCell;
use std::io;
use zstd::bulk::{Compressor, Decompressor};

/// What is compressed here is small and repetitive.
const LEVEL: i32 = 3;
/// Decoded bytes of one block at most.
const BYTES_MAX: usize = 1 << 30;

thread_local! {
    static DECODER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The bytes, compressed.
pub(crate) fn squeeze(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.is_empty() { Ok(Vec::new()) } else { Compressor::new(LEVEL)?.compress(bytes) }
}

/// The same, back. `None`: they are none.
pub(crate) fn unsqueeze(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let length = Decompressor::upper_bound(bytes).filter(|length| *length <= BYTES_MAX)?;
    DECODER.with_borrow_mut(|decoder| {
        let decoder = match decoder {
            Some(decoder) => decoder,
            None => decoder.insert(Decompressor::new().ok()?),
        };
        decoder.decompress(bytes, length).ok()
    })
}
