//! CRC-32C with the `crc32` instruction of SSE 4.2 and the carry-less multiplication of PCLMULQDQ.
//!
//! One `crc32` takes eight bytes and three cycles, but a processor can begin one in every cycle. Pieces of the
//! size of a usual record are left to run one behind the other, where the processor overlaps one record with
//! the next; a longer piece is cut in three streams that run side by side and are joined by two carry-less
//! multiplications.
#![expect(
    unsafe_code,
    reason = "entering code compiled for instructions that not every processor has; a record's checksum costs 6 ns so, and 20 ns in a crate"
)]

use super::gf2::{multiply, power_of_x};
use super::streams::{Place, STREAM_WORDS, Streams};
use super::{Crc32c, INIT, Walk, is_good_record};
use std::arch::x86_64::{
    _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64,
    _mm_xor_si128,
};

/// From this length in bytes on, three streams are faster than one.
const THREE_STREAMS: usize = 192;

/// The longest stream, in words of eight bytes. A page, the longest unbroken piece of WAL, fits three times;
/// over a long run shorter streams come from memory a third slower (7.0 against 11.7 GB/s).
const LONGEST: usize = 1024;

/// `SHIFTS[w]` multiplies a state by what `w` words of zeros would: x to the power 64 · w, divided by the x³³
/// that reading a 64-bit product with `crc32` multiplies by (32 for the instruction, 1 for the reflection).
static SHIFTS: [u32; 2 * LONGEST + 1] = shifts();

const fn shifts() -> [u32; 2 * LONGEST + 1] {
    let word = power_of_x(64);
    let mut table = [0; 2 * LONGEST + 1];
    // The powers of x repeat after 2³¹ - 1.
    table[0] = power_of_x((1 << 31) - 1 - 33);
    table[1] = power_of_x(64 - 33);
    let mut words = 2;
    while words <= 2 * LONGEST {
        table[words] = multiply(table[words - 1], word);
        words += 1;
    }
    table
}

/// `OVER_HEADER[n]` multiplies a state by x to the power 160 - 8 · n: it takes the state back over `n` bytes of
/// padding, and then over the 20 bytes of a record's header.
static OVER_HEADER: [u32; 8] = over_header();

const fn over_header() -> [u32; 8] {
    let mut table = [0; 8];
    let mut padding = 0;
    while padding < 8 {
        table[padding] = power_of_x(160 - 8 * padding - 33);
        padding += 1;
    }
    table
}

/// Proof that this processor has SSE 4.2 and PCLMULQDQ.
#[derive(Clone, Copy, Debug)]
pub struct Sse42 {
    /// Made by [`Sse42::detect`] only.
    _detected: (),
}

impl Sse42 {
    /// The implementation, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq"))
            .then_some(Self { _detected: () })
    }

    /// Does `walk` in code compiled for the instructions.
    pub(super) fn enter<W: Walk>(self, walk: W) -> W::Out {
        // SAFETY: a value of this type exists only after `detect` has seen both features on this processor.
        unsafe { enter(self, walk) }
    }
}

impl Crc32c for Sse42 {
    #[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
    #[inline(always)]
    fn update(self, state: u32, bytes: &[u8]) -> u32 {
        // SAFETY: a value of this type exists only after `detect` has seen both features on this processor.
        unsafe { update(state, bytes) }
    }

    #[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
    #[inline(always)]
    fn run_streams(self, page: &[u8], streams: &mut Streams) {
        // SAFETY: a value of this type exists only after `detect` has seen both features on this processor.
        unsafe { run_streams(page, streams) }
    }

    #[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
    #[inline(always)]
    fn good_records(self, page: &[u8], places: &[Place], streams: &Streams, stream: usize) -> usize {
        // SAFETY: a value of this type exists only after `detect` has seen both features on this processor.
        if unsafe { are_good(page, places, streams, stream) } {
            return places.len();
        }
        places.iter().take_while(|place| is_good_record(self, page, **place)).count()
    }
}

#[target_feature(enable = "sse4.2,pclmulqdq")]
fn enter<W: Walk>(crc: Sse42, walk: W) -> W::Out {
    walk.walk(crc)
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn update(state: u32, bytes: &[u8]) -> u32 {
    if bytes.len() < THREE_STREAMS { one_stream(state, bytes) } else { three_streams(state, bytes) }
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn one_stream(state: u32, bytes: &[u8]) -> u32 {
    let Some(last) = bytes.last_chunk::<8>() else {
        return few_bytes(state, bytes);
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let mut state = u64::from(state);
    for word in words {
        state = _mm_crc32_u64(state, u64::from_le_bytes(*word));
    }
    low(end(state, u64::from_le_bytes(*last), tail.len()))
}

/// The state after the last `length` bytes (at most 7) of a piece whose last eight bytes are `last`.
///
/// Without a branch, for the length of a record is what a processor cannot foresee: the bytes, with the state
/// that they meet, are moved to the end of a word, for leading zeros do not change a state of zero; what of the
/// state lies behind fewer than four bytes is moved down beside it.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn end(state: u64, last: u64, length: usize) -> u64 {
    let bits = 8 * length;
    let met = state ^ ((last >> (56 - bits)) >> 8);
    _mm_crc32_u64(0, (met << (56 - bits)) << 8) ^ (met >> bits)
}

/// A piece of less than eight bytes.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn few_bytes(state: u32, bytes: &[u8]) -> u32 {
    let mut state = state;
    let mut rest = bytes;
    if let Some((four, after)) = rest.split_first_chunk::<4>() {
        state = _mm_crc32_u32(state, u32::from_le_bytes(*four));
        rest = after;
    }
    for byte in rest {
        state = _mm_crc32_u8(state, *byte);
    }
    state
}

#[inline(never)]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn three_streams(state: u32, bytes: &[u8]) -> u32 {
    let mut state = state;
    let mut rest = bytes;
    while rest.len() >= THREE_STREAMS {
        let words = (rest.len() / 24).min(LONGEST);
        let (block, after) = rest.split_at(24 * words);
        let (first, others) = block.split_at(8 * words);
        let (second, third) = others.split_at(8 * words);
        state = block_of_three(state, first.as_chunks().0, second.as_chunks().0, third.as_chunks().0);
        rest = after;
    }
    one_stream(state, rest)
}

