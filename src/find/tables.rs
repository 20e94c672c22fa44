//! Which tables an event is about, by number and by name.

use super::index::Happening;
use super::loss::Loss;
use crate::names::{Class, Names};
use crate::scan::event::{EndDetails, What};
use crate::wal::record::RelationFile;
use std::collections::BTreeSet;

/// `PGSTAT_KIND_RELATION`.
const RELATION: i32 = 2;

/// The tables of an event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// Names of those that are known, with their schemas where these are known.
    pub named: BTreeSet<String>,
    /// Relations that are gone with it: tables, or what else there was where there is no table.
    pub dropped: BTreeSet<String>,
    /// Tables that it emptied.
    pub truncated: BTreeSet<String>,
    /// Names of indexes, sequences and the like, where no table is concerned: of an index that was built again, say.
    pub others: BTreeSet<String>,
    /// Files that nothing gives a name to.
    pub unnamed: BTreeSet<RelationFile>,
}

/// What a transaction's last record says besides that it ended.
fn details(happening: &Happening) -> Option<&EndDetails> {
    match &happening.event.what {
        What::End(end) => end.details.as_deref(),
        _ => None,
    }
}

/// Relation files that were removed with a transaction.
pub fn dropped_files(happening: &Happening) -> &[RelationFile] {
    details(happening).map_or(&[], |details| &details.dropped_files)
}

/// Relation files that a transaction made, removed, or changed rows in.
pub fn files(happening: &Happening) -> BTreeSet<RelationFile> {
    let done = happening.deeds.iter().flat_map(|deeds| deeds.files.created.iter().chain(&deeds.tables));
    dropped_files(happening).iter().chain(done).copied().collect()
}

/// The relations of which a transaction removed the statistics, that is: which it dropped (15 and later).
fn dropped_objects(happening: &Happening) -> impl Iterator<Item = (u32, u32)> {
    let stats = details(happening).map_or(&[][..], |details| &details.dropped_stats);
    stats
        .iter()
        .filter(|item| item.kind == RELATION)
        .filter_map(|item| Some((item.database, u32::try_from(item.object).ok()?)))
}

/// The tables of an event. Indexes, sequences and TOAST go with them and are only listed where there is none.
pub fn tables(happening: &Happening, names: &Names) -> Tables {
    let (timeline, lsn) = (happening.event.owner, happening.event.lsn);
    let mut tables = Tables::default();
    for file in files(happening) {
        match names.file(timeline, file, lsn) {
            Some(class) => {
                let name = names.qualified(timeline, file.database, class, lsn);
                let list = if class.kind.is_table() { &mut tables.named } else { &mut tables.others };
                list.insert(name);
            }
            None => {
                tables.unnamed.insert(file);
            }
        }
    }
    for (database, oid) in dropped_objects(happening) {
        let Some(class) = names.object(timeline, database, oid, lsn) else { continue };
        let list = if class.kind.is_table() { &mut tables.named } else { &mut tables.others };
        list.insert(names.qualified(timeline, database, class, lsn));
    }
    (tables.dropped, tables.truncated) = Lost::of(happening, names).names();
    if !tables.named.is_empty() {
        tables.others.clear();
    }
    tables
}

/// What became of the relations of which a transaction removed files or statistics.
#[derive(Default)]
struct Lost {
    /// Names, and whether they are of tables.
    dropped: BTreeSet<(bool, String)>,
    truncated: BTreeSet<(bool, String)>,
}

impl Lost {
    fn of(happening: &Happening, names: &Names) -> Self {
        let mut lost = Self::default();
        let has = |loss| happening.losses.contains(&loss);
        let (drops, truncates) = (has(Loss::Drop), has(Loss::Truncate));
        let (timeline, lsn) = (happening.event.owner, happening.event.lsn);
        let Some(deeds) = happening.deeds.as_ref().filter(|_| drops || truncates) else { return lost };
        let named = |database, class: &Class| {
            (class.kind.is_table(), names.qualified(timeline, database, class, lsn))
        };
        let files = &deeds.files;
        // A relation that goes on has another file now: one that was filled as a whole if it was rewritten.
        let was_filled = |file: &RelationFile| {
            files.built.contains(file) || files.catalogs.relations.contains(&file.number)
        };
        let goes_on = |database: u32, oid: u32| {
            let is_its = |file: &&RelationFile| {
                file.database == database && names.file(timeline, **file, lsn).is_some_and(|of| of.oid == oid)
            };
            files.created.iter().find(is_its).map(was_filled)
        };
        for file in dropped_files(happening).iter().filter(|file| !files.created.contains(file)) {
            let Some(class) = names.file(timeline, *file, lsn) else { continue };
            let list = match goes_on(file.database, class.oid) {
                Some(true) => continue,
                None if drops => &mut lost.dropped,
                Some(false) | None => &mut lost.truncated,
            };
            list.insert(named(file.database, class));
        }
        let gone =
            dropped_objects(happening).filter(|(_, oid)| drops && !files.catalogs.relations.contains(oid));
        let gone = gone
            .filter_map(|(database, oid)| Some(named(database, names.object(timeline, database, oid, lsn)?)));
        lost.dropped.extend(gone);
        let emptied =
            files.truncated.iter().filter_map(|oid| names.object(timeline, deeds.database, *oid, lsn));
        lost.truncated.extend(emptied.map(|class| named(deeds.database, class)));
        lost
    }

    /// What was dropped, and what was truncated: indexes and the like go with tables.
    fn names(self) -> (BTreeSet<String>, BTreeSet<String>) {
        let tables = |all: BTreeSet<(bool, String)>| {
            let any = all.iter().any(|(is_table, _)| *is_table);
            all.into_iter().filter(|(is_table, _)| *is_table == any).map(|(_, name)| name).collect()
        };
        (tables(self.dropped), tables(self.truncated))
    }
}

/// Whether an event is about a relation, given as the number or path of its file, or by name.
pub fn touches(happening: &Happening, wanted: &str, names: &Names) -> bool {
    let files = files(happening);
    if files.iter().any(|file| file.path() == wanted || file.number.to_string() == wanted) {
        return true;
    }
    let (timeline, lsn) = (happening.event.owner, happening.event.lsn);
    let is_called = |database: u32, class: &Class| {
        let schema = names.schema(timeline, database, class, lsn);
        // Without the schema's row the name may be meant.
        let fits = |asked: &str| schema.is_none_or(|schema| schema == asked);
        class.name == wanted
            || wanted.strip_suffix(&class.name).and_then(|rest| rest.strip_suffix('.')).is_some_and(fits)
    };
    let by_file = |file: &RelationFile| {
        names.file(timeline, *file, lsn).is_some_and(|class| is_called(file.database, class))
    };
    let by_object = |(database, oid): (u32, u32)| {
        names.object(timeline, database, oid, lsn).is_some_and(|class| is_called(database, class))
    };
    files.iter().any(by_file) || dropped_objects(happening).any(by_object)
}
