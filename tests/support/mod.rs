//! What integration tests share: real servers, PostgreSQL's own tools, recorded archives.
//!
//! ```ignore
//! mod support;
//! let server = support::Server::create(17).segment_mib(1).start();
//! server.sql("CREATE TABLE t (i int)");
//! let backup = server.backup("b1");
//! server.sql("INSERT INTO t SELECT generate_series(1, 1000)");
//! server.archive_everything();
//! let recovered = support::Recovery::of(&backup, server.archive()).set("recovery_target", "immediate").run();
//! ```
//!
//! Nothing is skipped for want of a server: a missing tool fails the test and says how to install it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "every test binary compiles this module and uses its own part of it; a test fails by panicking"
)]

pub mod account;
pub mod asked;
#[cfg(feature = "object-store")]
pub mod azure;
pub mod backup;
#[cfg(feature = "object-store")]
pub mod bucket;
#[cfg(feature = "object-store")]
pub mod gcs;
#[cfg(feature = "object-store")]
pub mod proxy;
pub mod random;
pub mod recorded;
pub mod recovery;
pub mod replica;
#[cfg(feature = "object-store")]
pub mod s3;
pub mod server;
pub mod specimen;
pub mod tools;
pub mod wal_map;
pub mod workload;
pub mod wounds;

pub use backup::Backup;
pub use recovery::{Recovered, Recovery};
pub use server::{Server, ServerOptions};
