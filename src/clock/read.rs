//! From text to a moment.

use super::{Clock, grammar, zone};
use crate::wal::PgTime;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Longer texts are no times (`MAXDATELEN` of the server).
const TEXT_BYTES_MAX: usize = 128;

/// A time that was read, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The moment.
    pub time: PgTime,
    /// No zone was written: the clock's own was taken.
    pub bare: bool,
    /// For people: the moment with its offset, and which zone a bare time or a date was read in.
    pub read_as: String,
}

/// The text is not one moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// No form of time that is understood.
    #[error(
        "\"{text}\" is not a time: give it like \"2024-01-01 15:30:00\", with +02:00, Z or a zone name \
         after it if it is not to be read in the zone of --timezone"
    )]
    Syntax {
        /// The text.
        text: String,
    },
    /// A word that PostgreSQL does not take for a recovery target either (now, today, epoch, infinity, …).
    #[error("\"{text}\" names no fixed moment: PostgreSQL does not accept it as a recovery target")]
    Special {
        /// The text.
        text: String,
    },
    /// A day or a year that the calendar does not have.
    #[error("\"{text}\" is not in the calendar (0001-01-01 to 9999-12-30)")]
    OutOfRange {
        /// The text.
        text: String,
    },
    /// The zone is not known.
    #[error(
        "\"{zone}\" in \"{text}\" is not a time zone that PostgreSQL and the zone database agree on: give an offset like +02:00"
    )]
    Zone {
        /// The text.
        text: String,
        /// The zone in it.
        zone: String,
    },
    /// Clocks were set back: the hour was there twice.
    #[error("\"{text}\" happened twice in {zone}: {first} and {second}; say which by its offset")]
    Twice {
        /// The text.
        text: String,
        /// The zone.
        zone: String,
        /// The earlier reading, ISO 8601 with offset.
        first: String,
        /// The later reading.
        second: String,
    },
    /// Clocks were set forward: the hour was left out.
    #[error(
        "\"{text}\" never happened in {zone}, where clocks were set forward: {first} or {second} may be meant; say which by its offset"
    )]
    Never {
        /// The text.
        text: String,
        /// The zone.
        zone: String,
        /// The reading with the offset before the change, ISO 8601 with offset.
        first: String,
        /// The reading with the offset after the change.
        second: String,
    },
}

impl TimeError {
    /// The text is a time, but a zone change makes it mean two moments or none.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Twice { .. } | Self::Never { .. })
    }
}

impl Clock {
    /// Reads a time as PostgreSQL users write them; one without a zone is read in this clock's.
    pub fn read(&self, text: &str) -> Result<Reading, TimeError> {
        let syntax = || TimeError::Syntax { text: text.chars().take(TEXT_BYTES_MAX).collect() };
        if text.len() > TEXT_BYTES_MAX {
            return Err(syntax());
        }
        if is_special(text) {
            return Err(TimeError::Special { text: text.to_owned() });
        }
        let written = grammar::written(text).ok_or_else(syntax)?;
        let local = local(&written).ok_or_else(|| TimeError::OutOfRange { text: text.to_owned() })?;
        let (zone, name, bare) = match written.zone {
            None => (self.zone.clone(), self.name.as_str(), true),
            Some(grammar::Zone::Offset(seconds)) => (offset_zone(text, seconds)?, "", false),
            Some(grammar::Zone::Name(name)) => (named_zone(text, name)?, name, false),
        };
        let time = moment(text, local, &zone, name)?;
        let zoned = self.iso(time);
        let read_as = match (bare, name) {
            (true, name) => format!("{zoned} (written without a zone, read in {name})"),
            (false, "") => zoned,
            (false, name) => format!("{zoned} (written in {name})"),
        };
        Ok(Reading { time, bare, read_as })
    }
}

/// Words that PostgreSQL's timestamp input knows and its recovery settings refuse.
fn is_special(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "+infinity"];
    WORDS.iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// The date and time on the wall; 24:00 and a 60th second roll over.
fn local(written: &grammar::Written<'_>) -> Option<DateTime> {
    let (year, month, day) = written.date;
    if year == 0 {
        return None;
    }
    let date = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let span = jiff::Span::new().try_microseconds(written.micros).ok()?;
    date.ok()?.at(0, 0, 0, 0).checked_add(span).ok()
}

fn offset_zone(text: &str, seconds: i32) -> Result<TimeZone, TimeError> {
    super::fixed(seconds).ok_or_else(|| TimeError::Syntax { text: text.to_owned() })
}

fn named_zone(text: &str, name: &str) -> Result<TimeZone, TimeError> {
    zone(name).ok_or_else(|| TimeError::Zone { text: text.to_owned(), zone: name.to_owned() })
}

/// The one moment at which clocks in `zone` show `local`.
fn moment(text: &str, local: DateTime, zone: &TimeZone, name: &str) -> Result<PgTime, TimeError> {
    let at = |offset: Offset| -> Result<PgTime, TimeError> {
        let time = offset.to_timestamp(local);
        let time = time.map_err(|_| TimeError::OutOfRange { text: text.to_owned() })?;
        Ok(PgTime::from_unix_micros(time.as_microsecond()))
    };
    let shown =
        |offset: Offset| format!("{}{}", super::print::iso_local(local), super::print::offset(offset));
    let (text, zone_name) = (text.to_owned(), name.to_owned());
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Fold { before, after } => {
            Err(TimeError::Twice { text, zone: zone_name, first: shown(before), second: shown(after) })
        }
        AmbiguousOffset::Gap { before, after } => {
            Err(TimeError::Never { text, zone: zone_name, first: shown(before), second: shown(after) })
        }
    }
}
