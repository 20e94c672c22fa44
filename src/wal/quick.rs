//! The fragment headers of usual records, checked without a look at each byte's place.

use super::fault::Fault;
use super::record::{
    BLOCK_HAS_DATA, BLOCK_HAS_IMAGE, BLOCK_SAME_RELATION, BLOCK_WILL_INIT, BlockReference, Fork,
    ID_DATA_LONG, ID_DATA_SHORT, MAX_BLOCK_ID, RelationFile,
};
use super::version::{ImageBits, Major};

/// Bytes read at once: more than the longest header of a block reference, which has 27.
const WINDOW: usize = 32;

/// What the quick check has to know of a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    page_bytes: u32,
    bits: ImageBits,
}

impl Rules {
    pub(super) fn new(page_bytes: usize, major: Major) -> Self {
        Self { page_bytes: u32::try_from(page_bytes).unwrap_or(u32::MAX), bits: major.image_bits() }
    }
}

/// Whether [`super::record::check_body`] finds nothing wrong with the body of `body_length` bytes at the start of
/// `after`, whatever comes behind it. False also where that has to be asked: something is unusual, or the end of
/// `after` is near.
///
/// PostgreSQL: `DecodeXLogRecord` in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.
#[inline(always)]
pub(super) fn body_is_plain(after: &[u8], body_length: usize, rules: Rules) -> bool {
    match two_fragments(after) {
        Some(length) if length == body_length => true,
        _ => fragments_are_plain(after, body_length, rules),
    }
}

/// The length of a body with one block reference without an image, and then main data; or with main data alone.
///
/// Most records are one or the other, in an order that cannot be foreseen: so it is computed without a branch.
#[inline(always)]
fn two_fragments(after: &[u8]) -> Option<usize> {
    let window: &[u8; WINDOW] = after.first_chunk()?;
    let [id, flags, low, high, ..] = *window;
    let begins_with_block = id <= MAX_BLOCK_ID;
    let data_length = u16::from_le_bytes([low, high]);
    let data_is_wrong = (flags & BLOCK_HAS_DATA != 0) != (data_length > 0);
    let block_is_wrong = data_is_wrong || flags & (BLOCK_HAS_IMAGE | BLOCK_SAME_RELATION) != 0;
    let (main_at, data_length) = if begins_with_block { (20, data_length) } else { (0, 0) };
    let (main_id, main_length) = (window[main_at & (WINDOW - 1)], window[(main_at + 1) & (WINDOW - 1)]);
    if (begins_with_block && block_is_wrong) || (main_id != ID_DATA_SHORT) {
        return None;
    }
    Some(main_at + 2 + usize::from(data_length) + usize::from(main_length))
}

/// The same, of any number of fragments.
fn fragments_are_plain(after: &[u8], body_length: usize, rules: Rules) -> bool {
    let mut position: usize = 0;
    let mut announced: usize = 0;
    let mut least_id: u8 = 0;
    while position + announced < body_length {
        let Some(window) = after.get(position..).and_then(|rest| rest.first_chunk::<WINDOW>()) else {
            return false;
        };
        let [id, flags, low, high, ..] = *window;
        if id > MAX_BLOCK_ID {
            if id == ID_DATA_SHORT {
                position += 2;
                announced += usize::from(flags);
            } else if id == ID_DATA_LONG {
                let [_, a, b, c, d, ..] = *window;
                position += 5;
                announced += u32::from_le_bytes([a, b, c, d]) as usize;
            } else {
                return false;
            }
            break;
        }
        let data_length = u16::from_le_bytes([low, high]);
        let same_relation = flags & BLOCK_SAME_RELATION != 0;
        let data_is_wrong = (flags & BLOCK_HAS_DATA != 0) != (data_length > 0);
        if data_is_wrong || id < least_id || (same_relation && least_id == 0) {
            return false;
        }
        least_id = id + 1;
        position += if same_relation { 8 } else { 20 };
        announced += usize::from(data_length);
        if flags & BLOCK_HAS_IMAGE != 0 {
            let Some((header, image)) = quick_image(window, rules) else { return false };
            position += header;
            announced += image;
        }
    }
    position + announced == body_length
}

