//! Neighbours: from the facts of single files to unbroken ranges, gaps, forks and what is wrong between them.
//!
//! Nothing here reads a file.

pub mod chains;
pub mod range;
mod seam;
pub mod segments;
