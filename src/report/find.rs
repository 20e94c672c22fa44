//! Events as text and as JSON.

use super::json;
use super::printable;
use super::text::{self, Palette, counted};
use crate::clock::Clock;
use crate::find::Happening;
use crate::find::query::{self, Found};
use crate::find::tables;
use crate::names::Names;
use crate::scan::activity::Rows;
use crate::scan::event::What;
use crate::wal::{Lsn, Major, TimelineId, Xid};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One event in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct EventAnswer {
    kind: &'static str,
    timeline: TimelineId,
    #[serde(serialize_with = "json::text")]
    lsn: Lsn,
    #[serde(serialize_with = "json::text")]
    end_lsn: Lsn,
    xid: Option<Xid>,
    xid64: Option<u64>,
    time: Option<String>,
    segment: String,
    name: Option<String>,
    database: Option<u32>,
    database_name: Option<String>,
    tablespace: Option<u32>,
    subxids: Vec<Xid>,
    tables: Vec<String>,
    dropped_relations: Vec<String>,
    truncated_relations: Vec<String>,
    other_relations: Vec<String>,
    unnamed_files: Vec<String>,
    dropped_files: Vec<String>,
    rows: Option<Rows>,
    stop_before: Option<String>,
    losses: Vec<&'static str>,
}

/// The answer of `find`.
#[derive(Clone, Debug, Serialize)]
pub struct FindAnswer {
    events: Vec<EventAnswer>,
    read_as: Vec<String>,
    notes: Vec<String>,
    #[serde(skip)]
    table: Option<String>,
}

/// What is said beside the events.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// How times were read.
    pub read_as: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The relation that was asked for.
    pub table: Option<String>,
}

/// The answer.
pub fn answer(found: &[Found<'_>], names: &Names, major: Major, clock: &Clock, said: Said) -> FindAnswer {
    let Said { read_as, mut notes, table } = said;
    let events: Vec<EventAnswer> = found.iter().map(|one| event_answer(one, names, major, clock)).collect();
    notes.extend(unnamed_note(&events));
    FindAnswer { events, read_as, notes, table }
}

/// How names that are missing could be learned.
fn unnamed_note(events: &[EventAnswer]) -> Option<String> {
    let unnamed: BTreeSet<&str> =
        events.iter().flat_map(|event| &event.unnamed_files).map(String::as_str).collect();
    let first = unnamed.first()?;
    let number = first.rsplit('/').next().unwrap_or_default();
    let count = counted(unnamed.len() as u64, "relation file");
    Some(format!(
        "no row of pg_class in this WAL gives a name to {count} ({first}{}): --backup DIR takes names from the data \
         files of a base backup; a server restored to before the event tells them with \
         SELECT pg_filenode_relation(0, {number}) in the database of that OID",
        if unnamed.len() > 1 { ", …" } else { "" }
    ))
}

fn event_answer(found: &Found<'_>, names: &Names, major: Major, clock: &Clock) -> EventAnswer {
    let happening = found.happening;
    let tables = tables::tables(happening, names);
    let event = &happening.event;
    EventAnswer {
        kind: found.kind,
        timeline: event.owner,
        lsn: event.lsn,
        end_lsn: event.end,
        xid: (event.xid != Xid::INVALID).then_some(event.xid),
        xid64: happening.xid64.map(|xid| xid.0),
        time: event.time.map(|time| clock.iso(time)),
        segment: happening.segment.to_string(),
        name: query::name_of(happening).or_else(|| database_name(happening, names)).map(ToOwned::to_owned),
        database: query::database_of(happening),
        database_name: query::database_of(happening)
            .and_then(|oid| names.database(event.owner, oid, event.lsn))
            .map(ToOwned::to_owned),
        tablespace: match event.what {
            What::Tablespace { tablespace, .. } => Some(tablespace),
            _ => None,
        },
        subxids: subtransactions(happening),
        tables: tables.named.into_iter().collect(),
        dropped_relations: tables.dropped.into_iter().collect(),
        truncated_relations: tables.truncated.into_iter().collect(),
        other_relations: tables.others.into_iter().collect(),
        unnamed_files: tables.unnamed.iter().map(|file| file.path()).collect(),
        dropped_files: tables::dropped_files(happening).iter().map(|file| file.path()).collect(),
        rows: happening.deeds.as_ref().map(|deeds| deeds.rows),
        stop_before: stop_before(happening, names, major),
        losses: happening.losses.iter().map(|loss| loss.name()).collect(),
    }
}

/// What the database was called that an event is about.
fn database_name<'a>(happening: &Happening, names: &'a Names) -> Option<&'a str> {
    match happening.event.what {
        What::Database { database, .. } => {
            names.database(happening.event.owner, database, happening.event.lsn)
        }
        _ => None,
    }
}

