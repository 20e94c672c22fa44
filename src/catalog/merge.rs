//! Catalogs of parts of one archive as one.

use super::database::{Catalog, CatalogError};
use super::offline::{Offline, UPDATED};
use super::rows::put;
use crate::archive::{Entry, Inventory};
use crate::backup::{self, BaseBackup, Problem};
use crate::pack::to_bytes;
use crate::scan::Detail;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Writes into a new catalog at `target` what the catalogs `parts` hold. Where two of them hold a file of one path,
/// the one that is named later counts, unless the file is gone there.
pub fn merge(parts: &[PathBuf], target: &Path) -> Result<Catalog, CatalogError> {
    let sources = parts.iter().map(|part| Catalog::open_to_read(part)).collect::<Result<Vec<_>, _>>()?;
    let mut merged = Catalog::rebuild(target)?;
    let mut present = BTreeSet::new();
    for source in &sources {
        for (id, row, crc, gone) in source.rows()? {
            if gone && present.contains(&row.path) {
                continue;
            }
            let blocks = source.blocks(id, crc, Detail::Events)?;
            let blocks = blocks.ok_or_else(|| source.damaged(format!("the facts of {}", row.name)))?;
            merged.write(|transaction| put(transaction, &row, &blocks, gone))?;
            present.insert(row.path);
        }
    }
    let listings = sources.iter().map(Catalog::offline).collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = listings.first() {
        let location = first.location.clone();
        let histories: BTreeMap<PathBuf, Vec<u8>> =
            listings.iter().flat_map(|listing| listing.histories.iter().cloned()).collect();
        let backups: Vec<BaseBackup> =
            listings.iter().flat_map(|listing| listing.discovered.backups.iter().cloned()).collect();
        let problems: Vec<Problem> =
            listings.iter().flat_map(|listing| listing.discovered.problems.iter().cloned()).collect();
        // The whole is as old as its oldest part.
        if let Some(updated) = listings.iter().map(|listing| listing.updated).min().flatten() {
            merged.put_documents(&[(UPDATED, to_bytes(&updated))])?;
        }
        merged.put_documents(&[
            ("archive", to_bytes(&location)),
            ("inventory", to_bytes(&one_inventory(listings))),
            ("histories", to_bytes(&histories.into_iter().collect::<Vec<_>>())),
            ("backups", to_bytes(&(backup::merge(backups), problems))),
        ])?;
    }
    Ok(merged)
}

/// The listings of parts as the listing of the whole.
fn one_inventory(listings: Vec<Offline>) -> Inventory {
    let mut parts = listings.into_iter().map(|listing| listing.inventory);
    let mut whole = parts.next().unwrap_or_default();
    let placed = |entry: Entry| ((entry.name, entry.object.path.clone()), entry);
    let mut entries: BTreeMap<_, _> = std::mem::take(&mut whole.entries).into_iter().map(placed).collect();
    for part in parts {
        let mut group_of = Vec::new();
        for group in part.groups {
            let index = whole.groups.iter().position(|known| *known == group).unwrap_or_else(|| {
                whole.groups.push(group);
                whole.groups.len() - 1
            });
            group_of.push(u16::try_from(index).unwrap_or(u16::MAX));
        }
        for mut entry in part.entries {
            entry.group = group_of.get(usize::from(entry.group)).copied().unwrap_or(entry.group);
            let (place, entry) = placed(entry);
            entries.insert(place, entry);
        }
        whole.strays.extend(part.strays);
        whole.backups.extend(part.backups);
        whole.is_pg_wal |= part.is_pg_wal;
    }
    whole.entries = entries.into_values().collect();
    whole
}
