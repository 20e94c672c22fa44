//! The `walproof` program.

use std::env;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use walproof::cli::pg_archivecleanup;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    if let Some(args) = pg_archivecleanup::asked_for(&args) {
        let status = pg_archivecleanup::main(args.iter().cloned(), &mut io::stdout(), &mut io::stderr());
        return ExitCode::from(status);
    }
    ExitCode::SUCCESS
}
