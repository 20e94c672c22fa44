//! `walproof find`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::lookup::look_up;
use super::reading::Reading;
use crate::audit::{self, Options};
use crate::backup::{self, LoadError};
use crate::catalog::Unseen;
use crate::clock::{self, Clock};
use crate::find::loss::Loss;
use crate::find::prune::can_narrow;
use crate::find::query::{Found, KINDS, is_subtransaction};
use crate::find::{Index, Order, Query};
use crate::names::{self, Names};
use crate::recovery::Library;
use crate::report::find;
use crate::report::json::Document;
use crate::report::text::counted;
use crate::scan::Detail;
use crate::scan::catalog_rows::Sighting;
use crate::scan::event::What;
use crate::wal::{Lsn, PgTime, TimelineId, Xid};
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
    /// The restore point of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// commit, abort, prepare, restore-point, checkpoint, drop, truncate, …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// What made, removed or changed this relation: [SCHEMA.]NAME, or its file's number or path
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only this timeline
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// Only this database
    #[arg(long, value_name = "OID|NAME")]
    database: Option<String>,
    /// Only so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
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
    let answer = |library: &Library<'_>, index: &Index, unseen: Unseen| {
        let names = Names::of(library, &index.across.sightings, &index.across.events, rows.clone());
        let mut query = query.clone();
        query.databases = args.database.as_deref().map(|wanted| databases(wanted, &names)).transpose()?;
        check_table(args.table.as_deref(), &names)?;
        let found = query.run(index, &names);
        let mut notes = notes(&query, &found, index, &names);
        notes.extend(incomplete(&query, index, &names));
        notes.extend(not_listed(unseen));
        let answer = find::answer(&found, &names, library.major, &clock, read_as.clone(), notes);
        let location = &common.archive;
        match common.format {
            Format::Text => common::answer(&find::render(&answer, location, common.palette()))?,
            Format::Json => common::document(&Document::new("find", location, &answer))?,
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
    answer(&library, &Index::of(&library), unseen)
}

/// What happened in WAL that is missing or damaged is in no answer, whether somebody accepted the loss or not.
fn not_listed(unseen: Unseen) -> Option<String> {
    let counts = [(unseen.missing, "missing"), (unseen.damaged, "damaged")];
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", counted(count, "segment")))
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "{}: what happened there may not be listed here (walproof verify says where)",
            told.join(", ")
        )
    })
}

/// What a person should know about an answer.
fn notes(query: &Query, found: &[Found<'_>], index: &Index, names: &Names) -> Vec<String> {
    let Some(xid) = query.xid else { return dropped_too(query, index, names) };
    let owners = found.iter().map(|one| one.happening).filter(|happening| is_subtransaction(happening, xid));
    owners.map(|owner| format!("{xid} is a subtransaction of transaction {}", owner.event.xid)).collect()
}

/// Of a record that was too long to be kept whole, what it dropped may be missing.
fn incomplete(query: &Query, index: &Index, names: &Names) -> Vec<String> {
    if query.kind.is_none() && query.table.is_none() {
        return Vec::new();
    }
    let all = Query { kind: None, table: None, databases: None, limit: None, ..query.clone() };
    let is_incomplete = |one: &&Found<'_>| match &one.happening.event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.incomplete),
        _ => false,
    };
    let found = all.run(index, names);
    let found = found.iter().filter(is_incomplete).map(|one| &one.happening.event);
    found
        .map(|event| {
            format!(
                "the record of transaction {} at {} was too long to be kept whole: what it dropped may be missing here",
                event.xid, event.lsn
            )
        })
        .collect()
}

/// Who asks for drops should know of whole databases.
fn dropped_too(query: &Query, index: &Index, names: &Names) -> Vec<String> {
    let asks_for_drops = query.kind.as_deref() == Some(Loss::Drop.name()) && query.table.is_none();
    let kinds = ["drop-database", "drop-tablespace"].into_iter().filter(|_| asks_for_drops);
    kinds
        .filter_map(|kind| {
            let query = Query { kind: Some(kind.to_owned()), limit: None, ..query.clone() };
            let count = query.run(index, names).len() as u64;
            (count > 0).then(|| format!("{} more: --kind {kind}", counted(count, "event")))
        })
        .collect()
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

/// Whether this is the number or the path of a relation's file.
fn is_file(table: &str) -> bool {
    table.rsplit('/').next().is_some_and(|number| number.parse::<u32>().is_ok())
}

/// A table that nothing is known of is not a table that nothing happened to.
fn check_table(table: Option<&str>, names: &Names) -> Result<(), CommandError> {
    let Some(table) = table else { return Ok(()) };
    if is_file(table) || names.has_relation(table) {
        return Ok(());
    }
    Err(CommandError::Failed(format!(
        "which table is \"{table}\"? No row of pg_class in this WAL says: give the number of its file \
         (pg_relation_filenode), or --backup DIR with the data files of a base backup"
    )))
}

fn query(args: &FindArgs, clock: &Clock, read_as: &mut Vec<String>) -> Result<Query, CommandError> {
    if let Some(kind) = args.kind.as_deref().filter(|kind| !KINDS.contains(kind) && *kind != "rewrite") {
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
    Ok(Query {
        time: time(&args.time)?,
        since: time(&args.since)?,
        until: time(&args.until)?,
        window_us: args.window.map(|window| i64::try_from(window.as_micros()).unwrap_or(i64::MAX)),
        xid: args.xid.map(Xid),
        lsn: args.lsn,
        name: args.name.clone(),
        kind: args.kind.clone(),
        table: args.table.clone(),
        timeline: args.timeline.map(TimelineId),
        databases: None,
        limit: args.limit,
        order: match args.order {
            OrderChoice::Lsn => Order::Lsn,
            OrderChoice::Time => Order::Time,
            OrderChoice::Rows => Order::Rows,
        },
    })
}