/// Lengths of a page image's header and of the image, behind the four bytes that every block reference begins with.
#[inline(always)]
fn quick_image(window: &[u8; WINDOW], rules: Rules) -> Option<(usize, usize)> {
    let half = |at: usize| u16::from_le_bytes([window[at], window[at + 1]]);
    let (length, hole_offset, info) = (half(4), half(6), window[8]);
    let has_length = info & rules.bits.compressed() != 0 && info & rules.bits.has_hole != 0;
    let stored_hole = has_length.then(|| half(9));
    check_image(length, hole_offset, info, stored_hole, rules.page_bytes, rules.bits).ok()?;
    Some((if has_length { 7 } else { 5 }, usize::from(length)))
}

/// Bytes of a data page (`BLCKSZ`), of which WAL does not tell, in a server that is built as nearly all are.
const BLOCK_BYTES: u32 = 8192;

/// Other sizes that a server can be built with, as powers of two.
const OTHER_BLOCK_POWERS: std::ops::RangeInclusive<u32> = 10..=15;

/// Checks what the header of a page image says; gives the length of the hole, which is stored only in a compressed
/// image that has one. A server whose WAL has pages of another size than usual (`page_bytes`) was built otherwise, and may
/// have data pages of any.
#[inline(always)]
pub(super) fn check_image(
    length: u16,
    hole_offset: u16,
    info: u8,
    stored_hole: Option<u16>,
    page_bytes: u32,
    bits: ImageBits,
) -> Result<u16, Fault> {
    let check = |block_bytes| check_image_of(block_bytes, length, hole_offset, info, stored_hole, bits);
    let usual = check(BLOCK_BYTES);
    if usual.is_ok() || page_bytes == BLOCK_BYTES {
        return usual;
    }
    OTHER_BLOCK_POWERS.map(|power| check(1 << power)).find(Result::is_ok).unwrap_or(usual)
}

/// The same for data pages of `block_bytes`.
///
/// PostgreSQL: `DecodeXLogRecord` in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.
#[inline(always)]
fn check_image_of(
    block_bytes: u32,
    length: u16,
    hole_offset: u16,
    info: u8,
    stored_hole: Option<u16>,
    bits: ImageBits,
) -> Result<u16, Fault> {
    let has_hole = info & bits.has_hole != 0;
    let compressed = info & bits.compressed() != 0;
    let hole_length = match stored_hole {
        Some(stored) => stored,
        None if compressed => 0,
        // As the server computes it, in 16 bits.
        #[expect(clippy::cast_possible_truncation, reason = "uint16 in XLogRecordBlockImageHeader")]
        None => block_bytes.wrapping_sub(u32::from(length)) as u16,
    };
    let block_long = u32::from(length) == block_bytes;
    let wrong = if has_hole {
        hole_offset == 0 || hole_length == 0 || block_long
    } else {
        hole_offset != 0 || hole_length != 0
    };
    if wrong || (compressed && block_long) || (!has_hole && !compressed && !block_long) {
        return Err(Fault::Image { hole_offset, hole_length, length });
    }
    Ok(hole_length)
}

