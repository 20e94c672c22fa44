//! What each transaction did to rows and files, over all segments, its subtransactions included.

use super::index::all_events;
use super::seams::Across;
use crate::recovery::Library;
use crate::scan::activity::{Activities, Activity, Rows};
use crate::scan::event::{Event, What};
use crate::scan::files::Files;
use crate::wal::record::RelationFile;
use crate::wal::{Lsn, TimelineId, Xid};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What a transaction did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deeds {
    /// Its database; 0 where nothing tells.
    pub database: u32,
    /// Rows of user tables.
    pub rows: Rows,
    /// The tables that these rows are of, in order.
    pub tables: Vec<RelationFile>,
    /// What it did to files.
    pub files: Files,
}

/// The deeds of all transactions, by the timeline that owns their records.
#[derive(Debug, Default)]
pub(super) struct AllDeeds {
    of: HashMap<(TimelineId, Xid), Deeds>,
    wanted: HashSet<Xid>,
    /// Of the few transactions whose numbers ended more than once: their deeds place by place.
    again: HashMap<(TimelineId, Xid), Vec<(Lsn, Deeds)>>,
    /// The ends of these, copies left out, in order.
    ends_again: HashMap<Xid, BTreeSet<(Lsn, TimelineId)>>,
}

/// The transaction that ends with an event, and its subtransactions.
pub(super) fn transactions(event: &Event) -> impl Iterator<Item = Xid> {
    let end = match &event.what {
        What::End(end) => Some(end),
        _ => None,
    };
    let details = end.and_then(|end| end.details.as_deref());
    let subtransactions = details.map_or(&[][..], |details| &details.subtransactions);
    end.map(|_| event.xid).into_iter().chain(subtransactions.iter().copied())
}

impl AllDeeds {
    /// Those of the transactions that end with `events`, in `library` and in records across segment boundaries. A
    /// copied prefix counts only where the owner has no file of its own.
    pub(super) fn of(library: &Library<'_>, across: &Across, events: &[Event]) -> Self {
        let wanted: HashSet<Xid> = events.iter().flat_map(transactions).collect();
        let ends_again = ends_of_repeated(library, across, &wanted);
        let mut all = Self { wanted, ends_again, ..Self::default() };
        // Copies of one boundary are alike; a record across it did its work once.
        let mut seen = HashSet::new();
        for (lsn, activities) in &across.activities {
            let owner = activities.of_transactions.first().map(|activity| activity.owner);
            if seen.insert((owner, *lsn)) {
                all.take(*lsn, activities, |_| true);
            }
        }
        for (timeline, number, facts) in library.all() {
            all.take(facts.start, &facts.activity, |owner| {
                owner == timeline || library.facts(owner, number).is_none()
            });
        }
        all
    }

    /// Takes what was done from `start` on.
    fn take(&mut self, start: Lsn, activities: &Activities, counts: impl Fn(TimelineId) -> bool) {
        for activity in activities.of_transactions.iter().filter(|one| self.wanted.contains(&Xid(one.xid))) {
            let owner = TimelineId(activity.owner);
            let key = (owner, Xid(activity.xid));
            if !counts(owner) {
                continue;
            }
            let deeds = if self.ends_again.contains_key(&key.1) {
                let places = self.again.entry(key).or_default();
                places.push((start, Deeds::default()));
                places.last_mut().map(|(_, deeds)| deeds)
            } else {
                Some(self.of.entry(key).or_default())
            };
            if let Some(deeds) = deeds {
                deeds.add(activity, activities.tables(activity));
            }
        }
    }

    /// What the transaction that ends with `event` did. A prepared one may have done it on a parent.
    pub(super) fn of_event(&self, library: &Library<'_>, event: &Event) -> Option<Deeds> {
        let What::End(end) = &event.what else { return None };
        let owners = if end.prepared { library.history(event.owner).path() } else { vec![event.owner] };
        let details = end.details.as_ref();
        let mut sum = Deeds::default();
        for xid in transactions(event) {
            for deeds in self.since_last_end(library, event, xid, &owners) {
                sum.join(deeds);
            }
            for owner in &owners {
                if let Some(deeds) = self.of.get(&(*owner, xid)) {
                    sum.join(deeds);
                }
            }
        }
        if let Some(database) = details.and_then(|details| details.database) {
            sum.database = database;
        }
        Some(sum)
    }
}

impl AllDeeds {
    /// Of a number that ended more than once: what was done under it behind the end before `event`, and not behind that.
    fn since_last_end<'a>(
        &'a self,
        library: &Library<'_>,
        event: &Event,
        xid: Xid,
        owners: &'a [TimelineId],
    ) -> impl Iterator<Item = &'a Deeds> {
        let history = library.history(event.owner);
        let ends = self.ends_again.get(&xid);
        let before = ends.and_then(|ends| {
            let earlier = ends.range(..(event.lsn, TimelineId(0))).rev();
            earlier.map(|(lsn, owner)| (*lsn, *owner)).find(|(lsn, owner)| history.owner(*lsn) == *owner)
        });
        let last = before.map_or(Lsn::INVALID, |(lsn, _)| lsn);
        let places = owners.iter().filter_map(move |owner| self.again.get(&(*owner, xid))).flatten();
        let up_to = event.lsn;
        // No file holds two transactions of one number: what was done in one begins with it.
        places.filter(move |(start, _)| *start > last && *start <= up_to).map(|(_, deeds)| deeds)
    }
}

/// The ends of those transactions whose numbers ended more than once: numbers begin again after 2³² of them.
fn ends_of_repeated(
    library: &Library<'_>,
    across: &Across,
    wanted: &HashSet<Xid>,
) -> HashMap<Xid, BTreeSet<(Lsn, TimelineId)>> {
    let ends = || all_events(library, across).filter(|event| matches!(event.what, What::End(_)));
    let mut seen: HashSet<Xid> = HashSet::with_capacity(wanted.len());
    // Copies are among these, too: few, and their ends count once.
    let again = ends().flat_map(transactions).filter(|xid| wanted.contains(xid) && !seen.insert(*xid));
    let mut repeated: HashMap<Xid, BTreeSet<(Lsn, TimelineId)>> =
        again.map(|xid| (xid, BTreeSet::new())).collect();
    if !repeated.is_empty() {
        for event in ends() {
            for xid in transactions(event) {
                if let Some(ends) = repeated.get_mut(&xid) {
                    ends.insert((event.lsn, event.owner));
                }
            }
        }
    }
    repeated
}

impl Deeds {
    fn add(&mut self, activity: &Activity, tables: &[RelationFile]) {
        self.rows.add(activity.rows);
        unite(&mut self.tables, tables);
        if let Some(files) = &activity.files {
            self.files.join(files);
        }
        if activity.database != 0 {
            self.database = activity.database;
        }
    }

    fn join(&mut self, other: &Self) {
        self.rows.add(other.rows);
        unite(&mut self.tables, &other.tables);
        self.files.join(&other.files);
        if other.database != 0 {
            self.database = other.database;
        }
    }
}

/// Adds to a sorted list what it lacks.
fn unite(tables: &mut Vec<RelationFile>, more: &[RelationFile]) {
    if tables.is_empty() {
        tables.extend(more);
    } else if tables != more {
        tables.extend(more);
        tables.sort_unstable();
        tables.dedup();
    }
}
