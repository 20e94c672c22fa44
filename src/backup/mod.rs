//! Base backups: what each says of itself, from whatever it left behind.

pub mod base;
pub mod control;
pub mod label;
pub mod startup;

pub use base::{BaseBackup, Source, SourceKind, WalRange, merge};
pub use control::{CheckPointCopy, ControlError, ControlFile, State};
pub use label::{LabelError, LabelFile, Method};
pub use startup::{BackupEnd, Startup, StartupError};
