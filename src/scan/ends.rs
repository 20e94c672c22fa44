//! The ends of transactions in one file as columns: a few bytes for each, where a list takes 64.
//!
//! An archive of years has billions of them, and a question looks closely at few. What is kept like this is checked
//! when it is made, so that nothing can fail when it is unpacked.

use super::event::{End, EndDetails, Event, What};
use crate::pack::column::{Column, Steps, Sums, Values};
use crate::pack::squeeze::{squeeze, unsqueeze};
use crate::pack::{Pack, Unpacker, put_number};
use crate::wal::{Lsn, PgTime, TimelineId, Xid};

const ABORTED: i64 = 1;
const PREPARED: i64 = 2;
const PREPARE: i64 = 4;
const HAS_EXTRA: i64 = 8;

/// Ends of transactions and their first phases, in LSN order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ends {
    /// One column each for place, length, time, transaction and kind.
    columns: Vec<u8>,
    /// What only some have: subtransactions, dropped files, names; compressed.
    extras: Vec<u8>,
    kinds: Kinds,
}

/// What there is among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Kinds {
    /// Transactions that were prepared, or ended after that.
    prepared: bool,
    /// Ends that say more than their time.
    details: bool,
}

impl Ends {
    /// Those among `events`, and the others.
    ///
    /// # Errors
    /// They cannot be compressed, or are more than can be unpacked.
    pub(crate) fn split(events: &[Event]) -> std::io::Result<(Self, Vec<Event>)> {
        let in_order = events.is_sorted_by(|a, b| a.lsn < b.lsn);
        let mut others = Vec::new();
        let mut ends = Self::default();
        let mut extras = Vec::new();
        // Who owns how many of those that follow one another.
        let mut owners: Vec<(TimelineId, u64)> = Vec::new();
        let (mut places, mut lengths, mut times) = (Steps::new(), Column::new(), Steps::new());
        let (mut xids, mut kinds) = (Steps::new(), Column::new());
        for event in events {
            if !in_order || !is_columnar(event) {
                others.push(event.clone());
                continue;
            }
            match owners.last_mut() {
                Some((owner, count)) if *owner == event.owner => *count += 1,
                _ => owners.push((event.owner, 1)),
            }
            places.push((event.lsn.0 >> 3).cast_signed());
            lengths.push((event.end.bytes_since(event.lsn) >> 3).cast_signed());
            times.push(event.time.map_or(0, |time| time.0));
            xids.push(i64::from(event.xid.0));
            let kind = kind_and_extra(event, &mut extras);
            ends.kinds.add(kind);
            kinds.push(kind);
        }
        if owners.is_empty() {
            return Ok((ends, others));
        }
        let out = &mut ends.columns;
        put_number(out, owners.iter().map(|(_, count)| count).sum());
        owners.pack(out);
        places.finish(out);
        lengths.finish(out);
        times.finish(out);
        xids.finish(out);
        kinds.finish(out);
        ends.extras = squeeze(&extras)?;
        // As many as can be taken out again.
        match Open::at(&ends.columns) {
            Some(_) => Ok((ends, others)),
            None => Err(std::io::ErrorKind::FileTooLarge.into()),
        }
    }

    /// What [`bytes`](Self::bytes) gave, from where it was kept. `None`: it is none of that.
    pub(crate) fn checked(columns: Vec<u8>, extras: Vec<u8>) -> Option<Self> {
        let mut ends = Self { columns, extras, kinds: Kinds::default() };
        let mut kinds = Kinds::default();
        if let Some((count, mut open)) = Open::at(&ends.columns)? {
            let extras = unsqueeze(&ends.extras)?;
            let mut extras = Unpacker::new(&extras);
            for _ in 0..count {
                let kind = open.kinds.next()?;
                kinds.add(kind);
                // Nearly all are plain.
                if kind & !(ABORTED | PREPARED) != 0 {
                    what(kind, &mut extras)?;
                }
            }
            if !extras.is_done() {
                return None;
            }
        }
        ends.kinds = kinds;
        Some(ends)
    }

    /// The columns and the extras.
    pub(crate) fn bytes(&self) -> (&[u8], &[u8]) {
        (&self.columns, &self.extras)
    }

    /// Whether a transaction was prepared, or ended after that.
    pub(crate) const fn have_prepared(&self) -> bool {
        self.kinds.prepared
    }

