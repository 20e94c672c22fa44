//! OpenPGP as WAL-G encrypts with it: a message to a public key, with the compressed file inside.
//!
//! A message is checked whole before any of it is given, and what it may decrypt to is limited.

use pgp::composed::{DecryptionOptions, Deserializable, Message, SignedSecretKey, TheRing};
use pgp::types::{Password, Seipdv1ReadMode};
use std::fmt;
use std::io::Read;
use std::sync::Arc;

/// Private keys that may open messages. Never printed.
#[derive(Clone)]
pub(crate) struct PgpKeys(Arc<[SignedSecretKey]>);

impl PgpKeys {
    /// The keys in `text`, armoured (its lines also joined by `\n` written out, as WAL-G allows) or binary, opened with
    /// `passphrase` where they are locked. What is wrong with them is said in one clause.
    pub(crate) fn new(text: &[u8], passphrase: Option<&str>) -> Result<Self, String> {
        let joined = std::str::from_utf8(text).map(|text| text.replace("\\n", "\n").into_bytes());
        let text = joined.unwrap_or_else(|_| text.to_vec());
        let refused = |error: pgp::errors::Error| error.to_string();
        let (found, _) = SignedSecretKey::from_reader_many(text.as_slice()).map_err(refused)?;
        let mut keys = found.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        if keys.is_empty() {
            return Err("there is no private key in it".to_owned());
        }
        // Once, and not for each message: a passphrase is made slow to try.
        let password = Password::from(passphrase.unwrap_or_default());
        for key in &mut keys {
            key.primary_key.remove_password(&password).map_err(refused)?;
            for subkey in &mut key.secret_subkeys {
                subkey.key.remove_password(&password).map_err(refused)?;
            }
        }
        Ok(Self(keys.into()))
    }

    /// Decrypts `stored` to at most `limit` bytes, or says what is wrong in one clause.
    pub(crate) fn decrypt(&self, stored: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let refused = |error: pgp::errors::Error| error.to_string();
        let (message, _) = Message::from_reader(stored).map_err(refused)?;
        let first =
            Seipdv1ReadMode::CheckFirst { max_message_size: usize::try_from(limit).unwrap_or(usize::MAX) };
        let ring = TheRing {
            secret_keys: self.0.iter().collect(),
            decrypt_options: DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(first),
            ..TheRing::default()
        };
        let (mut message, _) = message.decrypt_the_ring(ring, true).map_err(refused)?;
        if message.is_compressed() {
            message = message.decompress().map_err(refused)?;
        }
        let mut plain = Vec::new();
        message.take(limit.saturating_add(1)).read_to_end(&mut plain).map_err(|error| error.to_string())?;
        if plain.len() as u64 > limit {
            Err(format!("decrypts to more than {limit} bytes"))
        } else {
            Ok(plain)
        }
    }
}

impl fmt::Debug for PgpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgpKeys(…)")
    }
}
