//! Records of the Transaction resource manager: how transactions end.
//!
//! The body of a commit or abort is a time, then parts that `xinfo` announces, in a fixed order; which parts
//! there are differs by version ([`Major::abort_has_database_and_origin`], [`Major::dropped_stats_item_bytes`]).
//!
//! PostgreSQL: `src/include/access/xact.h`, `ParseCommitRecord`, `ParseAbortRecord`, `ParsePrepareRecord` in
//! `src/backend/access/rmgrdesc/xactdesc.c`, `src/backend/access/transam/twophase.c`, 9.5 to 19.

use super::Reader;
use crate::wal::lsn::{Lsn, Xid};
use crate::wal::record::RelationFile;
use crate::wal::time::PgTime;
use crate::wal::version::Major;

/// `XLOG_XACT_OPMASK`.
const OPERATION_MASK: u8 = 0x70;
/// `XLOG_XACT_HAS_INFO`.
const HAS_XINFO: u8 = 0x80;

const HAS_DATABASE: u32 = 0x001;
const HAS_SUBTRANSACTIONS: u32 = 0x002;
const HAS_DROPPED_FILES: u32 = 0x004;
const HAS_INVALIDATIONS: u32 = 0x008;
const HAS_TWOPHASE: u32 = 0x010;
const HAS_ORIGIN: u32 = 0x020;
const HAS_GID: u32 = 0x080;
const HAS_DROPPED_STATS: u32 = 0x100;

/// Bytes in a `SharedInvalidationMessage`.
const INVALIDATION_BYTES: usize = 16;
/// Bytes in a relation's locator.
const RELATION_BYTES: usize = 12;

/// What a record of this resource manager does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is the XLOG_XACT_ constant it is named for")]
pub enum Operation {
    Commit,
    Prepare,
    Abort,
    CommitPrepared,
    AbortPrepared,
    Assignment,
    Invalidations,
}

impl Operation {
    /// From `xl_info`.
    pub const fn from_info(info: u8) -> Option<Self> {
        Some(match info & OPERATION_MASK {
            0x00 => Self::Commit,
            0x10 => Self::Prepare,
            0x20 => Self::Abort,
            0x30 => Self::CommitPrepared,
            0x40 => Self::AbortPrepared,
            0x50 => Self::Assignment,
            0x60 => Self::Invalidations,
            _ => return None,
        })
    }

    /// A commit or abort, prepared before or not: what recovery targets look at.
    pub const fn ends_transaction(self) -> bool {
        matches!(self, Self::Commit | Self::Abort | Self::CommitPrepared | Self::AbortPrepared)
    }

    /// Its effects stay.
    pub const fn is_commit(self) -> bool {
        matches!(self, Self::Commit | Self::CommitPrepared)
    }
}

/// The time of a commit or abort, from the main data of its record.
pub fn end_time(main: &[u8]) -> Option<PgTime> {
    Reader::new(main).i64().map(PgTime)
}

/// Whether a commit or abort has no other part than its time, as nearly all have.
pub const fn says_only_its_time(main: &[u8], info: u8) -> bool {
    info & HAS_XINFO == 0 && main.len() == size_of::<i64>()
}

/// An object whose statistics went with a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DroppedStats {
    /// Kind of object: 2 is a relation.
    pub kind: i32,
    /// Its database.
    pub database: u32,
    /// Its OID (64 bits from 18 on).
    pub object: u64,
}

/// Where a transaction came from, in logical replication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Commit position at the origin.
    pub lsn: Lsn,
    /// Commit time at the origin.
    pub time: PgTime,
}

/// A commit or an abort, borrowed from its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransactionEnd<'a> {
    /// When, by the server's clock, just before the record was written.
    pub time: PgTime,
    /// `xinfo`.
    pub xinfo: u32,
    /// Database and its default tablespace.
    pub database: Option<(u32, u32)>,
    subtransactions: &'a [u8],
    dropped_files: &'a [u8],
    dropped_stats: &'a [u8],
    dropped_stats_item_bytes: usize,
    /// Invalidation messages, 16 bytes each.
    pub invalidations: &'a [u8],
    /// The transaction itself, where it was prepared before (the record's header has no xid then).
    pub prepared_xid: Option<Xid>,
    /// Global identifier of a prepared transaction.
    pub gid: Option<&'a [u8]>,
    /// Replication origin.
    pub origin: Option<Origin>,
    /// Bytes of main data behind the last part; a whole record has none.
    pub left_over: usize,
}

