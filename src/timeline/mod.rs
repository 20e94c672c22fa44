//! Timelines: history files, the tree that they make, and which timeline a recovery follows.

pub mod history;
pub(crate) mod scan;
pub mod target;
pub mod tree;

pub use history::{Ancestor, History, HistoryEntry, HistoryError};
pub use target::{TimelineTarget, TimelineTargetError, probe_latest};
pub use tree::{Parent, Tree};