    /// Whether one says more than its time: subtransactions, for one.
    pub(crate) const fn have_details(&self) -> bool {
        self.kinds.details
    }

    /// Whether one is of this transaction (not of a subtransaction).
    pub(crate) fn have_xid(&self, xid: Xid) -> bool {
        let Some(Some((count, mut open))) = Open::at(&self.columns) else { return false };
        (0..count).any(|_| open.xids.next() == Some(i64::from(xid.0)))
    }

    /// All of them among the `others`, in LSN order. `None` cannot be, after [`checked`](Self::checked).
    pub(crate) fn among(&self, others: &[Event]) -> Option<Vec<Event>> {
        let Some((count, mut open)) = Open::at(&self.columns)? else { return Some(others.to_vec()) };
        let extras = unsqueeze(&self.extras)?;
        let mut extras = Unpacker::new(&extras);
        let mut events = Vec::with_capacity(count + others.len());
        let mut others = others.iter().peekable();
        for _ in 0..count {
            let start = Lsn(open.places.next()?.cast_unsigned() << 3);
            while let Some(before) = others.next_if(|other| other.lsn < start) {
                events.push(before.clone());
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a u32")]
            let xid = Xid(open.xids.next()? as u32);
            events.push(Event {
                lsn: start,
                end: start.plus(open.lengths.next()?.cast_unsigned() << 3),
                owner: open.owners.next()?,
                xid,
                time: Some(PgTime(open.times.next()?)),
                what: what(open.kinds.next()?, &mut extras)?,
            });
        }
        events.extend(others.cloned());
        Some(events)
    }
}

impl Kinds {
    const fn add(&mut self, kind: i64) {
        self.prepared |= kind & (PREPARED | PREPARE) != 0;
        self.details |= kind & HAS_EXTRA != 0;
    }
}

/// Columns, opened to be read.
struct Open<'a> {
    owners: Owners,
    places: Sums<'a>,
    lengths: Values<'a>,
    times: Sums<'a>,
    xids: Sums<'a>,
    kinds: Values<'a>,
}

/// Who owns one after the other.
struct Owners {
    stretches: std::vec::IntoIter<(TimelineId, u64)>,
    now: (TimelineId, u64),
}

impl Owners {
    fn next(&mut self) -> Option<TimelineId> {
        while self.now.1 == 0 {
            self.now = self.stretches.next()?;
        }
        self.now.1 -= 1;
        Some(self.now.0)
    }
}

impl<'a> Open<'a> {
    /// How many there are, and their columns; nothing inside if there are none. `None`: these are no columns.
    #[expect(clippy::option_option, reason = "no columns, no ends, some ends")]
    fn at(columns: &'a [u8]) -> Option<Option<(usize, Self)>> {
        if columns.is_empty() {
            return Some(None);
        }
        let mut from = Unpacker::new(columns);
        let count = from.count_of_records()?;
        let owners: Vec<(TimelineId, u64)> = Pack::unpack(&mut from)?;
        let owned = owners.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count))?;
        let open = Self {
            owners: Owners { stretches: owners.into_iter(), now: (TimelineId(0), 0) },
            places: Sums::take(&mut from, count)?,
            lengths: Values::take(&mut from, count)?,
            times: Sums::take(&mut from, count)?,
            xids: Sums::take(&mut from, count)?,
            kinds: Values::take(&mut from, count)?,
        };
        (from.is_done() && owned == count as u64).then_some(Some((count, open)))
    }
}

/// Whether an event fits into the columns: every real one does.
fn is_columnar(event: &Event) -> bool {
    let aligned = event.lsn.0.is_multiple_of(8) && event.end.0.is_multiple_of(8) && event.end > event.lsn;
    aligned && event.time.is_some() && event.what.is_of_transaction()
}

fn kind_and_extra(event: &Event, extras: &mut Vec<u8>) -> i64 {
    match &event.what {
        What::End(end) => {
            let kind = if end.committed { 0 } else { ABORTED } | if end.prepared { PREPARED } else { 0 };
            match &end.details {
                Some(details) => {
                    details.pack(extras);
                    kind | HAS_EXTRA
                }
                None => kind,
            }
        }
        What::Prepare(prepared) => {
            prepared.pack(extras);
            PREPARE
        }
        _ => PREPARE,
    }
}

