//! Which timeline a recovery follows: the setting, as each version reads it, and the search for the newest.
//!
//! | text | up to 11 | 12 to 18 | 19 |
//! |---|---|---|---|
//! | not set | current | latest | latest |
//! | `latest` | latest | latest | latest |
//! | `current` | latest (no number is zero, and zero means latest) | current | current |
//! | `0x11`, `021`, `17` | 17 | 17 | 17 |
//! | `1abc` | 1 | 1 | refused |
//! | `abc`, empty | latest | 0, which never exists | refused |
//!
//! PostgreSQL: `src/backend/access/transam/xlog.c` (`readRecoveryCommandFile`, up to 11), `guc.c` (12 to 14),
//! `xlogrecovery.c` (`check_recovery_target_timeline`, 15 to 19), `timeline.c` (`findNewestTimeLine`).

use super::scan;
use crate::wal::{Major, TimelineId};

/// What `recovery_target_timeline` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimelineTarget {
    /// The newest that can be found by counting upward from the backup's.
    Latest,
    /// The backup's own (the greater of its checkpoint's and its minimum recovery point's).
    Current,
    /// This one.
    Number(TimelineId),
}

/// The server does not follow the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimelineTargetError {
    /// The number does not fit 64 bits (up to 11; the server's FATAL message).
    #[error("recovery_target_timeline is not a valid number: \"{text}\"")]
    NotANumber {
        /// The setting.
        text: String,
    },
    /// The setting is not accepted (12 and later).
    #[error("invalid value for parameter \"recovery_target_timeline\": \"{text}\"")]
    Invalid {
        /// The setting.
        text: String,
        /// The server's detail line.
        detail: &'static str,
    },
    /// The timeline has no history file (the server's FATAL message).
    #[error("recovery target timeline {timeline} does not exist")]
    DoesNotExist {
        /// The timeline asked for.
        timeline: TimelineId,
    },
}

impl TimelineTarget {
    /// What a server of version `major` does where nothing is set.
    pub fn default_for(major: Major) -> Self {
        if major < Major::V12 { Self::Current } else { Self::Latest }
    }

    /// Reads the setting as version `major` does.
    pub fn parse(text: &str, major: Major) -> Result<Self, TimelineTargetError> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if text == "current" && major >= Major::V12 {
            return Ok(Self::Current);
        }
        let number = scan::strtoul(text.as_bytes(), scan::BY_PREFIX);
        if major < Major::V12 {
            return Self::old_number(text, number);
        }
        let invalid = |detail| Err(TimelineTargetError::Invalid { text: text.to_owned(), detail });
        if major < Major::V19 {
            return match number {
                Some((number, _)) if number.out_of_range => {
                    invalid(if major < Major::V17 { NOT_VALID } else { NOT_VALID_QUOTED })
                }
                number => Ok(Self::Number(low_half(number))),
            };
        }
        match number {
            Some((number, b"")) if !number.out_of_range => {
                match u32::try_from(number.value).ok().filter(|id| *id >= 1) {
                    Some(id) => Ok(Self::Number(TimelineId(id))),
                    None => invalid("\"recovery_target_timeline\" must be between 1 and 4294967295."),
                }
            }
            // strtou64 of an empty text finds no digits and stops at its end: the number is zero.
            None if text.is_empty() => {
                invalid("\"recovery_target_timeline\" must be between 1 and 4294967295.")
            }
            _ => invalid(NOT_VALID_QUOTED),
        }
    }

    /// Up to 11: whatever comes out as zero means the latest.
    fn old_number(text: &str, number: Option<(scan::Number, &[u8])>) -> Result<Self, TimelineTargetError> {
        if number.is_some_and(|(number, _)| number.out_of_range) {
            return Err(TimelineTargetError::NotANumber { text: text.to_owned() });
        }
        Ok(match low_half(number) {
            TimelineId(0) => Self::Latest,
            id => Self::Number(id),
        })
    }

    /// Reads what a person asks for: `latest`, `current` (the backup's own timeline, in every version) or a number, as
    /// servers read it. What else servers take for one, a word for instance, is a slip here.
    pub fn asked(text: &str, major: Major) -> Result<Self, TimelineTargetError> {
        match text {
            "current" => Ok(Self::Current),
            "latest" => Ok(Self::Latest),
            _ => match scan::strtoul(text.as_bytes(), scan::BY_PREFIX) {
                Some((number, b""))
                    if !number.negative && (1..=u64::from(u32::MAX)).contains(&number.value) =>
                {
                    Self::parse(text, major)
                }
                _ => Err(TimelineTargetError::Invalid { text: text.to_owned(), detail: ASKED }),
            },
        }
    }

    /// The timeline that recovery from a backup with start value `start` will follow. `exists` says whether the
    /// history file of a timeline can be had.
    pub fn resolve(
        self,
        start: TimelineId,
        exists: impl FnMut(TimelineId) -> bool,
    ) -> Result<TimelineId, TimelineTargetError> {
        let mut exists = exists;
        match self {
            Self::Latest => Ok(probe_latest(start, exists)),
            Self::Current => Ok(start),
            // Timeline 1 does not have a history file, all others should.
            Self::Number(id) if id == TimelineId(1) || exists(id) => Ok(id),
            Self::Number(timeline) => Err(TimelineTargetError::DoesNotExist { timeline }),
        }
    }
}

