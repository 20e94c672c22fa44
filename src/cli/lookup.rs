//! Answers out of few files of a catalog.

use super::Status;
use super::common::{CommandError, CommonArgs};
use super::reading::{Reading, no_place};
use crate::audit::Options;
use crate::catalog::{Catalog, Place, Unseen};
use crate::find::prune::{first_look, meant, next_look};
use crate::find::{Index, Query};
use crate::names;
use crate::recovery::Library;
use crate::scan::catalog_rows::Sighting;
use crate::scan::zone::FileZone;
use std::mem::ManuallyDrop;

/// Gives the answer out of these facts and events.
pub(super) type Answer<'a> =
    dyn Fn(&Reading, &Library<'_>, &Index, Unseen) -> Result<Status, CommandError> + 'a;

/// Answers `query` from few of a catalog's files: `answer` gets them, and the events among which the answer is. `None`
/// where the catalog does not tell which files these are.
///
/// `rows` come from backups; `wants_names`: the question has names of tables or databases in it.
pub(super) fn look_up(
    common: &CommonArgs,
    options: &Options,
    query: &Query,
    rows: &[Sighting],
    wants_names: bool,
    answer: &Answer<'_>,
) -> Result<Option<Status>, CommandError> {
    let path = common.catalog_path().ok_or_else(no_place)?;
    let mut catalog = Catalog::open_to_read(&path)?;
    let Some(places) = catalog.places()? else { return Ok(None) };
    let zones: Vec<&FileZone> = places.iter().map(|place| &place.zone).collect();
    let mut selected = first_look(query, &zones);
    // Nothing fits: any file will show that.
    if selected.is_empty() {
        selected.insert(0);
    }
    loop {
        let chosen: Vec<&Place> = selected.iter().filter_map(|at| places.get(*at)).collect();
        let (reading, unseen) = Reading::offline_in(&common.archive, catalog, &chosen, options)?;
        let library = reading.library(common, options)?;
        let events = meant(query, &library);
        let index = Index::of_those(&library, |event| events.contains(&(event.owner, event.lsn)));
        let makers = names::all_makers(&library, &index.across.sightings, rows);
        let more = next_look(&library, &index, &makers, wants_names, &zones);
        if more.is_subset(&selected) {
            return answer(&reading, &library, &index, unseen).map(Some);
        }
        drop(ManuallyDrop::into_inner(library));
        selected.extend(more);
        catalog = reading.into_catalog().ok_or_else(no_place)?;
    }
}
