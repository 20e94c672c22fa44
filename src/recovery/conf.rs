//! recovery.conf, postgresql.conf and postgresql.auto.conf, read by the server's own grammar.
//!
//! ```text
//! name [=] value  # comment          value: word, number, or 'text' with '' or \' for a quote and \n, \t, \101 … inside
//! ```
//!
//! Every setting is kept in order, because what several of them mean together differs between versions:
//! [`super::judge`] says. Files that are included are not followed but reported.
//!
//! PostgreSQL: `src/backend/utils/misc/guc-file.l` (`ParseConfigFp`, `DeescapeQuotedString`), which reads all three files in
//! every version from 9.5 to 19.

use crate::wal::byte_text;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::one_of;
use nom::combinator::{opt, recognize};
use nom::multi::many0_count;
use nom::sequence::pair;
use nom::{IResult, Parser};

/// One setting, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name in lower case, as servers from 12 compare names.
    pub name: String,
    /// Its name as written, which is what servers up to 11 compare.
    pub written: String,
    /// Its value without quotes and escapes; bytes that are not UTF-8 are replaced.
    pub value: String,
    /// Number of the line, from 1.
    pub line: usize,
}

/// A file's settings, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conf {
    /// The settings; a name may be there several times.
    pub settings: Vec<Setting>,
    /// `include`, `include_if_exists` and `include_dir` lines, whose files were not read.
    pub includes: Vec<Setting>,
}

/// A line that the server cannot read either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in line {line}, near {near}")]
pub struct ConfError {
    /// Number of the line, from 1.
    pub line: usize,
    /// `token "…"` or `end of line`, in the server's words.
    pub near: String,
}

impl Conf {
    /// Reads a file. The first line that is wrong ends it, as it ends a server's start.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfError> {
        let mut conf = Self::default();
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let Some(setting) = parse_line(i + 1, line)? else { continue };
            if matches!(setting.name.as_str(), "include" | "include_if_exists" | "include_dir") {
                conf.includes.push(setting);
            } else {
                conf.settings.push(setting);
            }
        }
        Ok(conf)
    }

    /// The last setting of a name (in lower case), which is the one that counts.
    pub fn last(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| setting.name == name)
    }
}

/// What the lexer tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Id,
    QualifiedId,
    String,
    Unquoted,
    Number,
    Equals,
    Error,
}

type Token<'a> = (Kind, &'a [u8]);

fn parse_line(number: usize, line: &[u8]) -> Result<Option<Setting>, ConfError> {
    let near = |token: Option<Token<'_>>| ConfError {
        line: number,
        near: token.map_or_else(
            || "end of line".to_owned(),
            |(_, text)| format!("token \"{}\"", String::from_utf8_lossy(text)),
        ),
    };
    let mut rest = line;
    let Some(name) = next_token(&mut rest) else { return Ok(None) };
    if !matches!(name.0, Kind::Id | Kind::QualifiedId) {
        return Err(near(Some(name)));
    }
    let mut value = next_token(&mut rest);
    if value.is_some_and(|(kind, _)| kind == Kind::Equals) {
        value = next_token(&mut rest);
    }
    let (kind, text) = value.ok_or_else(|| near(None))?;
    let value = match kind {
        Kind::String => unquote(text),
        Kind::Id | Kind::Number | Kind::Unquoted => text.to_vec(),
        _ => return Err(near(Some((kind, text)))),
    };
    if let Some(more) = next_token(&mut rest) {
        return Err(near(Some(more)));
    }
    let written = String::from_utf8_lossy(name.1).into_owned();
    let name = written.to_ascii_lowercase();
    // Two restore points may differ in bytes that are no text.
    let value = if name == "recovery_target_name" {
        byte_text::shown(&value)
    } else {
        String::from_utf8_lossy(&value).into_owned()
    };
    Ok(Some(Setting { name, written, value, line: number }))
}

