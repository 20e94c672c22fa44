//! `walproof find`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::find_notes::{About, is_file, relation_name};
use super::lookup::look_up;
use super::reading::Reading;
use crate::audit::{self, Options};
use crate::backup::{self, LoadError};
use crate::catalog::Unseen;
use crate::clock::{self, Clock};
use crate::find::loss::Loss;
use crate::find::prune::can_narrow;
use crate::find::query::KINDS;
use crate::find::{Index, Order, Query};
use crate::names::{self, Names};
use crate::recovery::Library;
use crate::report::find;
use crate::report::json::Document;
use crate::scan::Detail;
use crate::scan::catalog_rows::Sighting;
use crate::wal::{Lsn, PgTime, TimelineId, Xid, byte_text};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::time::Duration;

/// How events are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum OrderChoice {
    /// By timeline and position
    Lsn,
    /// By time
    Time,
    /// Most rows first
    Rows,
}

/// What `find` takes.
#[derive(Debug, Args)]
pub(super) struct FindArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// What happened then, or the transactions on either side
    #[arg(long, value_name = "T")]
    time: Option<String>,
    /// How far around that time
    #[arg(long, value_name = "DURATION", requires = "time", value_parser = clock::parse_duration)]
    window: Option<Duration>,
    /// Not before this time
    #[arg(long, value_name = "T", conflicts_with = "time")]
    since: Option<String>,
    /// Not after this time
    #[arg(long, value_name = "T", conflicts_with = "time")]
    until: Option<String>,
    /// This transaction, or the one that this subtransaction belongs to
    #[arg(long, value_name = "N")]
    xid: Option<u32>,
    /// The event whose record holds this position, else its neighbours
    #[arg(long, value_name = "L")]
    lsn: Option<Lsn>,
    /// The restore point of this name; a byte of it that is no text as \xNN
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// commit, abort, prepare, restore-point, checkpoint, drop, truncate, … (repeatable, or with commas)
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// What made, removed or changed this relation: [SCHEMA.]NAME, or its file's number or path
    #[arg(long, value_name = "NAME")]
    pub(super) table: Option<String>,
    /// Only this timeline
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// Only this database
    #[arg(long, value_name = "OID|NAME")]
    database: Option<String>,
    /// Only so many, one at least
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// lsn, time, or rows (most rows first)
    #[arg(long, value_enum, default_value = "lsn")]
    order: OrderChoice,
}

/// Runs the command.
pub(super) fn run(args: &FindArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let clock = common.clock()?;
    let mut read_as = Vec::new();
    let query = query(args, &clock, &mut read_as)?;
    let options = Options { detail: Detail::Events, ..CommonArgs::options(&clock) };
    let rows = rows_of_backups(common)?;
    let wants_names = args.table.as_deref().is_some_and(|table| !is_file(table))
        || args.database.as_deref().is_some_and(|database| database.parse::<u32>().is_err());
    let answer = |reading: &Reading, library: &Library<'_>, index: &Index, unseen: Unseen| {
        let names = Names::of(library, &index.across.sightings, &index.across.events, rows.clone());
        let mut query = query.clone();
        query.databases = args.database.as_deref().map(|wanted| databases(wanted, &names)).transpose()?;
        let found = query.run(index, &names);
        let limit = args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let shown = found.get(..limit).unwrap_or(&found);
        let about = About { args, query: &query, index, names: &names, clock: &clock };
        let said = find::Said {
            read_as: read_as.clone(),
            notes: about.notes(&found, shown.len(), unseen),
            table: query.table.clone(),
        };
        let answer = find::answer(shown, &names, library.major, &clock, said);
        let location = &common.archive;
        match common.format {
            Format::Text => {
                let text = find::render(&answer, location, &common.as_given(), common.palette());
                common::answer(&(text + &reading.as_of_line(&clock)))?;
            }
            Format::Json => {
                let document = Document::new("find", location, &answer).as_of(reading.as_of(&clock));
                common::document(&document)?;
            }
        }
        Ok(if found.is_empty() { Status::Bad } else { Status::Good })
    };
    if common.offline
        && can_narrow(&query)
        && let Some(status) = look_up(common, &options, &query, &rows, wants_names, &answer)?
    {
        return Ok(status);
    }
    let reading = Reading::open(common, &options)?;
    let library = reading.library(common, &options)?;
    let survey = audit::join(&reading.plan, library.every_file());
    let unseen = audit::judge(&reading.plan, &survey, &options).segments.into();
    answer(&reading, &library, &Index::of(&library), unseen)
}

/// Rows of catalogs from the data files of the backups given.
fn rows_of_backups(common: &CommonArgs) -> Result<Vec<Sighting>, CommandError> {
    let mut rows = Vec::new();
    for path in &common.backup {
        let failed = |error: LoadError| CommandError::Failed(error.to_string());
        for backup in backup::load(path).map_err(failed)? {
            rows.extend(names::rows_of_backup(&backup).map_err(failed)?);
        }
    }
    Ok(rows)
}

/// The OIDs that `wanted` means.
fn databases(wanted: &str, names: &Names) -> Result<BTreeSet<u32>, CommandError> {
    if let Ok(oid) = wanted.parse() {
        return Ok(BTreeSet::from([oid]));
    }
    let oids = names.databases_called(wanted);
    if oids.is_empty() {
        return Err(CommandError::Failed(format!(
            "which database is \"{wanted}\"? No row of pg_database in this WAL says: give its OID, or --backup DIR with \
             the data files of a base backup"
        )));
    }
    Ok(oids)
}

fn query(args: &FindArgs, clock: &Clock, read_as: &mut Vec<String>) -> Result<Query, CommandError> {
    let is_known = |kind: &str| KINDS.contains(&kind) || kind == Loss::Rewrite.name();
    if let Some(kind) = args.kind.iter().find(|kind| !is_known(kind)) {
        return Err(CommandError::Usage(format!(
            "\"{kind}\" is no kind of event: it is one of {}, rewrite",
            KINDS.join(", ")
        )));
    }
    let mut time = |text: &Option<String>| -> Result<Option<PgTime>, CommandError> {
        let Some(text) = text else { return Ok(None) };
        let reading = clock.read(text).map_err(|error| CommandError::Usage(error.to_string()))?;
        read_as.push(reading.read_as);
        Ok(Some(reading.time))
    };
    let (at, since, until) = (time(&args.time)?, time(&args.since)?, time(&args.until)?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        let message = "--since is later than --until: nothing can lie between them";
        return Err(CommandError::Usage(message.to_owned()));
    }
    Ok(Query {
        time: at,
        since,
        until,
        window_us: args.window.map(|window| i64::try_from(window.as_micros()).unwrap_or(i64::MAX)),
        xid: args.xid.map(Xid),
        lsn: args.lsn,
        name: args.name.as_deref().map(|name| byte_text::shown(&byte_text::bytes(name))),
        kinds: args.kind.clone(),
        table: args.table.as_deref().map(relation_name),
        timeline: args.timeline.map(TimelineId),
        databases: None,
        order: match args.order {
            OrderChoice::Lsn => Order::Lsn,
            OrderChoice::Time => Order::Time,
            OrderChoice::Rows => Order::Rows,
        },
    })
}
