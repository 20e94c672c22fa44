//! Bounds of all files, a few hundred together: what a question looks at before it looks at files.
//!
//! They are written when an index is complete, and are gone as soon as anything else is written: what is there is
//! true of every file of the archive.

use super::database::{Catalog, CatalogError};
use super::keeper::{Keeper, Known};
use super::rows::FileRow;
use crate::archive::{Entry, Identity, Inventory, Layout};
use crate::backup::Discovered;
use crate::pack::{Pack, Unpacker, from_bytes, pack_struct, to_bytes};
use crate::scan::zone::FileZone;
use crate::wal::WalFileName;
use rusqlite::params;
use std::collections::BTreeMap;

/// Files whose bounds are kept together.
const FILES_TOGETHER: usize = 256;

/// Where in the catalog a file is, and its bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The row's number.
    file: i64,
    /// The row's checksum.
    crc: u32,
    /// The bounds.
    pub zone: FileZone,
}

/// Segments that events may have been in which no bounds tell of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unseen {
    /// Those that are not there.
    pub missing: u64,
    /// Those in which something cannot be read or believed.
    pub damaged: u64,
}

pack_struct! {
    Place { file, crc, zone }
    Unseen { missing, damaged }
}

/// What is needed of a listing besides the segments that are looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    layout: Layout,
    groups: Vec<String>,
    group: u16,
    is_pg_wal: bool,
    histories: Vec<Entry>,
    unseen: Unseen,
}

pack_struct! {
    Frame { layout, groups, group, is_pg_wal, histories, unseen }
}

/// The name of the document that a [`Frame`] is.
const FRAME: &str = "frame";

impl Keeper {
    /// Whether the bounds of all files are there.
    pub fn has_places(&self) -> Result<bool, CatalogError> {
        self.lock().has_places()
    }

    /// The bounds of every segment of `inventory`, as far as its own bytes tell, in the order of positions. `None`
    /// where they cannot stand for the archive: facts are missing, there are several clusters, or copies of a segment.
    pub fn own_places(&self, inventory: &Inventory) -> Result<Option<Vec<Place>>, CatalogError> {
        let known = self.look_again()?;
        let mut clusters = std::collections::BTreeSet::new();
        let mut places = BTreeMap::new();
        for entry in inventory.entries.iter().filter(|entry| matches!(entry.name, WalFileName::Segment(_))) {
            let known = known.get(&entry.object.path).filter(|known| !known.gone);
            let Some(Known { id, row, crc, .. }) = known else { return Ok(None) };
            if row.identity != entry.object.identity {
                return Ok(None);
            }
            clusters.extend(row.system_id.zip(row.segment_size).zip(row.magic));
            // What is known of a copy depends on the others, which a question that looks into few files does not see.
            if places.insert(&row.name, Place { file: *id, crc: *crc, zone: row.zone.clone() }).is_some() {
                return Ok(None);
            }
        }
        let mut places: Vec<Place> = places.into_values().collect();
        places.sort_by_key(|place| (place.zone.start, place.zone.name));
        Ok((clusters.len() == 1).then_some(places))
    }

    /// Writes the bounds of all segments of `inventory`, unless something else was written in the meantime.
    pub fn keep_places(
        &self,
        inventory: &Inventory,
        places: &[Place],
        unseen: Unseen,
    ) -> Result<(), CatalogError> {
        let histories: Vec<Entry> = inventory
            .entries
            .iter()
            .filter(|entry| matches!(entry.name, WalFileName::History(_)))
            .cloned()
            .collect();
        let group = inventory.entries.first().map_or(0, |entry| entry.group);
        let frame = Frame {
            layout: inventory.layout,
            groups: inventory.groups.clone(),
            group,
            is_pg_wal: inventory.is_pg_wal,
            histories,
            unseen,
        };
        let mut catalog = self.lock();
        catalog.put_documents(&[(FRAME, to_bytes(&frame))])?;
        catalog.write(|transaction| {
            transaction.execute("DELETE FROM zone", [])?;
            let mut row = transaction.prepare("SELECT crc FROM file WHERE id = ?1 AND gone = 0")?;
            for place in places {
                let crc: Option<u32> =
                    rusqlite::OptionalExtension::optional(row.query_row([place.file], |row| row.get(0)))?;
                if crc != Some(place.crc) {
                    return Ok(());
                }
            }
            let mut insert = transaction.prepare("INSERT INTO zone (body, crc) VALUES (?1, ?2)")?;
            for together in places.chunks(FILES_TOGETHER) {
                let mut body = Vec::new();
                together.to_vec().pack(&mut body);
                insert.execute(params![body, crc32fast::hash(&body)])?;
            }
            Ok(())
        })
    }
}

impl Catalog {
    fn has_places(&self) -> Result<bool, CatalogError> {
        let query = "SELECT EXISTS (SELECT 1 FROM zone)";
        self.connection.query_row(query, [], |row| row.get(0)).map_err(|error| self.failed(&error))
    }

    /// The bounds of every segment of the archive, in the order of positions. `None` if they are not kept.
    pub fn places(&self) -> Result<Option<Vec<Place>>, CatalogError> {
        let failed = |error| self.failed(&error);
        let mut query = self.connection.prepare("SELECT body, crc FROM zone ORDER BY id").map_err(failed)?;
        let mut rows = query.query([]).map_err(failed)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (body, crc): (Vec<u8>, u32) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let damaged = || self.damaged("the bounds of its files");
            if crc32fast::hash(&body) != crc {
                return Err(damaged());
            }
            let mut together: Vec<Place> = from_bytes(&body).ok_or_else(damaged)?;
            all.append(&mut together);
        }
        Ok((!all.is_empty()).then_some(all))
    }

    /// What was kept of the archive, with a listing of `chosen` segments alone, a keeper of their facts, and what no
    /// segment shows.
    pub fn offline_in(self, chosen: &[&Place]) -> Result<(super::Offline, Keeper, Unseen), CatalogError> {
        let frame: Frame = self.document(FRAME)?;
        let mut rows = Vec::new();
        for place in chosen {
            let (row, crc) = self.row(place.file)?;
            if crc != place.crc || row.crc() != crc {
                return Err(self.damaged(format!("the row of {}", row.name)));
            }
            rows.push((place.file, row, crc));
        }
        let mut entries = frame.histories;
        for (_, row, _) in &rows {
            let name = WalFileName::parse(&row.name)
                .ok_or_else(|| self.damaged(format!("the row of {}", row.name)))?;
            entries.push(entry(name, frame.group, row));
        }
        entries.sort_by(|a, b| (a.name, &a.object.path).cmp(&(b.name, &b.object.path)));
        let inventory = Inventory {
            layout: frame.layout,
            entries,
            groups: frame.groups,
            is_pg_wal: frame.is_pg_wal,
            ..Inventory::default()
        };
        let discovered = Discovered { backups: Vec::new(), problems: Vec::new() };
        let offline = super::Offline {
            location: self.document("archive")?,
            inventory,
            discovered,
            histories: self.document("histories")?,
            updated: self.updated()?,
        };
        Ok((offline, Keeper::of_rows(self, rows), frame.unseen))
    }
}

fn entry(name: WalFileName, group: u16, row: &FileRow) -> Entry {
    let identity: Identity = row.identity.clone();
    let object = crate::archive::Object {
        path: row.path.clone(),
        kind: crate::archive::ObjectKind::Regular,
        identity,
    };
    Entry { name, group, object }
}
