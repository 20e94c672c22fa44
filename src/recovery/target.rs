//! Recovery targets, and the record at which each stops.
//!
//! PostgreSQL: `recoveryStopsBefore`, `recoveryStopsAfter` in `src/backend/access/transam/xlogrecovery.c`
//! (`xlog.c` up to 14), 9.5 to 19.

use crate::scan::SegmentFacts;
use crate::scan::event::{Event, What};
use crate::wal::{Lsn, PgTime, Xid};

/// What to recover to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `recovery_target_time`.
    Time(PgTime),
    /// `recovery_target_xid`.
    Xid(Xid),
    /// `recovery_target_lsn`.
    Lsn(Lsn),
    /// `recovery_target_name`.
    Name(String),
    /// `recovery_target = 'immediate'`.
    Immediate,
    /// None: to the end of the WAL.
    Latest,
}

impl Target {
    /// What it is called in reports.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Xid(_) => "xid",
            Self::Lsn(_) => "lsn",
            Self::Name(_) => "name",
            Self::Immediate => "immediate",
            Self::Latest => "latest",
        }
    }
}

/// On which side of its record a stop lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// The record is not applied.
    Before,
    /// The record is applied.
    After,
    /// A restore point, which is applied.
    At,
    /// As soon as the data is consistent: a transaction's end that makes it so is applied, any other record stands
    /// behind the stop.
    Consistency,
    /// The WAL ended.
    EndOfWal,
}

impl Position {
    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::At => "at",
            Self::Consistency => "consistency",
            Self::EndOfWal => "end-of-wal",
        }
    }
}

/// What kind of record a stop names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// A commit, prepared or not.
    Commit,
    /// An abort, prepared or not.
    Abort,
    /// A restore point.
    RestorePoint,
    /// Any other.
    Other,
}

impl RecordKind {
    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::RestorePoint => "restore-point",
            Self::Other => "other",
        }
    }

    /// Of an event.
    pub const fn of(event: &Event) -> Self {
        match &event.what {
            What::End(end) if end.committed => Self::Commit,
            What::End(_) => Self::Abort,
            What::RestorePoint { .. } => Self::RestorePoint,
            _ => Self::Other,
        }
    }
}

/// The record at which recovery stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// On which side of it.
    pub position: Position,
    /// What it is; `None` at the end of the WAL.
    pub record: Option<RecordKind>,
    /// Where it starts; at the end of the WAL the last one applied.
    pub lsn: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// Its transaction, if it ends one.
    pub xid: Option<Xid>,
    /// Its time, if it has one.
    pub time: Option<PgTime>,
}

impl Stop {
    /// At an event.
    pub fn at_event(position: Position, event: &Event) -> Self {
        let record = RecordKind::of(event);
        let ends = matches!(record, RecordKind::Commit | RecordKind::Abort);
        Self {
            position,
            record: Some(record),
            lsn: event.lsn,
            end: event.end,
            xid: ends.then_some(event.xid),
            time: event.time.filter(|_| record != RecordKind::Other),
        }
    }

    /// At a record that is no event.
    pub const fn at_record(position: Position, (lsn, end): (Lsn, Lsn)) -> Self {
        Self { position, record: Some(RecordKind::Other), lsn, end, xid: None, time: None }
    }

    /// Whether its record is applied. At consistency it is where it makes the data consistent.
    pub const fn applies_record(&self) -> bool {
        matches!(self.position, Position::After | Position::At | Position::EndOfWal)
    }
}

/// Whether a time target stops in front of an end of this time.
const fn is_over(time: PgTime, limit: PgTime, inclusive: bool) -> bool {
    if inclusive { time.0 > limit.0 } else { time.0 >= limit.0 }
}

/// Whether recovery to `target` stops at `event`, and on which side. Positions and consistency are not events.
pub fn stops_at(target: &Target, inclusive: bool, event: &Event) -> Option<Position> {
    match (&event.what, target) {
        (What::RestorePoint { name }, Target::Name(wanted)) => (name == wanted).then_some(Position::At),
        (What::End(_), Target::Xid(wanted)) => {
            let side = if inclusive { Position::After } else { Position::Before };
            (event.xid == *wanted).then_some(side)
        }
        (What::End(_), Target::Time(limit)) => {
            let time = event.time?;
            is_over(time, *limit, inclusive).then_some(Position::Before)
        }
        _ => None,
    }
}

/// Whether recovery to `target` may stop at an event of this file, as far as can be told without unfolding them.
pub fn may_stop_in(target: &Target, inclusive: bool, facts: &SegmentFacts) -> bool {
    match target {
        Target::Name(_) => facts.events.others().any(|event| stops_at(target, inclusive, event).is_some()),
        Target::Xid(wanted) => facts.events.may_have_xid(*wanted),
        Target::Time(limit) => facts.has_end(|times| is_over(times.max, *limit, inclusive)),
        Target::Lsn(_) | Target::Immediate | Target::Latest => false,
    }
}
