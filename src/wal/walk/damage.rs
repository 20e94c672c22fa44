//! What a walk notes when something is wrong, and how it loses and finds its place.

use super::facts::{Context, HeadEnd, Sink, Wound};
use super::{MAX_WOUNDS, State, Walk, is_zero};
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;

impl<S: Sink> Walk<S> {
    /// Everything from `from` on in the page should be zero.
    pub(super) fn check_rest_of_page(&mut self, page: &[u8], at: Lsn, from: usize) {
        let rest = page.get(from..).unwrap_or_default();
        if !is_zero(rest) {
            self.dirty_bytes(rest, at, from);
        }
    }

    /// Notes those of `bytes`, which stand `from` bytes into the page and should be zero, that are not.
    #[cold]
    pub(super) fn dirty_bytes(&mut self, bytes: &[u8], at: Lsn, from: usize) {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
        let count = bytes.iter().filter(|byte| **byte != 0).count();
        self.dirty_padding(self.offset(at) + (from + first) as u64, count as u64);
    }

    #[inline(always)]
    pub(super) fn check_record_padding(&mut self, page: &[u8], at: Lsn, from: usize, to: usize) {
        if let Some(padding) = page.get(from..to).filter(|padding| padding.iter().any(|byte| *byte != 0)) {
            self.dirty_bytes(padding, at, from);
        }
    }

    #[cold]
    pub(super) fn dirty_padding(&mut self, offset: u64, count: u64) {
        let known = self.out.dirty_padding.get_or_insert((offset, 0));
        known.1 += count;
    }

    /// A record whose length cannot be believed: what follows on this page cannot be found.
    #[cold]
    pub(super) fn bad_record(&mut self, fault: Fault, lsn: Lsn) {
        if self.state != State::Lost && !self.suspect {
            self.wound(fault, lsn, lsn);
        }
        self.lose();
    }

    /// A record that is wrong, but whose length may be right.
    #[cold]
    pub(super) fn doubtful_record(&mut self, fault: Fault, lsn: Lsn) {
        if self.state == State::Lost || self.suspect {
            self.lose();
            return;
        }
        self.wound(fault, lsn, lsn);
        self.unbroken = false;
        self.suspect = true;
        self.prev = lsn;
    }

    /// Gives up the place in the WAL: looks for it on the next page.
    pub(super) fn lose(&mut self) {
        if let (State::Head, Some(head)) = (self.state, &mut self.out.head) {
            head.end = HeadEnd::Broken;
        }
        self.state = State::Lost;
        self.suspect = false;
        self.unbroken = false;
        self.behind_head = false;
        self.prev = Lsn::INVALID;
        self.overwritten = None;
    }

    pub(super) fn wound(&mut self, fault: Fault, lsn: Lsn, at: Lsn) {
        let wound = self.new_wound(fault, lsn, at);
        self.keep_wound(wound);
    }

    pub(super) fn new_wound(&self, fault: Fault, lsn: Lsn, at: Lsn) -> Wound {
        let context = if self.state == State::Head {
            Context::OfHead
        } else if self.behind_head {
            Context::BehindHead
        } else {
            Context::Elsewhere
        };
        Wound { fault, lsn, offset: self.offset(at), context }
    }

    pub(super) fn keep_wound(&mut self, wound: Wound) {
        if self.out.wounds.len() < MAX_WOUNDS {
            self.out.wounds.push(wound);
        } else {
            self.out.wounds_not_kept += 1;
        }
    }
}
