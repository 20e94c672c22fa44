//! From a moment to text, in ISO 8601 and in the server's own form.

use super::Clock;
use crate::wal::PgTime;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 2000-01-01 in days since 0000-03-01, the beginning of the calendar that [`civil`] counts in.
const POSTGRES_EPOCH_DAY: i64 = 730_425;
/// First moment of PostgreSQL's timestamps, 4714-11-24 BC (`MIN_TIMESTAMP`).
const MIN_TIMESTAMP: i64 = -211_813_488_000_000_000;
/// First moment after them, 294277-01-01 (`END_TIMESTAMP`).
const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;

impl Clock {
    /// ISO 8601 with microseconds and offset: `2026-11-21T09:07:28.348392+00:00`. Moments that no zone rules reach (a
    /// damaged record can hold any) are printed in UTC, with a sign before years of more than four digits.
    pub fn iso(&self, time: PgTime) -> String {
        match Timestamp::from_microsecond(time.unix_micros()) {
            Ok(moment) => {
                let zoned = moment.to_zoned(self.zone.clone());
                format!("{}{}", iso_local(zoned.datetime()), offset(zoned.offset()))
            }
            Err(_) => far(time),
        }
    }

    /// The form of pg_waldump (`timestamptz_to_str` in its `compat.c`): microseconds, and the zone's abbreviation.
    pub fn waldump(&self, time: PgTime) -> String {
        let Ok(moment) = Timestamp::from_microsecond(time.unix_micros()) else { return far(time) };
        moment.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%6f %Z").to_string()
    }

    /// The server's form in log lines and history files (`timestamptz_to_str`): `2026-11-21 09:07:28.348392+00`, the
    /// fraction without trailing zeros, minutes of the offset only where it has any.
    pub fn server(&self, time: PgTime) -> String {
        match time.0 {
            i64::MAX => return "infinity".to_owned(),
            i64::MIN => return "-infinity".to_owned(),
            MIN_TIMESTAMP..END_TIMESTAMP => {}
            _ => return "(timestamp out of range)".to_owned(),
        }
        let Ok(moment) = Timestamp::from_microsecond(time.unix_micros()) else { return far_server(time) };
        let zoned = moment.to_zoned(self.zone.clone());
        let local = zoned.datetime();
        let date = server_date(i64::from(local.year()), local.month(), local.day());
        let micros = local.subsec_nanosecond() / 1000;
        let clock = server_clock((local.hour(), local.minute(), local.second()), micros);
        let era = if local.year() <= 0 { " BC" } else { "" };
        format!("{date} {clock}{}{era}", server_offset(zoned.offset()))
    }
}

/// Date and time in ISO 8601, with microseconds.
pub(super) fn iso_local(local: DateTime) -> String {
    let (date, time) = (local.date(), local.time());
    let micros = time.subsec_nanosecond() / 1000;
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// `+04:30`; with seconds where an old local time has them.
pub(super) fn offset(offset: Offset) -> String {
    let (sign, hours, minutes, seconds) = parts(offset);
    match seconds {
        0 => format!("{sign}{hours:02}:{minutes:02}"),
        seconds => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// `+00`, `+04:30` (`EncodeTimezone`).
fn server_offset(offset: Offset) -> String {
    let (sign, hours, minutes, seconds) = parts(offset);
    match (minutes, seconds) {
        (0, 0) => format!("{sign}{hours:02}"),
        (minutes, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        (minutes, seconds) => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

fn parts(offset: Offset) -> (char, u32, u32, u32) {
    let seconds = offset.seconds().unsigned_abs();
    (if offset.seconds() < 0 { '-' } else { '+' }, seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day in the server's form; the year before 1 is 1 BC.
fn server_date(year: i64, month: i8, day: i8) -> String {
    format!("{:04}-{month:02}-{day:02}", if year > 0 { year } else { 1 - year })
}

/// Hours, minutes, seconds and what is left of the fraction (`AppendSeconds`).
fn server_clock((hour, minute, second): (i8, i8, i8), micros: i32) -> String {
    let whole = format!("{hour:02}:{minute:02}:{second:02}");
    if micros == 0 {
        return whole;
    }
    format!("{whole}.{micros:06}").trim_end_matches('0').to_owned()
}

/// A moment outside the years that jiff knows, in UTC.
fn far(time: PgTime) -> String {
    let ((year, month, day), (hour, minute, second), micros) = civil(time);
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+05}") };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

fn far_server(time: PgTime) -> String {
    let ((year, month, day), clock, micros) = civil(time);
    let era = if year <= 0 { " BC" } else { "" };
    format!("{} {}+00{era}", server_date(year, month, day), server_clock(clock, micros))
}

/// The proleptic Gregorian date and the time of day of any 64-bit moment. Years are counted from March, so that the
/// leap day is a year's last; 400 years have 146 097 days.
#[expect(clippy::cast_possible_truncation, reason = "each is a remainder of a small number")]
fn civil(time: PgTime) -> ((i64, i8, i8), (i8, i8, i8), i32) {
    let days = time.0.div_euclid(MICROS_PER_DAY) + POSTGRES_EPOCH_DAY;
    let micros = time.0.rem_euclid(MICROS_PER_DAY);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let seconds = micros / 1_000_000;
    let clock = ((seconds / 3600) as i8, (seconds / 60 % 60) as i8, (seconds % 60) as i8);
    ((year, month as i8, day as i8), clock, (micros % 1_000_000) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_dates_agree_with_jiff_where_both_know_them() {
        for micros in [0, -1, 1_795_252_939_123_456, -62_135_596_800_000_000, 253_402_300_799_000_000] {
            let time = PgTime::from_unix_micros(micros);
            let ((year, month, day), (hour, minute, second), fraction) = civil(time);
            let own =
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}");
            assert_eq!(format!("{own}+00:00"), Clock::utc().iso(time));
        }
    }

    #[test]
    fn every_number_prints() {
        let clock = Clock::utc();
        for number in [i64::MIN, i64::MIN + 1, MIN_TIMESTAMP, END_TIMESTAMP - 1, END_TIMESTAMP, i64::MAX] {
            assert!(!clock.iso(PgTime(number)).is_empty());
        }
        // What PostgreSQL 15 prints of its own limits.
        assert_eq!(clock.server(PgTime(MIN_TIMESTAMP)), "4714-11-24 00:00:00+00 BC");
        assert_eq!(clock.server(PgTime(END_TIMESTAMP - 1)), "294276-12-31 23:59:59.999999+00");
        assert_eq!(clock.server(PgTime(i64::MAX)), "infinity");
        assert_eq!(clock.server(PgTime(END_TIMESTAMP)), "(timestamp out of range)");
    }
}
