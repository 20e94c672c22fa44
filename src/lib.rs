//! walproof proves what a PostgreSQL WAL archive can still be recovered to.

pub mod archive;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod recovery;
pub mod retention;
pub mod timeline;
pub mod wal;
