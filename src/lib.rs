//! walproof proves what a PostgreSQL WAL archive can still be recovered to.

pub mod archive;
pub mod audit;
pub mod backup;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod find;
pub mod finding;
pub mod recovery;
pub mod report;
pub mod retention;
pub mod scan;
pub mod timeline;
pub mod wal;
