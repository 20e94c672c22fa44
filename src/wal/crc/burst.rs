//! Whether a single wrong byte explains a checksum that does not fit: then all the others are as they were written.
//!
//! CRC-32C is linear: what a changed byte does to the checksum depends on the change and on how many bytes follow, not
//! on what they are. So the difference of two checksums is taken back byte by byte, from the end to the beginning, and
//! compared with what one byte does.

use super::update;

/// Whether one changed byte among `length` bytes makes this `difference` (the exclusive or) of their CRC-32C.
pub fn one_byte_explains(length: usize, difference: u32) -> bool {
    let mut of_byte = [0u32; 256];
    let mut by_top = [0u8; 256];
    for (byte, state) in (0u8..=255).zip(&mut of_byte) {
        *state = update(0, &[byte]);
        // No two have the same top byte: that is what lets a step be taken back.
        by_top[usize::from(state.to_be_bytes()[0])] = byte;
    }
    let maker = |state: u32| by_top[usize::from(state.to_be_bytes()[0])];
    let mut state = difference;
    for _ in 0..length {
        let byte = maker(state);
        let made = of_byte[usize::from(byte)];
        if made == state {
            return state != 0;
        }
        // The byte in front of a zero byte.
        state = (state ^ made) << 8 | u32::from(byte);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::crc::checksum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_changed_byte_is_seen_and_two_are_not(
            bytes in proptest::collection::vec(any::<u8>(), 2..600), at: prop::sample::Index, by in 1u8..,
            other in 1usize..600, and_by in 1u8..,
        ) {
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= by;
            let difference = checksum(&bytes) ^ checksum(&changed);
            prop_assert!(one_byte_explains(bytes.len(), difference));
            prop_assert!(one_byte_explains(bytes.len() - at, difference));
            prop_assert!(!one_byte_explains(bytes.len() - at - 1, difference));
            let second = (at + other % (bytes.len() - 1).max(1) + 1) % bytes.len();
            if second != at {
                changed[second] ^= and_by;
                let difference = checksum(&bytes) ^ checksum(&changed);
                // Short runs keep a distance of three and more.
                prop_assert!(!one_byte_explains(bytes.len(), difference));
            }
        }
    }

    #[test]
    fn no_difference_needs_no_byte() {
        assert!(!one_byte_explains(100, 0));
    }
}
