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

    /// Microseconds from `earlier` to here; negative where `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}
