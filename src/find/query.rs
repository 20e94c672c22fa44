//! Searching the index.

use super::index::{Happening, Index};
use super::tables::touches;
use crate::names::Names;
use crate::scan::Event;
use crate::scan::event::What;
use crate::wal::{Lsn, PgTime, TimelineId, Xid};
use std::collections::{BTreeMap, BTreeSet};

/// In which order events are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// By timeline and position.
    #[default]
    Lsn,
    /// By time.
    Time,
    /// Most rows first.
    Rows,
}

/// What is looked for. Every part that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Around this moment: what happened then, or on either side.
    pub time: Option<PgTime>,
    /// How far around it, in microseconds.
    pub window_us: Option<i64>,
    /// Not before this.
    pub since: Option<PgTime>,
    /// Not after this.
    pub until: Option<PgTime>,
    /// This transaction, or the one that it is a part of.
    pub xid: Option<Xid>,
    /// The event whose record holds this position, or its neighbours.
    pub lsn: Option<Lsn>,
    /// The restore point (or prepared transaction) of this name.
    pub name: Option<String>,
    /// Only these kinds; empty: all that are listed unasked.
    pub kinds: Vec<String>,
    /// Only what touched this relation: its name, or its file as a number or a path like base/5/16384.
    pub table: Option<String>,
    /// Only this timeline.
    pub timeline: Option<TimelineId>,
    /// Only these databases.
    pub databases: Option<BTreeSet<u32>>,
    /// How to list them.
    pub order: Order,
}

/// The kinds of events, and what is not listed unless it is asked for.
pub const KINDS: [&str; 17] = [
    "commit",
    "abort",
    "prepare",
    "restore-point",
    "checkpoint",
    "checkpoint-redo",
    "backup-end",
    "end-of-recovery",
    "parameter-change",
    "switch",
    "overwrite-contrecord",
    "create-database",
    "drop-database",
    "create-tablespace",
    "drop-tablespace",
    "drop",
    "truncate",
];

/// What an event is called.
pub const fn kind(happening: &Happening) -> &'static str {
    match &happening.event.what {
        What::End(end) if end.committed => "commit",
        What::End(_) => "abort",
        What::Prepare { .. } => "prepare",
        What::RestorePoint { .. } => "restore-point",
        What::Checkpoint { .. } => "checkpoint",
        What::CheckpointRedo { .. } => "checkpoint-redo",
        What::BackupEnd { .. } => "backup-end",
        What::EndOfRecovery(_) => "end-of-recovery",
        What::ParameterChange(_) => "parameter-change",
        What::Switch => "switch",
        What::Overwrite { .. } => "overwrite-contrecord",
        What::Database { created: true, .. } => "create-database",
        What::Database { created: false, .. } => "drop-database",
        What::Tablespace { created: true, .. } => "create-tablespace",
        What::Tablespace { created: false, .. } => "drop-tablespace",
    }
}

/// An event that was found, under the kind that it was found as.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The event.
    pub happening: &'a Happening,
    /// Its kind, or the kind of loss that was asked for.
    pub kind: &'static str,
}

impl Query {
    /// The events that fit. `names` are needed to look for a table by name.
    pub fn run<'a>(&self, index: &'a Index, names: &Names) -> Vec<Found<'a>> {
        let mut found: Vec<Found<'a>> = index
            .happenings
            .iter()
            .filter(|happening| self.fits(happening, names))
            .filter_map(|h| self.as_asked(h))
            .collect();
        if let Some(lsn) = self.lsn {
            found = at_position(&found, lsn);
        }
        if let Some(time) = self.time.filter(|_| self.window_us.is_none()) {
            found = around(&found, time, !self.kinds.is_empty());
        }
        match self.order {
            Order::Lsn => {}
            Order::Time => found.sort_by_key(|found| found.happening.event.time),
            Order::Rows => {
                let rows =
                    |found: &Found<'_>| found.happening.deeds.as_ref().map_or(0, |deeds| deeds.rows.total());
                found.sort_by_key(|found| std::cmp::Reverse(rows(found)));
            }
        }
        found
    }

    /// Whether one of these is what it asks for, rather than what is nearest to that.
    pub fn is_met(&self, found: &[Found<'_>]) -> bool {
        let mut events = found.iter().map(|one| &one.happening.event);
        match (self.lsn, self.time) {
            (Some(lsn), _) => events.any(|event| event.lsn <= lsn && lsn < event.end),
            (_, time) => events.any(|event| event.time == time),
        }
    }

    /// Whether it asks for what is nearest to a time or a position.
    pub const fn is_nearest(&self) -> bool {
        self.lsn.is_some() || self.time.is_some() && self.window_us.is_none()
    }

    /// The same without what only tables, databases and kinds decide.
    #[must_use]
    pub fn bounds(&self) -> Self {
        Self { kinds: Vec::new(), table: None, databases: None, ..self.clone() }
    }

    /// The event under the kind that was asked for; `None` if it is of another.
    fn as_asked<'a>(&self, happening: &'a Happening) -> Option<Found<'a>> {
        let own = kind(happening);
        if self.kinds.is_empty() {
            let quiet = happening.event.what.is_quiet();
            return (!quiet).then_some(Found { happening, kind: own });
        }
        let asked = |kind: &&str| self.kinds.iter().any(|asked| asked == kind);
        let mut losses = happening.losses.iter().map(|loss| loss.name());
        losses.find(asked).or(Some(own).filter(asked)).map(|kind| Found { happening, kind })
    }

    fn fits(&self, happening: &Happening, names: &Names) -> bool {
        let wanted =
            |databases: &BTreeSet<u32>| database_of(happening).is_some_and(|own| databases.contains(&own));
        self.may_mean(&happening.event)
            && self.databases.as_ref().is_none_or(wanted)
            && self.table.as_ref().is_none_or(|table| touches(happening, table, names))
    }

    /// Whether an event fits as far as times, transactions, names and timelines tell.
    pub(super) fn may_mean(&self, event: &Event) -> bool {
        let within = |from: Option<PgTime>, to: Option<PgTime>| {
            (from.is_none() && to.is_none())
                || event
                    .time
                    .is_some_and(|at| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to))
        };
        let window = self.time.zip(self.window_us);
        let from = window.map(|(time, us)| PgTime(time.0.saturating_sub(us)));
        let to = window.map(|(time, us)| PgTime(time.0.saturating_add(us)));
        within(self.since, self.until)
            && within(from, to)
            && self.xid.is_none_or(|xid| event.xid == xid || has_subtransaction(event, xid))
            && self.name.as_deref().is_none_or(|name| name_in(event) == Some(name))
            && self.timeline.is_none_or(|timeline| timeline == event.owner)
    }
}

