//! Points in time as WAL holds them.
//!
//! PostgreSQL: `src/include/datatype/timestamp.h` (`TimestampTz`), integer timestamps, 9.5 to 19.

/// Seconds from 1970-01-01 to 2000-01-01, both at 00:00:00 UTC.
const POSTGRES_EPOCH_UNIX_SECONDS: i64 = 946_684_800;

/// Microseconds since 2000-01-01 00:00:00 UTC (`TimestampTz`), before it negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PgTime(pub i64);

impl PgTime {
    /// From Unix seconds (`pg_time_t`), as a `CheckPoint` holds its time.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_sub(POSTGRES_EPOCH_UNIX_SECONDS).saturating_mul(1_000_000))
    }

    /// From Unix microseconds.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(POSTGRES_EPOCH_UNIX_SECONDS * 1_000_000))
    }

    /// Microseconds since 1970-01-01 00:00:00 UTC.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_UNIX_SECONDS * 1_000_000)
    }

    /// The time `micros` later, or as late as there is; earlier, or as early as there is, where they are negative.
    #[must_use]
    pub const fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to here; negative where `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_in_wal_is_too_late_or_too_early_to_go_on_from() {
        let (latest, earliest) = (PgTime::from_unix_seconds(i64::MAX), PgTime(i64::MIN));
        assert_eq!((latest.plus(1_000_000), earliest.plus(-1)), (latest, earliest));
        assert_eq!(PgTime(5).plus(-7), PgTime(-2));
    }
}
