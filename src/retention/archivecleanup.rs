//! What PostgreSQL's `pg_archivecleanup` removes from a directory, to the letter.
//!
//! PostgreSQL: `src/bin/pg_archivecleanup/pg_archivecleanup.c` of 17 (`SetWALFileNameForCleanup`,
//! `CleanupPriorWALFiles`); `-b` is new there, and since 15 a failure to remove stops the run with status 1.
//!
//! The program compares names and nothing else. Its hazards are kept, for scripts rely on the whole of it:
//!
//! * The timeline is ignored: a segment of any timeline goes if its position is lower.
//! * Nothing asks whether the oldest file to be kept exists, or which base backup needs what.
//! * With an extension to strip, names that lack it are still candidates.
//! * What comes after the position takes part in the comparison: of the boundary itself, `.partial` and
//!   `.backup` are kept.
//! * A symbolic link is removed as what it is; a directory with a segment's name stops the run.
//!
//! [`super`] plans by what must stay recoverable instead.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, str};
use thiserror::Error;

/// Hexadecimal digits in a segment's name.
const SEGMENT_DIGITS: usize = 24;

/// Hexadecimal digits of the timeline, which the comparison leaves out.
const TIMELINE_DIGITS: usize = 8;

/// Bytes of a path that the program has room for (twice `MAXPGPATH`, less the terminator); it cuts the rest off.
const LONGEST_PATH: usize = 2047;

/// The boundary: the name of the oldest segment that is kept, 24 upper-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OldestKept([u8; SEGMENT_DIGITS]);

impl OldestKept {
    /// Reads a file name given as the boundary: a segment, a partial segment or a backup history file, each
    /// also with `extension` behind it. `None` if the program refuses it.
    pub fn parse(name: &[u8], extension: Option<&[u8]>) -> Option<Self> {
        let name = without(name, extension);
        let (digits, rest) = name.split_first_chunk()?;
        let accepted = is_segment(name)
            || is_partial(name)
            || (is_backup_history(name) && rest.strip_prefix(b".").is_some_and(scans_as_hexadecimal));
        accepted.then_some(Self(*digits))
    }

    /// The name, as the program prints it.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What one run is told.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Segments before this one go.
    pub oldest_kept: OldestKept,
    /// `-x`: taken off the end of each name before it is judged.
    pub extension: Option<&'a [u8]>,
    /// `-b`: backup history files go too.
    pub backup_history: bool,
}

impl Rules<'_> {
    /// Whether the program removes a directory entry called `name`.
    pub fn removes(&self, name: &[u8]) -> bool {
        let name = without(name, self.extension);
        let candidate =
            is_segment(name) || is_partial(name) || (self.backup_history && is_backup_history(name));
        candidate && name.get(TIMELINE_DIGITS..) < self.oldest_kept.0.get(TIMELINE_DIGITS..)
    }
}

