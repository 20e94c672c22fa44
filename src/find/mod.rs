//! Everything that happened in an archive, once, and how to search it.
//!
//! A copied prefix belongs to the parent; a record across a segment boundary belongs where it starts. What a
//! transaction did to rows and files is folded together with its subtransactions'.

pub mod deeds;
pub mod index;
pub mod loss;
pub mod prune;
pub mod query;
pub mod seams;
pub mod tables;
mod times;

pub use deeds::Deeds;
pub use index::{Happening, Index};
pub use loss::Loss;
pub use query::{Order, Query};
