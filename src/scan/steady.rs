//! Files that are written while they are read.
//!
//! `archive_command = 'cp …'` writes a segment under its own name, and a running server writes into its pg_wal: for a
//! moment such a file is cut or torn, and a moment later it is whole. So nothing is said of a file that does not look
//! right before it has stopped changing, or has not stopped for as long as anybody should wait.

use super::{Expectation, FileFault, SegmentFacts, Workbench, scan_segment};
use crate::archive::{Archive, Entry, StoreError};
use std::thread;
use std::time::{Duration, SystemTime};

/// How long to wait before each further look: together somewhat more than two seconds.
const PAUSES_MS: [u64; 5] = [20, 80, 320, 640, 1280];

/// A copy that is going on writes more often than this.
const BETWEEN_WRITES_MAX: Duration = Duration::from_millis(250);

/// Reads the file of `entry` from end to end, and again if something is wrong with it and it has changed since it was
/// listed. A file that stays as it is is read once, whatever is wrong with it.
///
/// # Errors
/// As [`scan_segment`].
pub fn scan_steady(
    archive: &Archive,
    entry: &Entry,
    expectation: &Expectation,
    bench: &mut Workbench,
) -> Result<SegmentFacts, StoreError> {
    let mut found = scan_segment(archive, entry, expectation, bench);
    let mut seen = None;
    for pause in PAUSES_MS {
        let last = seen.as_ref().unwrap_or(entry);
        let Some(doubt) = doubt(&found) else { break };
        let may_grow = doubt == Doubt::Short && is_young(last);
        if !may_grow && archive.changed(last).is_none() {
            break;
        }
        thread::sleep(Duration::from_millis(pause));
        let Some(now) = archive.changed(last) else { continue };
        tracing::debug!("{} changes: it is read again", now.object.path.display());
        found = scan_segment(archive, &now, expectation, bench);
        seen = Some(now);
    }
    found
}

/// Why a file may look better in a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doubt {
    /// Bytes are wrong.
    Torn,
    /// Bytes may still come.
    Short,
}

fn doubt(found: &Result<SegmentFacts, StoreError>) -> Option<Doubt> {
    let facts = match found {
        Ok(facts) => facts,
        Err(StoreError::Changed { .. }) => return Some(Doubt::Short),
        Err(_) => return None,
    };
    match facts.fault {
        Some(FileFault::Empty | FileFault::Truncated { .. } | FileFault::Undecodable { .. }) => {
            Some(Doubt::Short)
        }
        Some(_) => Some(Doubt::Torn),
        None => (!facts.walked.wounds.is_empty()).then_some(Doubt::Torn),
    }
}

/// Whether the file was written to a moment ago.
fn is_young(entry: &Entry) -> bool {
    let changed = entry.object.identity.changed_ns.and_then(|ns| u64::try_from(ns).ok());
    let changed = changed.map(|ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns));
    let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age < BETWEEN_WRITES_MAX)
}
