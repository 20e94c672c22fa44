//! `walproof verify`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::Reading;
use crate::audit::{Options, Unread};
use crate::clock;
use crate::report::json::Document;
use crate::report::text::counted;
use crate::report::verify;
use crate::retention::baseline;
use crate::wal::{TimelineId, WalFileName};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

/// What `verify` takes.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Read only what is new since the last run
    #[arg(long)]
    incremental: bool,
    /// Nothing before this WAL file
    #[arg(long, value_name = "WALFILE", value_parser = wal_file)]
    from: Option<WalFileName>,
    /// Nothing behind this WAL file
    #[arg(long, value_name = "WALFILE", value_parser = wal_file)]
    to: Option<WalFileName>,
    /// Only this timeline
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// Warn if the newest WAL is older than this (90s, 5m, 26h, 1d)
    #[arg(long, value_name = "DURATION", value_parser = clock::parse_duration)]
    max_age: Option<std::time::Duration>,
    /// Known losses (default: what `walproof ack` recorded for this archive)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

fn wal_file(text: &str) -> Result<WalFileName, String> {
    WalFileName::parse(text)
        .filter(|name| !matches!(name, WalFileName::History(_)))
        .ok_or_else(|| format!("\"{text}\" is not the name of a WAL segment, like 000000010000000000000042"))
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let clock = common.clock()?;
    if args.incremental && common.no_catalog {
        let message = "--incremental goes by the catalog: --no-catalog cannot be given with it";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let options = Options {
        timeline: args.timeline.map(TimelineId),
        from: args.from,
        to: args.to,
        max_age: args.max_age.map(|age| (age, clock::now())),
        clock: clock.clone(),
        unread: Unread::IsTold,
        ..Options::default()
    };
    let begun = Instant::now();
    // Offline it tells again what the last runs have found.
    let mut reading = if args.incremental || common.offline {
        Reading::open(common, &options)?
    } else {
        Reading::with(common, &options, None)?
    };
    reading.add_given_backups(common)?;
    let mut audit = reading.audit(common, &options)?;
    reading.distrust(common, &audit);
    let (as_of, as_of_line) = (reading.as_of(&clock), reading.as_of_line(&clock));
    let archive = reading.archive;
    baseline::acknowledge(&mut audit, &super::ack::baseline(args.baseline.as_deref(), &archive)?);
    let took = begun.elapsed();
    match common.format {
        Format::Text => {
            let text = verify::render(&audit, archive.location(), took, &clock, common.palette());
            common::answer(&(text + &as_of_line))?;
        }
        Format::Json => {
            let answer = verify::answer(&audit, took, &clock);
            let document = Document::new("verify", archive.location(), answer).as_of(as_of);
            let text = document.render().map_err(|error| CommandError::Failed(error.to_string()))?;
            common::answer(&text)?;
        }
    }
    if let [first, others @ ..] = audit.unread.as_slice() {
        let more = if others.is_empty() {
            String::new()
        } else {
            format!(", and {} more", counted(others.len() as u64, "file"))
        };
        return Err(CommandError::Failed(format!("{first}{more}: nothing is known of what was left unread")));
    }
    Ok(if audit.is_damaged() { Status::Bad } else { Status::Good })
}
