//! What the recovery settings of a file mean to a server of one version, several targets at once included.
//!
//! | | up to 11 | 12 and later |
//! |---|---|---|
//! | names | as written, unknown ones FATAL | in any case |
//! | several targets | the last line wins | FATAL, but an empty value takes a target back |
//! | a name twice | each line counts in turn | the last line counts, in its place |
//!
//! PostgreSQL: `src/backend/access/transam/xlog.c` (`readRecoveryCommandFile`, up to 11), `src/backend/utils/misc/guc.c`
//! (`assign_recovery_target*`, 12 to 14), `src/backend/access/transam/xlogrecovery.c` (15 to 19).

use super::conf::{Conf, Setting};
use crate::timeline::scan;
use crate::timeline::{TimelineTarget, TimelineTargetError};
use crate::wal::{Lsn, Major, Xid, byte_text};

/// A restore point's name has fewer bytes than this (`MAXFNAMELEN`).
pub const NAME_BYTES: usize = 64;
/// The lowest id of a normal transaction (`FirstNormalTransactionId`).
const FIRST_NORMAL_XID: u32 = 3;

/// A recovery target as settings hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetSetting {
    /// `recovery_target_time`, not yet read: a bare time is in the server's own zone.
    Time(String),
    /// `recovery_target_xid`.
    Xid(Xid),
    /// `recovery_target_lsn` (10 and later).
    Lsn(Lsn),
    /// `recovery_target_name`.
    Name(String),
    /// `recovery_target = 'immediate'`.
    Immediate,
}

/// `recovery_target_action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Action {
    /// Wait for a person.
    #[default]
    Pause,
    /// End recovery.
    Promote,
    /// Stop the server.
    Shutdown,
}

impl Action {
    /// The word in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Shutdown => "shutdown",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = ();

    /// Reads the word; anything else is an error without words.
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pause, Self::Promote, Self::Shutdown].into_iter().find(|a| a.name() == text).ok_or(())
    }
}

/// What a server makes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoverySettings {
    /// The target; `None`: to the end of WAL.
    pub target: Option<TargetSetting>,
    /// `recovery_target_inclusive`, on unless it is set.
    pub inclusive: bool,
    /// The timeline, or what the version defaults to.
    pub timeline: TimelineTarget,
    /// `recovery_target_timeline` as written.
    pub timeline_text: Option<String>,
    /// What to do at the target; `None`: it is not set, which means pause.
    pub action: Option<Action>,
    /// `restore_command`.
    pub restore_command: Option<String>,
    /// `TimeZone` of the same file, in which a bare target time is read (12 and later).
    pub timezone: Option<String>,
}

