//! The parts of a segment's facts as bytes. A number here never changes its meaning: what changes gets a new
//! number, or raises the catalog's version.

use super::catalog_changes::{CatalogChanges, RowChanges};
use super::catalog_rows::{KeptRow, Seen, Sighting};
use super::event::{End, EndDetails, Event, Prepared, What};
use super::facts::FileFault;
use super::files::Files;
use super::identify::Identity;
use super::stats::{Times, Transactions};
use super::zone::{FileZone, Zone};
use crate::pack::{Pack, Unpacker, pack_enum, pack_struct};
use crate::wal::fault::Fault;
use crate::wal::payload::xact::DroppedStats;
use crate::wal::payload::xlog::{CheckPoint, EndOfRecovery, ParameterChange};
use crate::wal::record::RelationFile;
use crate::wal::walk::{Context, Ending, Format, Head, HeadEnd, Overwrite, Run, Tail, Walked, Wound};

pack_struct! {
    Format { major, magic, page_bytes, segment_size }
    Identity { format, system_id, address }
    Run { owner, first, prev_of_first, last, end, records, continues }
    Head { declared, have, crc, captured, end }
    Tail { start, total, have, crc, captured, prev }
    Wound { fault, lsn, offset, context }
    Overwrite { dropped, at }
    Walked {
        head, starts_with_overwrite, runs, tail, ending, wound_at_end, wounds, wounds_not_kept, overwrites,
        dirty_padding, bytes, ends_unbroken,
    }
    RowChanges { made, moved, removed }
    CatalogChanges { class_rows, type_rows, relations, transients }
    Files { created, built, emptied, truncated, catalogs }
    Times { first, last, min, max, regressions, max_regression_us }
    Transactions { commits, aborts, commit_times, times }
    RelationFile { tablespace, database, number }
    DroppedStats { kind, database, object }
    EndDetails { database, subtransactions, dropped_files, dropped_stats, gid, incomplete }
    End { committed, prepared, details }
    CheckPoint {
        redo, timeline, previous_timeline, full_page_writes, wal_level, next_xid, time, oldest_active_xid,
    }
    EndOfRecovery { time, timeline, previous_timeline }
    ParameterChange {
        max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions,
        max_locks_per_transaction, wal_level, wal_log_hints, track_commit_timestamp,
    }
    Event { lsn, end, owner, xid, time, what }
    Prepared { gid, database, subtransactions }
    KeptRow { committed, oid, xmin, length, columns }
    Sighting { lsn, owner, file, block, seen }
    Zone { owner, events, ends, timed, xids, active, has_names, has_checkpoint, has_sightings, untimed }
    FileZone { name, start, end, open, across, is_middle, zones }
}

pack_enum! {
    HeadEnd { 0 => Complete(end), 1 => Open, 2 => Broken }
    Ending { 0 => Full, 1 => Switch { at }, 2 => Zero { from }, 3 => Stale { from, found }, 4 => Cut { at } }
    Context { 0 => Elsewhere, 1 => OfHead, 2 => BehindHead }
    FileFault {
        0 => Empty,
        1 => Truncated { expected },
        2 => TooLong { expected },
        3 => NotWal { magic },
        4 => Zero,
        5 => Undecodable { detail },
        6 => Unread { detail },
    }
    Seen {
        0 => Page(rows),
        1 => Row { offset, row },
        2 => Update { offset, old, prefix, suffix, row },
        3 => Invalidated { offset, row },
    }
    What {
        0 => End(end),
        1 => Prepare(prepared),
        2 => Checkpoint { online, checkpoint },
        3 => CheckpointRedo { wal_level },
        4 => RestorePoint { name },
        5 => BackupEnd { start },
        6 => EndOfRecovery(end),
        7 => ParameterChange(change),
        8 => Switch,
        9 => Overwrite { dropped },
        10 => Database { created, database },
        11 => Tablespace { created, tablespace },
    }
    Fault {
        0 => PageMagic { expected, found },
        1 => PageFlags { found },
        2 => PageRemaining { flags, found },
        3 => PageSegmentSize { expected, found },
        4 => PageBlockSize { expected, found },
        5 => PageAddress { expected, found },
        6 => PageTimeline { expected, found },
        7 => RecordLength { found },
        8 => ResourceManager { found },
        9 => PrevLink { expected, found },
        10 => NoContinuation,
        11 => UnexpectedContinuation { found },
        12 => ContinuationLength { expected, found },
        13 => OverwriteMismatch { expected, found },
        14 => Crc { expected, found },
        15 => BlockOrder { found },
        16 => BlockId { found },
        17 => BlockData { flagged, length },
        18 => BlockSameRelation,
        19 => Image { hole_offset, hole_length, length },
        20 => BodyLength,
        21 => EndsEarly { stale },
        22 => LengthAgainstChecksum { expected, found },
        23 => ContinuationEnd { next, found },
    }
}
