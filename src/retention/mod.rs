//! What may be removed from an archive, why, and removing it safely.

pub mod archivecleanup;
pub mod baseline;
pub mod choose;
pub mod execute;
pub mod places;
pub mod plan;
pub mod proposal;
pub mod prove;

pub use baseline::{Baseline, BaselineError};
pub use choose::{Chosen, Guarded, Policy, choose};
pub use plan::{Cleanup, Ruled, plan};
pub use proposal::{Proposal, propose};
