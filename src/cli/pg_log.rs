//! Messages on standard error as PostgreSQL's client programs write them, colours included.
//!
//! PostgreSQL: `src/common/logging.c` of 17 (`pg_logging_init`, `pg_log_generic_v`).

use std::env;
use std::io::{self, IsTerminal, Write};

/// What kind of line a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Why the program stops.
    Error,
    /// What to do about it.
    Hint,
    /// What is being done.
    Debug,
}

/// Terminal attributes (SGR codes) for the parts of a message; empty for none.
#[derive(Debug, Default)]
pub(super) struct Colors {
    error: Option<String>,
    note: Option<String>,
    locus: Option<String>,
}

impl Colors {
    /// As `PG_COLOR` (`always`, or `auto` for a terminal) and `PG_COLORS` (`error=01;31:note=…`) say.
    pub(super) fn from_environment() -> Self {
        let wanted = match env::var("PG_COLOR").as_deref() {
            Ok("always") => true,
            Ok("auto") => io::stderr().is_terminal(),
            _ => false,
        };
        if !wanted {
            return Self::default();
        }
        Self::parse(env::var("PG_COLORS").as_deref().unwrap_or("error=01;31:note=01;36:locus=01"))
    }

    fn parse(text: &str) -> Self {
        let mut colors = Self::default();
        for (name, value) in text.split(':').filter_map(|pair| pair.split_once('=')) {
            let value = Some(value.to_owned());
            match name {
                "error" => colors.error = value,
                "note" => colors.note = value,
                "locus" => colors.locus = value,
                _ => {}
            }
        }
        colors
    }
}

/// Writes messages in the name of one program.
pub(super) struct Log<'a, W> {
    pub(super) program: &'a [u8],
    pub(super) colors: Colors,
    pub(super) to: W,
}

impl<W: Write> Log<'_, W> {
    /// Writes one line. That it cannot be written is not an error of the command, and there is nobody to tell.
    pub(super) fn say(&mut self, kind: Kind, message: &[u8]) {
        let mut line = painted(self.colors.locus.as_deref(), &[self.program, b": "].concat());
        match kind {
            Kind::Error => line.extend(painted(self.colors.error.as_deref(), b"error: ")),
            Kind::Hint => line.extend(painted(self.colors.note.as_deref(), b"hint: ")),
            Kind::Debug => {}
        }
        line.extend_from_slice(message);
        line.push(b'\n');
        self.raw(&line);
    }

    /// Writes bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.to.write_all(bytes);
    }
}

fn painted(color: Option<&str>, text: &[u8]) -> Vec<u8> {
    match color {
        Some(color) => [b"\x1b[", color.as_bytes(), b"m", text, b"\x1b[0m"].concat(),
        None => text.to_vec(),
    }
}
