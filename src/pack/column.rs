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

use crate::pack::{Pack, Unpacker, put_number, unzigzag, zigzag};
use bitpacking::{BitPacker, BitPacker1x};

/// Numbers in one block: an index into it is a byte.
const BLOCK: usize = 256;
/// Numbers that the packer takes at once.
const LANE: usize = BitPacker1x::BLOCK_LEN;
/// One in so many numbers is looked at for where a block's numbers lie.
const SAMPLED: usize = 8;
/// The widest that is packed; wider distances are exceptions.
const WIDTH_MAX: u8 = 32;

/// A column that is written.
pub(crate) struct Column {
    block: [i64; BLOCK],
    filled: usize,
    out: Vec<u8>,
}

impl Column {
    pub(crate) const fn new() -> Self {
        Self { block: [0; BLOCK], filled: 0, out: Vec::new() }
    }

    /// Appends one number.
    #[inline]
    pub(crate) fn push(&mut self, value: i64) {
        if let Some(place) = self.block.get_mut(self.filled) {
            *place = value;
            self.filled += 1;
        }
        if self.filled == BLOCK {
            self.put_block();
        }
    }

    /// Appends what was written to `out`.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        if self.filled > 0 {
            self.put_block();
        }
        out.append(&mut self.out);
    }

    #[inline(never)]
    fn put_block(&mut self) {
        put_block(&self.block[..self.filled], &mut self.out);
        self.filled = 0;
    }
}

/// A column of which the steps from one number to the next are written.
pub(crate) struct Steps {
    column: Column,
    before: i64,
}

impl Steps {
    pub(crate) const fn new() -> Self {
        Self { column: Column::new(), before: 0 }
    }

    /// Appends one number.
    #[inline]
    pub(crate) fn push(&mut self, value: i64) {
        self.column.push(value.wrapping_sub(std::mem::replace(&mut self.before, value)));
    }

    /// Appends what was written to `out`.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        self.column.finish(out);
    }
}

/// A column that is read, a block at a time.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    from: Unpacker<'a>,
    /// Numbers behind those in `block`.
    left: usize,
    block: [i64; BLOCK],
    filled: usize,
    next: usize,
}

impl<'a> Values<'a> {
    /// The column of `count` numbers that begins at `from`, which goes on behind it. It is gone over once, so that
    /// each of them can be read later.
    pub(crate) fn take(from: &mut Unpacker<'a>, count: usize) -> Option<Self> {
        let begin = *from;
        // 256 numbers take three bytes at least, so an impossible count ends soon.
        let mut left = count;
        while left > 0 {
            let block = left.min(BLOCK);
            check_block(from, block)?;
            left -= block;
        }
        Some(Self { from: begin, left: count, block: [0; BLOCK], filled: 0, next: 0 })
    }

    /// The next number.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<i64> {
        if self.next == self.filled {
            self.fill()?;
        }
        let value = self.block.get(self.next).copied();
        self.next += 1;
        value
    }

    #[inline(never)]
    fn fill(&mut self) -> Option<()> {
        let count = self.left.min(BLOCK);
        take_block(&mut self.from, self.block.get_mut(..count).filter(|block| !block.is_empty())?)?;
        (self.left, self.filled, self.next) = (self.left - count, count, 0);
        Some(())
    }
}

/// A column of which steps were written ([`Steps`]), as the numbers themselves.
#[derive(Debug)]
pub(crate) struct Sums<'a> {
    steps: Values<'a>,
    sum: i64,
}

impl<'a> Sums<'a> {
    /// As [`Values::take`].
    pub(crate) fn take(from: &mut Unpacker<'a>, count: usize) -> Option<Self> {
        Some(Self { steps: Values::take(from, count)?, sum: 0 })
    }

    /// The next number.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<i64> {
        self.sum = self.sum.wrapping_add(self.steps.next()?);
        Some(self.sum)
    }
}

/// The base and width that make a block smallest.
fn choose(block: &[i64]) -> (i64, u8) {
    // The smallest, or one that leaves some odd ones below: some of the numbers tell about where the others lie.
    let least = block.iter().copied().min().unwrap_or_default();
    let mut sample = [0i64; BLOCK / SAMPLED];
    let mut taken = 0;
    for (place, value) in sample.iter_mut().zip(block.iter().step_by(SAMPLED)) {
        *place = *value;
        taken += 1;
    }
    let sample = &mut sample[..taken];
    sample.sort_unstable();
    let candidates = [0, sample.len() / 16, sample.len() / 4].map(|skipped| sample.get(skipped).copied());
    let mut best = (cheapest_width(sample, least).0, least);
    for base in candidates.into_iter().flatten() {
        let (cost, _) = cheapest_width(sample, base);
        if cost < best.0 {
            best = (cost, base);
        }
    }
    (best.1, cheapest_width(block, best.1).1)
}

