//! Which tables an event is about, by number and by name.

use super::index::Happening;
use crate::names::Names;
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
        let class = names.object(timeline, database, oid, lsn).filter(|class| class.kind.is_table());
        tables.named.extend(class.map(|class| names.qualified(timeline, database, class, lsn)));
    }
    if !tables.named.is_empty() {
        tables.others.clear();
    }
    tables
}

/// Whether an event is about a relation, given as the number or path of its file, or by name.
pub fn touches(happening: &Happening, wanted: &str, names: &Names) -> bool {
    let files = files(happening);
    if files.iter().any(|file| file.path() == wanted || file.number.to_string() == wanted) {
        return true;
    }
    let (timeline, lsn) = (happening.event.owner, happening.event.lsn);
    let is_called = |database: u32, class: &crate::names::Class| {
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
