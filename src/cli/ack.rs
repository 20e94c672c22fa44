//! `walproof ack`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::Reading;
use crate::archive::Archive;
use crate::audit::{Audit, Options};
use crate::clock::{self, Clock};
use crate::finding::{Code, Finding, Severity};
use crate::report::json::Document;
use crate::report::printable;
use crate::retention::baseline::{Accepted, Baseline, BaselineError, digest_of, last_of, place_of};
use crate::retention::places;
use crate::wal::WalFileName;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `ack` takes.
#[derive(Debug, Args)]
pub(super) struct AckArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The file whose loss or damage is accepted, as findings name it. What is wrong with it now is accepted, a gap as far
    /// as it goes now
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
    let clock = args.common.clock()?;
    let options = Options { clock, ..Options::default() };
    let reading = Reading::open(&args.common, &options)?;
    let audit = reading.audit(&args.common, &options)?;
    let archive = reading.archive;
    let path = place(args.baseline.as_deref(), &archive)?;
    let accepted = accepted(args, &audit)?;
    let named = accepted.named();
    let known = Baseline::update(&path, |known| known.accept(accepted))?;
    match args.common.format {
        Format::Text => {
            let shown = printable(&path.display().to_string());
            common::answer(&format!("{named} is accepted as lost, recorded in {shown}\n"))?;
        }
        Format::Json => {
            let answer = AckAnswer { baseline: path.display().to_string(), accepted: &known.accepted };
            common::document(&Document::new("ack", archive.location(), answer))?;
        }
    }
    Ok(Status::Good)
}

/// What is wrong with the file now, or the gap that it is in: that is what is accepted, and nothing that comes later.
fn accepted(args: &AckArgs, audit: &Audit) -> Result<Accepted, CommandError> {
    let wanted = args.segment.as_str();
    let is_bad = |finding: &&Finding| finding.severity != Severity::Info;
    let in_gap = |finding: &&Finding| {
        let first = finding.segment.as_deref().unwrap_or_default();
        finding.code == Code::SegmentMissing && (first..=last_of(finding).unwrap_or(first)).contains(&wanted)
    };
    let gap = audit.findings.iter().filter(is_bad).find(in_gap);
    let segment = gap.and_then(|gap| gap.segment.clone()).unwrap_or_else(|| wanted.to_owned());
    let of_file = audit.findings.iter().filter(is_bad).filter(|f| f.segment.as_ref() == Some(&segment));
    let of_file: Vec<&Finding> = of_file.collect();
    if of_file.is_empty() {
        return Err(CommandError::Usage(format!(
            "nothing is wrong with {wanted}, so there is nothing to accept: name a file as `walproof verify` does"
        )));
    }
    let damage = of_file.iter().filter(|finding| finding.code != Code::SegmentMissing);
    let unique = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>();
    Ok(Accepted {
        segment,
        reason: args.reason.clone(),
        accepted_at: Clock::utc().iso(clock::now()),
        through: gap.and_then(last_of).map(ToOwned::to_owned),
        codes: unique(of_file.iter().map(|finding| finding.code.name().to_owned()).collect()),
        lsns: unique(of_file.iter().map(|finding| place_of(finding)).collect()),
        system_identifier: audit.system_id.map(|id| id.to_string()),
        digests: unique(damage.map(|finding| digest_of(finding)).collect()),
    })
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
