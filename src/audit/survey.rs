//! Reads the files of a plan, many at once, and joins them in order.

use super::outcomes::{Outcome, Outcomes};
use super::{AuditError, Options, Plan, Progress, Unread};
use crate::archive::{Archive, Entry, StoreError};
use crate::chain::chains::Chains;
use crate::scan::{Expectation, FactStore, FileFault, SegmentFacts, Workbench, scan_or_recall, unread};
use crate::wal::{Lsn, Owners, TimelineId, WalFileName};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files scanned before they are joined: what bounds the memory that fragments and events take.
const FILES_IN_FLIGHT: usize = 64;

/// Every file, read and joined.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The chains.
    pub chains: Chains,
    /// Bytes of WAL read.
    pub bytes: u64,
    /// Why the bytes of files could not be obtained.
    pub unread: Vec<String>,
}

/// What is known of the files of one timeline before they are read.
struct Outlook {
    owners: Owners,
    forks: BTreeSet<Lsn>,
}

thread_local! {
    static BENCH: RefCell<Workbench> = RefCell::default();
}

/// Reads every file of `plan`.
pub fn survey(
    archive: &Archive,
    plan: &Plan,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Survey, AuditError> {
    survey_with(archive, plan, options, None, progress)
}

/// Reads those files of `plan` that `store` does not know yet, and takes the facts of the others from it.
pub fn survey_with(
    archive: &Archive,
    plan: &Plan,
    options: &Options,
    store: Option<&dyn FactStore>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Survey, AuditError> {
    let reader = Reader {
        archive,
        plan,
        options,
        store,
        progress,
        outlooks: outlooks(plan),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let mut survey = Survey::default();
    let (mut first, mut unread_in_a_row) = (0, 0);
    while let Some(batch) = next_batch(&plan.entries, first) {
        let mut scanned = reader.read(first, batch, &mut unread_in_a_row)?;
        first += batch.len();
        put_better_copies_first(&mut scanned, |facts| facts);
        for facts in scanned {
            survey.bytes += facts.bytes;
            if let Some(FileFault::Unread { detail }) = &facts.fault {
                survey.unread.push(detail.clone());
            }
            let Some(outlook) = reader.outlooks.get(&facts.name.timeline) else { continue };
            survey.chains.push(facts, &outlook.owners, &outlook.forks);
        }
    }
    Ok(survey)
}

/// Reads the files of a plan.
struct Reader<'a> {
    archive: &'a Archive,
    plan: &'a Plan,
    options: &'a Options,
    store: Option<&'a dyn FactStore>,
    progress: &'a (dyn Fn(Progress) + Sync),
    outlooks: BTreeMap<TimelineId, Outlook>,
    files: AtomicU64,
    bytes: AtomicU64,
}

/// How it went with one file. Facts and an error: its bytes could not be obtained, and that is told. Neither: it is not
/// needed any more.
#[derive(Default)]
struct Attempt {
    facts: Option<SegmentFacts>,
    error: Option<StoreError>,
}

impl Attempt {
    const fn outcome(&self) -> Outcome {
        match (&self.facts, &self.error) {
            (Some(_), None) => Outcome::Read,
            (Some(_), Some(_)) => Outcome::Unread,
            (None, Some(_)) => Outcome::Failed,
            (None, None) => Outcome::Gone,
        }
    }
}

impl Reader<'_> {
    /// Reads the files of `batch`, of which the first has the number `first` in the plan.
    fn read(
        &self,
        first: usize,
        batch: &[Entry],
        unread_in_a_row: &mut usize,
    ) -> Result<Vec<SegmentFacts>, StoreError> {
        let entries = || (first..).zip(batch);
        let wanted = |place: &(usize, &Entry)| {
            self.store.is_none_or(|store| !store.knows(place.1, &self.expectation(*place)))
        };
        self.archive.prefetch(entries().filter(wanted).map(|(_, entry)| entry));
        let outcomes = Outcomes::new(batch.len(), *unread_in_a_row);
        let attempt = |(offset, entry): (usize, &Entry)| {
            if outcomes.ends_before(offset) {
                return Attempt::default();
            }
            let attempt = self.attempt((first + offset, entry));
            outcomes.note(offset, attempt.outcome());
            attempt
        };
        let attempts: Vec<Attempt> = batch.par_iter().enumerate().map(attempt).collect();
        let mut read = Vec::with_capacity(attempts.len());
        let end = outcomes.end(unread_in_a_row);
        for (offset, attempt) in attempts.into_iter().enumerate() {
            match attempt.error {
                Some(error) if end == Some(offset) => return Err(error),
                _ => read.extend(attempt.facts),
            }
        }
        Ok(read)
    }

    fn attempt(&self, place: (usize, &Entry)) -> Attempt {
        let (expectation, entry) = (self.expectation(place), place.1);
        let scanned = BENCH
            .with_borrow_mut(|bench| scan_or_recall(self.archive, entry, &expectation, bench, self.store));
        let (facts, error) = match scanned {
            Ok(facts) => (facts, None),
            // A running server removes and renames what it needs no more.
            Err(error) if self.plan.inventory.is_pg_wal && error.is_of_what_is_gone() => {
                tracing::info!("{error}: the server needs it no more");
                return Attempt::default();
            }
            Err(error) if self.options.unread == Unread::IsTold && error.is_of_one_object() => {
                (unread(entry, &expectation, &error), Some(error))
            }
            Err(error) => return Attempt { facts: None, error: Some(error) },
        };
        let bytes = self.bytes.fetch_add(facts.bytes, Ordering::Relaxed) + facts.bytes;
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        (self.progress)(Progress { files, files_total: self.plan.entries.len() as u64, bytes });
        Attempt { facts: Some(facts), error }
    }

    fn expectation(&self, (index, entry): (usize, &Entry)) -> Expectation {
        expectation(self.plan, index, entry, &self.outlooks, self.options)
    }
}

/// Each file of `plan` with what is known of it before it is read.
pub fn expectations<'a>(
    plan: &'a Plan,
    options: &'a Options,
) -> impl Iterator<Item = (&'a Entry, Expectation)> {
    let outlooks = outlooks(plan);
    let each = move |(index, entry)| (entry, expectation(plan, index, entry, &outlooks, options));
    plan.entries.iter().enumerate().map(each)
}

