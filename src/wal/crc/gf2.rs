//! Arithmetic on CRC states: polynomials over GF(2) modulo the Castagnoli polynomial.
//!
//! A state is a polynomial of degree below 32 in reflected order: bit 31 is x⁰, bit 0 is x³¹. A byte of zeros
//! multiplies the state by x⁸; that is all that [`shift`] and [`combine`] use.

/// The Castagnoli polynomial without its x³² term, reflected.
pub(super) const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x⁰.
const ONE: u32 = 1 << 31;

/// `STEPS[k]` is x to the power 8 · 2ᵏ: multiplying by it appends 2ᵏ bytes of zeros.
const STEPS: [u32; 64] = steps();

/// `a · x` modulo the polynomial.
const fn times_x(a: u32) -> u32 {
    if a & 1 == 0 { a >> 1 } else { (a >> 1) ^ POLYNOMIAL }
}

/// `a · b` modulo the polynomial.
pub(super) const fn multiply(a: u32, b: u32) -> u32 {
    let mut power = b;
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if (a >> bit) & 1 == 1 {
            product ^= power;
        }
        power = times_x(power);
    }
    product
}

const fn steps() -> [u32; 64] {
    let mut table = [0; 64];
    let mut power = ONE >> 8;
    let mut k = 0;
    while k < 64 {
        table[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    table
}

/// x to the power `n` modulo the polynomial, for tables.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only the carry-less multiplication needs it")
)]
pub(super) const fn power_of_x(n: usize) -> u32 {
    let mut power = ONE;
    let mut square = ONE >> 1;
    let mut rest = n;
    while rest > 0 {
        if rest & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        rest >>= 1;
    }
    power
}

/// The raw state after `state` and `zeros` bytes of zeros. Takes one multiplication for each bit set in `zeros`.
pub fn shift(state: u32, zeros: u64) -> u32 {
    let mut shifted = state;
    for (k, step) in STEPS.iter().enumerate() {
        if zeros >> k == 0 {
            break;
        }
        if (zeros >> k) & 1 == 1 {
            shifted = multiply(shifted, *step);
        }
    }
    shifted
}

/// The raw state after two pieces, from the states of each: `first` is the state after the first piece (begun
/// from whatever its bytes follow), `second` the state after the second piece **begun from 0**, and
/// `second_length` the second piece's length in bytes.
///
/// Associative, so pieces may be joined in any grouping.
pub fn combine(first: u32, second: u32, second_length: u64) -> u32 {
    shift(first, second_length) ^ second
}
