//! The forms in which people write times, as far as they mean one thing only.
//!
//! ```text
//! 2024-01-01  [ ( white space | T ) 15:30[:00[.018964]] ]  [ zone ]      also 20240101 and 2024/01/01
//! zone: Z | +HH | +HHMM | +HH:MM | +HH:MM:SS | Europe/Berlin | CET
//! ```
//!
//! Dates whose order depends on the server's DateStyle (01/02/2024) are left out on purpose.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, multispace0, multispace1, one_of};
use nom::combinator::{all_consuming, map, map_opt, map_res, opt, recognize, verify};
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

/// A time as written, not yet a moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Written<'a> {
    /// Year, month, day; not yet checked against the calendar.
    pub(super) date: (u32, u32, u32),
    /// Microseconds since midnight, by the clock on the wall; up to 24:00:00 and a 60th second.
    pub(super) micros: i64,
    /// The zone, where one is written.
    pub(super) zone: Option<Zone<'a>>,
}

/// A zone as written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Zone<'a> {
    /// Seconds east of UTC.
    Offset(i32),
    /// A name or an abbreviation.
    Name(&'a str),
}

/// Reads a whole text.
pub(super) fn written(text: &str) -> Option<Written<'_>> {
    let clock = preceded(alt((multispace1, recognize(one_of("Tt")))), time);
    let body = (date, map(opt(clock), Option::unwrap_or_default), opt(preceded(multispace0, zone)));
    let (_, (date, micros, zone)) =
        all_consuming(preceded(multispace0, terminated(body, multispace0))).parse(text).ok()?;
    Some(Written { date, micros, zone })
}

/// `2024-01-01`, `2024/01/01` or `20240101`.
fn date(text: &str) -> IResult<&str, (u32, u32, u32)> {
    let apart = |mark: char| {
        map((number(4, 4), preceded(char(mark), number(1, 2)), preceded(char(mark), number(1, 2))), |d| d)
    };
    let together = verify((number(4, 4), number(2, 2), number(2, 2)), |d| d.1 <= 12);
    alt((apart('-'), apart('/'), together)).parse(text)
}

/// `15:30`, `15:30:00`, `15:30:00.018964`, in microseconds.
fn time(text: &str) -> IResult<&str, i64> {
    let minute = preceded(char(':'), verify(number(2, 2), |m| *m < 60));
    let second = preceded(char(':'), verify(number(2, 2), |s| *s <= 60));
    let whole = (number(1, 2), minute, map(opt((second, opt(fraction))), Option::unwrap_or_default));
    let micros = map(whole, |(hour, minute, (second, fraction))| {
        i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + fraction.unwrap_or(0)
    });
    verify(micros, |micros| *micros <= 86_400 * 1_000_000).parse(text)
}

/// The digits after the point, rounded to microseconds in the server's own way (`ParseFractionalSecond`).
fn fraction(text: &str) -> IResult<&str, i64> {
    let digits = recognize(pair(char('.'), take_while(|c: char| c.is_ascii_digit())));
    map_res(digits, |digits: &str| {
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second has at most a million")]
        format!("0{digits}0").parse().map(|fraction: f64| (fraction * 1e6).round_ties_even() as i64)
    })
    .parse(text)
}

/// A zone in any of its forms.
fn zone(text: &str) -> IResult<&str, Zone<'_>> {
    let name = recognize(pair(
        take_while1(|c: char| c.is_ascii_alphabetic()),
        take_while(|c: char| c.is_ascii_alphanumeric() || "_/+-".contains(c)),
    ));
    alt((map(offset, Zone::Offset), map(name, named))).parse(text)
}

/// `Z` is how ISO 8601 writes the offset zero, not a place.
fn named(name: &str) -> Zone<'_> {
    if name.eq_ignore_ascii_case("Z") { Zone::Offset(0) } else { Zone::Name(name) }
}

/// `+04:30`, `+0430`, `+00`, `-7`, in seconds east of UTC; up to 15:59:59 as in the server.
pub(super) fn offset(text: &str) -> IResult<&str, i32> {
    let apart = (number(1, 2), preceded(char(':'), number(2, 2)), opt(preceded(char(':'), number(2, 2))));
    let together = (number(2, 2), number(2, 2), opt(number(2, 2)));
    let hours = map(number(1, 2), |hours| (hours, 0, None));
    let parts = alt((apart, together, hours));
    map_opt((one_of("+-"), parts), |(sign, (hours, minutes, seconds))| {
        let seconds = seconds.unwrap_or(0);
        let valid = hours <= 15 && minutes < 60 && seconds < 60;
        let east = i32::try_from(hours * 3600 + minutes * 60 + seconds).ok()?;
        valid.then_some(if sign == '-' { -east } else { east })
    })
    .parse(text)
}

/// A number of `min` to `max` digits.
fn number<'a>(
    min: usize,
    max: usize,
) -> impl Parser<&'a str, Output = u32, Error = nom::error::Error<&'a str>> {
    map_res(take_while_m_n(min, max, |c: char| c.is_ascii_digit()), str::parse)
}