/// Whether `xid` is a subtransaction of the event's transaction.
pub fn is_subtransaction(happening: &Happening, xid: Xid) -> bool {
    has_subtransaction(&happening.event, xid)
}

fn has_subtransaction(event: &Event, xid: Xid) -> bool {
    match &event.what {
        What::End(end) => end.details.as_ref().is_some_and(|details| details.subtransactions.contains(&xid)),
        What::Prepare(prepared) => prepared.subtransactions.contains(&xid),
        _ => false,
    }
}

/// The name of a restore point or of a prepared transaction.
pub fn name_of(happening: &Happening) -> Option<&str> {
    name_in(&happening.event)
}

fn name_in(event: &Event) -> Option<&str> {
    match &event.what {
        What::RestorePoint { name } => Some(name),
        What::Prepare(prepared) => Some(&prepared.gid),
        What::End(end) => end.details.as_ref().and_then(|details| details.gid.as_deref()),
        _ => None,
    }
}

/// The database that an event belongs to, where that is known.
pub fn database_of(happening: &Happening) -> Option<u32> {
    match &happening.event.what {
        What::Prepare(prepared) => Some(prepared.database),
        What::Database { database, .. } => Some(*database),
        _ => happening.deeds.as_ref().map(|deeds| deeds.database).filter(|database| *database != 0),
    }
}

fn by_timeline<'a>(found: &[Found<'a>]) -> BTreeMap<TimelineId, Vec<Found<'a>>> {
    let mut timelines: BTreeMap<TimelineId, Vec<Found<'a>>> = BTreeMap::new();
    for one in found {
        timelines.entry(one.happening.event.owner).or_default().push(*one);
    }
    timelines
}

/// The event whose record holds `lsn`; else its neighbours on each timeline.
fn at_position<'a>(found: &[Found<'a>], lsn: Lsn) -> Vec<Found<'a>> {
    let holds = |one: &&Found<'a>| one.happening.event.lsn <= lsn && lsn < one.happening.event.end;
    let inside: Vec<Found<'a>> = found.iter().filter(holds).copied().collect();
    if !inside.is_empty() {
        return inside;
    }
    by_timeline(found)
        .into_values()
        .flat_map(|events| {
            let after = events.partition_point(|one| one.happening.event.lsn <= lsn);
            let before = after.checked_sub(1).and_then(|before| events.get(before).copied());
            before.into_iter().chain(events.get(after).copied()).collect::<Vec<_>>()
        })
        .collect()
}

/// What happened at `time`, and the transactions on either side (whatever it is, if a kind was asked for), on
/// each timeline that was live then.
fn around<'a>(found: &[Found<'a>], time: PgTime, any_kind: bool) -> Vec<Found<'a>> {
    let mut live = Vec::new();
    let mut nearest = Vec::new();
    for events in by_timeline(found).into_values() {
        let wanted = |one: &Found<'a>| {
            let event = &one.happening.event;
            event.time.is_some()
                && (any_kind || event.time == Some(time) || matches!(event.what, What::End(_)))
        };
        let timed: Vec<Found<'a>> = events.into_iter().filter(wanted).collect();
        let at = |one: &Found<'a>| one.happening.event.time;
        // Times are not sorted: the last one in front of the first that is later.
        let after = timed.iter().position(|one| at(one) > Some(time));
        let limit = after.unwrap_or(timed.len());
        let before = timed.get(..limit).unwrap_or_default().iter().rposition(|one| at(one) < Some(time));
        let exact = timed.iter().enumerate().filter(|(_, one)| at(one) == Some(time)).map(|(i, _)| i);
        let mut picked: Vec<usize> = exact.chain(before).chain(after).collect();
        picked.sort_unstable();
        picked.dedup();
        let was_live = before.is_some() && after.is_some() || timed.iter().any(|one| at(one) == Some(time));
        let events = picked.into_iter().filter_map(|i| timed.get(i).copied());
        if was_live { live.extend(events) } else { nearest.extend(events) }
    }
    if live.is_empty() { nearest } else { live }
}