/// Bytes that a block takes at its best width.
fn cheapest_width(block: &[i64], base: i64) -> (u64, u8) {
    // How many numbers need exactly so many bits; the last of these are below the base.
    let mut counts = [0u32; 66];
    for value in block {
        let bits = 64 - distance(*value, base).leading_zeros();
        counts[if *value < base { 65 } else { bits as usize }] += 1;
    }
    let below = 3 * u64::from(counts[65]);
    let lanes = block.len().div_ceil(LANE) as u64;
    let widest = counts[..65].iter().rposition(|count| *count > 0).unwrap_or(0);
    let mut best = (u64::MAX, 0);
    // Bytes that the wider ones take as exceptions.
    let mut beyond = 0;
    for (width, count) in counts.iter().enumerate().take(widest + 1).rev() {
        if width <= usize::from(WIDTH_MAX) {
            let cost = lanes * 4 * width as u64 + beyond + below;
            if cost <= best.0 {
                #[expect(clippy::cast_possible_truncation, reason = "at most WIDTH_MAX")]
                let width = width as u8;
                best = (cost, width);
            }
        }
        let bytes = 1 + (width as u64 + 1).div_ceil(7);
        beyond += u64::from(*count) * bytes;
    }
    best
}

fn put_block(block: &[i64], out: &mut Vec<u8>) {
    // Most columns say the same all along: no bits, no exceptions.
    if let Some(same) = block.first().filter(|first| block.iter().all(|value| value == *first)) {
        out.push(0);
        put_number(out, zigzag(*same));
        put_number(out, 0);
        return;
    }
    let (base, width) = choose(block);
    out.push(width);
    put_number(out, zigzag(base));
    // Which ones do not fit: each is written down, and only counted if it does not.
    let mut odd = [0u8; BLOCK + 1];
    let mut odd_ones = 0;
    let packer = BitPacker1x::new();
    for (lane, values) in block.chunks(LANE).enumerate() {
        let mut distances = [0u32; LANE];
        for (index, (place, value)) in (lane * LANE..).zip(distances.iter_mut().zip(values)) {
            let distance = distance(*value, base);
            let fits = distance >> width == 0;
            #[expect(clippy::cast_possible_truncation, reason = "where it does not fit it is not kept")]
            let low = distance as u32;
            *place = if fits { low } else { 0 };
            #[expect(clippy::cast_possible_truncation, reason = "a block has 256 numbers")]
            let index = index as u8;
            odd[odd_ones] = index;
            odd_ones += usize::from(!fits);
        }
        let mut packed = [0u8; 4 * LANE];
        let bytes = packer.compress(&distances, &mut packed, width);
        out.extend_from_slice(&packed[..bytes]);
    }
    put_number(out, odd_ones as u64);
    for index in &odd[..odd_ones] {
        out.push(*index);
        put_number(out, zigzag(block[usize::from(*index)].wrapping_sub(base)));
    }
}

/// Distance from the base. One that wrapped around comes back when the base is added.
const fn distance(value: i64, base: i64) -> u64 {
    value.wrapping_sub(base).cast_unsigned()
}

fn take_block(from: &mut Unpacker<'_>, values: &mut [i64]) -> Option<()> {
    let width = u8::unpack(from).filter(|width| *width <= WIDTH_MAX)?;
    let base = unzigzag(from.number()?);
    let packer = BitPacker1x::new();
    for values in values.chunks_mut(LANE) {
        let packed = from.take(usize::from(width) * LANE / 8)?;
        let mut distances = [0u32; LANE];
        packer.decompress(packed, &mut distances, width);
        for (value, distance) in values.iter_mut().zip(distances) {
            *value = base.wrapping_add(i64::from(distance));
        }
    }
    for _ in 0..from.number()? {
        let index = usize::from(u8::unpack(from)?);
        *values.get_mut(index)? = base.wrapping_add(unzigzag(from.number()?));
    }
    Some(())
}

/// Goes over a block of `count` numbers: [`take_block`] will read them.
fn check_block(from: &mut Unpacker<'_>, count: usize) -> Option<()> {
    let width = u8::unpack(from).filter(|width| *width <= WIDTH_MAX)?;
    from.number()?;
    from.take(count.div_ceil(LANE) * usize::from(width) * LANE / 8)?;
    for _ in 0..from.number()? {
        u8::unpack(from).filter(|index| usize::from(*index) < count)?;
        from.number()?;
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
        let mut column = Column::new();
        for value in values {
            column.push(*value);
        }
        column.finish(&mut out);
        let mut from = Unpacker::new(&out);
        let mut column = Values::take(&mut from, values.len()).unwrap();
        assert!(values.iter().all(|value| column.next() == Some(*value)));
        assert_eq!(column.next(), None);
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
            if let Some(mut column) = Values::take(&mut Unpacker::new(&bytes), count) {
                prop_assert!((0..count).all(|_| column.next().is_some()));
                prop_assert_eq!(column.next(), None);
            }
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
