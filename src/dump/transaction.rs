//! What Transaction records say.
//!
//! PostgreSQL: `xactdesc.c` and `standby_desc_invalidations` in `standbydesc.c`, 9.5 to 19.

use super::describe::Speaker;
use crate::report::printable;
use crate::wal::payload::Reader;
use crate::wal::payload::xact::{Assignment, Operation, Prepare, TransactionEnd};
use crate::wal::record::RelationFile;
use crate::wal::walk::Record;
use crate::wal::{Lsn, Major, PgTime, Xid};
use std::fmt::Write as _;

/// `XACT_COMPLETION_UPDATE_RELCACHE_FILE`.
const RELCACHE_FILE: u32 = 1 << 30;
/// `XACT_COMPLETION_FORCE_SYNC_COMMIT`.
const FORCE_SYNC: u32 = 1 << 31;

/// What follows the operation's name.
pub(super) fn describe(speaker: &Speaker<'_>, record: &Record<'_>) -> Option<String> {
    let main = record.main();
    let info = record.header.info();
    let origin = record.layout.origin.unwrap_or(0);
    match Operation::from_info(info)? {
        Operation::Prepare if speaker.major >= Major::V13 => prepare(speaker, main, origin),
        Operation::Prepare => None,
        Operation::Assignment => {
            let assignment = Assignment::read(main)?;
            let mut text = format!("xtop {}: subxacts:", assignment.top);
            list(&mut text, assignment.subtransactions());
            Some(text)
        }
        Operation::Invalidations => {
            let messages = Reader::new(main).counted(16)?;
            let mut text = String::new();
            invalidations(&mut text, messages, (0, 0), false);
            Some(text)
        }
        operation => Some(end(speaker, &TransactionEnd::read(main, info, speaker.major)?, operation, origin)),
    }
}

fn end(speaker: &Speaker<'_>, end: &TransactionEnd<'_>, operation: Operation, origin: u16) -> String {
    let mut text = String::new();
    if let Some(xid) = end.prepared_xid.filter(|xid| xid.0 != 0) {
        let _ = write!(text, "{xid}: ");
    }
    text.push_str(&speaker.time(end.time));
    files(&mut text, speaker, "rels", end.dropped_files());
    subtransactions(&mut text, end.subtransactions());
    let came_from = end.origin.map(|from| (from.lsn, from.time));
    if !operation.is_commit() {
        write_origin(&mut text, speaker, origin, came_from);
        statistics(&mut text, "", end.dropped_stats().map(|s| (s.kind, s.database, s.object)));
        return text;
    }
    statistics(&mut text, "", end.dropped_stats().map(|s| (s.kind, s.database, s.object)));
    let place = end.database.unwrap_or_default();
    invalidations(&mut text, end.invalidations, place, end.xinfo & RELCACHE_FILE != 0);
    if end.xinfo & FORCE_SYNC != 0 {
        text.push_str("; sync");
    }
    write_origin(&mut text, speaker, origin, came_from);
    text
}

