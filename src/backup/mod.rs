//! Base backups: what each says of itself, from whatever it left behind.

pub mod control;
pub mod label;

pub use control::{CheckPointCopy, ControlError, ControlFile, State};
pub use label::{LabelError, LabelFile, Method};
