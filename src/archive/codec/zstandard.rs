//! Zstandard frames decoded in one call.

use zstd::bulk::Decompressor;

/// What an object is taken to decompress to where its frame does not say: the usual segment.
const USUAL_BYTES: usize = 16 << 20;

/// zstd's decoder, made once for each worker.
#[derive(Default)]
pub(super) struct OneShot {
    decoder: Option<Decompressor<'static>>,
    /// The largest object so far.
    largest: usize,
}

impl OneShot {
    /// The plain bytes, if `stored` is whole frames of at most `limit` plain bytes, and their sum is known or
    /// not larger than what came before.
    pub(super) fn decode<'a>(
        &mut self,
        stored: &[u8],
        limit: u64,
        plain: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let room = self.room(stored, limit)?;
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decompressor::new().ok()?),
        };
        plain.clear();
        plain.try_reserve(room).ok()?;
        let count = decoder.decompress_to_buffer(stored, plain).ok()?;
        self.largest = self.largest.max(count);
        // The buffer may have more room than was asked for.
        if count as u64 > limit { None } else { plain.get(..count) }
    }

    fn room(&self, stored: &[u8], limit: u64) -> Option<usize> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match zstd::zstd_safe::get_frame_content_size(stored) {
            // A size in a damaged header is a claim like any other.
            Ok(Some(size)) => usize::try_from(size).ok().filter(|size| *size <= limit),
            Ok(None) => Some(self.largest.max(USUAL_BYTES).min(limit)),
            Err(_) => None,
        }
    }
}
