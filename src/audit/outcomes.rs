//! How it went with files that many threads read at once: where to give up is found by the order of the files, not by that
//! of the threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where more files than this fail one after the other, it is not the files.
const UNREAD_IN_A_ROW_MAX: usize = 10;

/// How it went with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Nothing is known yet.
    Open,
    /// It was read.
    Read,
    /// Its bytes could not be obtained, which ends nothing by itself.
    Unread,
    /// It is not there any more, and nobody needs it.
    Gone,
    /// Without it there is no answer.
    Failed,
}

/// How it went with the files of a batch, in their order.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// How many in a row were unread in front of them.
    before: usize,
    each: Mutex<Vec<Outcome>>,
    /// The first file that ends it all, as far as is known.
    end: AtomicUsize,
}

impl Outcomes {
    /// Nothing is known of `count` files; the last `before` in front of them were unread.
    pub(super) fn new(count: usize, before: usize) -> Self {
        let each = Mutex::new(vec![Outcome::Open; count]);
        Self { before, each, end: AtomicUsize::new(usize::MAX) }
    }

    /// Whether it is sure that a file in front of this one ends it all, so that this one need not be read.
    pub(super) fn ends_before(&self, offset: usize) -> bool {
        self.end.load(Ordering::Relaxed) < offset
    }

    /// Notes how it went with one of them.
    pub(super) fn note(&self, offset: usize, outcome: Outcome) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = each.get_mut(offset) {
            *place = outcome;
        }
        let mut in_a_row = self.before;
        if matches!(outcome, Outcome::Unread | Outcome::Failed)
            && let Some(end) = first_end(&each, &mut in_a_row)
        {
            self.end.fetch_min(end, Ordering::Relaxed);
        }
    }

    /// The file that ends it all, if one does, once all were tried; else `in_a_row` is how many of the last are unread.
    pub(super) fn end(self, in_a_row: &mut usize) -> Option<usize> {
        *in_a_row = self.before;
        first_end(&self.each.into_inner().unwrap_or_else(PoisonError::into_inner), in_a_row)
    }
}

/// The first that ends it all, whatever becomes of those that are open. `in_a_row`: how many were unread in front of them,
/// and in the end how many of the last are.
fn first_end(outcomes: &[Outcome], in_a_row: &mut usize) -> Option<usize> {
    outcomes.iter().position(|outcome| {
        match outcome {
            Outcome::Open | Outcome::Read => *in_a_row = 0,
            Outcome::Unread => *in_a_row += 1,
            Outcome::Gone => {}
            Outcome::Failed => return true,
        }
        *in_a_row > UNREAD_IN_A_ROW_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            1 => Just(Outcome::Read),
            30 => Just(Outcome::Unread),
            3 => Just(Outcome::Gone),
            1 => Just(Outcome::Failed),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_the_threads_does_not_matter(
            outcomes in proptest::collection::vec(outcome(), 0..64),
            before in 0..=UNREAD_IN_A_ROW_MAX,
            order in Just((0..64).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let mut last = before;
            let end = first_end(&outcomes, &mut last);
            let noted = Outcomes::new(outcomes.len(), before);
            for offset in order.into_iter().filter(|offset| *offset < outcomes.len()) {
                if !noted.ends_before(offset) {
                    noted.note(offset, outcomes[offset]);
                }
            }
            let mut in_a_row = 0;
            prop_assert_eq!(noted.end(&mut in_a_row), end);
            prop_assert!(end.is_some() || in_a_row == last);
        }
    }
}
