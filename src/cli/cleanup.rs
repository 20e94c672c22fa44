//! `walproof cleanup`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{all_backups, read_library};
use crate::archive::Archive;
use crate::audit;
use crate::backup::{self, BaseBackup, Discovered, Problem, ProblemKind};
use crate::clock::{self, Clock};
use crate::finding::Finding;
use crate::report::cleanup::{Outcome, answer, render};
use crate::report::json::Document;
use crate::retention::baseline::{Accepted, Baseline};
use crate::retention::execute::{Done, ExecuteError, Lock, execute, kept_by_store, outside};
use crate::retention::{Policy, Proposal, baseline, propose, prove};
use crate::wal::{PgTime, WalFileName};
use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `cleanup` takes.
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Backups older than this many days no longer keep the WAL of their own time (the backups themselves are never
    /// removed), those named by --backup as well. Without it every known backup keeps it, or with --keep-backups alone
    /// those N and those named
    #[arg(long, value_name = "D")]
    backup_days: Option<u32>,
    /// Remove WAL of timelines that no kept backup can reach, and parents' WAL behind the last fork; the newest timeline
    /// always stays, and so do all timeline histories
    #[arg(long)]
    prune_timelines: bool,
    /// Remove backup history files (.backup) of backups that are not kept
    #[arg(long)]
    clean_history: bool,
    /// Count days back from this time (default: now)
    #[arg(long, value_name = "T")]
    now: Option<String>,
    /// Do it. Without this the plan is shown and nothing is removed
    #[arg(long)]
    execute: bool,
    /// With --execute: move files there instead of deleting them. A directory, or for a bucket another folder of it
    #[arg(long, value_name = "DIR")]
    trash: Option<PathBuf>,
    /// Known losses (default: what `walproof ack` recorded for this archive)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// What must stay. At least one is needed; all that are given hold.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct RetentionArgs {
    /// Keep all WAL from the start of the Nth last backup on, and whatever leads to the end of the newest timeline.
    /// Backups that are kept for ever, or cannot be recovered from, do not count; nor do those known by a .backup file
    /// only, where a tool's catalog or --backup tells of N others
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_backups: Option<u32>,
    /// Keep every target of the last D days reachable: all WAL from the last backup before that time on
    #[arg(long, value_name = "D", conflicts_with = "keep_since")]
    keep_days: Option<u32>,
    /// The same, since this time
    #[arg(long, value_name = "T")]
    keep_since: Option<String>,
    /// Keep this WAL file, which must be in the archive, and all WAL behind it on every timeline
    #[arg(long, value_name = "WALFILE", value_parser = wal_file)]
    oldest_kept: Option<WalFileName>,
}

fn wal_file(text: &str) -> Result<WalFileName, String> {
    WalFileName::parse(text)
        .filter(|name| !matches!(name, WalFileName::History(_)))
        .ok_or_else(|| format!("\"{text}\" is not the name of a WAL segment, like 000000010000000000000042"))
}