const ASKED: &str = "Give latest, current or the number of a timeline.";
const NOT_VALID: &str = "recovery_target_timeline is not a valid number.";
const NOT_VALID_QUOTED: &str = "\"recovery_target_timeline\" is not a valid number.";

/// The cast to `TimeLineID`, zero where there were no digits.
#[expect(clippy::cast_possible_truncation, reason = "the server's cast drops the high half")]
fn low_half(number: Option<(scan::Number, &[u8])>) -> TimelineId {
    TimelineId(number.map_or(0, |(number, _)| number.value as u32))
}

/// The newest timeline that is found by asking for `start + 1`, `start + 2`, … and stopping at the first history
/// file that is not there; one that is missing hides all behind it (`findNewestTimeLine`).
pub fn probe_latest(start: TimelineId, mut exists: impl FnMut(TimelineId) -> bool) -> TimelineId {
    let mut newest = start;
    while let Some(next) = newest.0.checked_add(1).map(TimelineId)
        && exists(next)
    {
        newest = next;
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimelineTarget::{Current, Latest, Number};

    #[test]
    fn each_version_reads_the_setting_its_own_way() {
        let number = |id| Ok(Number(TimelineId(id)));
        for (text, to_11, to_18) in [
            ("latest", Ok(Latest), Ok(Latest)),
            ("current", Ok(Latest), Ok(Current)),
            ("17", number(17), number(17)),
            ("0x11", number(17), number(17)),
            ("021", number(17), number(17)),
            ("1abc", number(1), number(1)),
            ("abc", Ok(Latest), number(0)),
            ("", Ok(Latest), number(0)),
            ("-1", number(u32::MAX), number(u32::MAX)),
            ("4294967296", Ok(Latest), number(0)),
        ] {
            assert_eq!(TimelineTarget::parse(text, Major::V11), to_11, "{text}");
            assert_eq!(TimelineTarget::parse(text, Major::V12), to_18, "{text}");
            assert_eq!(TimelineTarget::parse(text, Major::V18), to_18, "{text}");
        }
        for major in [Major::V9_5, Major::V11, Major::V12, Major::V19] {
            assert_eq!(TimelineTarget::asked("current", major), Ok(Current), "{major:?}");
            assert_eq!(TimelineTarget::asked("0x11", major), number(17));
        }
        for refused in ["1abc", "abc", "", "0", "-1", "4294967296", "18446744073709551616"] {
            assert!(TimelineTarget::parse(refused, Major::V19).is_err(), "{refused}");
        }
        assert_eq!(TimelineTarget::parse("0x11", Major::V19), number(17));
        let too_long = TimelineTarget::parse("99999999999999999999", Major::V11);
        assert!(matches!(too_long, Err(TimelineTargetError::NotANumber { .. })));
    }

    #[test]
    fn a_gap_hides_the_timelines_behind_it() {
        let exists = |id: TimelineId| [2, 3, 5].contains(&id.0);
        assert_eq!(probe_latest(TimelineId(1), exists), TimelineId(3));
        assert_eq!(probe_latest(TimelineId(4), exists), TimelineId(5));
        assert_eq!(probe_latest(TimelineId(u32::MAX), |_| true), TimelineId(u32::MAX));
        let start = TimelineId(1);
        assert_eq!(Latest.resolve(start, exists), Ok(TimelineId(3)));
        assert_eq!(Current.resolve(start, exists), Ok(start));
        assert_eq!(Number(TimelineId(5)).resolve(start, exists), Ok(TimelineId(5)));
        assert_eq!(Number(TimelineId(1)).resolve(start, exists), Ok(TimelineId(1)));
        let Err(missing) = Number(TimelineId(4)).resolve(start, exists) else { unreachable!() };
        assert_eq!(missing.to_string(), "recovery target timeline 4 does not exist");
    }
}
