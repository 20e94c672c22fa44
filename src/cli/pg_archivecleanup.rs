//! `walproof pg_archivecleanup`: PostgreSQL 17's program of that name, for scripts and `archive_cleanup_command`.
//!
//! Options, exit statuses, messages and what is removed are the program's own, hazards included; see
//! [`crate::retention::archivecleanup`]. Only the text of `--help` is ours, and `--version` says whose it is.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the directory could not be read, or a file not removed: it stopped there |
//! | 2 | wrong usage, a boundary that is no WAL file's name, or no such directory |

use super::getopt::{Arguments, Given, Known};
use super::pg_log::{Colors, Kind, Log};
use crate::retention::archivecleanup::{CleanupError, OldestKept, Rules, run};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The program's name, also when walproof is called by it.
pub const NAME: &str = "pg_archivecleanup";

/// The version of PostgreSQL whose program this equals.
const POSTGRESQL: &str = "17.10";

const OPTIONS: [Known; 4] = [
    Known { letter: b'b', name: "clean-backup-history", takes_argument: false },
    Known { letter: b'd', name: "debug", takes_argument: false },
    Known { letter: b'n', name: "dry-run", takes_argument: false },
    Known { letter: b'x', name: "strip-extension", takes_argument: true },
];

const HELP: &str = "\
pg_archivecleanup removes WAL files older than a given one from a PostgreSQL archive.

Usage:
  pg_archivecleanup [OPTION]... ARCHIVELOCATION OLDESTKEPTWALFILE

Options:
  -b, --clean-backup-history  remove backup history files too
  -d, --debug                 say on standard error what is done
  -n, --dry-run               remove nothing, print the files that would be removed
  -V, --version               print the version, then exit
  -x, --strip-extension=EXT   take EXT off the end of names before judging them
  -?, --help                  print this help, then exit

In postgresql.conf of a standby that has this archive for itself:
  archive_cleanup_command = 'pg_archivecleanup ARCHIVELOCATION %r'

Timelines and base backups are not looked at. To keep what backups need: walproof cleanup
";