impl From<ExecuteError> for CommandError {
    fn from(error: ExecuteError) -> Self {
        Self::Failed(error.to_string())
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

fn policy(args: &CleanupArgs, clock: &Clock) -> Result<Policy, CommandError> {
    let read = |text: &String| {
        clock.read(text).map(|reading| reading.time).map_err(|error| CommandError::Usage(error.to_string()))
    };
    let now = args.now.as_ref().map(read).transpose()?.unwrap_or_else(clock::now);
    let days_ago = |days: u32| PgTime(now.0.saturating_sub(i64::from(days).saturating_mul(DAY_MICROS)));
    let retention = &args.retention;
    let since = retention.keep_since.as_ref().map(read).transpose()?;
    let keep_backups = retention.keep_backups.and_then(|count| usize::try_from(count).ok());
    Ok(Policy {
        keep_backups,
        since: since.or(retention.keep_days.map(days_ago)),
        oldest_kept: retention.oldest_kept,
        backups_since: args.backup_days.map(days_ago),
        prune_timelines: args.prune_timelines,
        clean_history: args.clean_history,
        named: BTreeSet::new(),
    })
}

/// Runs the command.
pub(super) fn run(args: &CleanupArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    if common.offline {
        let message = "cleanup goes by what stands in the archive now: --offline cannot be given with it";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let clock = common.clock()?;
    let mut policy = policy(args, &clock)?;
    let archive = common.open()?;
    // From before the archive is read until the last file is gone.
    let lock = args.execute.then(|| Lock::take(&archive)).transpose()?;
    let options = CommonArgs::options(&clock);
    let mut listing = audit::plan(&archive, &options)?;
    let found = backup::discover(&archive, &listing.inventory);
    let not_understood = not_understood(&found.problems);
    // Those that were named by --backup, by themselves: they are kept whatever happens.
    let named = all_backups(common, &Discovered { backups: Vec::new(), problems: found.problems })?;
    let backups = backup::merge(named.iter().cloned().chain(found.backups).collect());
    policy.named = places_of(&named, &backups);
    listing.backups.clone_from(&backups);
    // What is removed for good is judged by what stands there now, not by what was read once.
    let mut library = read_library(common, &archive, &listing, &options, None)?;
    library.read_partials(&options)?;
    let mut audit = audit::judge(&listing, &audit::join(&listing, library.every_file()), &options);
    let baseline = args.baseline.as_deref();
    baseline::acknowledge(&mut audit, &super::ack::baseline(baseline, &archive)?);
    let mut proposal = propose(&library, &backups, &policy, &audit.findings, &options)?;
    if let Some(reason) = not_understood {
        proposal = proposal.refuse(&library, reason);
    }
    if proposal.refused.is_none()
        && args.trash.is_none()
        && let Some(reason) = kept_by_store(&archive, &proposal.cleanup)?
    {
        proposal = proposal.refuse(&library, reason);
    }
    // Execution looks at that itself.
    if proposal.refused.is_none()
        && !args.execute
        && let Some(trash) = &args.trash
        && let Err(error) = outside(&archive, trash)
    {
        proposal = proposal.refuse(&library, error.to_string());
    }
    let done = match lock.filter(|_| proposal.refused.is_none()) {
        Some(lock) => {
            note_losses(proposal.losses(&library, clock::now()), baseline, &archive)?;
            Some(execute(&archive, &proposal.cleanup, args.trash.as_deref(), &lock))
        }
        None => None,
    };
    if let Some(done) = done.as_ref().filter(|done| done.failure.is_some()) {
        let gone = proposal.cleanup.only(&done.gone);
        proposal.after = prove::windows_after(&library, &backups, &gone)?;
    }
    give(args, &archive, &proposal, &audit.findings, done.as_ref(), (&backups, &clock))?;
    if let Some(failure) = done.and_then(|done| done.failure) {
        return Err(failure.into());
    }
    Ok(if proposal.refused.is_some() { Status::Bad } else { Status::Good })
}

/// Why nobody knows what is to be kept: a file in the archive tells of a backup, and cannot be understood. No policy may go
/// by the other backups alone then: that one may begin in front of them all.
fn not_understood(problems: &[Problem]) -> Option<String> {
    let mut damaged = problems.iter().filter(|problem| problem.kind == ProblemKind::Damaged);
    let Problem { path, message, .. } = damaged.next()?;
    let others = match damaged.count() {
        0 => String::new(),
        more => format!(" (and so do {more} more)"),
    };
    Some(format!(
        "{} tells of a backup and cannot be understood: {message}{others}. What that backup needs is not known: repair \
         the file, or remove it if its backup is gone",
        path.display()
    ))
}

/// Where each of `named` is among `backups`, which tell of more.
fn places_of(named: &[BaseBackup], backups: &[BaseBackup]) -> BTreeSet<usize> {
    let is_named = |backup: &BaseBackup| {
        named.iter().flat_map(|named| &named.sources).any(|source| backup.sources.contains(source))
    };
    (0..backups.len()).filter(|index| backups.get(*index).is_some_and(is_named)).collect()
}

/// Gaps that this run is about to make are known to later audits. Before it makes them: it may be killed.
fn note_losses(
    losses: Vec<Accepted>,
    baseline: Option<&Path>,
    archive: &Archive,
) -> Result<(), CommandError> {
    if losses.is_empty() {
        return Ok(());
    }
    let path = super::ack::place(baseline, archive)?;
    Baseline::update(&path, |known| losses.into_iter().for_each(|loss| known.accept(loss)))?;
    Ok(())
}

fn give(
    args: &CleanupArgs,
    archive: &Archive,
    proposal: &Proposal,
    findings: &[Finding],
    done: Option<&Done>,
    (backups, clock): (&[BaseBackup], &Clock),
) -> Result<(), CommandError> {
    let outcome = Outcome {
        cleanup: &proposal.cleanup,
        before: &proposal.before,
        after: &proposal.after,
        refused: proposal.refused.as_deref(),
        done,
        trash: args.trash.as_deref(),
        findings,
        gaps: &proposal.gaps,
    };
    let answer = answer(&outcome, backups, clock);
    match args.common.format {
        Format::Text => common::answer(&render(&answer, archive.location(), args.common.palette())),
        Format::Json => common::document(&Document::new("cleanup", archive.location(), answer)),
    }
}