fn subtransactions(happening: &Happening) -> Vec<Xid> {
    match &happening.event.what {
        What::End(end) => {
            end.details.as_ref().map(|details| details.subtransactions.clone()).unwrap_or_default()
        }
        What::Prepare(prepared) => prepared.subtransactions.clone(),
        _ => Vec::new(),
    }
}

/// The options for `resolve` that stop just before a loss.
fn stop_before(happening: &Happening, names: &Names, major: Major) -> Option<String> {
    let event = &happening.event;
    let timeline = event.owner;
    match &event.what {
        What::End(_) if !happening.losses.is_empty() => {
            Some(format!("--target-xid {} --exclusive --target-timeline {timeline}", event.xid))
        }
        // A database is made unusable before its files go, and both count before its transaction commits.
        What::Database { created: false, database } if major >= Major::V10 => {
            let first = names.invalidated(timeline, *database, event.lsn).unwrap_or(event.lsn);
            Some(format!("--target-lsn {first} --exclusive --target-timeline {timeline}"))
        }
        What::Tablespace { created: false, .. } if major >= Major::V10 => {
            Some(format!("--target-lsn {} --exclusive --target-timeline {timeline}", event.lsn))
        }
        _ => None,
    }
}

/// The list for people. `given`: the options that another command about the archive needs, a blank in front of each.
pub fn render(answer: &FindAnswer, location: &str, given: &str, palette: Palette) -> String {
    let mut text = String::new();
    let location = printable(location);
    if answer.events.is_empty() {
        let _ = writeln!(text, "{}  {location}", palette.caution("NOTHING FOUND"));
    } else {
        let count = counted(answer.events.len() as u64, "event");
        let _ = writeln!(text, "{}  {location}", palette.good(&count));
    }
    for line in answer.read_as.iter().chain(&answer.notes) {
        let _ = writeln!(text, "  {}", palette.faint(&printable(line)));
    }
    if answer.events.is_empty() {
        return text;
    }
    let _ = writeln!(text);
    text.push_str(&list_of_events(answer));
    let stops = answer.events.iter().filter_map(|event| Some((event, event.stop_before.as_deref()?)));
    for (index, (event, options)) in stops.enumerate() {
        let (kind, lsn, archive) = (event.kind, event.lsn, text::shell_path(&location));
        let line_before = if index == 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{line_before}  to stop just before the {kind} at {lsn}:  walproof resolve {archive} {options}{given}"
        );
    }
    text
}

/// The events, with their databases where these are several.
fn list_of_events(answer: &FindAnswer) -> String {
    let mut header = vec!["TL", "LSN", "time", "what", "xid", "segment", "details"];
    let mut rows: Vec<Vec<String>> =
        answer.events.iter().map(|event| row(event, answer.table.as_deref())).collect();
    let databases: BTreeSet<u32> = answer.events.iter().filter_map(|event| event.database).collect();
    if databases.len() > 1 {
        let place = header.len() - 1;
        header.insert(place, "database");
        for (row, event) in rows.iter_mut().zip(&answer.events) {
            let oid = || event.database.map_or_else(|| "-".to_owned(), |oid| oid.to_string());
            row.insert(place, event.database_name.as_deref().map_or_else(oid, printable));
        }
    }
    text::table(&header, rows)
}

