//! What may be removed from an archive, why, and removing it safely.

pub mod archivecleanup;
