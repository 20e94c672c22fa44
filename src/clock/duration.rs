//! Lengths of time on the command line: `90s`, `5m`, `26h`, `1d`, `1h30m`.

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::character::complete::{digit1, multispace0};
use nom::combinator::{all_consuming, map_opt, map_res};
use nom::multi::fold_many1;
use nom::sequence::{preceded, terminated};
use std::time::Duration;

/// The text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration: give a number with a unit, like 90s, 5m, 26h, 1d or 1h30m")]
pub struct ParseDurationError(pub String);

/// Reads numbers with units, summed: s, m (minutes), h, d (24 hours), w, and their names (`5 minutes`). A number
/// alone is refused, because nobody can know its unit.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let unit = map_opt(take_while1(|c: char| c.is_ascii_alphabetic()), unit_seconds);
    let number = map_res(digit1, |digits: &str| digits.parse::<u64>());
    let part = (number, preceded(multispace0, terminated(unit, multispace0)));
    let sum = fold_many1(
        part,
        || Some(0_u64),
        |sum, (count, unit)| sum?.checked_add(u64::checked_mul(count, unit)?),
    );
    let parsed: Result<_, nom::Err<nom::error::Error<&str>>> =
        all_consuming(preceded(multispace0, sum)).parse(text);
    let seconds = parsed.ok().and_then(|(_, seconds)| seconds);
    seconds.map(Duration::from_secs).ok_or_else(|| ParseDurationError(text.to_owned()))
}

fn unit_seconds(name: &str) -> Option<u64> {
    match name.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3600),
        "d" | "day" | "days" => Some(86_400),
        "w" | "week" | "weeks" => Some(7 * 86_400),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_summed_and_required() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs()).ok();
        let read = ["90s", "5m", "26h", "1d", "1h30m", "2 weeks", " 1 day 2 hours ", "0s"].map(seconds);
        assert_eq!(read, [90, 300, 93_600, 86_400, 5400, 1_209_600, 93_600, 0].map(Some));
        for bad in ["", "5", "m", "-5m", "5x", "1.5h", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