fn outlooks(plan: &Plan) -> BTreeMap<TimelineId, Outlook> {
    let mut outlooks: BTreeMap<TimelineId, Outlook> = BTreeMap::new();
    for timeline in plan.entries.iter().filter_map(|entry| timeline_of(entry.name)) {
        let outlook = || Outlook { owners: plan.owners(timeline), forks: plan.forks(timeline) };
        outlooks.entry(timeline).or_insert_with(outlook);
    }
    outlooks
}

/// Joins facts that were gathered elsewhere, in the order of names. The verdict looks at nothing but summaries.
pub fn join<'a>(plan: &Plan, facts: impl IntoIterator<Item = &'a SegmentFacts>) -> Survey {
    let outlooks = outlooks(plan);
    let mut survey = Survey::default();
    let mut facts: Vec<&SegmentFacts> = facts.into_iter().collect();
    put_better_copies_first(&mut facts, |facts| facts);
    for facts in facts {
        survey.bytes += facts.bytes;
        let Some(outlook) = outlooks.get(&facts.name.timeline) else { continue };
        survey.chains.push(facts.summary(), &outlook.owners, &outlook.forks);
    }
    survey
}

/// The next files to be scanned together, from the `first` on. Copies of one segment are not parted.
fn next_batch(entries: &[Entry], first: usize) -> Option<&[Entry]> {
    let rest = entries.get(first..).filter(|rest| !rest.is_empty())?;
    let full = rest.get(..FILES_IN_FLIGHT.min(rest.len()))?;
    let last = full.last()?.name;
    let more = rest.iter().skip(full.len()).take_while(|entry| entry.name == last).count();
    rest.get(..full.len() + more)
}

/// Of several copies of a segment the least damaged comes first: it is the one that counts.
fn put_better_copies_first<T>(files: &mut [T], facts: impl Fn(&T) -> &SegmentFacts) {
    let same = |a: &T, b: &T| (facts(a).name, facts(a).partial) == (facts(b).name, facts(b).partial);
    for copies in files.chunk_by_mut(same) {
        copies.sort_by_key(|file| (facts(file).fault.is_some(), facts(file).walked.wounds.len()));
    }
}

fn timeline_of(name: WalFileName) -> Option<TimelineId> {
    match name {
        WalFileName::Segment(name) | WalFileName::Partial(name) => Some(name.timeline),
        WalFileName::Backup(..) | WalFileName::History(_) => None,
    }
}

fn expectation(
    plan: &Plan,
    index: usize,
    entry: &Entry,
    outlooks: &BTreeMap<TimelineId, Outlook>,
    options: &Options,
) -> Expectation {
    let outlook = timeline_of(entry.name).and_then(|timeline| outlooks.get(&timeline));
    let has_name = |other: Option<&Entry>| other.is_some_and(|other| other.name == entry.name);
    let has_copies = has_name(plan.entries.get(index + 1))
        || index.checked_sub(1).is_some_and(|i| has_name(plan.entries.get(i)));
    Expectation {
        owners: outlook.map_or_else(|| Owners::unknown(TimelineId(0)), |outlook| outlook.owners.clone()),
        digests: outlook.map(|outlook| outlook.forks.iter().copied().collect()).unwrap_or_default(),
        records_from: None,
        digest_all: has_copies,
        detail: options.detail,
    }
}
