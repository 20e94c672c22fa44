//! Which timeline owns which part of the WAL, laid out for one timeline's files.
//!
//! The file of a child timeline in which it forked begins with a copy of its parent's WAL, so one file can
//! hold records of several owners.
//!
//! PostgreSQL: `tliOfPointInHistory` in `src/backend/access/transam/timeline.c`, 9.5 to 19.

use super::lsn::{Lsn, TimelineId};

/// Stretches of the WAL by owner, in order, without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owners {
    /// Where each stretch begins, and whose it is. Never empty.
    stretches: Vec<(Lsn, TimelineId)>,
    known: bool,
}

impl Owners {
    /// Everything belongs to `timeline`: it has no parent.
    pub fn root(timeline: TimelineId) -> Self {
        Self { stretches: vec![(Lsn::INVALID, timeline)], known: true }
    }

    /// Nothing is known but the name: the history of `timeline` is missing.
    pub fn unknown(timeline: TimelineId) -> Self {
        Self { stretches: vec![(Lsn::INVALID, timeline)], known: false }
    }

    /// From stretches that begin in increasing order, the first at the very beginning.
    pub fn new(stretches: Vec<(Lsn, TimelineId)>) -> Option<Self> {
        let ordered = stretches.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let from_start = stretches.first().is_some_and(|first| first.0 == Lsn::INVALID);
        (ordered && from_start).then_some(Self { stretches, known: true })
    }

    /// Whether this rests on a history (or on the lack of a need for one).
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Who owns the byte at `lsn`, and where the next owner's part begins ([`Lsn::MAX`]: nowhere).
    pub fn at(&self, lsn: Lsn) -> (TimelineId, Lsn) {
        let after = self.stretches.partition_point(|(begin, _)| *begin <= lsn);
        let until = self.stretches.get(after).map_or(Lsn::MAX, |next| next.0);
        let owner = after.checked_sub(1).and_then(|i| self.stretches.get(i));
        (owner.map_or(TimelineId(0), |stretch| stretch.1), until)
    }

    /// Where the stretches that touch `from..to` begin, and whose they are.
    pub fn within(&self, from: Lsn, to: Lsn) -> impl Iterator<Item = (Lsn, TimelineId)> {
        let first = self.stretches.partition_point(|(begin, _)| *begin <= from).saturating_sub(1);
        let rest = self.stretches.get(first..).unwrap_or_default();
        rest.iter().copied().take_while(move |(begin, _)| *begin < to)
    }
}
