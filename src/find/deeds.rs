//! What each transaction did to rows and files, over all segments, its subtransactions included.

use crate::recovery::Library;
use crate::scan::activity::{Activities, Activity, Rows};
use crate::scan::event::{Event, What};
use crate::scan::files::Files;
use crate::wal::record::RelationFile;
use crate::wal::{Lsn, TimelineId, Xid};
use std::collections::{HashMap, HashSet};

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
    pub(super) fn of(library: &Library<'_>, across: &[(Lsn, Activities)], events: &[Event]) -> Self {
        let mut all = Self { wanted: events.iter().flat_map(transactions).collect(), ..Self::default() };
        // Copies of one boundary are alike; a record across it did its work once.
        let mut seen = HashSet::new();
        for (lsn, activities) in across {
            let owner = activities.of_transactions.first().map(|activity| activity.owner);
            if seen.insert((owner, *lsn)) {
                all.take(activities, |_| true);
            }
        }
        for (timeline, number, facts) in library.all() {
            all.take(&facts.activity, |owner| owner == timeline || library.facts(owner, number).is_none());
        }
        all
    }

    fn take(&mut self, activities: &Activities, counts: impl Fn(TimelineId) -> bool) {
        for activity in activities.of_transactions.iter().filter(|one| self.wanted.contains(&Xid(one.xid))) {
            let owner = TimelineId(activity.owner);
            if counts(owner) {
                let deeds = self.of.entry((owner, Xid(activity.xid))).or_default();
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
