//! The control file, `global/pg_control`.
//!
//! 8192 bytes, of which fewer than 320 are used; the layout follows `pg_control_version`. Numbers are little-endian and
//! lie where a 64-bit compiler puts them. The checksum at the end is CRC-32C over all that stands before it.
//!
//! | pg_control_version | majors | checkpoint copy at | checksum at |
//! |---|---|---|---|
//! | 942, 960 | 9.5, 9.6 | 48 | 256 |
//! | 1002 | 10 | 48 | 288 |
//! | 1100 | 11 | 40 | 280 |
//! | 1201, 1300, 1700 | 12, 13 to 16, 17 | 40 | 288 |
//! | 1800 | 18 | 40 | 292 |
//! | 19xx | 19 | 40 | 304 |
//!
//! PostgreSQL: `src/include/catalog/pg_control.h` (`ControlFileData`, `CheckPoint`, `DBState`) of each branch,
//! `src/common/controldata_utils.c` (`get_controlfile`).

use crate::wal::{FullXid, Lsn, Major, PgTime, SegmentSize, SystemId, TimelineId, Xid};

/// Nothing behind this byte is read.
pub const CONTROL_BYTES_MAX: usize = 8192;

/// `DBState`: what the server was doing when it last wrote the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Starting up for the first time.
    StartingUp,
    /// Shut down.
    ShutDown,
    /// Shut down in recovery.
    ShutDownInRecovery,
    /// Shutting down.
    ShuttingDown,
    /// In crash recovery.
    InCrashRecovery,
    /// In archive recovery: a standby, or a recovery that had not ended.
    InArchiveRecovery,
    /// In production.
    InProduction,
    /// A number that no release writes.
    Unknown(i32),
}

impl From<i32> for State {
    fn from(number: i32) -> Self {
        match number {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            other => Self::Unknown(other),
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartingUp => "starting up",
            Self::ShutDown => "shut down",
            Self::ShutDownInRecovery => "shut down in recovery",
            Self::ShuttingDown => "shutting down",
            Self::InCrashRecovery => "in crash recovery",
            Self::InArchiveRecovery => "in archive recovery",
            Self::InProduction => "in production",
            Self::Unknown(number) => return write!(f, "unrecognized status code {number}"),
        })
    }
}

/// The copy of the last checkpoint record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckPointCopy {
    /// Where replay from it begins.
    pub redo: Lsn,
    /// Timeline of the checkpoint.
    pub timeline: TimelineId,
    /// The timeline before, where the checkpoint begins a new one; else the same.
    pub previous_timeline: TimelineId,
    /// Next transaction id, with its epoch.
    pub next_xid: FullXid,
    /// Oldest transaction still running, zero where not computed.
    pub oldest_active_xid: Xid,
    /// When the checkpoint was begun, in whole seconds.
    pub time: PgTime,
}

/// What the control file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// Identity of the cluster.
    pub system_identifier: SystemId,
    /// Version of the layout (`pg_control_version`).
    pub control_version: u32,
    /// Version of the system catalogs (`catalog_version_no`).
    pub catalog_version: u32,
    /// The major version, from the two numbers above.
    pub version: Major,
    /// What the server was doing.
    pub state: State,
    /// When the file was written, in whole seconds.
    pub time: PgTime,
    /// Position of the last checkpoint record.
    pub checkpoint: Lsn,
    /// The checkpoint itself.
    pub checkpoint_copy: CheckPointCopy,
    /// Replay must reach this before the data is consistent; invalid on a primary.
    pub min_recovery_point: Lsn,
    /// The timeline of that point.
    pub min_recovery_timeline: TimelineId,
    /// Redo position of the backup that is being recovered; invalid where none is.
    pub backup_start_point: Lsn,
    /// End of the backup taken from a standby that is being recovered; invalid where none is.
    pub backup_end_point: Lsn,
    /// A `BACKUP_END` record must be seen before the data is consistent.
    pub backup_end_required: bool,
    /// `wal_level` as a number of this version.
    pub wal_level: i32,
    /// Size of WAL segments.
    pub segment_size: SegmentSize,
    /// Size of WAL pages in bytes.
    pub wal_block_size: u32,
    /// Version of data page checksums, zero where there are none.
    pub data_checksum_version: u32,
}

/// The bytes are no control file that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The file ends before its checksum.
    #[error("pg_control has {found} bytes where at least {needed} are needed")]
    Short {
        /// Bytes there are.
        found: usize,
        /// Bytes that the layout needs.
        needed: usize,
    },
    /// The layout is not known.
    #[error("pg_control has version {version}, which is of no PostgreSQL from 9.5 to 19")]
    Version {
        /// `pg_control_version` as stored.
        version: u32,
    },
    /// Byte order of another machine.
    #[error("pg_control was written on a machine of the other byte order (version {version} when swapped)")]
    ByteOrder {
        /// `pg_control_version` with its bytes swapped.
        version: u32,
    },
    /// The checksum does not match. The server: FATAL "incorrect checksum in control file".
    #[error("incorrect checksum in control file: stored {stored:08X}, computed {computed:08X}")]
    Checksum {
        /// In the file.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The checksum matches and yet a value is none that a server accepts.
    #[error("pg_control names a WAL segment size of {bytes} bytes, which no server accepts")]
    SegmentSize {
        /// As stored.
        bytes: u32,
    },
}

