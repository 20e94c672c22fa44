//! From a segment's bytes to its facts, many segments at once.
//!
//! Scanning one file is a pure function of its bytes and of what the histories say about who owns them; it knows
//! nothing of the neighbours.

pub mod activity;
pub mod catalog_changes;
pub mod catalog_rows;
pub(crate) mod ends;
pub mod event;
pub mod events;
pub mod facts;
pub mod files;
pub mod identify;
pub(crate) mod pack_activity;
mod pack_facts;
pub mod segment;
pub mod stats;
mod steady;
pub mod store;
mod workbench;
pub mod zone;

pub use event::Event;
pub use events::Events;
pub use facts::{FileFault, SegmentFacts};
pub use segment::{Detail, Expectation, scan_segment, unread};
pub use steady::scan_steady;
pub use store::{FactStore, scan_or_recall};
pub use workbench::Workbench;
