//! What the model says that a server does.

use super::route::{Route, Violation};
use super::target::{Position, Stop};
use super::words;
use crate::timeline::History;
use crate::wal::payload::xlog::CheckPoint;
use crate::wal::{Lsn, PgTime, Xid};

/// Why a server gives up before it replays anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The timeline asked for has no history file.
    TimelineNotFound,
    /// The history file of the timeline says nothing that the server takes.
    HistoryInvalid,
    /// The backup's checkpoint is not where it should be: no file, or it holds something else there.
    NoCheckpoint {
        /// There is a file for it.
        file: bool,
    },
    /// The backup is not on the way to the timeline.
    NotDescendant,
    /// Nothing is known of how the backup starts.
    Backup,
}

/// The last commit or abort that was applied, as the log counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastTransaction {
    /// The transaction.
    pub xid: Xid,
    /// Its time.
    pub time: PgTime,
    /// Where its record starts.
    pub lsn: Lsn,
}

/// What the server does.
#[derive(Clone, Debug)]
pub struct Prediction<'a> {
    /// The timeline it follows, and its history.
    pub history: Option<History>,
    /// Why it does not begin.
    pub refusal: Option<Refusal>,
    /// Text after "FATAL:  "; `None`: it promotes.
    pub fatal: Option<String>,
    /// The files it reads, with nothing to stop it.
    pub route: Option<Route<'a>>,
    /// Where replay begins.
    pub redo: Lsn,
    /// "consistent recovery state reached at".
    pub consistent: Option<Lsn>,
    /// The record at which it stops.
    pub stop: Option<Stop>,
    /// Where the applied WAL ends.
    pub applied_to: Lsn,
    /// The last commit or abort applied.
    pub last_transaction: Option<LastTransaction>,
    /// Where the WAL begins that was written at `wal_level` minimal, if it replays any.
    pub minimal_from: Option<Lsn>,
    /// Parents' WAL that it reads in place of their children's.
    pub violations: Vec<Violation>,
    /// The start checkpoint.
    pub checkpoint: Option<CheckPoint>,
}

impl Prediction<'_> {
    /// It dies before it replays anything.
    pub(super) fn refused(refusal: Refusal, history: Option<History>, message: String) -> Self {
        Self {
            history,
            refusal: Some(refusal),
            fatal: Some(message),
            route: None,
            redo: Lsn::INVALID,
            consistent: None,
            stop: None,
            applied_to: Lsn::INVALID,
            last_transaction: None,
            minimal_from: None,
            violations: Vec::new(),
            checkpoint: None,
        }
    }

    /// The target stopped it (rather than the end of the WAL).
    pub fn reached_target(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.position != Position::EndOfWal)
    }

    /// It gives up at the first WAL of `wal_level` minimal.
    pub fn dies_of_minimal(&self) -> bool {
        self.minimal_from == Some(self.applied_to) && self.fatal.is_some()
    }

    /// It gives up on the way, where it looks for a prepared transaction in a file that it did not restore.
    pub fn dies_of_prepared(&self) -> bool {
        self.stop.is_none() && self.fatal.as_deref().is_some_and(words::is_removed_segment)
    }

    /// Up to where what it replays is the WAL of the right timelines, and all of it.
    pub fn sound_to(&self) -> Lsn {
        let violated = self.violations.first().map(|violation| violation.from);
        [violated, self.minimal_from].into_iter().flatten().fold(self.applied_to, Lsn::min)
    }

    /// How far it reads to come to its end: a record at which it stops counts, applied or not.
    pub(super) fn decided_by(&self) -> Lsn {
        let decides = self.stop.as_ref().filter(|stop| stop.position == Position::Before);
        decides.map_or(self.applied_to, |stop| stop.end.max(self.applied_to))
    }

    /// Where the new timeline begins, if it promotes.
    pub fn switch_point(&self) -> Option<Lsn> {
        self.fatal.is_none().then_some(self.applied_to)
    }
}
