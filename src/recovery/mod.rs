//! What a server does with a backup, a target and an archive, and the settings that tell it to.

pub mod conf;
pub mod judge;
pub mod settings;

pub use conf::{Conf, ConfError, Setting};
pub use judge::{Action, JudgeError, RecoverySettings, TargetSetting};
pub use settings::{SettingsError, Wanted};