/// Why a run stopped.
#[derive(Debug, Error)]
pub enum CleanupError {
    /// The directory cannot be opened.
    #[error("could not open archive location {path:?}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory cannot be read on.
    #[error("could not read archive location {path:?}")]
    Read {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be removed.
    #[error("could not remove file {path:?}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Goes through `location` in the order in which the directory lists itself, and removes what `rules` remove,
/// each after `each` was called with its path; not if that answers [`ControlFlow::Break`], which ends the run.
/// With `dry_run`, nothing is removed.
///
/// # Errors
/// The first failure ends the run. What was removed until then stays removed.
pub fn run(
    location: &Path,
    rules: &Rules<'_>,
    dry_run: bool,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
) -> Result<(), CleanupError> {
    let entries =
        fs::read_dir(location).map_err(|source| CleanupError::Open { path: location.to_owned(), source })?;
    for entry in entries {
        let name =
            entry.map_err(|source| CleanupError::Read { path: location.to_owned(), source })?.file_name();
        if !rules.removes(name.as_bytes()) {
            continue;
        }
        let path = path_of(location, &name);
        if each(&path).is_break() {
            return Ok(());
        }
        if !dry_run {
            fs::remove_file(&path).map_err(|source| CleanupError::Remove { path, source })?;
        }
    }
    Ok(())
}

/// The path as the program makes it: always one more `/`, and cut off where its buffer ends.
fn path_of(location: &Path, name: &OsStr) -> PathBuf {
    let mut path = [location.as_os_str().as_bytes(), b"/", name.as_bytes()].concat();
    path.truncate(LONGEST_PATH);
    OsString::from_vec(path).into()
}

/// `TrimExtension`: a name that consists of the extension alone keeps it.
fn without<'a>(name: &'a [u8], extension: Option<&[u8]>) -> &'a [u8] {
    let stripped = extension.and_then(|extension| name.strip_suffix(extension));
    stripped.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// `IsXLogFileName`.
fn is_segment(name: &[u8]) -> bool {
    name.len() == SEGMENT_DIGITS && leading_digits(name) == SEGMENT_DIGITS
}

/// `IsPartialXLogFileName`.
fn is_partial(name: &[u8]) -> bool {
    name.strip_suffix(b".partial").is_some_and(is_segment)
}

/// `IsBackupHistoryFileName`, which asks nothing of what stands between the segment's name and the suffix.
fn is_backup_history(name: &[u8]) -> bool {
    leading_digits(name) == SEGMENT_DIGITS && name.ends_with(b".backup")
}

fn leading_digits(name: &[u8]) -> usize {
    name.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')).count()
}

/// Whether C's `sscanf` reads a number by `%08X` here: white space and a sign may come first, the case of digits
/// does not matter, and what follows the first digit neither. (`b` is a digit, so `….backup` without a start is
/// taken for a boundary.)
fn scans_as_hexadecimal(text: &[u8]) -> bool {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = text.get(text.iter().take_while(is_space).count()..).unwrap_or_default();
    let unsigned = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    unsigned.first().is_some_and(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rules(oldest_kept: &str) -> Rules<'static> {
        let oldest_kept = OldestKept::parse(oldest_kept.as_bytes(), None).unwrap();
        Rules { oldest_kept, extension: None, backup_history: false }
    }

    #[test]
    fn the_boundary_is_the_digits_of_any_name_that_the_program_takes() {
        for suffix in ["", ".partial", ".00000028.backup", ".backup", ". +0x.backup", ".f-.backup"] {
            let name = format!("0000000A0000000B0000000C{suffix}");
            let parsed = OldestKept::parse(name.as_bytes(), None);
            assert_eq!(parsed.as_ref().map(OldestKept::as_str), Some("0000000A0000000B0000000C"), "{name:?}");
        }
        for suffix in
            ["0", ".history", ".xyz.backup", ".-.backup", ".partial.gz", ".partial.partial", "-1.backup"]
        {
            let name = format!("0000000A0000000B0000000C{suffix}");
            assert_eq!(OldestKept::parse(name.as_bytes(), None), None, "{name:?}");
        }
    }

    #[test]
    fn the_extension_is_stripped_once_and_not_required() {
        let rules = Rules { extension: Some(b".gz"), ..rules("000000010000000000000010") };
        assert!(rules.removes(b"00000001000000000000000F.gz"));
        assert!(rules.removes(b"00000001000000000000000F"));
        assert!(rules.removes(b"00000001000000000000000F.partial.gz"));
        assert!(!rules.removes(b"00000001000000000000000F.gz.gz"));
        assert!(!rules.removes(b"00000001000000000000000F.gz.partial"));
        assert!(OldestKept::parse(b"000000010000000000000010.gz", Some(b".gz")).is_some());
        assert_eq!(without(b".gz", Some(b".gz")), b".gz");
    }

    #[test]
    fn the_timeline_does_not_count_and_suffixes_of_the_boundary_stay() {
        let rules = Rules { backup_history: true, ..rules("000000050000000000000010") };
        assert!(rules.removes(b"FFFFFFFF000000000000000F"));
        assert!(rules.removes(b"00000001000000000000000F.partial"));
        assert!(rules.removes(b"00000001000000000000000F.anything.backup"));
        assert!(!rules.removes(b"000000010000000000000010"));
        assert!(!rules.removes(b"000000010000000000000010.partial"));
        assert!(!rules.removes(b"000000010000000000000010.00000028.backup"));
        assert!(!rules.removes(b"0000000A.history"));
        assert!(!rules.removes(b"00000001000000000000000f"));
    }
}
