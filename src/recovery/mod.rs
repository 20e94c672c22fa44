//! What a server does with a backup, a target and an archive, and the settings that tell it to.

mod along;
pub mod conf;
pub mod fetch;
mod held;
pub mod judge;
pub mod library;
pub mod model;
pub mod prediction;
pub mod resolve;
pub mod route;
pub mod routes;
pub mod settings;
pub mod target;
pub mod windows;
pub mod words;

pub use conf::{Conf, ConfError, Setting};
pub use judge::{Action, JudgeError, RecoverySettings, TargetSetting};
pub use library::Library;
pub use model::{Prediction, Request, predict};
pub use settings::{SettingsError, Wanted};
pub use target::{Position, RecordKind, Stop, Target};
