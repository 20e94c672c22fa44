//! Options that every command takes, and how every command ends.

use super::Status;
use crate::archive::{Archive, LayoutChoice, StoreError};
use crate::audit::{AuditError, Options, Progress};
use crate::clock::{Clock, UnknownZone};
use crate::report::json::Document;
use crate::report::printable;
use crate::report::text::{Palette, shell_word};
use crate::scan::Detail;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// How the answer is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON document on standard output
    Json,
}

/// When the progress bar is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ProgressChoice {
    /// On a terminal
    Auto,
    /// Never
    Never,
}

/// When colours are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// A directory (an archive, a pg_wal or pg_xlog), a pg_wal.tar, or a URL (file:///…, s3://bucket/prefix, gs://…, az://…)
    #[arg(value_name = "ARCHIVE")]
    pub(super) archive: String,
    /// Whose layout the archive has: auto, plain, wal-g, pgbackrest, barman, barman-cloud, pg_probackup, pg_rman, tar
    #[arg(long, default_value = "auto")]
    pub(super) layout: LayoutChoice,
    /// How the answer is given
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Where the index is kept (default: a file under the user's cache directory, one per archive)
    #[arg(long, value_name = "FILE", conflicts_with = "no_catalog")]
    pub(super) catalog: Option<PathBuf>,
    /// Keep nothing on disk
    #[arg(long)]
    pub(super) no_catalog: bool,
    /// Answer from the catalog alone: the archive is not touched
    #[arg(long, conflicts_with = "no_catalog")]
    pub(super) offline: bool,
    /// A base backup (repeatable): data directory, pg_basebackup directory, backup_manifest or backup_label
    #[arg(long, value_name = "PATH")]
    pub(super) backup: Vec<PathBuf>,
    /// Worker threads (default: all cores)
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) jobs: Option<u16>,
    /// Zone for reading bare times and for printing all
    // West of Greenwich offsets begin with a hyphen.
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true)]
    pub(super) timezone: String,
    /// A bar on standard error
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) progress: ProgressChoice,
    /// Colours
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) color: ColorChoice,
    /// More log lines on standard error (repeatable); WALPROOF_LOG takes a filter
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Fewer log lines
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The options make no sense.
    #[error("{0}")]
    Usage(String),
    /// The archive could not be looked at, or there is nothing in it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The archive could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something on this machine failed.
    #[error("{0}")]
    Failed(String),
    /// Nobody reads the answer any more.
    #[error("standard output was closed")]
    OutputClosed,
}

impl From<UnknownZone> for CommandError {
    fn from(error: UnknownZone) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Ends a command: says what went wrong on standard error.
pub(super) fn conclude(outcome: Result<Status, CommandError>) -> Status {
    let error = match outcome {
        Ok(status) => return status,
        // A pipe that nobody reads any more is no failure.
        Err(CommandError::OutputClosed) => return Status::Good,
        Err(error) => error,
    };
    let _ = writeln!(io::stderr(), "walproof: {}", printable(&error.to_string()));
    match error {
        CommandError::Usage(_) => Status::Usage,
        _ => Status::Failed,
    }
}

impl CommonArgs {
    /// Sets up logging and worker threads.
    pub(super) fn set_up(&self) -> Result<(), CommandError> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => "warn",
            (false, 1) => "info",
            (false, 2) => "debug",
            (false, _) => "trace",
        };
        let filter = match std::env::var("WALPROOF_LOG").ok().filter(|text| !text.is_empty()) {
            Some(text) => EnvFilter::try_new(&text)
                .map_err(|error| CommandError::Usage(format!("WALPROOF_LOG=\"{text}\": {error}")))?,
            None => EnvFilter::new(level),
        };
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(self.colored(io::stderr().is_terminal()))
            .with_writer(io::stderr)
            .without_time()
            .try_init();
        let threads = self.jobs.map_or(0, usize::from);
        let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        built.map_err(|error| CommandError::Failed(format!("cannot start worker threads: {error}")))
    }

    /// The zone for times.
    pub(super) fn clock(&self) -> Result<Clock, CommandError> {
        Ok(Clock::new(&self.timezone)?)
    }

    /// The options that another command about this archive needs, too, as words for a shell: in front of each stands a blank.
    pub(super) fn as_given(&self) -> String {
        let mut words = String::new();
        let mut add = |name: &str, value: &str| words.extend([" ", name, " ", &shell_word(value)]);
        if self.layout != LayoutChoice::Auto {
            add("--layout", &self.layout.to_string());
        }
        for path in &self.backup {
            add("--backup", &path.to_string_lossy());
        }
        if self.timezone != "UTC" {
            add("--timezone", &self.timezone);
        }
        if let Some(path) = &self.catalog {
            add("--catalog", &path.to_string_lossy());
        }
        words
    }

    /// The archive.
    pub(super) fn open(&self) -> Result<Archive, CommandError> {
        Ok(Archive::open(&self.archive, self.layout)?)
    }

    /// The options with which all of an archive is read for what recovery does.
    pub(super) fn options(clock: &Clock) -> Options {
        Options { clock: clock.clone(), detail: Detail::Ends, ..Options::default() }
    }

    /// Whether to write in colours to what is a terminal or is none.
    fn colored(&self, is_terminal: bool) -> bool {
        let refused = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !refused(),
        }
    }

    /// The colours for standard output.
    pub(super) fn palette(&self) -> Palette {
        Palette { colored: self.colored(io::stdout().is_terminal()) }
    }

    /// A bar that follows a scan, where one is wanted.
    pub(super) fn bar(&self) -> ProgressBar {
        let shown = self.progress == ProgressChoice::Auto && !self.quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} segments{msg}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar
    }
}

/// Shows how far a scan has come.
pub(super) fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.files_total);
    bar.set_position(progress.files);
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = (progress.bytes as f64 / seconds) as u64;
    bar.set_message(format!(
        ", {} at {}/s",
        crate::report::text::bytes(progress.bytes),
        crate::report::text::bytes(rate)
    ));
}

/// Writes a JSON document to standard output.
pub(super) fn document<T: serde::Serialize>(document: &Document<T>) -> Result<(), CommandError> {
    answer(&document.render().map_err(|error| CommandError::Failed(error.to_string()))?)
}

/// Writes the answer to standard output. Somebody who has read enough of it (`| head`) is no failure, and changes
/// neither what is still to be done nor how the command ends.
pub(super) fn answer(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::Failed(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}
