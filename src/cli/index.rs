//! `walproof index`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{Reading, no_place};
use crate::audit::{self, Options};
use crate::catalog::{self, Catalog, Keeper, Tally};
use crate::report::index::{self, IndexAnswer};
use crate::report::json::Document;
use crate::retention::baseline;
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

/// What `index` takes.
#[derive(Debug, Args)]
// Catalogs are merged without an archive.
#[command(mut_arg("archive", |archive| archive.required(false).default_value("").hide_default_value(true)))]
pub(super) struct IndexArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Begin anew: forget what the catalog holds
    #[arg(long, conflicts_with = "merge")]
    rebuild: bool,
    /// Write into one catalog what several catalogs of parts of one archive hold
    #[arg(long, value_name = "CATALOG", num_args = 1.., requires = "output", conflicts_with_all = ["archive", "catalog"])]
    merge: Vec<PathBuf>,
    /// The catalog that --merge writes; what it held before is gone
    #[arg(short, long, value_name = "CATALOG", requires = "merge")]
    output: Option<PathBuf>,
    /// Known losses (default: what `walproof ack` recorded for this archive)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &IndexArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let options = Options { clock: common.clock()?, ..Options::default() };
    let begun = Instant::now();
    if let (false, Some(output)) = (args.merge.is_empty(), &args.output) {
        if args.merge.contains(output) {
            return Err(CommandError::Usage("--output names one of the catalogs to be merged".to_owned()));
        }
        let merged = catalog::merge(&args.merge, output)?;
        let location = merged.location()?.unwrap_or_default();
        let reading = Reading::offline(&location, merged, &options)?;
        return conclude(args, reading, &options, begun);
    }
    if common.archive.is_empty() {
        return Err(CommandError::Usage("which archive? Give a directory, a pg_wal.tar or a URL".to_owned()));
    }
    if common.no_catalog || common.offline {
        let message = "index writes the catalog: neither --no-catalog nor --offline can be given";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let path = common.catalog_path().ok_or_else(no_place)?;
    // What can be wrong with the archive is said before a catalog is made or emptied.
    common.open()?;
    let catalog = if args.rebuild { Catalog::rebuild(&path) } else { Catalog::open(&path) };
    let reading = Reading::with(common, &options, Some(Keeper::new(catalog?)?))?;
    conclude(args, reading, &options, begun)
}

/// Reads what is to be read and says what the catalog holds then.
fn conclude(
    args: &IndexArgs,
    reading: Reading,
    options: &Options,
    begun: Instant,
) -> Result<Status, CommandError> {
    let common = &args.common;
    let survey = reading.survey(common, options)?;
    let mut audit = audit::judge(&reading.plan, &survey, options);
    let tally = if reading.is_offline() {
        Tally { reused: reading.plan.entries.len() as u64, ..Tally::default() }
    } else {
        // An index that lacks something is no index.
        reading.backups(common)?;
        let tally = reading.remember()?;
        reading.keep_places(options, audit.segments.into())?;
        tally
    };
    baseline::acknowledge(&mut audit, &super::ack::baseline(args.baseline.as_deref(), &reading.archive)?);
    let location = reading.archive.location().to_owned();
    let total = reading.plan.entries.len() as u64;
    let catalog = reading.into_catalog().ok_or_else(no_place)?;
    let answer = IndexAnswer::new(&catalog, total, tally, &audit, &survey, begun.elapsed())?;
    match common.format {
        Format::Text => common::answer(&index::render(&answer, &location, common.palette()))?,
        Format::Json => {
            let document = Document::new("index", &location, &answer);
            common::answer(&document.render().map_err(|error| CommandError::Failed(error.to_string()))?)?;
        }
    }
    Ok(if audit.is_damaged() { Status::Bad } else { Status::Good })
}
