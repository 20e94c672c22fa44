//! One cluster's WAL, archived by every tool at hand, is the same WAL to walproof: the same files with the same
//! bytes, and the same answers of every command, as the plain directory gives.
#![cfg(feature = "object-store")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod barman;
mod catalogs;
mod gpg;
mod original;
mod pg_basebackup;
mod pgbackrest;
mod wal_g;
