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
///
/// # Errors
/// They cannot be compressed, or are more than [`unsqueeze`] takes.
pub(crate) fn squeeze(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.len() > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_can_be_had_back() {
        for bytes in [Vec::new(), vec![7], vec![0; 100_000]] {
            assert_eq!(squeeze(&bytes).ok().and_then(|small| unsqueeze(&small)), Some(bytes));
        }
    }

    #[test]
    fn what_could_not_be_had_back_is_not_compressed() {
        assert!(squeeze(&vec![0; BYTES_MAX + 1]).is_err());
    }
}
