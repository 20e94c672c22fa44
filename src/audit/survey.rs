//! Reads the files of a plan, many at once, and joins them in order.

use super::{AuditError, Options, Plan, Progress, Unread};
use crate::archive::{Archive, Entry};
use crate::chain::chains::Chains;
use crate::scan::{Expectation, FactStore, FileFault, SegmentFacts, Workbench, scan_or_recall, unread};
use crate::wal::{Lsn, Owners, TimelineId, WalFileName};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files scanned before they are joined: what bounds the memory that fragments and events take.
const FILES_IN_FLIGHT: usize = 64;
/// Where more files than this fail one after the other, it is not the files.
const UNREAD_IN_A_ROW_MAX: u64 = 10;

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
    let outlooks = outlooks(plan);
    let files_total = plan.entries.len() as u64;
    let (files, bytes, failed_in_a_row) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let mut survey = Survey::default();
    let mut first = 0;
    while let Some(batch) = next_batch(&plan.entries, first) {
        let wanted = |(offset, entry): (usize, &Entry)| {
            store.is_none_or(|store| {
                !store.knows(entry, &expectation(plan, first + offset, entry, &outlooks, options))
            })
        };
        archive.prefetch(
            batch
                .iter()
                .enumerate()
                .filter(|(offset, entry)| wanted((*offset, entry)))
                .map(|(_, entry)| entry),
        );
        let mut scanned = batch
            .par_iter()
            .enumerate()
            .map(|(offset, entry)| {
                let expectation = expectation(plan, first + offset, entry, &outlooks, options);
                let facts =
                    BENCH.with_borrow_mut(|bench| scan_or_recall(archive, entry, &expectation, bench, store));
                let facts = match facts {
                    Ok(facts) => {
                        failed_in_a_row.store(0, Ordering::Relaxed);
                        facts
                    }
                    // A running server removes and renames what it needs no more.
                    Err(error) if plan.inventory.is_pg_wal && error.is_of_what_is_gone() => {
                        tracing::info!("{error}: the server needs it no more");
                        return Ok(None);
                    }
                    Err(error) if options.unread == Unread::IsTold && error.is_of_one_object() => {
                        if failed_in_a_row.fetch_add(1, Ordering::Relaxed) >= UNREAD_IN_A_ROW_MAX {
                            return Err(error.into());
                        }
                        unread(entry, &expectation, &error)
                    }
                    Err(error) => return Err(error.into()),
                };
                let bytes = bytes.fetch_add(facts.bytes, Ordering::Relaxed) + facts.bytes;
                let files = files.fetch_add(1, Ordering::Relaxed) + 1;
                progress(Progress { files, files_total, bytes });
                Ok(Some(facts))
            })
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, AuditError>>()?;
        first += batch.len();
        put_better_copies_first(&mut scanned, |facts| facts);
        for facts in scanned {
            survey.bytes += facts.bytes;
            if let Some(FileFault::Unread { detail }) = &facts.fault {
                survey.unread.push(detail.clone());
            }
            let Some(outlook) = outlooks.get(&facts.name.timeline) else { continue };
            survey.chains.push(facts, &outlook.owners, &outlook.forks);
        }
    }
    Ok(survey)
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