/// The block reference at the start of `body`, if it has no image and names its relation; its data is not checked.
#[inline]
pub(super) fn plain_first_block(body: &[u8]) -> Option<BlockReference<'static>> {
    let [id, flags, low, high, rest @ ..] = body.first_chunk::<20>()?;
    let has_data = [*low, *high] != [0, 0];
    if flags & (BLOCK_HAS_IMAGE | BLOCK_SAME_RELATION) != 0 || (flags & BLOCK_HAS_DATA != 0) != has_data {
        return None;
    }
    let (relation, block) = rest.split_first_chunk::<12>()?;
    Some(BlockReference {
        id: *id,
        relation: RelationFile::read(relation)?,
        fork: Fork(flags & 0x0F),
        block: u32::from_le_bytes(*block.first_chunk()?),
        image: None,
        data: &[],
        will_init: flags & BLOCK_WILL_INIT != 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::wal::record::check_body;
    use proptest::prelude::*;

    const MAJORS: [Major; 5] = [Major::V9_5, Major::V12, Major::V14, Major::V15, Major::V19];

    /// A fragment header of some kind, with what it announces.
    fn fragment() -> impl Strategy<Value = (Vec<u8>, usize)> {
        let block = (0_u8..4, any::<bool>(), 0_u16..40, 0_u8..4, any::<u8>(), any::<[u8; 9]>());
        let block = block.prop_map(|(id, same, data, fork, info, image)| {
            let has_image = info & 0x40 != 0;
            let mut flags = fork | if data > 0 { BLOCK_HAS_DATA } else { 0 };
            flags |= if has_image { BLOCK_HAS_IMAGE } else { 0 } | if same { BLOCK_SAME_RELATION } else { 0 };
            let mut bytes = vec![id, flags];
            bytes.extend(data.to_le_bytes());
            let mut announced = usize::from(data);
            if has_image {
                let length = 8192 - u16::from(image[0]);
                announced += usize::from(length);
                bytes.extend(length.to_le_bytes());
                bytes.extend([image[1], 0, info & 0x1F]);
                bytes.extend(&image[2..if info & 2 == 0 { 2 } else { 4 }]);
            }
            bytes.extend(vec![7; if same { 4 } else { 16 }]);
            (bytes, announced)
        });
        prop_oneof![
            4 => block,
            2 => (0_u8..40).prop_map(|length| (vec![ID_DATA_SHORT, length], usize::from(length))),
            1 => (0_u8..40).prop_map(|length| (vec![ID_DATA_LONG, length, 0, 0, 0], usize::from(length))),
            1 => Just((vec![253, 1, 0], 0)),
            1 => Just((vec![252, 1, 0, 0, 0], 0)),
        ]
    }

    /// A server built with WAL pages of 16 KiB and data pages of 8.
    #[test]
    fn wal_pages_and_data_pages_may_differ_in_size() {
        let bits = Major::V15.image_bits();
        let whole_page = |length, wal_page| check_image(length, 0, 0, None, wal_page, bits).is_ok();
        assert!(whole_page(8192, 8192) && !whole_page(16384, 8192));
        assert!(whole_page(8192, 16384) && whole_page(16384, 16384) && !whole_page(5000, 16384));
        let with_hole = check_image(5000, 100, bits.has_hole, None, 16384, bits);
        assert_eq!(with_hole, Ok(3192));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Plain is never wrong, and nothing but what is rare is not plain.
        #[test]
        fn what_is_plain_is_right(
            fragments in proptest::collection::vec(fragment(), 0..5),
            off in -2_isize..=2,
            exact in any::<bool>(),
            flip in proptest::option::of((0_usize..60, any::<u8>())),
            major in proptest::sample::select(&MAJORS[..]),
        ) {
            let announced: usize = fragments.iter().map(|(_, announced)| announced).sum();
            let mut body: Vec<u8> = fragments.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let headers = body.len();
            let length = (headers + announced).saturating_add_signed(if exact { 0 } else { off });
            body.resize(length, 9);
            if let Some((at, value)) = flip.filter(|_| !exact)
                && let Some(byte) = body.get_mut(at)
            {
                *byte = value;
            }
            let mut after = body.clone();
            after.extend([255; 64]);
            let expected = check_body(&body, u32::try_from(length).unwrap(), 8192, major);
            let plain = body_is_plain(&after, length, Rules::new(8192, major));
            if plain {
                prop_assert!(expected.is_ok());
            }
            let is_rare = fragments.iter().any(|(bytes, _)| matches!(bytes[0], 252 | 253));
            if expected.is_ok() && !is_rare && exact {
                prop_assert!(plain);
            }
        }
    }
}
