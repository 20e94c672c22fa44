//! CRC-32C without any special instruction: eight bytes a step, through eight tables ("slicing by eight").

use super::Crc32c;
use super::gf2::POLYNOMIAL;

/// `TABLES[k][b]`: what byte `b` adds to the state when `k` bytes follow it in the same step.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 1 == 0 { state >> 1 } else { (state >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// The implementation for processors without CRC instructions, and what the others are tested against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Crc32c for Portable {
    #[inline]
    fn update(self, state: u32, bytes: &[u8]) -> u32 {
        let (words, tail) = bytes.as_chunks::<8>();
        let mut state = state;
        for word in words {
            state = step(state, *word);
        }
        for byte in tail {
            state = (state >> 8) ^ TABLES[0][usize::from(low_byte(state) ^ byte)];
        }
        state
    }
}

fn step(state: u32, word: [u8; 8]) -> u32 {
    let met = u64::from_le_bytes(word) ^ u64::from(state);
    met.to_le_bytes()
        .iter()
        .zip(TABLES.iter().rev())
        .fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)])
}

fn low_byte(state: u32) -> u8 {
    let [low, ..] = state.to_le_bytes();
    low
}
