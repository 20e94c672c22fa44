//! The command line: options to calls to report to exit status.

mod ack;
mod cleanup;
mod common;
mod dump;
mod find;
mod find_notes;
mod generate;
mod getopt;
mod index;
mod lookup;
pub mod pg_archivecleanup;
mod pg_log;
mod reading;
mod resolve;
mod timelines;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::io;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// All is well, the target is feasible, something was found.
    Good,
    /// The answer is bad news.
    Bad,
    /// The options make no sense.
    Usage,
    /// The job could not be done, or not to the end.
    Failed,
}

impl Status {
    /// The exit status of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::Usage => 2,
            Self::Failed => 3,
        }
    }
}

/// Proves what a PostgreSQL WAL archive can still be recovered to.
#[derive(Debug, Parser)]
#[command(name = "walproof", version, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read every byte of an archive and say what in it can no longer be recovered
    Verify(verify::VerifyArgs),
    /// Search what happened: transactions, restore points, checkpoints, what was dropped by which transaction
    Find(Box<find::FindArgs>),
    /// Print records as pg_waldump does, of every timeline and across segments
    Dump(Box<dump::DumpArgs>),
    /// Show the tree of timelines, and what can be recovered to from each backup
    Timelines(timelines::TimelinesArgs),
    /// Read what is new in an archive and remember what is in it
    Index(Box<index::IndexArgs>),
    /// Say where recovery to a target will stop, whether it can, and from which backup
    Resolve(Box<resolve::ResolveArgs>),
    /// Plan what may be removed, prove that nothing needed is among it, and remove it
    Cleanup(Box<cleanup::CleanupArgs>),
    /// Accept a known loss, so that verify is red for what is new only
    Ack(ack::AckArgs),
    /// Print a completion script for a shell
    Completions(generate::CompletionsArgs),
    /// Write the manual pages
    Man(generate::ManArgs),
    /// Remove old segments as PostgreSQL's program of that name does
    #[command(name = "pg_archivecleanup", disable_help_flag = true)]
    PgArchivecleanup {
        /// As that program takes them: see its --help
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Runs the program with the arguments given, program name first.
pub fn run(args: &[OsString]) -> u8 {
    if let Some(args) = pg_archivecleanup::asked_for(args) {
        return pg_archivecleanup::main(args.iter().cloned(), &mut io::stdout(), &mut io::stderr());
    }
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            // Help and version are answers; everything else is wrong usage.
            return if error.use_stderr() { Status::Usage.code() } else { Status::Good.code() };
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Status::Usage.code();
        }
    };
    match cli.command {
        Command::Dump(args) => common::conclude(dump::run(&args)).code(),
        Command::Find(args) => common::conclude(find::run(&args)).code(),
        Command::Timelines(args) => common::conclude(timelines::run(&args)).code(),
        Command::Index(args) => common::conclude(index::run(&args)).code(),
        Command::Resolve(args) => common::conclude(resolve::run(&args)).code(),
        Command::Cleanup(args) => common::conclude(cleanup::run(&args)).code(),
        Command::Ack(args) => common::conclude(ack::run(&args)).code(),
        Command::Completions(args) => common::conclude(generate::completions(&args, Cli::command())).code(),
        Command::Man(args) => common::conclude(generate::manual(&args, Cli::command())).code(),
        Command::Verify(args) => common::conclude(verify::run(&args)).code(),
        // Taken by name before the options are read.
        Command::PgArchivecleanup { .. } => Status::Usage.code(),
    }
}
