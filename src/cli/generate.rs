//! `walproof completions` and `walproof man`: what belongs beside an installed program.

use super::Status;
use super::common::{CommandError, answer};
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// What `completions` takes.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Prints a completion script for a shell.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Status, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "walproof", &mut script);
    answer(&String::from_utf8_lossy(&script)).map(|()| Status::Good)
}

/// What `man` takes.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory that the pages are written to (/usr/local/share/man/man1)
    directory: PathBuf,
}

/// Writes the manual pages: `walproof.1`, and one for each command.
pub(super) fn manual(args: &ManArgs, command: Command) -> Result<Status, CommandError> {
    let directory = &args.directory;
    clap_mangen::generate_to(command, directory).map(|()| Status::Good).map_err(|error| {
        CommandError::Failed(format!("cannot write the manual to {}: {error}", directory.display()))
    })
}
