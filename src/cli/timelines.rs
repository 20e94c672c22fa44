//! `walproof timelines`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{Reading, warn_of_foreign};
use crate::audit;
use crate::recovery::windows::windows;
use crate::report::json::Document;
use crate::report::timelines;
use crate::retention::baseline;
use clap::Args;
use std::path::PathBuf;

/// What `timelines` takes.
#[derive(Debug, Args)]
pub(super) struct TimelinesArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Known losses (default: what `walproof ack` recorded for this archive)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &TimelinesArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let clock = common.clock()?;
    let options = CommonArgs::options(&clock);
    let reading = Reading::open(common, &options)?;
    let backups = reading.backups(common)?;
    let library = reading.library(common, &options)?;
    warn_of_foreign(common, &library, &backups);
    let (archive, plan) = (&reading.archive, &reading.plan);
    let windows = windows(&library, &backups, library.major)?;
    let survey = audit::join(plan, library.every_file());
    let mut audit = audit::judge(plan, &survey, &options);
    baseline::acknowledge(&mut audit, &super::ack::baseline(args.baseline.as_deref(), archive)?);
    let answer = timelines::answer(&audit, &windows, &backups, &clock);
    match common.format {
        Format::Text => {
            let archive = timelines::Asked { location: archive.location(), given: &common.as_given() };
            let text = timelines::render(&audit, &windows, &backups, archive, &clock, common.palette());
            common::answer(&(text + &reading.as_of_line(&clock)))?;
        }
        Format::Json => {
            let document = Document::new("timelines", archive.location(), &answer);
            common::document(&document.as_of(reading.as_of(&clock)))?;
        }
    }
    Ok(if audit.is_damaged() { Status::Bad } else { Status::Good })
}
