//! walproof proves what a PostgreSQL WAL archive can still be recovered to.
//!
//! **A segment's facts compose.** Reading one archived segment is a pure function from bytes to facts; joining the
//! facts of two neighbours is a small, exact fold; every answer is read off the folded facts.
//!
//! | module | its one job | it never |
//! |---|---|---|
//! | [`wal`] | the format: bytes to records | opens a file, allocates per record |
//! | `pack` | values as few bytes, and back | knows what they mean |
//! | [`archive`] | where bytes come from: stores, layouts, compression, one listing | parses WAL |
//! | [`catalog`] | facts on disk, so that nothing is read twice | decides anything |
//! | [`timeline`] | history files, the tree, the path to a timeline | guesses a parent |
//! | [`scan`] | segment to facts, in parallel | knows about the neighbour |
//! | [`chain`] | neighbours to unbroken ranges; records across segments are finished here | reads files again |
//! | [`audit`] | the verdict: gaps, forks, what is wrong and what it costs | prints |
//! | [`backup`] | base backups, whoever made and described them | extracts data files, but for catalogs that hold names |
//! | [`recovery`] | what a server does with a backup, a target and a timeline: the one model | prints |
//! | [`find`] | what happened, and searching it | guesses a name |
//! | [`names`] | from relation files to the names that WAL and backups show | guesses one |
//! | [`dump`] | records as pg_waldump prints them | judges |
//! | [`retention`] | what may be removed, and removing it safely | removes without a plan |
//! | [`clock`] | times in and out, always with a zone | reads a bare time silently |
//! | [`finding`] | what is wrong, with its place | |
//! | [`report`] | the same answer as text and JSON | computes |
//! | [`cli`] | options to calls to report to exit status | holds logic |

pub mod archive;
pub mod audit;
pub mod backup;
pub mod catalog;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod dump;
pub mod find;
pub mod finding;
pub mod names;
mod pack;
pub mod recovery;
pub mod report;
pub mod retention;
pub mod scan;
pub mod timeline;
pub mod wal;
