//! Records of the XLOG resource manager: checkpoints, restore points, ends of backups and of recoveries.
//!
//! PostgreSQL: `src/include/catalog/pg_control.h` (operations, `CheckPoint`),
//! `src/include/access/xlog_internal.h` (`xl_parameter_change`, `xl_restore_point`, `xl_end_of_recovery`,
//! `xl_overwrite_contrecord`), 9.5 to 19.

use super::Reader;
use crate::wal::lsn::{FullXid, Lsn, TimelineId, Xid};
use crate::wal::time::PgTime;
use crate::wal::version::Major;

/// What a record of this resource manager does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is the XLOG_ constant it is named for")]
pub enum Operation {
    CheckpointShutdown,
    CheckpointOnline,
    Noop,
    NextOid,
    Switch,
    BackupEnd,
    ParameterChange,
    RestorePoint,
    FullPageWritesChange,
    EndOfRecovery,
    FullPageImageForHint,
    FullPageImage,
    /// 0xC0: several page images up to 11, an assigned LSN from 19.
    Reused,
    OverwriteContrecord,
    CheckpointRedo,
    LogicalDecodingStatusChange,
}

impl Operation {
    /// From `xl_info`.
    pub const fn from_info(info: u8) -> Self {
        match info & 0xF0 {
            0x00 => Self::CheckpointShutdown,
            0x10 => Self::CheckpointOnline,
            0x20 => Self::Noop,
            0x30 => Self::NextOid,
            0x40 => Self::Switch,
            0x50 => Self::BackupEnd,
            0x60 => Self::ParameterChange,
            0x70 => Self::RestorePoint,
            0x80 => Self::FullPageWritesChange,
            0x90 => Self::EndOfRecovery,
            0xA0 => Self::FullPageImageForHint,
            0xB0 => Self::FullPageImage,
            0xC0 => Self::Reused,
            0xD0 => Self::OverwriteContrecord,
            0xE0 => Self::CheckpointRedo,
            _ => Self::LogicalDecodingStatusChange,
        }
    }
}

/// A checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckPoint {
    /// Where replay from it begins.
    pub redo: Lsn,
    /// Its timeline.
    pub timeline: TimelineId,
    /// The timeline before, where this record changes it.
    pub previous_timeline: TimelineId,
    /// Pages are written whole after it.
    pub full_page_writes: bool,
    /// `wal_level` as stored (17 and later).
    pub wal_level: Option<i32>,
    /// The next transaction id to be given.
    pub next_xid: FullXid,
    /// When, to the second.
    pub time: PgTime,
    /// Oldest transaction running; 0 if it is not known.
    pub oldest_active_xid: Xid,
}

impl CheckPoint {
    /// Reads a `CheckPoint`. `None` if `main` has not exactly the version's size.
    pub fn read(main: &[u8], major: Major) -> Option<Self> {
        let layout = major.checkpoint();
        if main.len() != layout.bytes {
            return None;
        }
        let at = |offset: usize| main.get(offset..).map(Reader::new);
        let next_xid = if layout.next_xid_epoch_first {
            let mut reader = at(layout.next_xid)?;
            u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?)
        } else {
            at(layout.next_xid)?.u64()?
        };
        let wal_level = match layout.wal_level {
            Some(offset) => Some(at(offset)?.i32()?),
            None => None,
        };
        Some(Self {
            redo: Lsn(at(0)?.u64()?),
            timeline: TimelineId(at(8)?.u32()?),
            previous_timeline: TimelineId(at(12)?.u32()?),
            full_page_writes: at(16)?.u8()? != 0,
            wal_level,
            next_xid: FullXid(next_xid),
            time: PgTime::from_unix_seconds(at(layout.time)?.i64()?),
            oldest_active_xid: Xid(at(layout.oldest_active_xid)?.u32()?),
        })
    }
}

/// A change of parameters that a standby must follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders` (12 and later).
    pub max_wal_senders: Option<i32>,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: i32,
    /// `wal_level` as stored; [`Major::wal_level_name`] names it.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl ParameterChange {
    /// Reads the main data of a parameter change.
    pub fn read(main: &[u8], major: Major) -> Option<Self> {
        let mut reader = Reader::new(main);
        let max_connections = reader.i32()?;
        let max_worker_processes = reader.i32()?;
        let max_wal_senders =
            if major.parameter_change_has_wal_senders() { Some(reader.i32()?) } else { None };
        Some(Self {
            max_connections,
            max_worker_processes,
            max_wal_senders,
            max_prepared_transactions: reader.i32()?,
            max_locks_per_transaction: reader.i32()?,
            wal_level: reader.i32()?,
            wal_log_hints: reader.u8()? != 0,
            track_commit_timestamp: reader.u8()? != 0,
        })
    }
}

/// A named restore point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestorePoint<'a> {
    /// When it was made.
    pub time: PgTime,
    /// Its name: at most 63 bytes, in the database's encoding.
    pub name: &'a [u8],
}

impl<'a> RestorePoint<'a> {
    /// Reads the main data of a restore point.
    pub fn read(main: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(main);
        let time = PgTime(reader.i64()?);
        let name = reader.bytes(64)?;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some(Self { time, name: name.get(..length)? })
    }
}

/// The end of a recovery that did not write a shutdown checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndOfRecovery {
    /// When.
    pub time: PgTime,
    /// The timeline that begins.
    pub timeline: TimelineId,
    /// The one before.
    pub previous_timeline: TimelineId,
}

impl EndOfRecovery {
    /// Reads the main data of an end of recovery.
    pub fn read(main: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(main);
        Some(Self {
            time: PgTime(reader.i64()?),
            timeline: TimelineId(reader.u32()?),
            previous_timeline: TimelineId(reader.u32()?),
        })
    }
}

/// The start LSN of the base backup that a backup-end record ends.
pub fn backup_end_start(main: &[u8]) -> Option<Lsn> {
    Reader::new(main).u64().map(Lsn)
}

/// `wal_level` in a record that begins a checkpoint (17 and later).
pub fn checkpoint_redo_wal_level(main: &[u8]) -> Option<i32> {
    Reader::new(main).i32()
}
