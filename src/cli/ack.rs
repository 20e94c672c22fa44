//! `walproof ack`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use crate::archive::Archive;
use crate::clock::{self, Clock};
use crate::report::json::Document;
use crate::report::printable;
use crate::retention::baseline::{Accepted, Baseline, BaselineError};
use crate::retention::places;
use crate::wal::{SegmentName, WalFileName};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `ack` takes.
#[derive(Debug, Args)]
pub(super) struct AckArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The file whose loss or damage is accepted, as findings name it. Of a gap: its first segment; the gap is accepted
    /// as far as it goes now
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
    let path = place(args.baseline.as_deref(), &archive)?;
    let mut known = Baseline::load(&path)?;
    known.accept(Accepted {
        segment: args.segment.clone(),
        reason: args.reason.clone(),
        accepted_at: Clock::utc().iso(clock::now()),
        through: end_of_gap(&archive, &args.segment)?,
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

/// Of a segment that is not there: a name just in front of the next one that is, so that a gap that grows is news.
fn end_of_gap(archive: &Archive, segment: &str) -> Result<Option<String>, CommandError> {
    let Some(WalFileName::Segment(lost)) = WalFileName::parse(segment) else { return Ok(None) };
    let present: BTreeSet<SegmentName> = archive
        .inventory()?
        .entries
        .iter()
        .filter_map(|entry| match entry.name {
            WalFileName::Segment(name) => Some(name),
            _ => None,
        })
        .collect();
    if present.contains(&lost) {
        return Ok(None);
    }
    let next = present.range(lost..).next().filter(|next| next.timeline == lost.timeline);
    // Names are compared, whatever the size of segments: it need not be the name of one.
    Ok(next.map(|next| match next.segment.checked_sub(1) {
        Some(segment) => SegmentName { segment, ..*next }.to_string(),
        None => SegmentName { log: next.log.saturating_sub(1), segment: u32::MAX, ..*next }.to_string(),
    }))
}

/// Where the baseline of `archive` is.
pub(super) fn place(given: Option<&Path>, archive: &Archive) -> Result<PathBuf, CommandError> {
    place_if_any(given, archive).ok_or_else(|| {
        CommandError::Failed("neither XDG_STATE_HOME nor HOME is set: name a file with --baseline".to_owned())
    })
}

fn place_if_any(given: Option<&Path>, archive: &Archive) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| places::of_archive(archive, "baseline.json"))
}

/// What was accepted for `archive`: by the file given, which must be there, else by the default one.
pub(super) fn baseline(given: Option<&Path>, archive: &Archive) -> Result<Baseline, CommandError> {
    if let Some(missing) = given.filter(|path| !path.exists()) {
        return Err(CommandError::Failed(format!("there is no baseline {}", missing.display())));
    }
    Ok(place_if_any(given, archive).map(|path| Baseline::load(&path)).transpose()?.unwrap_or_default())
}
