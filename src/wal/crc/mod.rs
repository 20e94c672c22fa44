//! CRC-32C (Castagnoli), the checksum of WAL records, fast on pieces of a hundred bytes.
//!
//! PostgreSQL: `src/include/port/pg_crc32c.h`, and `src/backend/access/transam/xlogreader.c`
//! (`ValidXLogRecord`), the same since 9.5: the register begins as all ones, takes the record's bytes from 24
//! to its end, then the first 20 bytes of its header (all but `xl_crc` itself), and is inverted at last.
//!
//! A WAL record is 160 bytes on average, so what a call costs decides, not what a megabyte costs. Therefore
//! the walk itself is generic over [`Crc32c`], and [`with_best`] enters it once, as code compiled for this
//! processor: every [`Crc32c::update`] inside is then a few instructions in line.
//!
//! | implementation | where | how |
//! |---|---|---|
//! | [`Portable`] | everywhere | eight bytes a step through eight tables |
//! | `Sse42` | x86-64 with SSE 4.2 and PCLMULQDQ | the `crc32` instruction; three streams in long pieces |
//! | `Armv8` | AArch64 with the CRC extension | the `crc32cx` instruction |
//!
//! # Raw states
//! Everything here but [`checksum`] and [`record_checksum`] deals in *raw* register states, without the
//! inversions: [`INIT`] is how a checksum begins, [`finish`] how it ends, and a piece whose beginning is not
//! known begins with 0 and is joined by [`combine`].

#[cfg(target_arch = "aarch64")]
mod armv8;
mod burst;
mod gf2;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse42;
mod streams;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "aarch64")]
pub use armv8::Armv8;
pub use burst::one_byte_explains;
pub use gf2::{combine, shift};
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use sse42::Sse42;
pub use streams::{LONGEST_RECORD, Place, STREAM_WORDS, Streams};

/// The raw state with which a checksum begins.
pub const INIT: u32 = u32::MAX;

/// Length of a record's header, `SizeOfXLogRecord`, in bytes.
const HEADER: usize = 24;
/// Length of the header without `xl_crc`, in bytes.
const HEADER_BEFORE_CRC: usize = 20;

/// One way to compute CRC-32C. A value is proof that this processor can do it.
pub trait Crc32c: Copy {
    /// The raw state after `bytes`, begun from the raw state `state`.
    ///
    /// `update(update(s, a), b)` equals `update(s, ab)`.
    fn update(self, state: u32, bytes: &[u8]) -> u32;

    /// Computes the states of `streams`, which lie in `page`, where that helps [`Self::good_records`].
    #[inline(always)]
    fn run_streams(self, page: &[u8], streams: &mut Streams) {
        let _ = (page, streams);
    }

    /// How many of the records at `places` have the right checksum, up to the first that has not; a record with
    /// padding that is not zero has not. They lie in the stream of this number, and `run_streams` has gone over
    /// the page.
    #[inline(always)]
    fn good_records(self, page: &[u8], places: &[Place], streams: &Streams, stream: usize) -> usize {
        let _ = (streams, stream);
        places.iter().take_while(|place| is_good_record(self, page, **place)).count()
    }
}

/// Whether the record at `place` has the right checksum, and padding that is zero.
#[inline(always)]
fn is_good_record<C: Crc32c>(crc: C, page: &[u8], place: Place) -> bool {
    let (start, total) = (place.start as usize, place.total as usize);
    let padded = page.get(start..start + total.next_multiple_of(8)).unwrap_or_default();
    let Some((record, padding)) = padded.split_at_checked(total) else { return false };
    let stored = record.get(HEADER_BEFORE_CRC..).and_then(|rest| rest.first_chunk());
    let stored = stored.map(|bytes| u32::from_le_bytes(*bytes));
    stored.is_some() && stored == record_checksum(crc, record) && padding.iter().all(|byte| *byte == 0)
}

/// Work that computes many checksums, such as the walk over a segment.
///
/// `walk`, and every generic function between it and [`Crc32c::update`], must be `#[inline(always)]`: only what
/// is inlined into [`with_best`]'s entry is compiled for the processor's CRC instructions. (A function that
/// is not is still right, only slower: each update is then a call.)
pub trait Walk {
    /// What the work yields.
    type Out;

    /// Does the work with `crc`.
    fn walk<C: Crc32c>(self, crc: C) -> Self::Out;
}

/// Does `walk` with the fastest implementation that this processor has.
///
/// The choice costs a load and a branch; the entry costs a call. Enter once for a segment, not for a record.
pub fn with_best<W: Walk>(walk: W) -> W::Out {
    #[cfg(target_arch = "x86_64")]
    if let Some(crc) = Sse42::detect() {
        return crc.enter(walk);
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(crc) = Armv8::detect() {
        return crc.enter(walk);
    }
    walk.walk(Portable)
}

/// The checksum that ends with the raw state `state`.
#[inline]
pub const fn finish(state: u32) -> u32 {
    !state
}

/// The CRC-32C of `bytes`, with the processor's best implementation. For long runs: see [`with_best`].
pub fn checksum(bytes: &[u8]) -> u32 {
    finish(with_best(Run { state: INIT, bytes }))
}

/// The raw state after `bytes`, begun from `state`, with the processor's best implementation.
pub fn update(state: u32, bytes: &[u8]) -> u32 {
    with_best(Run { state, bytes })
}

/// The checksum of a whole record that lies in one piece, as `xl_crc` must state it; `None` if it is shorter
/// than a header.
#[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
#[inline(always)]
pub fn record_checksum<C: Crc32c>(crc: C, record: &[u8]) -> Option<u32> {
    let (header, payload) = record.split_first_chunk::<HEADER>()?;
    Some(finish_record(crc, crc.update(INIT, payload), header))
}

/// The checksum of a record from the raw `state` after its payload (all after the header, begun from [`INIT`])
/// and its header.
#[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
#[inline(always)]
pub fn finish_record<C: Crc32c>(crc: C, state: u32, header: &[u8; HEADER]) -> u32 {
    let (counted, _) = header.split_at(HEADER_BEFORE_CRC);
    finish(crc.update(state, counted))
}

/// One run of bytes.
struct Run<'a> {
    state: u32,
    bytes: &'a [u8],
}

impl Walk for Run<'_> {
    type Out = u32;

    #[expect(clippy::inline_always, reason = "see Walk")]
    #[inline(always)]
    fn walk<C: Crc32c>(self, crc: C) -> u32 {
        crc.update(self.state, self.bytes)
    }
}
