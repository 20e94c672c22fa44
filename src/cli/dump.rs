//! `walproof dump`.

use super::Status;
use super::common::{CommandError, CommonArgs, Format};
use crate::dump::{self, DumpError, Filter, Line, Outcome};
use crate::report::json::SCHEMA_VERSION;
use crate::wal::record::ResourceManager;
use crate::wal::{Lsn, TimelineId, Xid};
use clap::Args;
use std::io::{self, BufWriter, Write};

/// What `dump` takes.
#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Records that start at this position or later
    #[arg(long, value_name = "L")]
    from: Option<Lsn>,
    /// Records that end at this position or earlier
    #[arg(long, value_name = "L")]
    to: Option<Lsn>,
    /// Only records that this timeline owns
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// Only records of this resource manager, as pg_waldump names it (repeatable)
    #[arg(long, value_name = "R", value_parser = manager)]
    rmgr: Vec<ResourceManager>,
    /// Only records with this transaction in their header
    #[arg(long, value_name = "N")]
    xid: Option<u32>,
    /// Only so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// A resource manager by its name, in any case, or `custom###`.
fn manager(name: &str) -> Result<ResourceManager, String> {
    let lower = name.to_ascii_lowercase();
    let custom = lower.strip_prefix("custom").filter(|digits| digits.len() == 3);
    if let Some(id) = custom.and_then(|digits| digits.parse().ok()).filter(|id: &u8| *id >= 128) {
        return Ok(ResourceManager(id));
    }
    let known = |id: &u8| ResourceManager(*id).name().is_some_and(|known| known.eq_ignore_ascii_case(name));
    let names: Vec<&str> = (0..128).filter_map(|id| ResourceManager(id).name()).collect();
    let found = (0..128).find(known).map(ResourceManager);
    found.ok_or_else(|| {
        format!("no resource manager has this name: it is one of {}, custom###", names.join(", "))
    })
}

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    if common.offline {
        let message =
            "the catalog does not hold every record: dump reads the archive itself, without --offline";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let clock = common.clock()?;
    let filter = Filter {
        from: args.from,
        to: args.to,
        timeline: args.timeline.map(TimelineId),
        managers: args.rmgr.clone(),
        xid: args.xid.map(Xid),
        limit: args.limit,
    };
    let archive = common.open()?;
    let plan = crate::audit::plan(&archive, &CommonArgs::options(&clock))?;
    let mut out = BufWriter::new(io::stdout().lock());
    let run =
        |each: &mut dyn FnMut(&Line) -> io::Result<()>| dump::dump(&archive, &plan, &filter, &clock, each);
    let outcome = match common.format {
        Format::Text => run(&mut |line| writeln!(out, "{line}")),
        Format::Json => json(&mut out, archive.location(), run),
    };
    let outcome = outcome.and_then(|outcome| out.flush().map(|()| outcome).map_err(DumpError::from));
    let outcome = outcome.map_err(|error| match error {
        DumpError::Store(error) => CommandError::from(error),
        DumpError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => CommandError::OutputClosed,
        error @ DumpError::Output(_) => CommandError::Failed(error.to_string()),
    })?;
    Ok(if outcome.wounds > 0 || outcome.records == 0 { Status::Bad } else { Status::Good })
}

/// One document, written as the records come: one record a line.
fn json(
    out: &mut impl Write,
    archive: &str,
    run: impl FnOnce(&mut dyn FnMut(&Line) -> io::Result<()>) -> Result<Outcome, DumpError>,
) -> Result<Outcome, DumpError> {
    let archive = serde_json::to_string(archive).map_err(io::Error::from)?;
    write!(
        out,
        "{{\n  \"schema_version\": {SCHEMA_VERSION},\n  \"command\": \"dump\",\n  \"archive\": {archive},\n  \"records\": ["
    )?;
    let mut separator = "\n    ";
    let outcome = run(&mut |line| {
        out.write_all(std::mem::replace(&mut separator, ",\n    ").as_bytes())?;
        serde_json::to_writer(&mut *out, line).map_err(io::Error::from)
    })?;
    write!(out, "\n  ]\n}}\n")?;
    Ok(outcome)
}
