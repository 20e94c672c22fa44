//! gzip of one member, decoded by libdeflate in one call: almost twice as fast as any streaming decoder.

use libdeflater::Decompressor;
use memchr::memmem;

/// What deflate can grow by at most: a size beyond that is a claim that gets no memory.
const DEFLATE_RATIO_MAX: usize = 1032;

/// libdeflate's decoder, made once for each worker.
#[derive(Default)]
pub(super) struct OneShot {
    decoder: Option<Decompressor>,
}

impl OneShot {
    /// The plain bytes, if `stored` is exactly one member of at most `limit` plain bytes and whole. `plain` is
    /// never shrunk, so that it is cleared once and not for each object.
    pub(super) fn decode<'a>(
        &mut self,
        stored: &[u8],
        limit: u64,
        plain: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let trailer: [u8; 4] = *stored.last_chunk()?;
        let size = usize::try_from(u32::from_le_bytes(trailer)).ok()?;
        if size as u64 > limit || size / DEFLATE_RATIO_MAX > stored.len() || !is_whole(stored, trailer) {
            return None;
        }
        if plain.len() < size {
            plain.resize(size, 0);
        }
        let plain = plain.get_mut(..size)?;
        let decoder = self.decoder.get_or_insert_with(Decompressor::new);
        match decoder.gzip_decompress(stored, plain) {
            Ok(count) if count == size => Some(plain),
            _ => None,
        }
    }
}

/// Whether a member that begins `stored` and has the size that stands in the last four bytes must end there.
///
/// libdeflate does not say where the member ended, only that it decoded one, of the size expected. A member ends
/// with its size. Where these four bytes stand nowhere but at the very end, it can have ended nowhere else.
fn is_whole(stored: &[u8], trailer: [u8; 4]) -> bool {
    memmem::find(stored, &trailer) == stored.len().checked_sub(4)
}
