//! `walproof ack`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use crate::archive::Archive;
use crate::clock::{self, Clock};
use crate::report::json::Document;
use crate::report::printable;
use crate::retention::baseline::{Accepted, Baseline, BaselineError};
use crate::retention::places;
use crate::wal::WalFileName;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What `ack` takes.
#[derive(Debug, Args)]
pub(super) struct AckArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The file whose loss or damage is accepted, as findings name it
    #[arg(long, value_name = "NAME")]
    segment: String,
    /// Why it is accepted
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Where that is recorded (default: a file per archive under the user's state directory)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct AckAnswer<'a> {
    baseline: String,
    accepted: &'a [Accepted],
}

impl From<BaselineError> for CommandError {
    fn from(error: BaselineError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command.
pub(super) fn run(args: &AckArgs) -> Result<Status, CommandError> {
    args.common.set_up()?;
    if WalFileName::parse(&args.segment).is_none() {
        return Err(CommandError::Usage(format!(
            "\"{}\" is not the name of a WAL file, like 000000010000000000000042",
            args.segment
        )));
    }
    if args.reason.trim().is_empty() {
        return Err(CommandError::Usage("a reason is needed: somebody will ask".to_owned()));
    }
    let archive = args.common.open()?;
    let path = place(args.baseline.as_deref(), &archive).ok_or_else(|| {
        CommandError::Failed("neither XDG_STATE_HOME nor HOME is set: name a file with --baseline".to_owned())
    })?;
    let mut known = Baseline::load(&path)?;
    known.accept(Accepted {
        segment: args.segment.clone(),
        reason: args.reason.clone(),
        accepted_at: Clock::utc().iso(clock::now()),
        codes: Vec::new(),
    });
    known.save(&path)?;
    match args.common.format {
        Format::Text => {
            let shown = printable(&path.display().to_string());
            common::answer(&format!("{} is accepted as lost, recorded in {shown}\n", args.segment))?;
        }
        Format::Json => {
            let answer = AckAnswer { baseline: path.display().to_string(), accepted: &known.accepted };
            common::document(&Document::new("ack", archive.location(), answer))?;
        }
    }
    Ok(Status::Good)
}

fn place(given: Option<&Path>, archive: &Archive) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| places::of_archive(archive, "baseline.json"))
}

/// What was accepted for `archive`: by the file given, which must be there, else by the default one.
pub(super) fn baseline(given: Option<&Path>, archive: &Archive) -> Result<Baseline, CommandError> {
    if let Some(missing) = given.filter(|path| !path.exists()) {
        return Err(CommandError::Failed(format!("there is no baseline {}", missing.display())));
    }
    Ok(place(given, archive).map(|path| Baseline::load(&path)).transpose()?.unwrap_or_default())
}
