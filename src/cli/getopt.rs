//! Options as the GNU C library's `getopt_long` reads them, complaints included.
//!
//! Commands that stand in for a program written in C must take what it takes: bundled short options,
//! abbreviated long ones, options after operands, and `--`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option: its letter, its long name, and whether an argument follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) letter: u8,
    pub(super) name: &'static str,
    pub(super) takes_argument: bool,
}

/// What was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// An option, by its letter, with its argument.
    Option(u8, Option<OsString>),
    /// Anything else.
    Operand(OsString),
}

/// A complaint in the library's words, without the program's name, as bytes.
type Complaint = Vec<u8>;

/// Reads arguments one by one.
pub(super) struct Arguments<'a> {
    known: &'a [Known],
    /// Not read yet.
    rest: VecDeque<OsString>,
    /// Letters of a bundle that are still to be read.
    bundle: VecDeque<u8>,
    /// No more options: after `--`, or after the first operand where `POSIXLY_CORRECT` is set.
    operands_only: bool,
    posixly_correct: bool,
}

impl<'a> Arguments<'a> {
    /// Reads `arguments`, which do not include the program's name. `posixly_correct` ends the options at the
    /// first operand.
    pub(super) fn new(
        known: &'a [Known],
        arguments: impl Iterator<Item = OsString>,
        posixly_correct: bool,
    ) -> Self {
        let rest = arguments.collect();
        Self { known, rest, bundle: VecDeque::new(), operands_only: false, posixly_correct }
    }

    fn long(&mut self, text: &[u8]) -> Result<Given, Complaint> {
        let mut parts = text.splitn(2, |byte| *byte == b'=');
        let (typed, value) = (parts.next().unwrap_or_default(), parts.next());
        let known = self.meant(typed, text)?;
        let argument = match (known.takes_argument, value) {
            (false, None) => None,
            (false, Some(_)) => return complain(&["option '--", known.name, "' doesn't allow an argument"]),
            (true, Some(value)) => Some(OsStr::from_bytes(value).to_owned()),
            (true, None) => match self.rest.pop_front() {
                Some(next) => Some(next),
                None => return complain(&["option '--", known.name, "' requires an argument"]),
            },
        };
        Ok(Given::Option(known.letter, argument))
    }

    /// The option meant by `typed`, a name or the beginning of just one; `text` is the whole, for complaints.
    fn meant(&self, typed: &[u8], text: &[u8]) -> Result<Known, Complaint> {
        if let Some(exact) = self.known.iter().find(|known| known.name.as_bytes() == typed) {
            return Ok(*exact);
        }
        let candidates: Vec<&Known> =
            self.known.iter().filter(|known| known.name.as_bytes().starts_with(typed)).collect();
        match candidates.as_slice() {
            [one] => Ok(**one),
            [] => Err([b"unrecognized option '--", text, b"'"].concat()),
            several => {
                let mut complaint = [b"option '--", text, b"' is ambiguous; possibilities:"].concat();
                for known in several {
                    complaint.extend_from_slice(b" '--");
                    complaint.extend_from_slice(known.name.as_bytes());
                    complaint.push(b'\'');
                }
                Err(complaint)
            }
        }
    }

    fn short(&mut self, letter: u8) -> Result<Given, Complaint> {
        let Some(known) = self.known.iter().find(|known| known.letter == letter) else {
            return Err([b"invalid option -- '".as_slice(), &[letter], b"'"].concat());
        };
        if !known.takes_argument {
            return Ok(Given::Option(letter, None));
        }
        if !self.bundle.is_empty() {
            let attached = OsString::from_vec(self.bundle.drain(..).collect());
            return Ok(Given::Option(letter, Some(attached)));
        }
        match self.rest.pop_front() {
            Some(next) => Ok(Given::Option(letter, Some(next))),
            None => Err([b"option requires an argument -- '".as_slice(), &[letter], b"'"].concat()),
        }
    }

    fn argument(&mut self, argument: OsString) -> Option<Result<Given, Complaint>> {
        let bytes = argument.as_bytes();
        match bytes {
            _ if self.operands_only => {}
            b"--" => {
                self.operands_only = true;
                return self.next();
            }
            [b'-', b'-', text @ ..] => return Some(self.long(text)),
            [b'-', first, letters @ ..] => {
                self.bundle.extend(letters);
                return Some(self.short(*first));
            }
            _ => self.operands_only = self.posixly_correct,
        }
        Some(Ok(Given::Operand(argument)))
    }
}

impl Iterator for Arguments<'_> {
    type Item = Result<Given, Complaint>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(letter) = self.bundle.pop_front() {
            return Some(self.short(letter));
        }
        let argument = self.rest.pop_front()?;
        self.argument(argument)
    }
}

fn complain(parts: &[&str]) -> Result<Given, Complaint> {
    Err(parts.concat().into_bytes())
}