/// The server does not start with the file: its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// Two targets (12 and later).
    #[error("multiple recovery targets specified")]
    MultipleTargets {
        /// The setting that came first.
        first: String,
        /// The one that was too many.
        second: String,
    },
    /// A name that recovery.conf does not know (up to 11).
    #[error("unrecognized recovery parameter \"{name}\"")]
    Unrecognized {
        /// The name as written.
        name: String,
    },
    /// A name that no setting has (12 and later), as far as it looks like one of recovery.
    #[error("unrecognized configuration parameter \"{name}\"")]
    NoSetting {
        /// The name as written.
        name: String,
    },
    /// A value that recovery.conf does not take (up to 11), in the words of the setting.
    #[error("{message}")]
    OldValue {
        /// The server's message.
        message: String,
    },
    /// A value that the setting does not take (12 and later).
    #[error("invalid value for parameter \"{name}\": \"{value}\"")]
    Value {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// A timeline that the setting does not take.
    #[error(transparent)]
    Timeline(#[from] TimelineTargetError),
}

impl RecoverySettings {
    /// What a server of version `major` makes of `conf`.
    pub fn judge(conf: &Conf, major: Major) -> Result<Self, JudgeError> {
        let mut settings = Self {
            target: None,
            inclusive: true,
            timeline: TimelineTarget::default_for(major),
            timeline_text: None,
            action: None,
            restore_command: None,
            timezone: None,
        };
        if major < Major::V12 {
            for setting in &conf.settings {
                settings.apply_old(setting, major)?;
            }
        } else {
            let counts = |i: usize, setting: &Setting| {
                !conf.settings.iter().skip(i + 1).any(|later| later.name == setting.name)
            };
            let mut set_by = None;
            for (_, setting) in conf.settings.iter().enumerate().filter(|(i, setting)| counts(*i, setting)) {
                settings.apply(setting, major, &mut set_by)?;
            }
        }
        Ok(settings)
    }

    /// One line of a recovery.conf.
    fn apply_old(&mut self, setting: &Setting, major: Major) -> Result<(), JudgeError> {
        let Setting { written: name, value, .. } = setting;
        let message = |message: String| Err(JudgeError::OldValue { message });
        match name.as_str() {
            "recovery_target" => match value.as_str() {
                "immediate" => self.target = Some(TargetSetting::Immediate),
                _ => return message(invalid_old(name, value)),
            },
            "recovery_target_time" => match value.as_str() {
                "epoch" | "infinity" | "-infinity" | "now" | "today" | "tomorrow" | "yesterday" => {
                    return message(format!("recovery_target_time is not a valid timestamp: \"{value}\""));
                }
                _ => self.target = Some(TargetSetting::Time(value.clone())),
            },
            "recovery_target_xid" => match read_xid(value, major) {
                Some(xid) => self.target = Some(TargetSetting::Xid(xid)),
                None => return message(format!("recovery_target_xid is not a valid number: \"{value}\"")),
            },
            "recovery_target_name" if byte_text::bytes(value).len() >= NAME_BYTES => {
                return message("recovery_target_name is too long (maximum 63 characters)".to_owned());
            }
            "recovery_target_name" => self.target = Some(TargetSetting::Name(value.clone())),
            "recovery_target_lsn" if major >= Major::V10 => match value.parse() {
                Ok(lsn) => self.target = Some(TargetSetting::Lsn(lsn)),
                Err(_) => return message(format!("invalid input syntax for type pg_lsn: \"{value}\"")),
            },
            "recovery_target_inclusive" => match read_bool(value) {
                Some(inclusive) => self.inclusive = inclusive,
                None => return message(format!("parameter \"{name}\" requires a Boolean value")),
            },
            "recovery_target_timeline" => {
                self.timeline = TimelineTarget::parse(value, major)?;
                self.timeline_text = Some(value.clone());
            }
            "recovery_target_action" => match value.parse() {
                Ok(action) => self.action = Some(action),
                Err(()) => return message(invalid_old(name, value)),
            },
            "restore_command" => self.restore_command = Some(value.clone()),
            "recovery_end_command"
            | "archive_cleanup_command"
            | "standby_mode"
            | "primary_conninfo"
            | "primary_slot_name"
            | "trigger_file"
            | "recovery_min_apply_delay" => {}
            _ => return Err(JudgeError::Unrecognized { name: name.clone() }),
        }
        Ok(())
    }

    /// One setting of a postgresql.conf that counts. `set_by` is the setting that holds the target at the moment: the
    /// server takes an empty value for "no target" only where none or the same is set.
    fn apply(
        &mut self,
        setting: &Setting,
        major: Major,
        set_by: &mut Option<String>,
    ) -> Result<(), JudgeError> {
        let Setting { name, value, .. } = setting;
        let invalid = || JudgeError::Value { name: name.clone(), value: value.clone() };
        match name.as_str() {
            "recovery_target"
            | "recovery_target_time"
            | "recovery_target_xid"
            | "recovery_target_name"
            | "recovery_target_lsn" => {
                let target = if value.is_empty() {
                    None
                } else {
                    Some(new_target(name, value, major).ok_or_else(invalid)?)
                };
                if let Some(first) = set_by.as_ref().filter(|first| *first != name) {
                    return Err(JudgeError::MultipleTargets { first: first.clone(), second: name.clone() });
                }
                *set_by = target.is_some().then(|| name.clone());
                self.target = target;
            }
            "recovery_target_inclusive" => self.inclusive = read_bool(value).ok_or_else(invalid)?,
            "recovery_target_timeline" => {
                self.timeline = TimelineTarget::parse(value, major)?;
                self.timeline_text = Some(value.clone());
            }
            "recovery_target_action" => {
                // An enum of settings, in any case.
                self.action = Some(value.to_ascii_lowercase().parse().map_err(|()| invalid())?);
            }
            "restore_command" => self.restore_command = Some(value.clone()).filter(|c| !c.is_empty()),
            "timezone" => self.timezone = Some(value.clone()),
            other if is_no_setting(other) => {
                return Err(JudgeError::NoSetting { name: setting.written.clone() });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a name in lower case, which is none of those that are read here, is sure to be no setting of 12 and later: a
/// target that is spelled wrong would be none at all. What other settings there are, nobody lists here; a name with a
/// dot in it may be an extension's.
fn is_no_setting(name: &str) -> bool {
    const OF_RECOVERY: [&str; 4] = [
        "recovery_end_command",
        "recovery_init_sync_method",
        "recovery_min_apply_delay",
        "recovery_prefetch",
    ];
    let has_form = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
    let of_old = matches!(name, "standby_mode" | "trigger_file");
    !has_form || of_old || name.starts_with("recovery_") && !OF_RECOVERY.contains(&name)
}

/// The words of recovery.conf for a value that is none of a few.
fn invalid_old(name: &str, value: &str) -> String {
    format!("invalid value for recovery parameter \"{name}\": \"{value}\"")
}

/// A target of 12 and later from its setting; `None` where the value is not taken.
fn new_target(name: &str, value: &str, major: Major) -> Option<TargetSetting> {
    match name {
        "recovery_target" => (value == "immediate").then_some(TargetSetting::Immediate),
        "recovery_target_time" => {
            let special = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity"];
            let refused = special.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
            (!refused).then(|| TargetSetting::Time(value.to_owned()))
        }
        "recovery_target_xid" => read_xid(value, major).map(TargetSetting::Xid),
        "recovery_target_name" => {
            (byte_text::bytes(value).len() < NAME_BYTES).then(|| TargetSetting::Name(value.to_owned()))
        }
        "recovery_target_lsn" => value.parse().ok().map(TargetSetting::Lsn),
        _ => None,
    }
}

/// Whether a restore point can have this name.
pub fn is_restore_point_name(name: &str) -> bool {
    let bytes = byte_text::bytes(name);
    (1..NAME_BYTES).contains(&bytes.len()) && !bytes.contains(&0)
}

/// `recovery_target_xid` as version `major` reads it: base 0, so that a leading zero makes it octal, and the epoch of a
/// 64-bit id falls away. Up to 18 what follows the digits does not count either; 19 refuses that, a minus sign and the
/// special ids.
pub fn read_xid(text: &str, major: Major) -> Option<Xid> {
    let number = scan::strtoul(text.as_bytes(), scan::BY_PREFIX);
    #[expect(clippy::cast_possible_truncation, reason = "the server's cast drops the epoch")]
    let xid = Xid(number.map_or(0, |(number, _)| number.value as u32));
    let out_of_range = number.is_some_and(|(number, _)| number.out_of_range);
    if major < Major::V19 {
        return (!out_of_range).then_some(xid);
    }
    let whole = number.is_some_and(|(number, rest)| rest.is_empty() && !number.negative);
    (whole && !out_of_range && xid.0 >= FIRST_NORMAL_XID).then_some(xid)
}

/// A Boolean as settings take it (`parse_bool`): on, off, 1, 0, or a beginning of true, false, yes, no.
pub fn read_bool(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(text.as_str());
    if begins("true") || begins("yes") || text == "on" || text == "1" {
        Some(true)
    } else if begins("false") || begins("no") || text == "off" || text == "of" || text == "0" {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
