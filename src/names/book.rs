//! The names on the way to one timeline, in the order in which they were seen.

use super::Outcomes;
use super::row::{Class, class, name};
use crate::scan::catalog_rows::{KeptRow, PG_CLASS, PG_DATABASE, PG_NAMESPACE, Seen, Sighting};
use crate::wal::record::RelationFile;
use crate::wal::{Lsn, Major};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// From where on something held, in order.
type Since<T> = Vec<(Lsn, T)>;

/// A database and an OID or a file's number in it.
type Place = (u32, u32);

/// The names.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    files: BTreeMap<Place, Since<Class>>,
    objects: BTreeMap<Place, Since<Class>>,
    namespaces: BTreeMap<Place, Since<String>>,
    databases: BTreeMap<u32, Since<String>>,
    /// Where databases were made unusable.
    invalidated: BTreeSet<(u32, Lsn)>,
}

/// The rows on the pages of catalogs, as far as they are known.
type Pages = HashMap<(RelationFile, u32), HashMap<u16, KeptRow>>;

impl Book {
    /// From what was seen, in the order of positions. A row counts if the transaction that made it is known to have
    /// committed.
    pub(super) fn of<'a>(
        sightings: impl Iterator<Item = &'a Sighting>,
        outcomes: &Outcomes,
        major: Major,
    ) -> Self {
        let mut reader = Reader { book: Self::default(), pages: Pages::new(), outcomes, major };
        for sighting in sightings {
            reader.take(sighting);
        }
        reader.book
    }

    pub(super) fn file(&self, file: RelationFile, lsn: Lsn) -> Option<&Class> {
        let class = at(self.files.get(&(file.database, file.number))?, lsn)?;
        // A row says 0 for its database's own tablespace, whichever that is.
        (class.tablespace == 0 || class.tablespace == file.tablespace).then_some(class)
    }

    pub(super) fn object(&self, database: u32, oid: u32, lsn: Lsn) -> Option<&Class> {
        at(self.objects.get(&(database, oid))?, lsn)
    }

    pub(super) fn namespace(&self, database: u32, oid: u32, lsn: Lsn) -> Option<&str> {
        at(self.namespaces.get(&(database, oid))?, lsn).map(String::as_str)
    }

    pub(super) fn database(&self, oid: u32, lsn: Lsn) -> Option<&str> {
        at(self.databases.get(&oid)?, lsn).map(String::as_str)
    }

    pub(super) fn invalidated(&self, database: u32, before: Lsn) -> Option<Lsn> {
        let places = self.invalidated.range((database, Lsn::INVALID)..(database, before));
        places.map(|(_, lsn)| *lsn).next_back()
    }

    pub(super) fn has_relation(&self, name: &str) -> bool {
        let is_called = |class: &Class| {
            class.name == name || name.strip_suffix(&class.name).is_some_and(|rest| rest.ends_with('.'))
        };
        self.objects.values().flatten().any(|(_, class)| is_called(class))
    }

    pub(super) fn has_relation_called(&self, name: &str) -> bool {
        self.objects.values().flatten().any(|(_, class)| class.name == name)
    }

    pub(super) fn has_schema(&self, name: &str) -> bool {
        self.namespaces.values().flatten().any(|(_, own)| own == name)
    }

    pub(super) fn databases_called(&self, name: &str) -> BTreeSet<u32> {
        let called = self.databases.iter().filter(|(_, names)| names.iter().any(|(_, own)| own == name));
        called.map(|(oid, _)| *oid).collect()
    }
}

/// Puts sightings into a book.
struct Reader<'a> {
    book: Book,
    pages: Pages,
    outcomes: &'a Outcomes,
    major: Major,
}

