#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn iso(text: &str) -> String {
    Clock::utc().iso(Clock::utc().read(text).unwrap().time)
}

/// What PostgreSQL 15 gives for the same text with TimeZone = UTC.
#[test]
fn forms_that_people_write() {
    for (text, moment) in [
        ("2024-01-01 15:30:00", "2024-01-01T15:30:00.000000+00:00"),
        ("2021-04-24 17:06:00.018964+04:30", "2021-04-24T12:36:00.018964+00:00"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000+00:00"),
        ("2024-01-08 14:30:00+00", "2024-01-08T14:30:00.000000+00:00"),
        ("2024-01-08 14:30 Europe/Berlin", "2024-01-08T13:30:00.000000+00:00"),
        ("2024-07-08 14:30 europe/berlin", "2024-07-08T12:30:00.000000+00:00"),
        ("2024-07-08 14:30 CET", "2024-07-08T13:30:00.000000+00:00"),
        ("2024-01-08 14:30:00 -0330", "2024-01-08T18:00:00.000000+00:00"),
        ("2024-01-08 14:30:00.5-7", "2024-01-08T21:30:00.500000+00:00"),
        ("20240108 14:30", "2024-01-08T14:30:00.000000+00:00"),
        ("2024-01-08", "2024-01-08T00:00:00.000000+00:00"),
        ("2024-02-29 24:00:00", "2024-03-01T00:00:00.000000+00:00"),
        ("2024-01-08 14:30:60", "2024-01-08T14:31:00.000000+00:00"),
        ("2024-01-08 14:30:00.1234567", "2024-01-08T14:30:00.123457+00:00"),
        ("2024-01-08 14:30:00.9999999", "2024-01-08T14:30:01.000000+00:00"),
        ("  2024-1-8   4:30:00  ", "2024-01-08T04:30:00.000000+00:00"),
        ("2026-11-21T09:07:28.348392+00:00", "2026-11-21T09:07:28.348392+00:00"),
        ("0001-01-01 00:00:00", "0001-01-01T00:00:00.000000+00:00"),
    ] {
        assert_eq!(iso(text), moment, "{text}");
    }
}

#[test]
fn a_bare_time_is_read_in_the_zone_of_the_clock_and_says_so() {
    let berlin = Clock::new("Europe/Berlin").unwrap();
    let reading = berlin.read("2024-07-01 12:00").unwrap();
    assert!(reading.bare);
    assert_eq!(
        reading.read_as,
        "2024-07-01T12:00:00.000000+02:00 (written without a zone, read in Europe/Berlin)"
    );
    let reading = berlin.read("2024-07-01 12:00Z").unwrap();
    assert_eq!((reading.bare, reading.read_as.as_str()), (false, "2024-07-01T14:00:00.000000+02:00"));
    assert_eq!(Clock::new("+04:30").unwrap().iso(PgTime(0)), "2000-01-01T04:30:00.000000+04:30");
    assert!(Clock::new("Mars/Base").is_err());
}

#[test]
fn an_hour_that_was_there_twice_or_not_at_all_is_refused_with_both_readings() {
    let berlin = Clock::new("Europe/Berlin").unwrap();
    let error = berlin.read("2026-10-25 02:30:00").unwrap_err();
    assert!(error.is_ambiguous());
    assert_eq!(
        error.to_string(),
        "\"2026-10-25 02:30:00\" happened twice in Europe/Berlin: 2026-10-25T02:30:00.000000+02:00 and \
         2026-10-25T02:30:00.000000+01:00; say which by its offset"
    );
    let error = Clock::utc().read("2026-03-29 02:30 Europe/Berlin").unwrap_err();
    assert!(error.is_ambiguous() && error.to_string().contains("never happened in Europe/Berlin"));
    assert!(berlin.read("2026-10-25 02:30:00+01").is_ok());
}

#[test]
fn what_is_no_moment_is_refused() {
    let read = |text: &str| Clock::utc().read(text).unwrap_err();
    for text in
        ["", "12:00", "2024-01-01 25:00", "2024-01-01 12:60", "01/02/2024", "2024-01-01 12:00 +16", "x"]
    {
        assert!(matches!(read(text), TimeError::Syntax { .. }), "{text}");
    }
    for text in ["2024-13-01", "2023-02-29 10:00", "0000-01-01"] {
        assert!(matches!(read(text), TimeError::OutOfRange { .. }), "{text}");
    }
    for text in ["now", "Today", "infinity", "epoch"] {
        assert!(matches!(read(text), TimeError::Special { .. }), "{text}");
    }
    assert!(matches!(read("2024-01-01 12:00 IST"), TimeError::Zone { .. }));
}

/// Forms seen in real logs and history files.
#[test]
fn the_servers_form_drops_trailing_zeros() {
    for text in ["2026-11-21 09:07:28.348392+00", "2026-11-21 10:02:00.78313+00", "2026-11-21 09:07:28+00"] {
        let clock = Clock::utc();
        assert_eq!(clock.server(clock.read(text).unwrap().time), text);
    }
    let clock = Clock::new("Asia/Kabul").unwrap();
    assert_eq!(
        clock.server(clock.read("2021-04-24 17:06:00.1+04:30").unwrap().time),
        "2021-04-24 17:06:00.1+04:30"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        let _ = Clock::utc().read(&text);
        let _ = Clock::new(&text);
        let _ = parse_duration(&text);
    }

    #[test]
    fn every_moment_prints_and_reads_back(micros in -62_135_596_800_000_000_i64..253_402_200_000_000_000) {
        let clock = Clock::utc();
        let time = PgTime::from_unix_micros(micros);
        prop_assert_eq!(clock.read(&clock.iso(time)).unwrap().time, time);
        prop_assert_eq!(clock.read(&clock.server(time)).unwrap().time, time);
    }

    #[test]
    fn any_number_prints(number: i64) {
        prop_assert!(!Clock::utc().iso(PgTime(number)).is_empty());
        prop_assert!(!Clock::utc().server(PgTime(number)).is_empty());
    }
}
