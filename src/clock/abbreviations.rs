//! Time zone abbreviations as PostgreSQL reads them without being told otherwise.
//!
//! An abbreviation is an offset, not a place: `CET` is +01:00 in July too, although the zone database has a zone of
//! that name with summer time. Those that mean different things to different people (IST, BST, AMT, …) and those that the
//! server itself looks up by date are left out: a person can always write the offset.
//!
//! PostgreSQL: `src/timezone/tznames/Default`.

/// Name and minutes east of UTC.
const ABBREVIATIONS: [(&str, i32); 40] = [
    ("ACDT", 630),
    ("ACST", 570),
    ("ADT", -180),
    ("AEDT", 660),
    ("AEST", 600),
    ("AKDT", -480),
    ("AKST", -540),
    ("AST", -240),
    ("AWST", 480),
    ("BRST", -120),
    ("BRT", -180),
    ("CDT", -300),
    ("CEST", 120),
    ("CET", 60),
    ("CST", -360),
    ("EAT", 180),
    ("EDT", -240),
    ("EEST", 180),
    ("EET", 120),
    ("EST", -300),
    ("GMT", 0),
    ("HKT", 480),
    ("HST", -600),
    ("ICT", 420),
    ("JST", 540),
    ("KST", 540),
    ("MDT", -360),
    ("MEST", 120),
    ("MET", 60),
    ("MST", -420),
    ("NZDT", 780),
    ("NZST", 720),
    ("PDT", -420),
    ("PKT", 300),
    ("PST", -480),
    ("SAST", 120),
    ("UT", 0),
    ("UTC", 0),
    ("WET", 0),
    ("Z", 0),
];

/// Seconds east of UTC, for an abbreviation in any case.
pub(super) fn offset_seconds(name: &str) -> Option<i32> {
    let found = ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(found.1 * 60)
}