fn what(kind: i64, extras: &mut Unpacker<'_>) -> Option<What> {
    if kind == PREPARE {
        return Pack::unpack(extras).map(What::Prepare);
    }
    let known = ABORTED | PREPARED | HAS_EXTRA;
    if kind & !known != 0 {
        return None;
    }
    let details = (kind & HAS_EXTRA != 0).then(|| EndDetails::unpack(extras).map(Box::new));
    let details = match details {
        Some(details) => Some(details?),
        None => None,
    };
    Some(What::End(End { committed: kind & ABORTED == 0, prepared: kind & PREPARED != 0, details }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::scan::event::Prepared;
    use proptest::prelude::*;

    /// The event number `place` of a list, of a kind.
    fn event(place: u64, kind: u8, xid: u32, time: i64) -> Event {
        let details = |xids: &[u32]| EndDetails {
            subtransactions: xids.iter().copied().map(Xid).collect(),
            ..EndDetails::default()
        };
        let end = |committed, details: Option<EndDetails>| {
            What::End(End { committed, prepared: false, details: details.map(Box::new) })
        };
        let what = match kind {
            0 => end(true, None),
            1 => end(false, None),
            2 => end(true, Some(details(&[xid, xid / 2]))),
            3 => What::Prepare(Box::new(Prepared {
                gid: format!("gid {xid}"),
                database: 5,
                subtransactions: Vec::new(),
            })),
            4 => What::End(End { committed: true, prepared: true, details: None }),
            _ => What::Switch,
        };
        let (lsn, owner) = (Lsn(8 + place * 48), TimelineId(1 + u32::from(place > 3)));
        Event { lsn, end: lsn.plus(40), owner, xid: Xid(xid), time: (kind < 5).then_some(PgTime(time)), what }
    }

    fn some_events() -> impl Strategy<Value = Vec<Event>> {
        let parts = proptest::collection::vec((0u8..6, any::<u32>(), any::<i64>()), 0..400);
        parts.prop_map(|parts| {
            let numbered = (0u64..).zip(parts);
            numbered.map(|(place, (kind, xid, time))| event(place, kind, xid, time)).collect()
        })
    }

    proptest! {
        #[test]
        fn ends_come_back_among_the_others(events in some_events()) {
            let (ends, others) = Ends::split(&events).unwrap();
            prop_assert!(others.iter().all(|event| event.what == What::Switch));
            let (columns, extras) = ends.bytes();
            let again = Ends::checked(columns.to_vec(), extras.to_vec());
            prop_assert_eq!(again.as_ref(), Some(&ends));
            prop_assert_eq!(ends.among(&others), Some(events));
        }

        #[test]
        fn what_is_said_of_them_is_so(events in some_events(), other: u32) {
            let (ends, _) = Ends::split(&events).unwrap();
            let mut own = events.iter().filter(|event| event.what.is_of_transaction());
            let is_prepared = |event: &Event| match &event.what {
                What::Prepare(_) => true,
                What::End(end) => end.prepared,
                _ => false,
            };
            prop_assert_eq!(ends.have_prepared(), events.iter().any(is_prepared));
            prop_assert_eq!(ends.have_xid(Xid(other)), own.clone().any(|event| event.xid == Xid(other)));
            prop_assert!(own.all(|event| ends.have_xid(event.xid)));
        }

        #[test]
        fn what_was_checked_can_be_unpacked(columns: Vec<u8>, at: prop::sample::Index, to: u8, events in some_events()) {
            if let Some(ends) = Ends::checked(columns, Vec::new()) {
                prop_assert!(ends.among(&[]).is_some());
            }
            let (ends, others) = Ends::split(&events).unwrap();
            let (columns, extras) = ends.bytes();
            let mut changed = columns.to_vec();
            if !changed.is_empty() {
                let at = at.index(changed.len());
                changed[at] = to;
            }
            if let Some(ends) = Ends::checked(changed, extras.to_vec()) {
                prop_assert!(ends.among(&others).is_some());
            }
        }
    }

    #[test]
    fn events_out_of_order_stay_a_list() {
        let events = [event(3, 0, 7, 1), event(1, 0, 8, 2)];
        let (ends, others) = Ends::split(&events).unwrap();
        assert_eq!(others, events);
        assert_eq!(ends, Ends::default());
    }
}
