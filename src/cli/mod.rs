//! The command line: a file for each command, options to calls to report to exit status.

mod getopt;
pub mod pg_archivecleanup;
mod pg_log;
