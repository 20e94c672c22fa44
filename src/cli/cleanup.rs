//! `walproof cleanup`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{all_backups, read_library};
use crate::archive::Archive;
use crate::audit;
use crate::backup::{self, BaseBackup};
use crate::clock::{self, Clock};
use crate::finding::Finding;
use crate::recovery::Library;
use crate::recovery::windows::{Window, windows};
use crate::report::cleanup::{Outcome, answer, render};
use crate::report::json::Document;
use crate::retention::execute::{ExecuteError, Lock, execute};
use crate::retention::{Cleanup, Policy, Ruled, baseline, choose, plan, prove};
use crate::wal::{PgTime, WalFileName};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What `cleanup` takes.
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Backups older than this many days are no longer protected (they themselves are never removed)
    #[arg(long, value_name = "D")]
    backup_days: Option<u32>,
    /// Remove timelines that no kept backup can reach
    #[arg(long)]
    prune_timelines: bool,
    /// Remove backup history files that no kept backup needs
    #[arg(long)]
    clean_history: bool,
    /// Reckon days from this time
    #[arg(long, value_name = "T")]
    now: Option<String>,
    /// Remove; without it the plan is shown only
    #[arg(long)]
    execute: bool,
    /// Move files there instead of removing them
    #[arg(long, value_name = "DIR")]
    trash: Option<PathBuf>,
    /// Known losses (default: what `walproof ack` recorded for this archive)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// What must stay. All that is given holds.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct RetentionArgs {
    /// Keep the last N backups and all WAL from the first of them on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_backups: Option<u32>,
    /// Keep every target of the last D days reachable
    #[arg(long, value_name = "D", conflicts_with = "keep_since")]
    keep_days: Option<u32>,
    /// Keep every target since this time reachable
    #[arg(long, value_name = "T")]
    keep_since: Option<String>,
    /// Keep this WAL file, which must be in the archive, and all behind it
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
    })
}

/// A plan with its proof.
struct Planned {
    cleanup: Cleanup,
    before: Vec<Window>,
    after: Vec<Window>,
    refused: Option<String>,
    findings: Vec<Finding>,
}

/// Runs the command.
pub(super) fn run(args: &CleanupArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let clock = common.clock()?;
    let policy = policy(args, &clock)?;
    let archive = common.open()?;
    // From before the archive is read until the last file is gone.
    let lock = args.execute.then(|| Lock::take(&archive)).transpose()?;
    let options = CommonArgs::options(&clock);
    let listing = audit::plan(&archive, &options)?;
    let backups = all_backups(common, &backup::discover(&archive, &listing.inventory))?;
    // What is removed for good is judged by what stands there now, not by what was read once.
    let library = read_library(common, &archive, &listing, &options, None)?;
    let mut audit = audit::judge(&listing, &audit::join(&listing, library.facts_in_order()), &options);
    baseline::acknowledge(&mut audit, &super::ack::baseline(args.baseline.as_deref(), &archive)?);
    let planned = prepare(&library, &backups, &policy, audit.findings, &clock)?;
    let executed = match (&lock, &planned.refused) {
        (Some(lock), None) => {
            execute(&archive, &planned.cleanup, args.trash.as_deref(), lock)?;
            true
        }
        _ => false,
    };
    give(args, &archive, &planned, executed, &backups, &clock)?;
    Ok(if planned.refused.is_some() { Status::Bad } else { Status::Good })
}

fn prepare(
    library: &Library<'_>,
    backups: &[BaseBackup],
    policy: &Policy,
    findings: Vec<Finding>,
    clock: &Clock,
) -> Result<Planned, CommandError> {
    let before = windows(library, backups, library.major)?;
    let chosen = match choose(library, backups, &before, policy, clock) {
        Ok(chosen) => chosen,
        Err(reason) => {
            let cleanup = Cleanup { remove: Vec::new(), keep: Vec::new(), dead: BTreeMap::new() };
            return Ok(refuse(library, cleanup, before, reason, findings));
        }
    };
    let cleanup = plan(library, backups, &chosen, policy);
    let after = prove::windows_after(library, backups, &cleanup)?;
    let objection = prove::objection(library, backups, &chosen, &cleanup, &before, &after, &findings);
    Ok(match objection {
        Some(reason) => refuse(library, cleanup, before, reason, findings),
        None => Planned { cleanup, before, after, refused: None, findings },
    })
}

/// Nothing goes, so everything is as before.
fn refuse(
    library: &Library<'_>,
    mut cleanup: Cleanup,
    before: Vec<Window>,
    reason: String,
    findings: Vec<Finding>,
) -> Planned {
    let entries = &library.plan.inventory.entries;
    let kept = |entry: &crate::archive::Entry| Ruled {
        entry: entry.clone(),
        reason: "nothing is removed: the cleanup is refused".to_owned(),
    };
    cleanup.keep = entries.iter().map(kept).collect();
    cleanup.remove.clear();
    Planned { cleanup, after: before.clone(), before, refused: Some(reason), findings }
}

fn give(
    args: &CleanupArgs,
    archive: &Archive,
    planned: &Planned,
    executed: bool,
    backups: &[BaseBackup],
    clock: &Clock,
) -> Result<(), CommandError> {
    let outcome = Outcome {
        cleanup: &planned.cleanup,
        before: &planned.before,
        after: &planned.after,
        refused: planned.refused.as_deref(),
        executed,
        findings: &planned.findings,
    };
    let answer = answer(&outcome, backups, clock);
    match args.common.format {
        Format::Text => common::answer(&render(&answer, archive.location(), args.common.palette())),
        Format::Json => common::document(&Document::new("cleanup", archive.location(), answer)),
    }
}