/// The parts of a two-phase file that are lists, in the order in which they lie there.
fn prepare(speaker: &Speaker<'_>, main: &[u8], origin: u16) -> Option<String> {
    let prepare = Prepare::read(main, speaker.major)?;
    let stats_bytes = speaker.major.dropped_stats_item_bytes();
    let at = |offset: usize| main.get(offset..).map(Reader::new);
    let count = |offset: usize| at(offset)?.i32().and_then(|count| usize::try_from(count).ok());
    let (invalidations_at, header) = if stats_bytes.is_some() { (48, 72) } else { (40, 64) };
    let gid_bytes = at(invalidations_at + 6)?.u16()?;
    let mut lists = at(header)?;
    let mut take = |bytes: Option<usize>| -> Option<&[u8]> {
        let taken = lists.bytes(bytes?)?;
        // The last list may end with the record.
        let _ = lists.align(main);
        Some(taken)
    };
    take(Some(usize::from(gid_bytes)))?;
    take(count(28)?.checked_mul(4))?;
    let commit_files = take(count(32)?.checked_mul(12))?;
    let abort_files = take(count(36)?.checked_mul(12))?;
    let (mut commit_stats, mut abort_stats): (&[u8], &[u8]) = (&[], &[]);
    if let Some(bytes) = stats_bytes {
        commit_stats = take(count(40)?.checked_mul(bytes))?;
        abort_stats = take(count(44)?.checked_mul(bytes))?;
    }
    let messages = take(count(invalidations_at)?.checked_mul(16))?;
    let mut text = format!("gid {}: ", printable(&String::from_utf8_lossy(prepare.gid)));
    text.push_str(&speaker.time(prepare.prepared_at));
    let of = |bytes| <[u8]>::chunks_exact(bytes, 12).filter_map(RelationFile::read);
    files(&mut text, speaker, "rels(commit)", of(commit_files));
    files(&mut text, speaker, "rels(abort)", of(abort_files));
    let item_bytes = stats_bytes.unwrap_or(12);
    statistics(&mut text, "commit ", commit_stats.chunks_exact(item_bytes).filter_map(item));
    statistics(&mut text, "abort ", abort_stats.chunks_exact(item_bytes).filter_map(item));
    subtransactions(&mut text, prepare.subtransactions());
    let init_file = at(invalidations_at + 4)?.u8()? != 0;
    invalidations(&mut text, messages, (prepare.database, 0), init_file);
    if origin != 0 {
        let mut from = at(header - 16)?;
        let came_from = (Lsn(from.u64()?), PgTime(from.i64()?));
        write_origin(&mut text, speaker, origin, Some(came_from));
    }
    Some(text)
}

/// Kind, database and object of one item of dropped statistics.
fn item(bytes: &[u8]) -> Option<(i32, u32, u64)> {
    let mut reader = Reader::new(bytes);
    let (kind, database, low) = (reader.i32()?, reader.u32()?, reader.u32()?);
    Some((kind, database, u64::from(reader.u32().unwrap_or(0)) << 32 | u64::from(low)))
}

fn list(text: &mut String, xids: impl Iterator<Item = Xid>) {
    for xid in xids {
        let _ = write!(text, " {xid}");
    }
}

fn subtransactions(text: &mut String, xids: impl ExactSizeIterator<Item = Xid>) {
    if xids.len() > 0 {
        text.push_str("; subxacts:");
        list(text, xids);
    }
}

fn files(text: &mut String, speaker: &Speaker<'_>, label: &str, files: impl Iterator<Item = RelationFile>) {
    for (index, file) in files.enumerate() {
        if index == 0 {
            let _ = write!(text, "; {label}:");
        }
        let _ = write!(text, " {}", speaker.path(file));
    }
}

fn statistics(text: &mut String, label: &str, items: impl Iterator<Item = (i32, u32, u64)>) {
    for (index, (kind, database, object)) in items.enumerate() {
        if index == 0 {
            let _ = write!(text, "; {label}dropped stats:");
        }
        let _ = write!(text, " {kind}/{database}/{object}");
    }
}

fn write_origin(text: &mut String, speaker: &Speaker<'_>, node: u16, from: Option<(Lsn, PgTime)>) {
    if let Some((lsn, time)) = from {
        let (lsn, time) = (speaker.lsn(lsn), speaker.time(time));
        let _ = write!(text, "; origin: node {node}, lsn {lsn}, at {time}");
    }
}

/// `standby_desc_invalidations`: messages of 16 bytes, an identifier in the first.
fn invalidations(text: &mut String, messages: &[u8], (database, space): (u32, u32), init_file: bool) {
    if messages.is_empty() {
        return;
    }
    if init_file {
        let _ = write!(text, "; relcache init file inval dbid {database} tsid {space}");
    }
    text.push_str("; inval msgs:");
    for message in messages.chunks_exact(16) {
        let number = |at: usize| message.get(at..).and_then(|rest| Reader::new(rest).u32()).unwrap_or(0);
        let id = message.first().map_or(0, |byte| i8::from_le_bytes([*byte]));
        let _ = match id {
            0.. => write!(text, " catcache {id}"),
            -1 => write!(text, " catalog {}", number(8)),
            -2 => write!(text, " relcache {}", number(8)),
            -3 => write!(text, " smgr"),
            -4 => write!(text, " relmap db {}", number(4)),
            -5 => write!(text, " snapshot {}", number(8)),
            -6 => write!(text, " relsync {}", number(8)),
            _ => write!(text, " unrecognized id {id}"),
        };
    }
}