/// The state after three streams of the same length that follow one another.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn block_of_three(state: u32, first: &[[u8; 8]], second: &[[u8; 8]], third: &[[u8; 8]]) -> u32 {
    let words = third.len();
    let (mut a, mut b, mut c) = (u64::from(state), 0, 0);
    for ((x, y), z) in first.iter().zip(second).zip(third) {
        a = _mm_crc32_u64(a, u64::from_le_bytes(*x));
        b = _mm_crc32_u64(b, u64::from_le_bytes(*y));
        c = _mm_crc32_u64(c, u64::from_le_bytes(*z));
    }
    let (Some(&over_two), Some(&over_one)) = (SHIFTS.get(2 * words), SHIFTS.get(words)) else {
        return super::combine(super::combine(low(a), low(b), bytes_of(words)), low(c), bytes_of(words));
    };
    let moved = _mm_xor_si128(product(a, over_two), product(b, over_one));
    low(_mm_crc32_u64(0, _mm_cvtsi128_si64(moved).cast_unsigned()) ^ c)
}

/// The carry-less product of two polynomials of 32 bits.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn product(a: u64, b: u32) -> std::arch::x86_64::__m128i {
    _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(a.cast_signed()), _mm_cvtsi64_si128(i64::from(b)))
}

#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn run_streams(page: &[u8], streams: &mut Streams) {
    let (page, _) = page.as_chunks::<8>();
    let words = streams.words.min(STREAM_WORDS);
    let part = |begin: usize| page.get(begin..).and_then(|rest| rest.get(..words));
    let [first, second, third] = streams.begins.map(part);
    let (Some(first), Some(second), Some(third)) = (first, second, third) else { return };
    let [one, two, three] = streams.states.each_mut().map(|states| states.get_mut(1..=words));
    let (Some(one), Some(two), Some(three)) = (one, two, three) else { return };
    let (mut a, mut b, mut c) = (0, 0, 0);
    let states = one.iter_mut().zip(two).zip(three);
    for (((x, y), z), ((one, two), three)) in first.iter().zip(second).zip(third).zip(states) {
        a = _mm_crc32_u64(a, u64::from_le_bytes(*x));
        b = _mm_crc32_u64(b, u64::from_le_bytes(*y));
        c = _mm_crc32_u64(c, u64::from_le_bytes(*z));
        (*one, *two, *three) = (low(a), low(b), low(c));
    }
}

/// Whether all records at `places` have the right checksum.
///
/// With `P(i)` the state after word `i` of the stream, the data from word `a` to word `b`, its padding included,
/// takes the state `INIT` to `P(b) + (P(a) + INIT) · x^(64 (b - a))`. That goes back over the padding and forward
/// over the header, whose own bytes are added.
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn are_good(page: &[u8], places: &[Place], streams: &Streams, stream: usize) -> bool {
    let (Some(begin), Some(states)) = (streams.begins.get(stream), streams.states.get(stream)) else {
        return false;
    };
    let (page, _) = page.as_chunks::<8>();
    let mut differing = 0;
    for place in places {
        let (start, total) = (place.start as usize / 8, place.total as usize);
        let Some([one, two, three]) = page.get(start..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        let from = start.wrapping_add(3).wrapping_sub(*begin);
        let words = total.div_ceil(8).wrapping_sub(3);
        let (Some(before), Some(behind)) = (states.get(from), states.get(from.wrapping_add(words))) else {
            return false;
        };
        let Some(over_data) = SHIFTS.get(words) else { return false };
        let over_header = OVER_HEADER[total.wrapping_neg() & 7];
        let own = _mm_crc32_u64(_mm_crc32_u64(0, u64::from_le_bytes(*one)), u64::from_le_bytes(*two));
        let three = u64::from_le_bytes(*three);
        let own = _mm_crc32_u32(low(own), low(three & u64::from(u32::MAX)));
        let data = times(times(before ^ INIT, *over_data) ^ behind, over_header);
        differing |= !(data ^ own) ^ low(three >> 32);
    }
    differing == 0
}

/// The product of a state and a power of x from one of the tables.
#[inline]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn times(state: u32, power: u32) -> u32 {
    low(_mm_crc32_u64(0, _mm_cvtsi128_si64(product(u64::from(state), power)).cast_unsigned()))
}

fn bytes_of(words: usize) -> u64 {
    8 * words as u64
}

/// The state in the low half, which is all that `crc32` sets.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is zero")]
fn low(state: u64) -> u32 {
    state as u32
}
