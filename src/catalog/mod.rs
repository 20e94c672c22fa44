//! The index on disk: facts that were scanned once, kept between runs.
//!
//! One SQLite file for each archive. Every file of the archive has a row with its identity (size, modification
//! time, inode, entity tag), with what its facts rest on besides its bytes (who owns them by the histories), and
//! with the bounds of what happened in it; and blocks with the facts themselves (see `block`). The bounds of all
//! files are kept together as well (see `zones`), so that a question looks into few of them. Rows and blocks carry checksums.
//! The listing, the history files and the accounts of base backups are kept too, so that questions can be answered without the archive ([`Catalog::offline`]).
//!
//! A catalog is derived: it can always be made again from the archive, and nothing in it is believed that does not
//! belong to the very file that stands in the archive now.

mod block;
mod database;
mod keeper;
mod merge;
mod offline;
mod pack_listing;
mod place;
mod rows;
mod zones;

#[cfg(test)]
mod tests;

pub use database::{Catalog, CatalogError};
pub use keeper::{Keeper, Tally};
pub use merge::merge;
pub use offline::Offline;
pub use place::default_place;
pub use zones::{Place, Unseen};
