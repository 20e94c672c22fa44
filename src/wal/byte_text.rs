//! Names that are bytes to a server, as text that tells each byte.
//!
//! A restore point or a prepared transaction may be named in any encoding. What is UTF-8 is shown as it is; of other
//! names each byte that is not stands as `\xNN`, and each backslash twice. So is a name that has such a group of its own:
//! two names are never the same text.

use std::fmt::Write as _;

/// Digits of a byte behind `\x`.
const DIGITS: usize = 2;

/// A name's bytes as text.
pub fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !has_group(text) => text.to_owned(),
        _ => escaped(bytes),
    }
}

/// The bytes of a name as [`shown`] has it, or as somebody typed it.
pub fn bytes(text: &str) -> Vec<u8> {
    if !has_group(text) {
        return text.as_bytes().to_vec();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, group) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        rest = if let Some(byte) = byte_of(group) {
            bytes.push(byte);
            group.get(2 + DIGITS..).unwrap_or_default()
        } else {
            bytes.push(b'\\');
            let behind = group.get(1..).unwrap_or_default();
            behind.strip_prefix('\\').unwrap_or(behind)
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Whether a `\xNN` stands in it.
fn has_group(text: &str) -> bool {
    text.match_indices('\\').any(|(at, _)| text.get(at..).and_then(byte_of).is_some())
}

/// The byte of the `\xNN` that `text` begins with.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..DIGITS)?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += &chunk.valid().replace('\\', "\\\\");
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_utf_8_is_told_byte_by_byte() {
        assert_eq!(shown(b"caf\xE9"), "caf\\xE9");
        assert_eq!(shown("café".as_bytes()), "café");
        assert_eq!(shown(b"C:\\wal"), "C:\\wal");
        // The letters of a group, not the byte that they would stand for.
        assert_eq!(shown(b"caf\\xE9"), "caf\\\\xE9");
    }

    proptest! {
        #[test]
        fn bytes_come_back(name in proptest::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'x'), Just(b'E'), Just(b'9'), any::<u8>()], 0..12,
        )) {
            prop_assert_eq!(bytes(&shown(&name)), name);
        }
    }
}
