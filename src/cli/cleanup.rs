//! `walproof cleanup`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{all_backups, read_library};
use crate::archive::{Archive, local_path};
use crate::audit;
use crate::backup::{self, BaseBackup, Discovered, Problem, ProblemKind};
use crate::clock::{self, Clock, Reading};
use crate::report::cleanup::{Outcome, ReadAs, answer, render};
use crate::report::json::Document;
use crate::retention::baseline::{Accepted, Baseline};
use crate::retention::execute::{ExecuteError, Lock, execute, obstacle};
use crate::retention::{Policy, baseline, propose, prove};
use crate::wal::{PgTime, SystemId, WalFileName};
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

/// What the options ask for.
struct Asked {
    policy: Policy,
    now: PgTime,
    read_as: ReadAs,
}

fn asked(args: &CleanupArgs, clock: &Clock) -> Result<Asked, CommandError> {
    let read = |text: &String| clock.read(text).map_err(|error| CommandError::Usage(error.to_string()));
    let given = args.now.as_ref().map(read).transpose()?;
    let now = given.as_ref().map_or_else(clock::now, |reading| reading.time);
    let days_ago = |days: u32| PgTime(now.0.saturating_sub(i64::from(days).saturating_mul(DAY_MICROS)));
    let retention = &args.retention;
    let since = retention.keep_since.as_ref().map(read).transpose()?;
    let keep_backups = retention.keep_backups.and_then(|count| usize::try_from(count).ok());
    let policy = Policy {
        keep_backups,
        since: since.as_ref().map(|since| since.time).or(retention.keep_days.map(days_ago)),
        oldest_kept: retention.oldest_kept,
        backups_since: args.backup_days.map(days_ago),
        prune_timelines: args.prune_timelines,
        clean_history: args.clean_history,
        named: BTreeSet::new(),
    };
    let words = |reading: Option<Reading>| reading.map(|reading| reading.read_as);
    Ok(Asked { policy, now, read_as: ReadAs { keep_since: words(since), now: words(given) } })
}

/// The trash: where the archive is a directory, another directory of this machine.
fn trash(given: Option<&Path>, archive: &Archive) -> Result<Option<PathBuf>, CommandError> {
    let Some(given) = given else { return Ok(None) };
    if given.as_os_str().is_empty() {
        return Err(CommandError::Usage("--trash names no directory".to_owned()));
    }
    let Some(text) = given.to_str().filter(|_| archive.store().local_root().is_some()) else {
        return Ok(Some(given.to_owned()));
    };
    let path = local_path(text).map_err(|error| CommandError::Usage(format!("--trash {error}")))?;
    path.map(Some).ok_or_else(|| {
        let why = "the archive is a directory of this machine, and so must be the trash";
        CommandError::Usage(format!("--trash {text}: {why}"))
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
    let Asked { mut policy, now, read_as } = asked(args, &clock)?;
    let archive = common.open()?;
    let trash = trash(args.trash.as_deref(), &archive)?;
    // From before the archive is read until the last file is gone.
    let lock = args.execute.then(|| Lock::take(&archive)).transpose()?;
    let options = CommonArgs::options(&clock);
    let mut listing = audit::plan(&archive, &options)?;
    let found = backup::discover(&archive, &listing.inventory);
    let not_understood = not_understood(&found.problems);
    // Those that were named by --backup, by themselves: they are kept whatever happens.
    let named = all_backups(common, &Discovered { backups: Vec::new(), problems: found.problems })?;
    let mut backups = backup::merge(named.iter().cloned().chain(found.backups).collect());
    for backup in &mut backups {
        backup.permanent |= backup.kept_until.is_some_and(|until| until > now);
    }
    policy.named = places_of(&named, &backups);
    listing.backups.clone_from(&backups);
    // What is removed for good is judged by what stands there now, not by what was read once.
    let mut library = read_library(common, &archive, &listing, &options, None)?;
    library.read_partials(&options)?;
    let mut audit = audit::judge(&listing, &audit::join(&listing, library.every_file()), &options);
    let baseline = args.baseline.as_deref();
    baseline::acknowledge(&mut audit, &super::ack::baseline(baseline, &archive)?);
    let mut proposal = propose(&library, &backups, &policy, &audit.findings, &options)?;
    if let Some(reason) = not_understood.or_else(|| foreign(&named, library.system_id)) {
        proposal = proposal.refuse(&library, reason);
    }
    if proposal.refused.is_none()
        && let Some(reason) = obstacle(&archive, &proposal.cleanup, trash.as_deref())?
    {
        proposal = proposal.refuse(&library, reason);
    }
    let done = match lock.filter(|_| proposal.refused.is_none()) {
        Some(lock) => {
            note_losses(proposal.losses(&library, clock::now()), baseline, &archive)?;
            Some(execute(&archive, &proposal.cleanup, trash.as_deref(), &lock))
        }
        None => None,
    };
    if let Some(done) = done.as_ref().filter(|done| done.failure.is_some()) {
        let gone = proposal.cleanup.only(&done.gone);
        proposal.after = prove::windows_after(&library, &backups, &gone)?;
    }
    let outcome = Outcome {
        cleanup: &proposal.cleanup,
        before: &proposal.before,
        after: &proposal.after,
        refused: proposal.refused.as_deref(),
        done: done.as_ref(),
        trash: trash.as_deref(),
        read_as: &read_as,
        findings: &audit.findings,
        gaps: &proposal.gaps,
    };
    give(args, &archive, &outcome, (&backups, &clock))?;
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

/// A backup that a person named, and that is none of this archive's: what that person wants kept is not what would be.
fn foreign(named: &[BaseBackup], own: SystemId) -> Option<String> {
    let (backup, id) = named.iter().find_map(|backup| {
        let id = backup.system_identifier.filter(|id| *id != own)?;
        Some((backup, id))
    })?;
    Some(format!(
        "backup {} (start {}), which --backup names, is of another cluster: its system identifier is {id}, that of the \
         newest WAL is {own}. Nothing is kept for it here: leave it out, or name the archive of its cluster",
        backup.label, backup.start_lsn
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
    outcome: &Outcome<'_>,
    (backups, clock): (&[BaseBackup], &Clock),
) -> Result<(), CommandError> {
    let answer = answer(outcome, backups, clock);
    match args.common.format {
        Format::Text => common::answer(&render(&answer, archive.location(), args.common.palette())),
        Format::Json => common::document(&Document::new("cleanup", archive.location(), answer)),
    }
}
