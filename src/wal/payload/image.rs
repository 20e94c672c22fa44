//! Page images in records, made whole again.
//!
//! PostgreSQL: `RestoreBlockImage` in `src/backend/access/transam/xlogreader.c`, `pglz_decompress` in
//! `src/common/pg_lzcompress.c`, 9.5 to 19.

use crate::wal::record::Image;
use crate::wal::version::Major;

/// The page that an image is of, with its hole filled with zeros. `None` where the image is not one of a page of
/// `page_bytes`.
pub fn restore(image: &Image<'_>, page_bytes: usize, major: Major) -> Option<Vec<u8>> {
    let bits = major.image_bits();
    let (hole, offset) = (usize::from(image.hole_length), usize::from(image.hole_offset));
    let stored = page_bytes.checked_sub(hole)?;
    let has = |bit: u8| bit != 0 && image.info & bit != 0;
    let mut page = Vec::with_capacity(page_bytes);
    if has(bits.pglz) {
        page = pglz(image.bytes, stored)?;
    } else if has(bits.lz4) {
        page.resize(stored, 0);
        let length = lz4_flex::block::decompress_into(image.bytes, &mut page).ok()?;
        page.truncate(length);
    } else if has(bits.zstd) {
        page = zstd::bulk::decompress(image.bytes, stored).ok()?;
    } else {
        page.extend_from_slice(image.bytes);
    }
    if page.len() != stored || offset > stored {
        return None;
    }
    page.splice(offset..offset, std::iter::repeat_n(0, hole));
    Some(page)
}

/// Undoes PostgreSQL's own compression, to exactly `length` bytes.
fn pglz(mut source: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(length);
    while out.len() < length {
        let (control, rest) = source.split_first()?;
        source = rest;
        for bit in 0..8 {
            if out.len() == length {
                break;
            }
            if control >> bit & 1 == 0 {
                let (byte, rest) = source.split_first()?;
                out.push(*byte);
                source = rest;
                continue;
            }
            let ([first, second], rest) = source.split_first_chunk()?;
            source = rest;
            let mut copied = usize::from(first & 0x0F) + 3;
            let distance = usize::from(first & 0xF0) << 4 | usize::from(*second);
            if copied == 18 {
                let (more, rest) = source.split_first()?;
                copied += usize::from(*more);
                source = rest;
            }
            let from = out.len().checked_sub(distance).filter(|_| distance > 0)?;
            // What is copied may be what was just written.
            for index in from..from + copied.min(length - out.len()) {
                let byte = *out.get(index)?;
                out.push(byte);
            }
        }
    }
    source.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn image(bytes: &[u8], hole: (u16, u16), info: u8) -> Image<'_> {
        Image { bytes, hole_offset: hole.0, hole_length: hole.1, info }
    }

    #[test]
    fn a_hole_is_filled_with_zeros() {
        let page = restore(&image(&[1, 2, 3, 4], (2, 4), 0x03), 8, Major::V15).unwrap();
        assert_eq!(page, [1, 2, 0, 0, 0, 0, 3, 4]);
        assert_eq!(restore(&image(&[1, 2, 3], (2, 4), 0x03), 8, Major::V15), None);
        assert_eq!(restore(&image(&[1, 2, 3, 4], (5, 4), 0x03), 8, Major::V15), None);
    }

    #[test]
    fn pglz_copies_what_it_has_just_written() {
        // Two literals, then ten bytes from two back.
        assert_eq!(pglz(&[0b100, b'a', b'b', 0x07, 0x02], 12).unwrap(), b"abababababab");
        // A distance that leads before the beginning.
        assert_eq!(pglz(&[0b10, b'a', 0x07, 0x02], 11), None);
        // More than the page has room for is left over.
        assert_eq!(pglz(&[0b0, b'a', b'b'], 1), None);
    }

    proptest! {
        #[test]
        fn any_image_is_a_page_or_none(bytes: Vec<u8>, offset: u16, hole: u16, info: u8) {
            for major in [Major::V9_5, Major::V14, Major::V15] {
                if let Some(page) = restore(&image(&bytes, (offset, hole), info), 8192, major) {
                    prop_assert_eq!(page.len(), 8192);
                }
            }
        }
    }
}
