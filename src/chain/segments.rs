//! Sets of segments, as large as they have holes and not as they have segments.

use crate::wal::SegmentNumber;

/// Segments of one timeline, or of one way through several: runs of neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segments {
    /// First and last of each run. They ascend, and between two of them at least one segment is missing.
    runs: Vec<(SegmentNumber, SegmentNumber)>,
}

impl Segments {
    /// Adds one.
    pub fn insert(&mut self, number: SegmentNumber) {
        self.add((number, number));
    }

    /// Adds all of a run. Cheap where it stands behind the others, which is how files are met.
    pub fn add(&mut self, (mut first, mut last): (SegmentNumber, SegmentNumber)) {
        // Those that overlap the run or touch it become part of it.
        let from = self.runs.partition_point(|run| run.1.next() < first);
        let behind = self.runs.partition_point(|run| run.0 <= last.next());
        if let Some(touched) = self.runs.get(from..behind)
            && let (Some(lowest), Some(highest)) = (touched.first(), touched.last())
        {
            first = first.min(lowest.0);
            last = last.max(highest.1);
        }
        self.runs.splice(from..behind.max(from), [(first, last)]);
    }

    /// Adds all of another set.
    pub fn extend(&mut self, runs: impl IntoIterator<Item = (SegmentNumber, SegmentNumber)>) {
        for run in runs {
            self.add(run);
        }
    }

    /// Whether it is there.
    pub fn contains(&self, number: SegmentNumber) -> bool {
        self.has_run((number, number))
    }

    /// Whether all of a run is there.
    pub fn has_run(&self, run: (SegmentNumber, SegmentNumber)) -> bool {
        self.within(run.0, run.1).next() == Some(run)
    }

    /// The first of all.
    pub fn first(&self) -> Option<SegmentNumber> {
        self.runs.first().map(|run| run.0)
    }

    /// The last of all.
    pub fn last(&self) -> Option<SegmentNumber> {
        self.runs.last().map(|run| run.1)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.1.0 - run.0.0 + 1).sum()
    }

    /// The runs, cut to `first..=last`.
    pub fn within(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> impl Iterator<Item = (SegmentNumber, SegmentNumber)> {
        let from = self.runs.partition_point(|run| run.1 < first);
        let runs = self.runs.get(from..).unwrap_or_default().iter();
        runs.take_while(move |run| first <= last && run.0 <= last)
            .map(move |run| (run.0.max(first), run.1.min(last)))
    }

    /// All runs.
    pub fn runs(&self) -> &[(SegmentNumber, SegmentNumber)] {
        &self.runs
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_what_a_plain_set_is(
            added in prop::collection::vec((0..60_u64, 0..6_u64), 0..20),
            first in 0..70_u64,
            length in 0..20_u64,
        ) {
            let mut runs = Segments::default();
            let mut plain = BTreeSet::new();
            for (start, length) in added {
                runs.add((SegmentNumber(start), SegmentNumber(start + length)));
                plain.extend(start..=start + length);
            }
            let last = first + length;
            let flat = |runs: Vec<(SegmentNumber, SegmentNumber)>| -> Vec<u64> {
                runs.into_iter().flat_map(|(first, last)| first.0..=last.0).collect()
            };
            prop_assert_eq!(flat(runs.runs().to_vec()), plain.iter().copied().collect::<Vec<_>>());
            let within = runs.within(SegmentNumber(first), SegmentNumber(last)).collect();
            prop_assert_eq!(flat(within), plain.range(first..=last).copied().collect::<Vec<_>>());
            prop_assert_eq!(runs.contains(SegmentNumber(first)), plain.contains(&first));
            let has_run = (first..=last).all(|number| plain.contains(&number));
            prop_assert_eq!(runs.has_run((SegmentNumber(first), SegmentNumber(last))), has_run);
            prop_assert_eq!(runs.within(SegmentNumber(last + 1), SegmentNumber(last)).count(), 0);
            prop_assert_eq!(runs.first().map(|n| n.0), plain.first().copied());
            prop_assert_eq!(runs.last().map(|n| n.0), plain.last().copied());
            prop_assert_eq!(runs.count(), plain.len() as u64);
            prop_assert!(runs.runs().windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0));
        }
    }
}