/// Why the program ends early, each with its exit status.
enum Stop {
    /// `getopt_long` complained.
    Option(Vec<u8>),
    /// Wrong usage, with a pointer to the help.
    Usage(&'static str),
    /// There is no such directory.
    Location(Vec<u8>),
    /// The work could not be finished.
    Cleanup(CleanupError),
    /// Whoever read standard output went away.
    ClosedPipe,
}

/// What the command line asks for.
#[derive(Default)]
struct Request {
    backup_history: bool,
    debug: bool,
    dry_run: bool,
    extension: Option<OsString>,
    operands: Vec<OsString>,
}

/// The program's arguments, its name first, if walproof's own arguments `args` ask for it: by the name that
/// walproof is called by, or by the command's.
pub fn asked_for(args: &[OsString]) -> Option<&[OsString]> {
    let (called, rest) = args.split_first()?;
    if Path::new(called).file_name() == Some(OsStr::new(NAME)) {
        return Some(args);
    }
    (rest.first()? == NAME).then_some(rest)
}

/// Runs the program and answers its exit status. `args` begins with the program's name, as `argv` does;
/// messages carry that name.
///
/// A failure to write is not an error of the run, as it is not for PostgreSQL's program; but a dry run stops
/// when its output is no longer read, with the status that a shell gives to the program then.
pub fn main(args: impl Iterator<Item = OsString>, out: &mut impl Write, err: &mut impl Write) -> u8 {
    let args: Vec<OsString> = args.collect();
    let called = args.first().map_or_else(|| OsStr::new(NAME), OsString::as_os_str);
    let program = called.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut out = BufWriter::new(out);
    let answer = match args.get(1).map(|first| first.as_bytes()) {
        Some(b"--help" | b"-?") => Some(HELP.to_owned()),
        Some(b"--version" | b"-V") => {
            let ours = concat!("walproof ", env!("CARGO_PKG_VERSION"));
            Some(format!("{NAME} (PostgreSQL) {POSTGRESQL} ({ours})\n"))
        }
        _ => None,
    };
    if let Some(answer) = answer {
        let _ = out.write_all(answer.as_bytes()).and_then(|()| out.flush());
        return 0;
    }
    let mut log = Log { program, colors: Colors::from_environment(), to: err };
    let result = parse(args.iter().skip(1).cloned()).and_then(|request| act(&request, &mut out, &mut log));
    let _ = out.flush();
    match result {
        Ok(()) => 0,
        Err(stop) => explain(&stop, called, &mut log),
    }
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, Stop> {
    let mut request = Request::default();
    let posixly_correct = env::var_os("POSIXLY_CORRECT").is_some();
    for given in Arguments::new(&OPTIONS, args, posixly_correct) {
        match given.map_err(Stop::Option)? {
            Given::Option(b'b', _) => request.backup_history = true,
            Given::Option(b'd', _) => request.debug = true,
            Given::Option(b'n', _) => request.dry_run = true,
            Given::Option(_, extension) => request.extension = extension,
            Given::Operand(operand) => request.operands.push(operand),
        }
    }
    Ok(request)
}

fn act(request: &Request, out: &mut impl Write, log: &mut Log<'_, impl Write>) -> Result<(), Stop> {
    let (location, oldest_kept) = match request.operands.as_slice() {
        [] => return Err(Stop::Usage("must specify archive location")),
        [_] => return Err(Stop::Usage("must specify oldest kept WAL file")),
        [location, oldest_kept] => (location, oldest_kept),
        _ => return Err(Stop::Usage("too many command-line arguments")),
    };
    if !fs::metadata(location).is_ok_and(|found| found.is_dir()) {
        return Err(Stop::Location(location.as_bytes().to_vec()));
    }
    let extension = request.extension.as_deref().map(OsStr::as_bytes);
    let oldest_kept = OldestKept::parse(oldest_kept.as_bytes(), extension)
        .ok_or(Stop::Usage("invalid file name argument"))?;
    if request.debug {
        let path = [location.as_bytes(), b"/", oldest_kept.as_str().as_bytes()].concat();
        log.say(Kind::Debug, &[b"keeping WAL file ", quoted(&path).as_slice(), b" and later"].concat());
    }
    let rules = Rules { oldest_kept, extension, backup_history: request.backup_history };
    let mut closed = false;
    let mut each = |path: &Path| {
        closed = !announce(path, request, out, log);
        if closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    run(Path::new(location), &rules, request.dry_run, &mut each).map_err(Stop::Cleanup)?;
    closed = closed || out.flush().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
    if closed { Err(Stop::ClosedPipe) } else { Ok(()) }
}

/// Tells what happens to `path`: with `-n` on standard output, with `-d` on standard error. `false` once nobody
/// reads standard output.
fn announce(path: &Path, request: &Request, out: &mut impl Write, log: &mut Log<'_, impl Write>) -> bool {
    let path = path.as_os_str().as_bytes();
    let mut written = Ok(());
    if request.dry_run {
        written = out.write_all(&[path, b"\n"].concat());
    }
    if request.debug {
        written = written.and_then(|()| out.flush());
        let message = if request.dry_run {
            [b"file ", quoted(path).as_slice(), b" would be removed"].concat()
        } else {
            [b"removing file ", quoted(path).as_slice()].concat()
        };
        log.say(Kind::Debug, &message);
    }
    !written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Says why the program stops, and answers its exit status.
fn explain(stop: &Stop, called: &OsStr, log: &mut Log<'_, impl Write>) -> u8 {
    match stop {
        Stop::Option(complaint) => {
            log.raw(&[called.as_bytes(), b": ", complaint, b"\n"].concat());
            hint(log);
            2
        }
        Stop::Usage(message) => {
            log.say(Kind::Error, message.as_bytes());
            hint(log);
            2
        }
        Stop::Location(location) => {
            let message = [b"archive location ", quoted(location).as_slice(), b" does not exist"].concat();
            log.say(Kind::Error, &message);
            2
        }
        Stop::Cleanup(error) => {
            let (what, path, source) = match error {
                CleanupError::Open { path, source } => ("could not open archive location ", path, source),
                CleanupError::Read { path, source } => ("could not read archive location ", path, source),
                CleanupError::Remove { path, source } => ("could not remove file ", path, source),
            };
            let path = quoted(path.as_os_str().as_bytes());
            let reason = system_message(source);
            log.say(Kind::Error, &[what.as_bytes(), &path, b": ", reason.as_bytes()].concat());
            1
        }
        Stop::ClosedPipe => 128 + 13,
    }
}

fn hint(log: &mut Log<'_, impl Write>) {
    let message = [b"Try \"", log.program, b" --help\" for more information."].concat();
    log.say(Kind::Hint, &message);
}

fn quoted(path: &[u8]) -> Vec<u8> {
    [b"\"", path, b"\""].concat()
}

/// The system's own words: Rust adds the number behind them.
fn system_message(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|code| format!(" (os error {code})"));
    number.and_then(|number| text.strip_suffix(&number).map(str::to_owned)).unwrap_or(text)
}