impl Reader<'_> {
    fn take(&mut self, sighting: &Sighting) {
        let Sighting { lsn, file, block, .. } = *sighting;
        match &sighting.seen {
            Seen::Page(rows) => {
                for (_, row) in rows {
                    if let Some(since) = self.on_page_since(row, lsn) {
                        self.note(since, file, row);
                    }
                }
                self.pages.insert((file, block), rows.iter().cloned().collect());
            }
            Seen::Row { offset, row } => self.written(lsn, file, (block, *offset), Some(row.clone())),
            Seen::Update { offset, old, prefix, suffix, row } => {
                let old = self.pages.get(&(file, old.0)).and_then(|page| page.get(&old.1));
                self.written(lsn, file, (block, *offset), merged(old, *prefix, *suffix, row));
            }
            Seen::Invalidated { offset, row } => self.invalidate(lsn, (file, block, *offset), row),
        }
    }

    /// A database is made unusable. Up to 11 its OID is not in the record, but on the page; else its name must do.
    fn invalidate(&mut self, lsn: Lsn, (file, block, offset): (RelationFile, u32, u16), row: &KeptRow) {
        let on_page = self.pages.get(&(file, block)).and_then(|page| page.get(&offset));
        let oid = row.oid.or(on_page.and_then(|row| row.oid));
        let Some(named) = name(&KeptRow { oid: oid.or(Some(0)), ..row.clone() }, self.major) else { return };
        let book = &mut self.book;
        if named.oid != 0 {
            book.invalidated.insert((named.oid, lsn));
            return;
        }
        let called = |names: &Since<String>| names.last().is_some_and(|(_, own)| *own == named.name);
        let oids = book.databases.iter().filter(|(_, names)| called(names)).map(|(oid, _)| *oid);
        book.invalidated.extend(oids.map(|oid| (oid, lsn)).collect::<Vec<_>>());
    }

    /// A record writes a row; `None` if it is not known as a whole.
    fn written(&mut self, lsn: Lsn, file: RelationFile, at: (u32, u16), row: Option<KeptRow>) {
        let page = self.pages.entry((file, at.0)).or_default();
        let Some(row) = row else {
            // What stood there before does not stand there any more.
            page.remove(&at.1);
            return;
        };
        page.insert(at.1, row.clone());
        if matches!(self.outcomes.get(&row.xmin), Some(Some(_))) {
            self.note(lsn, file, &row);
        }
    }

    /// From where on a row holds that stands on a page at `lsn`. `None`: it was rolled back, or may have been.
    fn on_page_since(&self, row: &KeptRow, lsn: Lsn) -> Option<Lsn> {
        match self.outcomes.get(&row.xmin) {
            Some(Some(committed)) if *committed <= lsn || !row.committed => Some(*committed),
            Some(None) if !row.committed => None,
            // It committed before the first record here (or the number is used again).
            _ => row.committed.then_some(Lsn::INVALID),
        }
    }

    fn note(&mut self, lsn: Lsn, file: RelationFile, row: &KeptRow) {
        let (book, major) = (&mut self.book, self.major);
        match file.number {
            PG_CLASS => {
                let Some(class) = class(row, major).filter(|class| !class.is_transient()) else { return };
                if class.file != 0 {
                    keep(book.files.entry((file.database, class.file)).or_default(), lsn, class.clone());
                }
                keep(book.objects.entry((file.database, class.oid)).or_default(), lsn, class);
            }
            PG_NAMESPACE => {
                let Some(named) = name(row, major) else { return };
                keep(book.namespaces.entry((file.database, named.oid)).or_default(), lsn, named.name);
            }
            PG_DATABASE => {
                let Some(named) = name(row, major) else { return };
                keep(book.databases.entry(named.oid).or_default(), lsn, named.name);
            }
            _ => {}
        }
    }
}

/// Notes that something holds from `lsn` on, unless it is known.
fn keep<T: PartialEq>(since: &mut Since<T>, lsn: Lsn, value: T) {
    let place = since.partition_point(|(from, _)| *from <= lsn);
    if place.checked_sub(1).and_then(|before| since.get(before)).is_some_and(|(_, before)| *before == value) {
        return;
    }
    match since.get_mut(place) {
        Some((from, next)) if *next == value => *from = lsn,
        _ => since.insert(place, (lsn, value)),
    }
}

/// What held at `lsn`. A row that is first seen later was there all the same: files and OIDs are not given twice.
fn at<T>(since: &Since<T>, lsn: Lsn) -> Option<&T> {
    let after = since.partition_point(|(from, _)| *from <= lsn);
    since.get(after.saturating_sub(1)).map(|(_, value)| value)
}

/// The new version of a row. `None` where it takes bytes from an old one that is not known.
fn merged(old: Option<&KeptRow>, prefix: u16, suffix: u16, new: &KeptRow) -> Option<KeptRow> {
    if prefix == 0 && suffix == 0 {
        return Some(new.clone());
    }
    let old = old?;
    let (prefix, suffix) = (usize::from(prefix), usize::from(suffix));
    let (old_length, middle) = (usize::from(old.length), usize::from(new.length));
    let length = prefix + middle + suffix;
    if prefix > old_length || suffix > old_length {
        return None;
    }
    let byte = |index: usize| {
        if index < prefix {
            old.columns.get(index)
        } else if index < prefix + middle {
            new.columns.get(index - prefix)
        } else {
            old.columns.get(old_length - suffix + (index - prefix - middle))
        }
    };
    Some(KeptRow {
        committed: false,
        oid: new.oid,
        xmin: new.xmin,
        length: u16::try_from(length).ok()?,
        columns: (0..length).map_while(|index| byte(index).copied()).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn row(columns: &[u8]) -> KeptRow {
        KeptRow {
            length: u16::try_from(columns.len()).unwrap(),
            columns: columns.to_vec(),
            ..KeptRow::default()
        }
    }

    #[test]
    fn an_update_takes_both_ends_of_the_old_version() {
        let old = row(b"0123456789");
        assert_eq!(merged(Some(&old), 3, 2, &row(b"abc")).unwrap().columns, b"012abc89");
        assert_eq!(merged(Some(&old), 0, 0, &row(b"abc")).unwrap().columns, b"abc");
        assert_eq!(merged(None, 1, 0, &row(b"abc")), None);
        assert_eq!(merged(Some(&old), 11, 0, &row(b"abc")), None);
    }

    #[test]
    fn what_is_not_known_of_the_old_version_cuts_the_new_one() {
        let old = KeptRow { length: 10, columns: b"01234".to_vec(), ..KeptRow::default() };
        assert_eq!(merged(Some(&old), 1, 9, &row(b"")).unwrap().columns, b"01234");
        assert_eq!(merged(Some(&old), 7, 3, &row(b"x")).unwrap().columns, b"01234");
    }

    #[test]
    fn the_last_word_at_a_position_counts() {
        let mut since = Vec::new();
        keep(&mut since, Lsn(10), "a");
        keep(&mut since, Lsn(20), "a");
        keep(&mut since, Lsn(30), "b");
        assert_eq!(since.len(), 2);
        assert_eq!([5, 10, 29, 30, 99].map(|lsn| *at(&since, Lsn(lsn)).unwrap()), ["a", "a", "a", "b", "b"]);
    }
}
