//! The `walproof` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(walproof::cli::run(&std::env::args_os().collect::<Vec<_>>()))
}