impl<'a> TransactionEnd<'a> {
    /// Reads the main data of a commit or abort record. `None` if it is shorter than it says.
    pub fn read(main: &'a [u8], info: u8, major: Major) -> Option<Self> {
        let operation = Operation::from_info(info)?;
        let commit = operation.is_commit();
        let mut reader = Reader::new(main);
        let mut end = Self { time: PgTime(reader.i64()?), ..Self::default() };
        if info & HAS_XINFO == 0 {
            end.left_over = reader.rest().len();
            return Some(end);
        }
        end.xinfo = reader.u32()?;
        let has = |bit| end.xinfo & bit != 0;
        if has(HAS_DATABASE) && (commit || major.abort_has_database_and_origin()) {
            end.database = Some((reader.u32()?, reader.u32()?));
        }
        if has(HAS_SUBTRANSACTIONS) {
            end.subtransactions = reader.counted(4)?;
        }
        if has(HAS_DROPPED_FILES) {
            end.dropped_files = reader.counted(RELATION_BYTES)?;
        }
        if let (true, Some(item_bytes)) = (has(HAS_DROPPED_STATS), major.dropped_stats_item_bytes()) {
            end.dropped_stats_item_bytes = item_bytes;
            end.dropped_stats = reader.counted(item_bytes)?;
        }
        if commit && has(HAS_INVALIDATIONS) {
            end.invalidations = reader.counted(INVALIDATION_BYTES)?;
        }
        if has(HAS_TWOPHASE) {
            end.prepared_xid = Some(Xid(reader.u32()?));
            if has(HAS_GID) {
                end.gid = Some(reader.c_string()?);
            }
        }
        if has(HAS_ORIGIN) && (commit || major.abort_has_database_and_origin()) {
            end.origin = Some(Origin { lsn: Lsn(reader.u64()?), time: PgTime(reader.i64()?) });
        }
        end.left_over = reader.rest().len();
        Some(end)
    }

    /// Subtransactions that ended with it.
    pub fn subtransactions(&self) -> impl ExactSizeIterator<Item = Xid> + 'a {
        self.subtransactions.chunks_exact(4).map(|b| Xid(u32_at(b, 0)))
    }

    /// Relation files that were removed with it.
    pub fn dropped_files(&self) -> impl ExactSizeIterator<Item = RelationFile> + 'a {
        self.dropped_files
            .chunks_exact(RELATION_BYTES)
            .map(|bytes| RelationFile::read(bytes).unwrap_or_default())
    }

    /// Objects whose statistics were removed with it (15 and later).
    pub fn dropped_stats(&self) -> impl ExactSizeIterator<Item = DroppedStats> + 'a {
        let item_bytes = self.dropped_stats_item_bytes.max(1);
        self.dropped_stats.chunks_exact(item_bytes).map(|item| {
            let high = if item.len() >= 16 { u64::from(u32_at(item, 12)) } else { 0 };
            DroppedStats {
                kind: i32::from_le_bytes(u32_at(item, 0).to_le_bytes()),
                database: u32_at(item, 4),
                object: high << 32 | u64::from(u32_at(item, 8)),
            }
        })
    }
}

/// The little-endian number at `offset`, 0 where the bytes end.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

/// A `PREPARE TRANSACTION`: the two-phase file's image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prepare<'a> {
    /// The transaction.
    pub xid: Xid,
    /// Its database.
    pub database: u32,
    /// When it was prepared.
    pub prepared_at: PgTime,
    /// Its name, as given by the user.
    pub gid: &'a [u8],
    subtransactions: &'a [u8],
}

impl<'a> Prepare<'a> {
    /// Reads the main data of a prepare record. `None` if its magic is unknown or it is shorter than it says.
    pub fn read(main: &'a [u8], major: Major) -> Option<Self> {
        const MAGIC_9_5: u32 = 0x57F9_4532;
        const MAGIC_9_6: u32 = 0x57F9_4533;
        const MAGIC_11: u32 = 0x57F9_4534;
        let mut reader = Reader::new(main);
        let magic = reader.u32()?;
        reader.skip(4)?;
        let xid = Xid(reader.u32()?);
        let database = reader.u32()?;
        let prepared_at = PgTime(reader.i64()?);
        reader.skip(4)?;
        let subtransaction_count = usize::try_from(reader.i32()?).ok()?;
        // Where the name is, and where the lists behind the header begin.
        let (name_length_at, header_bytes) = match magic {
            MAGIC_9_5 => (None, 248),
            MAGIC_9_6 => (Some(46), 48),
            MAGIC_11 if major.dropped_stats_item_bytes().is_some() => (Some(54), 72),
            MAGIC_11 => (Some(46), 64),
            _ => return None,
        };
        let mut lists = Reader::new(main);
        let gid = match name_length_at {
            Some(at) => {
                let length = Reader::new(main.get(at..)?).u16()?;
                lists.skip(header_bytes)?;
                let gid = lists.bytes(usize::from(length))?;
                lists.align(main)?;
                gid.strip_suffix(&[0]).unwrap_or(gid)
            }
            None => {
                // Behind a flag of one byte.
                let gid = Reader::new(main.get(45..245)?).c_string()?;
                lists.skip(header_bytes)?;
                gid
            }
        };
        let subtransactions = lists.bytes(subtransaction_count.checked_mul(4)?)?;
        Some(Self { xid, database, prepared_at, gid, subtransactions })
    }

    /// Its subtransactions.
    pub fn subtransactions(&self) -> impl ExactSizeIterator<Item = Xid> + 'a {
        self.subtransactions.chunks_exact(4).map(|b| Xid(u32_at(b, 0)))
    }
}

/// A list of subtransactions and the transaction that they belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment<'a> {
    /// The top-level transaction.
    pub top: Xid,
    subtransactions: &'a [u8],
}

impl<'a> Assignment<'a> {
    /// Reads the main data of an assignment record.
    pub fn read(main: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(main);
        Some(Self { top: Xid(reader.u32()?), subtransactions: reader.counted(4)? })
    }

    /// The subtransactions.
    pub fn subtransactions(&self) -> impl ExactSizeIterator<Item = Xid> + 'a {
        self.subtransactions.chunks_exact(4).map(|b| Xid(u32_at(b, 0)))
    }
}
