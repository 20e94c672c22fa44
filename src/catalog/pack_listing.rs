//! An archive's listing and its base backups as bytes.

use crate::archive::store::{
    A_DATA_DIRECTORY, A_DIRECTORY, TAR_ENDS_EARLY, TAR_HAS_EXCESSIVE_HEADER, TAR_HAS_NO_HEADER,
    TAR_NOT_DECOMPRESSED,
};
use crate::archive::{
    BackupKind, BackupObject, Entry, Identity, Inventory, Layout, Object, ObjectKind, Stray,
};
use crate::backup::{
    BaseBackup, CheckPointCopy, ControlFile, Method, Problem, ProblemKind, Source, SourceKind,
    StandingPrepared, State, WalRange,
};
use crate::pack::{Pack, Unpacker, pack_enum, pack_struct};
use crate::wal::{SegmentName, WalFileName};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

impl Pack for PathBuf {
    fn pack(&self, out: &mut Vec<u8>) {
        u8::pack_all(self.as_os_str().as_bytes(), out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some(OsString::from_vec(u8::unpack_all(from)?).into())
    }
}

/// What a listing says of things that are no files. What is new to this list comes back in general words.
const SPECIALS: [&str; 11] = [
    A_DIRECTORY,
    A_DATA_DIRECTORY,
    "a link",
    "a symbolic link that leads nowhere",
    "a FIFO",
    "a socket",
    "a device",
    TAR_ENDS_EARLY,
    TAR_NOT_DECOMPRESSED,
    TAR_HAS_NO_HEADER,
    TAR_HAS_EXCESSIVE_HEADER,
];

impl Pack for ObjectKind {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Regular => out.push(0),
            Self::Special(what) => {
                let known = SPECIALS.iter().position(|special| special == what);
                out.push(known.and_then(|index| u8::try_from(index + 2).ok()).unwrap_or(1));
            }
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some(match u8::unpack(from)? {
            0 => Self::Regular,
            1 => Self::Special("no regular file"),
            number => Self::Special(SPECIALS.get(usize::from(number) - 2)?),
        })
    }
}

impl Pack for WalFileName {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Segment(name) => (0u8, *name).pack(out),
            Self::Partial(name) => (1u8, *name).pack(out),
            Self::Backup(name, offset) => (2u8, (*name, *offset)).pack(out),
            Self::History(timeline) => (3u8, *timeline).pack(out),
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some(match u8::unpack(from)? {
            0 => Self::Segment(Pack::unpack(from)?),
            1 => Self::Partial(Pack::unpack(from)?),
            2 => Self::Backup(Pack::unpack(from)?, Pack::unpack(from)?),
            3 => Self::History(Pack::unpack(from)?),
            _ => return None,
        })
    }
}

impl Pack for State {
    fn pack(&self, out: &mut Vec<u8>) {
        let number: i32 = match self {
            Self::StartingUp => 0,
            Self::ShutDown => 1,
            Self::ShutDownInRecovery => 2,
            Self::ShuttingDown => 3,
            Self::InCrashRecovery => 4,
            Self::InArchiveRecovery => 5,
            Self::InProduction => 6,
            Self::Unknown(number) => *number,
        };
        number.pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        i32::unpack(from).map(Self::from)
    }
}

pack_struct! {
    SegmentName { timeline, log, segment }
    Identity { size, modified_ns, changed_ns, device, inode, etag }
    Object { path, kind, identity }
    Entry { name, group, object }
    Stray { object, named_like_wal }
    BackupObject { kind, label, object, beside }
    Inventory { layout, entries, strays, backups, groups, is_pg_wal }
    Source { kind, path }
    WalRange { timeline, start, end }
    StandingPrepared { xid, gid, at }
    CheckPointCopy { redo, timeline, previous_timeline, next_xid, oldest_active_xid, time }
    ControlFile {
        system_identifier, control_version, catalog_version, version, state, time, checkpoint, checkpoint_copy,
        min_recovery_point, min_recovery_timeline, backup_start_point, backup_end_point, backup_end_required,
        wal_level, segment_size, wal_block_size, data_checksum_version,
    }
    BaseBackup {
        label, aliases, start_lsn, timeline, checkpoint_lsn, stop_lsn, stop_timeline, method, from_standby,
        system_identifier, version, group, segment_size, control, has_label, incremental_from, depends_on, started,
        finished, prepared, wal, wal_ranges, permanent, kept_until, keeps_wal_behind, unusable, cautions, sources,
    }
    Problem { kind, path, message }
}

pack_enum! {
    Layout {
        0 => Plain, 1 => WalG, 2 => PgBackRest, 3 => Barman, 4 => BarmanCloud, 5 => PgProbackup, 6 => PgRman,
        7 => Tar,
    }
    BackupKind {
        0 => WalGSentinel, 1 => PgBackRestInfo, 2 => BarmanInfo, 3 => PgProbackupControl, 4 => PgRmanIni,
        5 => Manifest, 6 => Label, 7 => BaseTar, 8 => DataDirectory,
    }
    SourceKind {
        0 => HistoryFile, 1 => Manifest, 2 => WalG, 3 => PgBackRest, 4 => Barman, 5 => PgProbackup, 6 => PgRman,
        7 => Label, 8 => Tar, 9 => DataDirectory,
    }
    Method { 0 => Streamed, 1 => PgStartBackup, 2 => PgRewind, 3 => Other(name) }
    ProblemKind { 0 => Unread, 1 => Damaged, 2 => NotPlaced }
}
