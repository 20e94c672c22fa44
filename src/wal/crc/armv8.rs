//! CRC-32C with the `crc32c` instructions of the ARMv8 CRC extension.
#![expect(unsafe_code, reason = "entering code compiled for instructions that not every processor has")]

use super::{Crc32c, Walk};
use std::arch::aarch64::{__crc32cb, __crc32cd, __crc32cw};

/// Proof that this processor has the CRC extension.
#[derive(Clone, Copy, Debug)]
pub struct Armv8 {
    /// Made by [`Armv8::detect`] only.
    _detected: (),
}

impl Armv8 {
    /// The implementation, if this processor has the instructions.
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("crc").then_some(Self { _detected: () })
    }

    /// Does `walk` in code compiled for the instructions.
    pub(super) fn enter<W: Walk>(self, walk: W) -> W::Out {
        // SAFETY: a value of this type exists only after `detect` has seen the feature on this processor.
        unsafe { enter(self, walk) }
    }
}

impl Crc32c for Armv8 {
    #[expect(clippy::inline_always, reason = "must be compiled for the processor of the walk around it")]
    #[inline(always)]
    fn update(self, state: u32, bytes: &[u8]) -> u32 {
        // SAFETY: a value of this type exists only after `detect` has seen the feature on this processor.
        unsafe { update(state, bytes) }
    }
}

#[target_feature(enable = "crc")]
fn enter<W: Walk>(crc: Armv8, walk: W) -> W::Out {
    walk.walk(crc)
}

#[inline]
#[target_feature(enable = "crc")]
fn update(state: u32, bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut state = state;
    for word in words {
        state = __crc32cd(state, u64::from_le_bytes(*word));
    }
    let mut rest = tail;
    if let Some((four, after)) = rest.split_first_chunk::<4>() {
        state = __crc32cw(state, u32::from_le_bytes(*four));
        rest = after;
    }
    for byte in rest {
        state = __crc32cb(state, *byte);
    }
    state
}
