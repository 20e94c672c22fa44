//! pgBackRest's encryption: AES-256-CBC in the form of `openssl enc -md sha1`.
//!
//! ```text
//! "Salted__"  8 bytes of salt  ciphertext, padded as PKCS #7 says
//! ```
//!
//! Key and initialisation vector come from the passphrase and the salt by OpenSSL's `EVP_BytesToKey` with SHA-1
//! and one round. The passphrase of the repository opens `archive.info` and `backup.info`; another one, which
//! stands in `archive.info`, opens the WAL.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use sha1::{Digest, Sha1};
use std::fmt;

const MAGIC: &[u8] = b"Salted__";
const SALT_BYTES: usize = 8;
const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// A passphrase. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Passphrase(String);

impl Passphrase {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Decrypts `stored` where it lies and gives the plain part of it; `None` if the passphrase is wrong or
    /// the bytes are damaged (the two cannot be told apart).
    pub(crate) fn decrypt<'a>(&self, stored: &'a mut [u8]) -> Option<&'a [u8]> {
        let (head, body) = stored.split_at_mut_checked(MAGIC.len() + SALT_BYTES)?;
        let salt = head.strip_prefix(MAGIC)?;
        let (key, iv) = self.key_and_iv(salt);
        let decryptor = cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, &iv).ok()?;
        decryptor.decrypt_padded::<Pkcs7>(body).ok()
    }

    /// `EVP_BytesToKey`: digests of the digest before, the passphrase and the salt, one after another.
    fn key_and_iv(&self, salt: &[u8]) -> ([u8; KEY_BYTES], [u8; IV_BYTES]) {
        let mut derived = Vec::with_capacity(KEY_BYTES + IV_BYTES + 20);
        let mut last: Vec<u8> = Vec::new();
        while derived.len() < KEY_BYTES + IV_BYTES {
            let digest = Sha1::new().chain_update(&last).chain_update(self.0.as_bytes()).chain_update(salt);
            last = digest.finalize().to_vec();
            derived.extend_from_slice(&last);
        }
        let mut key = [0; KEY_BYTES];
        let mut iv = [0; IV_BYTES];
        key.copy_from_slice(&derived[..KEY_BYTES]);
        iv.copy_from_slice(&derived[KEY_BYTES..KEY_BYTES + IV_BYTES]);
        (key, iv)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// The `cipher-pass` of section `[cipher]` in the text of an `archive.info` or `backup.info`.
pub(crate) fn inner_passphrase(info: &str) -> Option<Passphrase> {
    let section = info.split_once("[cipher]")?.1;
    let line = section.lines().skip(1).take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key == "cipher-pass").then_some(value)
    })?;
    serde_json::from_str::<String>(line).ok().map(Passphrase)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What `printf 'hello, archive' | openssl enc -aes-256-cbc -md sha1 -pass pass:xyzzy` wrote.
    const FROM_OPENSSL: &str = "53616c7465645f5fab58a5cf24c7e26393fecba98d1a54a2c0408520f86741e9";

    fn bytes() -> Vec<u8> {
        (0..FROM_OPENSSL.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&FROM_OPENSSL[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn opens_what_openssl_wrote() {
        assert_eq!(Passphrase::new("xyzzy").decrypt(&mut bytes()), Some(&b"hello, archive"[..]));
    }

    #[test]
    fn neither_a_wrong_passphrase_nor_a_cut_gives_the_text() {
        assert_ne!(Passphrase::new("plugh").decrypt(&mut bytes()), Some(&b"hello, archive"[..]));
        for length in 0..bytes().len() {
            assert_eq!(Passphrase::new("xyzzy").decrypt(&mut bytes()[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_inner_passphrase_stands_in_its_section() {
        let info = "[backrest]\nbackrest-format=5\n\n[cipher]\ncipher-pass=\"a=b\\\"c\"\n\n[db]\ndb-id=1\n";
        assert_eq!(inner_passphrase(info), Some(Passphrase::new("a=b\"c")));
        assert_eq!(inner_passphrase("[db]\ncipher-pass=\"x\"\n"), None);
        assert_eq!(format!("{:?}", inner_passphrase(info).unwrap()), "Passphrase(…)");
    }
}