/// Where the fields lie that move between versions.
struct Layout {
    checkpoint_copy: usize,
    /// Offset of `minRecoveryPoint`; the fields up to `wal_level` follow it at fixed distances.
    min_recovery_point: usize,
    /// Offset of `xlog_blcksz`; `xlog_seg_size` follows.
    wal_block_size: usize,
    data_checksum_version: usize,
    crc: usize,
}

impl Layout {
    const fn of(control_version: u32) -> Option<Self> {
        let (checkpoint_copy, min_recovery_point, wal_block_size, data_checksum_version, crc) =
            match control_version {
                942 | 960 => (48, 136, 224, 252, 256),
                1002 => (48, 136, 224, 252, 288),
                1100 => (40, 128, 216, 244, 280),
                1201 | 1300 | 1700 => (40, 136, 224, 252, 288),
                1800 => (40, 136, 224, 252, 292),
                1900..=1999 => (40, 144, 236, 264, 304),
                _ => return None,
            };
        Some(Self { checkpoint_copy, min_recovery_point, wal_block_size, data_checksum_version, crc })
    }
}

/// The major that writes a control version; 13 to 16 share one and differ in the catalogs' version, of which the number
/// of the release is given: development versions before it count to it.
const fn major(control_version: u32, catalog_version: u32) -> Option<Major> {
    Some(match control_version {
        942 => Major::V9_5,
        960 => Major::V9_6,
        1002 => Major::V10,
        1100 => Major::V11,
        1201 => Major::V12,
        1300 if catalog_version <= 202_007_201 => Major::V13,
        1300 if catalog_version <= 202_107_181 => Major::V14,
        1300 if catalog_version <= 202_209_061 => Major::V15,
        1300 => Major::V16,
        1700 => Major::V17,
        1800 => Major::V18,
        1900..=1999 => Major::V19,
        _ => return None,
    })
}

impl ControlFile {
    /// Reads a control file and checks its checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlError> {
        let fields = Fields(bytes);
        let (control_version, catalog_version) = (fields.u32(8)?, fields.u32(12)?);
        let known = Layout::of(control_version).zip(major(control_version, catalog_version));
        let Some((layout, version)) = known else {
            let swapped = control_version.swap_bytes();
            return Err(match Layout::of(swapped) {
                Some(_) => ControlError::ByteOrder { version: swapped },
                None => ControlError::Version { version: control_version },
            });
        };
        let stored = fields.u32(layout.crc)?;
        let computed = crate::wal::crc::checksum(bytes.get(..layout.crc).unwrap_or_default());
        if stored != computed {
            return Err(ControlError::Checksum { stored, computed });
        }
        let segment_bytes = fields.u32(layout.wal_block_size + 4)?;
        let segment_size = SegmentSize::new(u64::from(segment_bytes))
            .ok_or(ControlError::SegmentSize { bytes: segment_bytes })?;
        let recovery = layout.min_recovery_point;
        Ok(Self {
            system_identifier: SystemId(fields.u64(0)?),
            control_version,
            catalog_version,
            version,
            state: State::from(fields.i32(16)?),
            time: PgTime::from_unix_seconds(fields.i64(24)?),
            checkpoint: Lsn(fields.u64(32)?),
            checkpoint_copy: fields.checkpoint(layout.checkpoint_copy, version)?,
            min_recovery_point: Lsn(fields.u64(recovery)?),
            min_recovery_timeline: TimelineId(fields.u32(recovery + 8)?),
            backup_start_point: Lsn(fields.u64(recovery + 16)?),
            backup_end_point: Lsn(fields.u64(recovery + 24)?),
            backup_end_required: fields.u32(recovery + 32)? & 0xFF != 0,
            wal_level: fields.i32(recovery + 36)?,
            segment_size,
            wal_block_size: fields.u32(layout.wal_block_size)?,
            data_checksum_version: fields.u32(layout.data_checksum_version)?,
        })
    }
}

/// Little-endian numbers at offsets, each checked against the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], ControlError> {
        let short = ControlError::Short { found: self.0.len(), needed: offset + N };
        self.0.get(offset..).and_then(|rest| rest.first_chunk()).copied().ok_or(short)
    }

    fn u32(&self, offset: usize) -> Result<u32, ControlError> {
        Ok(u32::from_le_bytes(self.array(offset)?))
    }

    fn i32(&self, offset: usize) -> Result<i32, ControlError> {
        Ok(i32::from_le_bytes(self.array(offset)?))
    }

    fn u64(&self, offset: usize) -> Result<u64, ControlError> {
        Ok(u64::from_le_bytes(self.array(offset)?))
    }

    fn i64(&self, offset: usize) -> Result<i64, ControlError> {
        Ok(i64::from_le_bytes(self.array(offset)?))
    }

    /// The checkpoint at `offset`.
    fn checkpoint(&self, offset: usize, version: Major) -> Result<CheckPointCopy, ControlError> {
        let layout = version.checkpoint();
        let next_xid = if layout.next_xid_epoch_first {
            let epoch = u64::from(self.u32(offset + layout.next_xid)?);
            epoch << 32 | u64::from(self.u32(offset + layout.next_xid + 4)?)
        } else {
            self.u64(offset + layout.next_xid)?
        };
        Ok(CheckPointCopy {
            redo: Lsn(self.u64(offset)?),
            timeline: TimelineId(self.u32(offset + 8)?),
            previous_timeline: TimelineId(self.u32(offset + 12)?),
            next_xid: FullXid(next_xid),
            oldest_active_xid: Xid(self.u32(offset + layout.oldest_active_xid)?),
            time: PgTime::from_unix_seconds(self.i64(offset + layout.time)?),
        })
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
