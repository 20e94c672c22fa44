//! Counts and times of the transactions in a stretch of WAL. They add up.

use crate::scan::event::{Event, What};
use crate::wal::PgTime;

/// The transactions that ended in a stretch of WAL, in LSN order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Transactions {
    /// Commits, prepared ones included.
    pub commits: u64,
    /// Aborts, prepared ones included.
    pub aborts: u64,
    /// Times of the first and the last commit in LSN order.
    pub commit_times: Option<(PgTime, PgTime)>,
    /// Times of commits and aborts, and how often they run backwards.
    pub times: Option<Times>,
}

/// Times in LSN order. They are not sorted: the clock is read before the record is placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Of the first.
    pub first: PgTime,
    /// Of the last.
    pub last: PgTime,
    /// The earliest.
    pub min: PgTime,
    /// The latest.
    pub max: PgTime,
    /// How many are earlier than the one right before them.
    pub regressions: u64,
    /// How far at most one lies before a time seen earlier, in microseconds.
    pub max_regression_us: i64,
}

impl Times {
    /// One time.
    pub const fn one(time: PgTime) -> Self {
        Self { first: time, last: time, min: time, max: time, regressions: 0, max_regression_us: 0 }
    }

    /// Adds one at the end: what [`Self::then`] does with one.
    #[inline]
    pub fn add(&mut self, time: PgTime) {
        if time < self.last {
            self.regressions += 1;
        }
        if time < self.max {
            self.max_regression_us = self.max_regression_us.max(self.max.micros_since(time));
        }
        self.last = time;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }

    /// These times followed by `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let seam = u64::from(next.first < self.last);
        let drop = self.max.micros_since(next.min).max(0);
        Self {
            first: self.first,
            last: next.last,
            min: self.min.min(next.min),
            max: self.max.max(next.max),
            regressions: self.regressions + next.regressions + seam,
            max_regression_us: self.max_regression_us.max(next.max_regression_us).max(drop),
        }
    }
}

impl Transactions {
    /// Adds one commit or abort at the end.
    #[inline]
    pub fn add(&mut self, committed: bool, time: PgTime) {
        if committed {
            self.commits += 1;
            self.commit_times = Some((self.commit_times.map_or(time, |times| times.0), time));
        } else {
            self.aborts += 1;
        }
        match &mut self.times {
            Some(times) => times.add(time),
            none => *none = Some(Times::one(time)),
        }
    }

    /// Adds an event, if it is the end of a transaction.
    pub fn add_event(&mut self, event: &Event) {
        if let (What::End(end), Some(time)) = (&event.what, event.time) {
            self.add(end.committed, time);
        }
    }

    /// These followed by those of `events`.
    #[must_use]
    pub fn with_events<'e>(mut self, events: impl Iterator<Item = &'e Event>) -> Self {
        events.for_each(|event| self.add_event(event));
        self
    }

    /// These transactions followed by `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            commits: self.commits + next.commits,
            aborts: self.aborts + next.aborts,
            commit_times: match (self.commit_times, next.commit_times) {
                (Some((first, _)), Some((_, last))) => Some((first, last)),
                (some, None) | (None, some) => some,
            },
            times: match (self.times, next.times) {
                (Some(first), Some(last)) => Some(first.then(last)),
                (some, None) | (None, some) => some,
            },
        }
    }
}
