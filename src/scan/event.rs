//! What happened, by the records that say so.

use crate::wal::payload::Reader;
use crate::wal::payload::xact::{self, DroppedStats, Prepare, TransactionEnd};
use crate::wal::payload::xlog::{self, CheckPoint, EndOfRecovery, ParameterChange, RestorePoint};
use crate::wal::record::{RecordHeader, RelationFile, ResourceManager};
use crate::wal::walk::{Glimpse, Record};
use crate::wal::{Lsn, Major, PgTime, TimelineId, Xid, byte_text};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Start of its record.
    pub lsn: Lsn,
    /// End of its record.
    pub end: Lsn,
    /// The timeline that owns it.
    pub owner: TimelineId,
    /// The transaction: of a prepared one the one in the body, since the header has none. 0 if none.
    pub xid: Xid,
    /// When, where the record says.
    pub time: Option<PgTime>,
    /// What.
    pub what: What,
}

/// What happened. Commits are nearly all of them: what only others have is boxed, so that a commit takes 64 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A transaction committed or aborted.
    End(End),
    /// A transaction was prepared for two-phase commit.
    Prepare(Box<Prepared>),
    /// A checkpoint.
    Checkpoint {
        /// Written while the server went on (else at shutdown, or at the end of a recovery).
        online: bool,
        /// What it says.
        checkpoint: Box<CheckPoint>,
    },
    /// The record that marks where an online checkpoint's redo begins (17 and later).
    CheckpointRedo {
        /// `wal_level` as stored.
        wal_level: Option<i32>,
    },
    /// A named restore point.
    RestorePoint {
        /// Its name, as [`byte_text`] shows it.
        name: String,
    },
    /// A base backup ended.
    BackupEnd {
        /// Where it started.
        start: Lsn,
    },
    /// A recovery ended and a timeline began.
    EndOfRecovery(Box<EndOfRecovery>),
    /// Parameters changed.
    ParameterChange(Box<ParameterChange>),
    /// The rest of the segment is unused.
    Switch,
    /// A database was created or dropped. This takes effect at once, not at the commit.
    Database {
        /// Created, rather than dropped.
        created: bool,
        /// Its OID.
        database: u32,
    },
    /// A tablespace was created or dropped.
    Tablespace {
        /// Created, rather than dropped.
        created: bool,
        /// Its OID.
        tablespace: u32,
    },
    /// An unfinished record was dropped.
    Overwrite {
        /// Where it started.
        dropped: Lsn,
    },
}

impl What {
    /// The end of a transaction, or its first phase: nearly all events are that.
    pub const fn is_of_transaction(&self) -> bool {
        matches!(self, Self::End(_) | Self::Prepare(_))
    }

    /// What takes effect at once and tells no time: the end of its transaction does.
    pub const fn is_at_once(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Tablespace { .. })
    }

    /// What is not listed unless it is asked for.
    pub const fn is_quiet(&self) -> bool {
        matches!(self, Self::Switch | Self::CheckpointRedo { .. })
    }
}

/// A transaction that waits for its second phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Its name, as [`byte_text`] shows it.
    pub gid: String,
    /// Its database.
    pub database: u32,
    /// Its subtransactions.
    pub subtransactions: Vec<Xid>,
}

/// How a transaction ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Committed, rather than aborted.
    pub committed: bool,
    /// It had been prepared before.
    pub prepared: bool,
    /// What else the record says; nothing for most transactions.
    pub details: Option<Box<EndDetails>>,
}

/// The parts that only some commits and aborts have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndDetails {
    /// Its database.
    pub database: Option<u32>,
    /// Its subtransactions.
    pub subtransactions: Vec<Xid>,
    /// Relation files removed with it.
    pub dropped_files: Vec<RelationFile>,
    /// Statistics removed with it: the OIDs of what it dropped (15 and later).
    pub dropped_stats: Vec<DroppedStats>,
    /// Name of the prepared transaction, as [`byte_text`] shows it, where the record has it.
    pub gid: Option<String>,
    /// The record is longer than what was kept of it, or than it says: parts may be missing here.
    pub incomplete: bool,
}

impl Event {
    /// The event that a record is, if it is one.
    pub fn from_record(record: &Record<'_>, major: Major) -> Option<Self> {
        let header = &record.header;
        let (xid, time, what) = match header.resource_manager() {
            ResourceManager::TRANSACTION => transaction(record, major)?,
            ResourceManager::XLOG => {
                let (time, what) = control(record, major)?;
                (header.xid(), time, what)
            }
            ResourceManager::DATABASE => (header.xid(), None, database(record, major)?),
            ResourceManager::TABLESPACE => (header.xid(), None, tablespace(record)?),
            _ => return None,
        };
        Some(Self { lsn: record.lsn, end: record.end, owner: record.owner, xid, time, what })
    }

