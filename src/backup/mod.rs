//! Base backups: what each says of itself, from whatever it left behind.

pub mod base;
pub mod catalog;
pub mod control;
mod directory;
pub mod discover;
mod files;
pub mod label;
pub mod load;
pub mod manifest;
pub mod prepared;
pub mod startup;
pub mod tarball;

pub use base::{BaseBackup, Source, SourceKind, WalRange, merge};
pub use catalog::{CatalogError, Catalogued};
pub use control::{CheckPointCopy, ControlError, ControlFile, State};
pub use discover::{Discovered, Problem, ProblemKind, discover};
pub use files::read_files;
pub use label::{LabelError, LabelFile, Method};
pub use load::{LoadError, load};
pub use manifest::{Manifest, ManifestError};
pub use prepared::StandingPrepared;
pub use startup::{BackupEnd, Startup, StartupError};

/// Bytes as lower-case hexadecimal digits, the form in which checksums are written.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xF));
        text
    })
}
