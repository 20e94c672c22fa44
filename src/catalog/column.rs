//! One column of numbers in few bits: what commits mostly consist of.
//!
//! A block of up to 256 numbers is stored as the distance of each from a base, in as many bits as pay off; the few
//! that need more follow as exceptions ("patched frame of reference"). Commit times and transaction ids do not
//! only grow, and a commit after a pause is far from the one before it: exceptions keep such numbers from making
//! all their neighbours wide.
//!
//! ```text
//! block: width (byte) | base (zigzag) | packed distances | exceptions: count, then (index byte, zigzag distance)
//! ```

use super::pack::{Pack, Unpacker, put_number, unzigzag, zigzag};
use bitpacking::{BitPacker, BitPacker1x};

/// Numbers in one block: an index into it is a byte.
const BLOCK: usize = 256;
/// Numbers that the packer takes at once.
const LANE: usize = BitPacker1x::BLOCK_LEN;
/// The widest that is packed; wider distances are exceptions.
const WIDTH_MAX: u8 = 32;

/// Appends a column.
pub(super) fn put_column(values: &[i64], out: &mut Vec<u8>) {
    for block in values.chunks(BLOCK) {
        put_block(block, out);
    }
}

/// Reads a column of `count` numbers.
pub(super) fn take_column(from: &mut Unpacker<'_>, count: usize) -> Option<Vec<i64>> {
    // 256 numbers take three bytes at least, so an impossible count ends soon.
    let mut values = Vec::new();
    let mut left = count;
    while left > 0 {
        let block = left.min(BLOCK);
        take_block(from, block, &mut values)?;
        left -= block;
    }
    Some(values)
}

/// The base and width that make a block smallest.
fn choose(block: &[i64]) -> (i64, u8) {
    // Most columns say the same all along, and the search for the best takes longer than all the rest.
    if let Some(same) = block.first().filter(|first| block.iter().all(|value| value == *first)) {
        return (*same, 0);
    }
    let mut sorted = [0i64; BLOCK];
    let sorted = &mut sorted[..block.len()];
    sorted.copy_from_slice(block);
    sorted.sort_unstable();
    let mut best = (u64::MAX, 0, 0);
    // The smallest, or one that leaves some odd ones below.
    for skipped in [0, block.len() / 64, block.len() / 16, block.len() / 4] {
        let base = sorted.get(skipped).copied().unwrap_or_default();
        let (cost, width) = cheapest_width(sorted, base);
        if cost < best.0 {
            best = (cost, width, base);
        }
    }
    (best.2, best.1)
}

/// Distance from the base where it can be packed.
const fn distance(value: i64, base: i64) -> Option<u64> {
    if value < base { None } else { Some(value.wrapping_sub(base).cast_unsigned()) }
}

/// Bytes that a block takes at its best width.
fn cheapest_width(block: &[i64], base: i64) -> (u64, u8) {
    // How many numbers need exactly so many bits, and the bytes that they take as exceptions.
    let mut counts = [0u64; 65];
    let mut below = 0;
    for value in block {
        match distance(*value, base) {
            Some(distance) => counts[(64 - distance.leading_zeros()) as usize] += 1,
            None => below += 3,
        }
    }
    let lanes = block.len().div_ceil(LANE) as u64;
    let mut best = (u64::MAX, 0);
    let mut beyond = 0;
    for width in (0..=64u8).rev() {
        if width <= WIDTH_MAX {
            let cost = lanes * 4 * u64::from(width) + beyond + below;
            if cost <= best.0 {
                best = (cost, width);
            }
        }
        let bytes = 1 + u64::from(width + 1).div_ceil(7).max(1);
        beyond += counts[usize::from(width)] * bytes;
    }
    best
}

fn put_block(block: &[i64], out: &mut Vec<u8>) {
    let (base, width) = choose(block);
    out.push(width);
    put_number(out, zigzag(base));
    let mut exceptions: Vec<(u8, u64)> = Vec::new();
    let packer = BitPacker1x::new();
    for (lane, values) in block.chunks(LANE).enumerate() {
        let mut distances = [0u32; LANE];
        for (index, value) in values.iter().enumerate() {
            let near = distance(*value, base).filter(|distance| distance >> width == 0);
            match near.and_then(|near| u32::try_from(near).ok()) {
                Some(near) => distances[index] = near,
                #[expect(clippy::cast_possible_truncation, reason = "a block has 256 numbers")]
                None => exceptions.push(((lane * LANE + index) as u8, zigzag(value.wrapping_sub(base)))),
            }
        }
        let mut packed = [0u8; 4 * LANE];
        let bytes = packer.compress(&distances, &mut packed, width);
        out.extend_from_slice(&packed[..bytes]);
    }
    put_number(out, exceptions.len() as u64);
    for (index, distance) in exceptions {
        out.push(index);
        put_number(out, distance);
    }
}

fn take_block(from: &mut Unpacker<'_>, count: usize, values: &mut Vec<i64>) -> Option<()> {
    let width = u8::unpack(from).filter(|width| *width <= WIDTH_MAX)?;
    let base = unzigzag(from.number()?);
    let packer = BitPacker1x::new();
    let begin = values.len();
    for lane in (0..count).step_by(LANE) {
        let packed = from.take(usize::from(width) * LANE / 8)?;
        let mut distances = [0u32; LANE];
        packer.decompress(packed, &mut distances, width);
        let here = distances.iter().take(count - lane);
        values.extend(here.map(|distance| base.wrapping_add(i64::from(*distance))));
    }
    for _ in 0..from.number()? {
        let index = usize::from(u8::unpack(from)?);
        let value = base.wrapping_add(unzigzag(from.number()?));
        *values.get_mut(begin..)?.get_mut(index)? = value;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put_column(values, &mut out);
        let mut from = Unpacker::new(&out);
        assert_eq!(take_column(&mut from, values.len()).unwrap(), values);
        assert!(from.is_done());
        out.len()
    }

    proptest! {
        #[test]
        fn a_column_comes_back(values: Vec<i64>) {
            round_trip(&values);
        }

        #[test]
        fn a_column_of_near_numbers_comes_back(values in proptest::collection::vec(-5i64..70_000, 0..600)) {
            round_trip(&values);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, count in 0usize..5000) {
            let _ = take_column(&mut Unpacker::new(&bytes), count);
        }
    }

    #[test]
    fn one_number_over_and_over_takes_a_hundredth_of_a_byte() {
        assert!(round_trip(&vec![40; 100_000]) < 1700);
    }

    #[test]
    fn a_few_wide_ones_do_not_widen_the_others() {
        let values: Vec<i64> = (0..2560).map(|i| if i % 100 == 0 { i64::MAX - i } else { i % 4 }).collect();
        assert!(round_trip(&values) < 2560 / 4 + 26 * 12 + 60);
        round_trip(&[i64::MIN, i64::MAX, 0, -1, 1]);
    }
}
