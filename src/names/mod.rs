//! From numbers to names: what tables, schemas and databases are called, where the bytes say so.
//!
//! Names come from rows of pg_class, pg_namespace and pg_database, seen in WAL records and page images or read from a
//! backup's files. A name holds for a timeline from the position at which it was seen; what no row says has no name.

mod backup;
mod book;
mod row;

pub use backup::rows_of_backup;
pub use row::{Class, Kind};

use crate::recovery::Library;
use crate::scan::catalog_rows::{Seen, Sighting};
use crate::scan::event::{End, Event, What};
use crate::timeline::{Ancestor, History};
use crate::wal::record::RelationFile;
use crate::wal::{Lsn, TimelineId, Xid};
use book::Book;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The names in one cluster.
#[derive(Clone, Debug, Default)]
pub struct Names {
    books: BTreeMap<TimelineId, Book>,
}

/// How transactions ended whose rows were seen: where they committed, or `None` if they were rolled back.
type Outcomes = HashMap<u32, Option<Lsn>>;

/// The end of a transaction or subtransaction that made such rows.
struct Ended {
    /// Among all events.
    order: usize,
    xid: u32,
    lsn: Lsn,
    committed: bool,
}

impl Names {
    /// Every name that the WAL of `library` shows, in files or across their boundaries, and the rows `from_backups`.
    /// `events` across boundaries say which transactions committed, too.
    pub fn of(
        library: &Library<'_>,
        across: &[Sighting],
        events: &[Event],
        mut from_backups: Vec<Sighting>,
    ) -> Self {
        // A page may be older than the timeline on which the backup was taken.
        for seen in &mut from_backups {
            seen.owner = library.history(seen.owner).owner(seen.lsn);
        }
        let of_wal = library.all().flat_map(|(_, _, facts)| &facts.sightings);
        let mut sightings: Vec<&Sighting> = of_wal.chain(across).chain(&from_backups).collect();
        sightings.sort_by_key(|sighting| sighting.lsn);
        let makers: HashSet<u32> = sightings.iter().flat_map(|seen| makers(seen)).collect();
        let mut timelines: BTreeSet<TimelineId> = library.all().map(|(timeline, _, _)| timeline).collect();
        timelines.extend(sightings.iter().map(|sighting| sighting.owner));
        let all_events = library.facts_in_order().flat_map(|facts| &facts.events).chain(events);
        let all_outcomes = all_outcomes(all_events, &makers);
        let book = |timeline: TimelineId| {
            let history = library.history(timeline);
            let outcomes = outcomes_on(&history, &all_outcomes);
            let on_path = sightings.iter().filter(|seen| history.owner(seen.lsn) == seen.owner);
            (timeline, Book::of(on_path.copied(), &outcomes, library.major))
        };
        Self { books: timelines.into_iter().map(book).collect() }
    }

    /// What `file` was on `timeline` at `lsn`.
    pub fn file(&self, timeline: TimelineId, file: RelationFile, lsn: Lsn) -> Option<&Class> {
        self.books.get(&timeline)?.file(file, lsn)
    }

    /// What the relation with this OID was in a database.
    pub fn object(&self, timeline: TimelineId, database: u32, oid: u32, lsn: Lsn) -> Option<&Class> {
        self.books.get(&timeline)?.object(database, oid, lsn)
    }

    /// The name of a database.
    pub fn database(&self, timeline: TimelineId, oid: u32, lsn: Lsn) -> Option<&str> {
        self.books.get(&timeline)?.database(oid, lsn)
    }

    /// Where a database was made unusable at last before `lsn`: a server that drops one does that first.
    pub fn invalidated(&self, timeline: TimelineId, database: u32, lsn: Lsn) -> Option<Lsn> {
        self.books.get(&timeline)?.invalidated(database, lsn)
    }

    /// A relation's name, with its schema where that is known.
    pub fn qualified(&self, timeline: TimelineId, database: u32, class: &Class, lsn: Lsn) -> String {
        match self.schema(timeline, database, class, lsn) {
            Some(schema) => format!("{schema}.{}", class.name),
            None => class.name.clone(),
        }
    }

    /// The name of a relation's schema, where that is known.
    pub fn schema(&self, timeline: TimelineId, database: u32, class: &Class, lsn: Lsn) -> Option<&str> {
        self.books.get(&timeline)?.namespace(database, class.namespace, lsn)
    }

    /// OIDs of the databases that were ever called `name`.
    pub fn databases_called(&self, name: &str) -> BTreeSet<u32> {
        self.books.values().flat_map(|book| book.databases_called(name)).collect()
    }

    /// Whether any relation was ever called `name`, with or without its schema.
    pub fn has_relation(&self, name: &str) -> bool {
        self.books.values().any(|book| book.has_relation(name))
    }

    /// Whether any relation was ever called exactly `name`, which may have a dot in it.
    pub fn has_relation_called(&self, name: &str) -> bool {
        self.books.values().any(|book| book.has_relation_called(name))
    }

    /// Whether any schema was ever called `name`.
    pub fn has_schema(&self, name: &str) -> bool {
        self.books.values().any(|book| book.has_schema(name))
    }
}

/// The transactions that made the rows of which names are taken.
pub fn all_makers(library: &Library<'_>, across: &[Sighting], from_backups: &[Sighting]) -> BTreeSet<Xid> {
    let of_wal = library.all().flat_map(|(_, _, facts)| &facts.sightings);
    of_wal.chain(across).chain(from_backups).flat_map(makers).map(Xid).collect()
}

/// The transactions that made the rows of a sighting.
fn makers(sighting: &Sighting) -> Vec<u32> {
    match &sighting.seen {
        Seen::Page(rows) => rows.iter().map(|(_, row)| row.xmin).collect(),
        Seen::Row { row, .. } | Seen::Update { row, .. } => vec![row.xmin],
        // Whether its transaction committed does not matter.
        Seen::Invalidated { .. } => Vec::new(),
    }
}

/// How the transactions and subtransactions `makers` ended, wherever that was.
fn all_outcomes<'a>(
    events: impl Iterator<Item = &'a Event>,
    makers: &HashSet<u32>,
) -> HashMap<TimelineId, Vec<Ended>> {
    let mut all: HashMap<TimelineId, Vec<Ended>> = HashMap::new();
    if makers.is_empty() {
        return all;
    }
    for (order, event) in events.enumerate() {
        if let What::End(End { committed, details, .. }) = &event.what {
            let subtransactions = details.iter().flat_map(|details| &details.subtransactions);
            let xids = std::iter::once(&event.xid).chain(subtransactions).map(|xid| xid.0);
            let ended = |xid| Ended { order, xid, lsn: event.lsn, committed: *committed };
            let mut of_makers = xids.filter(|xid| makers.contains(xid)).map(ended).peekable();
            if of_makers.peek().is_some() {
                all.entry(event.owner).or_default().extend(of_makers);
            }
        }
    }
    all
}

/// Of these those on the way to a timeline. Where a number was given twice, the last one counts.
fn outcomes_on(history: &History, all: &HashMap<TimelineId, Vec<Ended>>) -> Outcomes {
    let of_owner = |ancestor: Ancestor| {
        let ended = all.get(&ancestor.timeline).into_iter().flatten();
        ended.filter(move |ended| history.owner(ended.lsn) == ancestor.timeline)
    };
    let mut on_path: Vec<&Ended> = history.ancestry().into_iter().flat_map(of_owner).collect();
    on_path.sort_by_key(|ended| ended.order);
    on_path.into_iter().map(|ended| (ended.xid, ended.committed.then_some(ended.lsn))).collect()
}