fn row(event: &EventAnswer, table: Option<&str>) -> Vec<String> {
    vec![
        event.timeline.to_string(),
        event.lsn.to_string(),
        event.time.clone().unwrap_or_else(|| "-".to_owned()),
        event.kind.to_owned(),
        event.xid.map_or_else(|| "-".to_owned(), |xid| xid.to_string()),
        event.segment.clone(),
        details(event, table),
    ]
}

fn details(event: &EventAnswer, table: Option<&str>) -> String {
    let mut parts = Vec::new();
    let database = event.database.filter(|_| event.kind.ends_with("-database"));
    match (&event.name, database.or(event.tablespace)) {
        (Some(name), _) => parts.push(text::quoted(name)),
        (None, Some(oid)) => parts.push(format!("OID {oid}")),
        (None, None) => {}
    }
    let also = if event.losses.is_empty() {
        parts.extend(list(&event.tables, table).or_else(|| list(&event.other_relations, table)));
        parts.extend(rows(event));
        None
    } else {
        losses(event, table, &mut parts)
    };
    parts.extend(list(&event.dropped_files, table).map(|files| format!("removed {files}")));
    if !event.subxids.is_empty() {
        parts.push(counted(event.subxids.len() as u64, "subtransaction"));
    }
    parts.extend(also);
    parts.join("; ")
}

/// What a transaction destroyed, of the kind that the event is listed as; and what it did besides that.
fn losses(event: &EventAnswer, table: Option<&str>, parts: &mut Vec<String>) -> Option<String> {
    let mut also = Vec::new();
    let told = [("drop", &event.dropped_relations), ("truncate", &event.truncated_relations)];
    let mut lost: BTreeSet<&String> = BTreeSet::new();
    for loss in event.losses.iter().copied() {
        let names = told.iter().find(|(kind, _)| *kind == loss).map(|(_, names)| names.as_slice());
        let names = names.unwrap_or_default();
        lost.extend(names);
        let shown = list(names, table);
        if loss == event.kind {
            // What nothing tells apart is shown together.
            let any = || list(&event.tables, table).or_else(|| list(&event.other_relations, table));
            parts.extend(shown.or_else(any));
        } else if event.losses.contains(&event.kind) {
            also.push(shown.map_or_else(|| loss.to_owned(), |names| format!("{loss} of {names}")));
        } else {
            parts.push(shown.map_or_else(|| loss.to_owned(), |names| format!("{loss} of {names}")));
        }
    }
    let others: Vec<String> = event.tables.iter().filter(|name| !lost.contains(name)).cloned().collect();
    if !lost.is_empty() {
        also.extend(list(&others, table));
    }
    also.extend(rows(event));
    (!also.is_empty()).then(|| format!("the transaction also: {}", also.join(", ")))
}

/// How many rows a transaction changed.
fn rows(event: &EventAnswer) -> Option<String> {
    let rows = event.rows.filter(|rows| rows.total() > 0)?;
    let counts = [
        (rows.inserted.max(0).unsigned_abs(), "inserted"),
        (rows.updated, "updated"),
        (rows.deleted, "deleted"),
    ];
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let shown: Vec<String> = counts.map(|(n, what)| format!("{} {what}", text::number(*n))).collect();
    Some(format!("rows: {}", shown.join(", ")))
}

/// The first of several, or the one that was asked for, and how many more there are.
fn list(all: &[String], table: Option<&str>) -> Option<String> {
    let is_asked = |name: &&String| {
        let is_it = |rest: &str| rest.is_empty() || rest.ends_with('.');
        table.is_some_and(|table| name.strip_suffix(table).is_some_and(is_it))
    };
    let shown = printable(all.iter().find(is_asked).or_else(|| all.first())?);
    match all.len() {
        1 => Some(shown),
        several => Some(format!("{shown} and {} more", several - 1)),
    }
}
