//! WAL-G's encryption with libsodium: a secret stream of XChaCha20 and Poly1305.
//!
//! ```text
//! 24 bytes of header | chunks: 1 byte of tag, up to 8192 bytes of plain text, 16 bytes of authentication
//! ```
//!
//! The last chunk has a tag that says so: a stream that was cut does not pass for a whole one.

use crypto_secretstream::aead::Buffer;
use crypto_secretstream::aead::Error;
use crypto_secretstream::{Header, Key, PullStream, Tag};
use std::fmt;

/// Plain bytes of a chunk.
const CHUNK_BYTES: usize = 8192;

/// Bytes that a chunk has besides: tag and authentication.
const OVERHEAD_BYTES: usize = 17;

/// A key. Never printed.
#[derive(Clone)]
pub(crate) struct StreamKey([u8; Key::BYTES]);

impl StreamKey {
    /// The key that WAL-G makes of `WALG_LIBSODIUM_KEY` by `WALG_LIBSODIUM_KEY_TRANSFORM`: "hex", "base64", or none, by
    /// which it is cut or filled up with zeros.
    pub(crate) fn new(text: &str, transform: Option<&str>) -> Option<Self> {
        let text = text.trim_end_matches(['\n', '\r']);
        let bytes = match transform {
            Some("hex") => from_hex(text)?,
            Some("base64") => from_base64(text)?,
            None | Some("" | "none") => {
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(Key::BYTES, 0);
                bytes
            }
            Some(_) => return None,
        };
        bytes.try_into().ok().map(Self)
    }

    /// Decrypts `stored`. `None` if the key is wrong or the bytes are damaged or cut.
    pub(crate) fn decrypt(&self, stored: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = stored.split_at_checked(Header::BYTES)?;
        let header = Header::try_from(header).ok()?;
        let mut stream = PullStream::init(header, &Key::from(self.0));
        let mut plain = Vec::with_capacity(body.len());
        let mut last = None;
        for chunk in body.chunks(CHUNK_BYTES + OVERHEAD_BYTES) {
            if last == Some(Tag::Final) {
                return None;
            }
            let mut buffer = Chunk(chunk.to_vec());
            last = Some(stream.pull(&mut buffer, &[]).ok()?);
            plain.append(&mut buffer.0);
        }
        (last == Some(Tag::Final)).then_some(plain)
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(…)")
    }
}

/// A chunk as the cipher wants it.
struct Chunk(Vec<u8>);

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Chunk {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for Chunk {
    fn extend_from_slice(&mut self, other: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(other);
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Three chunks that libsodium encrypted (`crypto_secretstream_xchacha20poly1305_push`) with the key 1, 2, … 32.
    const FROM_LIBSODIUM: &[u8] = include_bytes!("../../tests/data/libsodium.bin");

    fn key() -> StreamKey {
        StreamKey((1..=32).collect::<Vec<u8>>().try_into().unwrap())
    }

    #[test]
    fn opens_what_libsodium_wrote() {
        let plain = key().decrypt(FROM_LIBSODIUM).unwrap();
        let lines: Vec<&str> = std::str::from_utf8(&plain).unwrap().lines().collect();
        assert_eq!((lines.len(), lines[599]), (600, "line 599 of what libsodium encrypted"));
    }

    #[test]
    fn neither_a_wrong_key_nor_a_cut_nor_a_flip_gives_the_text() {
        assert!(StreamKey::new("another", None).unwrap().decrypt(FROM_LIBSODIUM).is_none());
        for cut in [0, 1, 24, 25, 24 + 8209, 24 + 2 * 8209, FROM_LIBSODIUM.len() - 1] {
            assert!(key().decrypt(&FROM_LIBSODIUM[..cut]).is_none(), "{cut}");
        }
        for at in (0..FROM_LIBSODIUM.len()).step_by(97) {
            let mut flipped = FROM_LIBSODIUM.to_vec();
            flipped[at] ^= 1;
            assert!(key().decrypt(&flipped).is_none(), "{at}");
        }
    }

    #[test]
    fn keys_are_read_as_wal_g_reads_them() {
        let same = [
            StreamKey::new("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F20\n", Some("hex")),
            StreamKey::new("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", Some("base64")),
        ];
        for found in same {
            assert_eq!(found.unwrap().0, key().0);
        }
        assert_eq!(StreamKey::new("ab", None).unwrap().0[..3], [b'a', b'b', 0]);
        for (text, transform) in [("0102", "hex"), ("xyz", "hex"), ("AQID", "base64"), ("x", "rot13")] {
            assert!(StreamKey::new(text, Some(transform)).is_none(), "{text}");
        }
        assert_eq!(format!("{:?}", key()), "StreamKey(…)");
    }
}