    /// The end of a transaction that a record of its manager is, if it says nothing but its time.
    #[inline]
    pub fn plain_end(glimpse: &Glimpse<'_>) -> Option<Self> {
        let Glimpse { lsn, owner, header, .. } = *glimpse;
        let operation = xact::Operation::from_info(header.info()).filter(|o| o.ends_transaction())?;
        let main = glimpse.bare_main().filter(|main| xact::says_only_its_time(main, header.info()))?;
        let time = Some(xact::end_time(main)?);
        Some(Self {
            lsn,
            end: glimpse.end(),
            owner,
            xid: header.xid(),
            time,
            what: What::End(end_of(operation)),
        })
    }

    /// Whether a record with this header may be an event: then all of it is needed.
    pub fn may_be(header: &RecordHeader) -> bool {
        match header.resource_manager() {
            ResourceManager::TRANSACTION | ResourceManager::DATABASE | ResourceManager::TABLESPACE => true,
            // Page images and arbitrary filler can be long, and are none.
            ResourceManager::XLOG => {
                !matches!(header.info() & 0xF0, 0x20 | 0xA0 | 0xB0 | 0xC0) && header.total_length() < 4096
            }
            _ => false,
        }
    }
}

fn database(record: &Record<'_>, major: Major) -> Option<What> {
    let dropped = if major >= Major::V15 { 0x20 } else { 0x10 };
    let created = record.header.info() & 0xF0 != dropped;
    Some(What::Database { created, database: Reader::new(record.main()).u32()? })
}

fn tablespace(record: &Record<'_>) -> Option<What> {
    let created = record.header.info() & 0xF0 == 0;
    Some(What::Tablespace { created, tablespace: Reader::new(record.main()).u32()? })
}

fn transaction(record: &Record<'_>, major: Major) -> Option<(Xid, Option<PgTime>, What)> {
    let header = &record.header;
    let main = record.main();
    let operation = xact::Operation::from_info(header.info())?;
    if operation == xact::Operation::Prepare {
        let prepare = Prepare::read(main, major)?;
        let prepared = Prepared {
            gid: byte_text::shown(prepare.gid),
            database: prepare.database,
            subtransactions: prepare.subtransactions().collect(),
        };
        return Some((prepare.xid, Some(prepare.prepared_at), What::Prepare(Box::new(prepared))));
    }
    if !operation.ends_transaction() {
        return None;
    }
    let time = xact::end_time(main)?;
    let end = end_of(operation);
    if xact::says_only_its_time(main, header.info()) && record.is_whole() {
        return Some((header.xid(), Some(time), What::End(end)));
    }
    let whole = TransactionEnd::read(main, header.info(), major);
    let xid = whole.as_ref().and_then(|end| end.prepared_xid).unwrap_or(header.xid());
    let details = whole.map_or_else(
        || Some(Box::new(EndDetails { incomplete: true, ..EndDetails::default() })),
        |end| end_details(&end, record.is_whole()),
    );
    Some((xid, Some(time), What::End(End { details, ..end })))
}

/// An end that says no more than which one it is.
fn end_of(operation: xact::Operation) -> End {
    let prepared = matches!(operation, xact::Operation::CommitPrepared | xact::Operation::AbortPrepared);
    End { committed: operation.is_commit(), prepared, details: None }
}

/// What is worth keeping of a commit or abort; `None` if it is nothing but its time.
fn end_details(end: &TransactionEnd<'_>, whole: bool) -> Option<Box<EndDetails>> {
    let incomplete = end.left_over > 0 || !whole;
    if end.xinfo == 0 && !incomplete {
        return None;
    }
    let details = EndDetails {
        database: end.database.map(|(database, _)| database),
        subtransactions: end.subtransactions().collect(),
        dropped_files: end.dropped_files().collect(),
        dropped_stats: end.dropped_stats().collect(),
        gid: end.gid.map(byte_text::shown),
        incomplete,
    };
    (details != EndDetails::default()).then(|| Box::new(details))
}

fn control(record: &Record<'_>, major: Major) -> Option<(Option<PgTime>, What)> {
    use xlog::Operation as Op;
    let main = record.main();
    let operation = Op::from_info(record.header.info());
    Some(match operation {
        Op::CheckpointShutdown | Op::CheckpointOnline => {
            let checkpoint = Box::new(CheckPoint::read(main, major)?);
            let online = operation == Op::CheckpointOnline;
            (Some(checkpoint.time), What::Checkpoint { online, checkpoint })
        }
        Op::Switch => (None, What::Switch),
        Op::BackupEnd => (None, What::BackupEnd { start: xlog::backup_end_start(main)? }),
        Op::ParameterChange => (None, What::ParameterChange(Box::new(ParameterChange::read(main, major)?))),
        Op::RestorePoint => {
            let point = RestorePoint::read(main)?;
            (Some(point.time), What::RestorePoint { name: byte_text::shown(point.name) })
        }
        Op::EndOfRecovery => {
            let end = EndOfRecovery::read(main)?;
            (Some(end.time), What::EndOfRecovery(Box::new(end)))
        }
        Op::OverwriteContrecord => (None, What::Overwrite { dropped: xlog::backup_end_start(main)? }),
        Op::CheckpointRedo => {
            (None, What::CheckpointRedo { wal_level: xlog::checkpoint_redo_wal_level(main) })
        }
        _ => return None,
    })
}
