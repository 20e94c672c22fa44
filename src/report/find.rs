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
    tablespace: Option<u32>,
    subxids: Vec<Xid>,
    tables: Vec<String>,
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
}

/// The answer. `read_as` says how times were read, `notes` what a person should know.
pub fn answer(
    found: &[Found<'_>],
    names: &Names,
    major: Major,
    clock: &Clock,
    read_as: Vec<String>,
    mut notes: Vec<String>,
) -> FindAnswer {
    let events: Vec<EventAnswer> = found.iter().map(|one| event_answer(one, names, major, clock)).collect();
    notes.extend(unnamed_note(&events));
    FindAnswer { events, read_as, notes }
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
        tablespace: match event.what {
            What::Tablespace { tablespace, .. } => Some(tablespace),
            _ => None,
        },
        subxids: subtransactions(happening),
        tables: tables.named.into_iter().collect(),
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

/// The list for people.
pub fn render(answer: &FindAnswer, location: &str, palette: Palette) -> String {
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
    let header = ["TL", "LSN", "time", "what", "xid", "segment", "details"];
    let rows = answer.events.iter().map(row).collect();
    let _ = writeln!(text);
    text.push_str(&text::table(&header, rows));
    for event in answer.events.iter().filter(|event| event.stop_before.is_some()) {
        let options = event.stop_before.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n  to stop just before the {} at {}:  walproof resolve {} {options}",
            event.kind,
            event.lsn,
            text::shell_word(&location)
        );
    }
    text
}

fn row(event: &EventAnswer) -> Vec<String> {
    vec![
        event.timeline.to_string(),
        event.lsn.to_string(),
        event.time.clone().unwrap_or_else(|| "-".to_owned()),
        event.kind.to_owned(),
        event.xid.map_or_else(|| "-".to_owned(), |xid| xid.to_string()),
        event.segment.clone(),
        details(event),
    ]
}

fn details(event: &EventAnswer) -> String {
    let mut parts = Vec::new();
    let database = event.database.filter(|_| event.kind.ends_with("-database"));
    match (&event.name, database.or(event.tablespace)) {
        (Some(name), _) => parts.push(format!("\"{}\"", printable(name))),
        (None, Some(oid)) => parts.push(format!("OID {oid}")),
        (None, None) => {}
    }
    parts.extend(list(&event.tables).or_else(|| list(&event.other_relations)));
    if let Some(rows) = event.rows.filter(|rows| rows.total() > 0) {
        let counts = [
            (rows.inserted.max(0).unsigned_abs(), "inserted"),
            (rows.updated, "updated"),
            (rows.deleted, "deleted"),
        ];
        let shown: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{} {what}", text::number(*n)))
            .collect();
        parts.push(format!("rows: {}", shown.join(", ")));
    }
    let other: Vec<&str> = event.losses.iter().copied().filter(|loss| *loss != event.kind).collect();
    if !other.is_empty() {
        parts.push(other.join(", "));
    }
    parts.extend(list(&event.dropped_files).map(|files| format!("removed {files}")));
    if !event.subxids.is_empty() {
        parts.push(counted(event.subxids.len() as u64, "subtransaction"));
    }
    parts.join("; ")
}

/// The first of several, and how many more there are.
fn list(all: &[String]) -> Option<String> {
    match all {
        [] => None,
        [one] => Some(printable(one)),
        [first, rest @ ..] => Some(format!("{} and {} more", printable(first), rest.len())),
    }
}