/// The next token of a line; `None` at its end or at a comment. Of several rules that match, the longest counts, and of
/// equally long ones the first.
fn next_token<'a>(rest: &mut &'a [u8]) -> Option<Token<'a>> {
    let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
    let text = rest.get(blank..).unwrap_or_default();
    if text.is_empty() || text.starts_with(b"#") {
        return None;
    }
    type Rule = fn(&[u8]) -> IResult<&[u8], &[u8]>;
    let rules: [(Kind, Rule); 7] = [
        (Kind::Id, id),
        (Kind::QualifiedId, qualified_id),
        (Kind::String, string),
        (Kind::Unquoted, unquoted),
        (Kind::Number, integer),
        (Kind::Number, real),
        (Kind::Equals, |text| tag(&b"="[..])(text)),
    ];
    let matched = rules.into_iter().filter_map(|(kind, rule)| Some((kind, rule(text).ok()?.1)));
    let longest = matched.fold(None, |best: Option<Token<'_>>, token| match best {
        Some(best) if best.1.len() >= token.1.len() => Some(best),
        _ => Some(token),
    });
    let token = longest.unwrap_or((Kind::Error, text.get(..1).unwrap_or(text)));
    *rest = text.get(token.1.len()..).unwrap_or_default();
    Some(token)
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_letter_or_digit(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit()
}

/// One byte of a kind.
fn byte(is: fn(u8) -> bool) -> impl Fn(&[u8]) -> IResult<&[u8], &[u8]> {
    move |text| nom::bytes::complete::take_while_m_n(1, 1, is)(text)
}

/// `ID`.
fn id(text: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize(pair(byte(is_letter), take_while(is_letter_or_digit))).parse(text)
}

/// `QUALIFIED_ID`.
fn qualified_id(text: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize((id, tag(&b"."[..]), id)).parse(text)
}

/// `UNQUOTED_STRING`.
fn unquoted(text: &[u8]) -> IResult<&[u8], &[u8]> {
    let inner = |b: u8| is_letter_or_digit(b) || b"-._:/".contains(&b);
    recognize(pair(byte(is_letter), take_while(inner))).parse(text)
}

/// `INTEGER`, with letters of a unit.
fn integer(text: &[u8]) -> IResult<&[u8], &[u8]> {
    let hexadecimal = recognize((tag(&b"0x"[..]), byte(is_hex), take_while(is_hex)));
    let decimal = recognize(pair(byte(is_digit), take_while(is_digit)));
    recognize((opt(one_of("+-")), alt((hexadecimal, decimal)), take_while(is_alphabetic))).parse(text)
}

/// `REAL`.
fn real(text: &[u8]) -> IResult<&[u8], &[u8]> {
    let exponent = (one_of("eE"), opt(one_of("+-")), byte(is_digit), take_while(is_digit));
    let digits = || take_while(is_digit);
    recognize((opt(one_of("+-")), digits(), tag(&b"."[..]), digits(), opt(exponent))).parse(text)
}

const fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

const fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

const fn is_alphabetic(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

/// `STRING`, with its quotes.
fn string(text: &[u8]) -> IResult<&[u8], &[u8]> {
    let escaped = recognize(pair(tag(&b"\\"[..]), byte(|_| true)));
    let plain = byte(|b| b != b'\'' && b != b'\\');
    let inner = many0_count(alt((plain, escaped, tag(&b"''"[..]))));
    recognize((tag(&b"'"[..]), inner, tag(&b"'"[..]))).parse(text)
}

/// What stands between the quotes, its escapes resolved (`DeescapeQuotedString`).
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut rest = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let mut value = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after.split_first()) {
            (b'\\', Some((escaped, after))) => {
                let octal = escaped_octal(rest);
                rest = octal.map_or(after, |(_, rest)| rest);
                value.push(octal.map_or_else(|| named_escape(*escaped), |(byte, _)| byte));
            }
            // A quote inside is doubled.
            (b'\'', Some((b'\'', after))) => {
                rest = after;
                value.push(b'\'');
            }
            (byte, _) => value.push(byte),
        }
    }
    value
}

/// Up to three octal digits; more than a byte's worth loses its high bits.
fn escaped_octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let count = text.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (digits, rest) = text.split_at_checked(count)?;
    let byte = digits.iter().fold(0_u8, |byte, digit| (byte << 3) | (digit - b'0'));
    (count > 0).then_some((byte, rest))
}

const fn named_escape(letter: u8) -> u8 {
    match letter {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
