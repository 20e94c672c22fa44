//! Reading and printing times, always with a zone that is told.
//!
//! Zones come from the database that is built in, so that one archive gives one answer on every machine.
//!
//! PostgreSQL: `src/backend/utils/adt/datetime.c` (`DecodeDateTime`, `EncodeDateTime`), `timestamp.c`
//! (`timestamptz_to_str`), 9.5 to 19.

mod abbreviations;
mod duration;
mod grammar;
mod print;
mod read;
mod span;

pub use duration::{ParseDurationError, parse_duration};
pub use read::{Reading, TimeError};
pub use span::span;

use crate::wal::PgTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// The zone in which bare times are read and all times are printed (`--timezone`).
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    name: String,
}

/// The text names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a time zone: give UTC, a name like Europe/Berlin, or an offset like +04:30 (east of UTC)"
)]
pub struct UnknownZone(pub String);

impl Default for Clock {
    fn default() -> Self {
        Self::utc()
    }
}

impl Clock {
    /// Coordinated Universal Time, the default.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// The zone called `name`: `UTC`, a name of the zone database in any case (`Europe/Berlin`), an abbreviation that
    /// PostgreSQL knows (`CET`), or an offset (`+04:30`, east of UTC is positive as in ISO 8601).
    pub fn new(name: &str) -> Result<Self, UnknownZone> {
        let zone = zone(name.trim()).ok_or_else(|| UnknownZone(name.to_owned()))?;
        Ok(Self { name: zone.iana_name().unwrap_or(name.trim()).to_owned(), zone })
    }

    /// The zone's name for people.
    pub fn zone_name(&self) -> &str {
        &self.name
    }
}

/// The present moment.
pub fn now() -> PgTime {
    PgTime::from_unix_micros(jiff::Timestamp::now().as_microsecond())
}

/// The zone that a text names. PostgreSQL's abbreviations come before the zone database, as in the server: `CET` is one
/// hour east in summer too.
fn zone(name: &str) -> Option<TimeZone> {
    if let Ok(("", seconds)) = grammar::offset(name) {
        return fixed(seconds);
    }
    if name.eq_ignore_ascii_case("UTC") {
        return Some(TimeZone::UTC);
    }
    if let Some(seconds) = abbreviations::offset_seconds(name) {
        return fixed(seconds);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A zone that is `seconds` east of UTC for ever.
fn fixed(seconds: i32) -> Option<TimeZone> {
    Offset::from_seconds(seconds).ok().map(Offset::to_time_zone)
}

#[cfg(test)]
mod tests;
