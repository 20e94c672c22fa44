//! Numbers as C's `sscanf` and `strtoul` read them, which is how the server reads its small text files.
//!
//! PostgreSQL leaves these to the C library, so the rules are C's: white space before a number is skipped, a sign
//! is taken, `0x` may stand before hexadecimal digits, and a 64-bit result is cut to 32 bits without a word.

/// A base that decides for itself: `0x` is hexadecimal, a leading zero octal, else decimal.
pub(crate) const BY_PREFIX: u32 = 0;
/// `%u`.
pub(crate) const DECIMAL: u32 = 10;
/// `%X`.
pub(crate) const HEXADECIMAL: u32 = 16;

/// A place in a text that is read field by field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanf<'a> {
    rest: &'a [u8],
}

impl<'a> Scanf<'a> {
    /// At the beginning of `text`.
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes over white space.
    pub(crate) fn skip_space(&mut self) {
        let end = self.rest.iter().position(|b| !is_space(*b)).unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    /// Goes over `byte` if it stands here.
    pub(crate) fn literal(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Reads a number into an `unsigned int`.
    #[expect(clippy::cast_possible_truncation, reason = "sscanf stores the low half of what strtoul returns")]
    pub(crate) fn unsigned(&mut self, base: u32) -> Option<u32> {
        let (number, rest) = strtoul(self.rest, base)?;
        self.rest = rest;
        Some(number.value as u32)
    }
}

/// What `strtoul` makes of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number {
    /// The value; `u64::MAX` where it is out of range, the two's complement after a minus sign.
    pub(crate) value: u64,
    /// It did not fit (`ERANGE`).
    pub(crate) out_of_range: bool,
    /// A minus sign stood before it.
    pub(crate) negative: bool,
}

/// Reads a number at the beginning of `text` and gives what follows it; `None` where there are no digits.
pub(crate) fn strtoul(text: &[u8], base: u32) -> Option<(Number, &[u8])> {
    let mut scanf = Scanf::new(text);
    scanf.skip_space();
    let negative = scanf.literal(b'-');
    if !negative {
        scanf.literal(b'+');
    }
    let (base, digits) = after_prefix(scanf.rest, base);
    let count = digits.iter().position(|b| !(*b as char).is_digit(base)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(count)?;
    if digits.is_empty() {
        return None;
    }
    let magnitude = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = (*digit as char).to_digit(base)?;
        value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    });
    let number = match magnitude {
        None => Number { value: u64::MAX, out_of_range: true, negative },
        Some(value) if negative => {
            Number { value: value.wrapping_neg(), out_of_range: false, negative: true }
        }
        Some(value) => Number { value, out_of_range: false, negative: false },
    };
    Some((number, rest))
}

/// The base that the digits are in, and the digits without their `0x`.
fn after_prefix(text: &[u8], base: u32) -> (u32, &[u8]) {
    if (base == BY_PREFIX || base == HEXADECIMAL)
        && let [b'0', b'x' | b'X', digits @ ..] = text
        && digits.first().is_some_and(u8::is_ascii_hexdigit)
    {
        return (16, digits);
    }
    match (base, text) {
        (BY_PREFIX, [b'0', ..]) => (8, text),
        (BY_PREFIX, _) => (10, text),
        _ => (base, text),
    }
}

/// `isspace` in the C locale.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, base: u32) -> Option<(u64, &str)> {
        let (number, rest) = strtoul(text.as_bytes(), base)?;
        Some((number.value, std::str::from_utf8(rest).ok()?))
    }

    #[test]
    fn base_zero_reads_hexadecimal_octal_and_decimal_like_strtoul() {
        assert_eq!(value("0x11", BY_PREFIX), Some((17, "")));
        assert_eq!(value("0755abc", BY_PREFIX), Some((0o755, "abc")));
        assert_eq!(value(" +12 ", BY_PREFIX), Some((12, " ")));
        assert_eq!(value("09", BY_PREFIX), Some((0, "9")));
        assert_eq!(value("0x", BY_PREFIX), Some((0, "x")));
        assert_eq!(value("-1", BY_PREFIX), Some((u64::MAX, "")));
        assert_eq!(value("abc", BY_PREFIX), None);
        assert_eq!(value("", BY_PREFIX), None);
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let Some((number, _)) = strtoul(b"18446744073709551616", DECIMAL) else { unreachable!() };
        assert!(number.out_of_range);
    }
}
