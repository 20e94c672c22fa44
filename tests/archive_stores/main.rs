//! What every store must do, asked of each: a directory, memory, a real server that speaks S3, Azure's emulator and a
//! server that speaks Google's protocol.
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

mod conformance;
mod faults;
mod fixtures;
