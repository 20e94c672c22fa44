//! The facts of one file as five blocks of bytes, and back.
//!
//! | block | what | when it is read |
//! |---|---|---|
//! | facts | identity, runs, fragments, wounds, and the events that are no ends of transactions | always |
//! | ends | one column each for place, length, time, transaction and kind of commits, aborts, prepares | for events |
//! | activity | one column each for the transaction and what it did to rows; files that it made; tables | for events |
//! | names | rows of catalogs that hold names; compressed | for events |
//! | extras | what only some of them have: subtransactions, dropped files, names; compressed | for events |

use super::column::{Column, Steps, Sums, Values};
use super::pack::{Pack, Unpacker, put_number};
use super::pack_activity::{pack_activity, unpack_activity};
use super::squeeze::{squeeze, unsqueeze};
use crate::archive::Entry;
use crate::scan::activity::Activities;
use crate::scan::catalog_rows::Sighting;
use crate::scan::event::{End, EndDetails, Event, What};
use crate::scan::store::in_summary;
use crate::scan::{Detail, SegmentFacts};
use crate::wal::{Lsn, PgTime, SegmentName, TimelineId, WalFileName, Xid};

const ABORTED: i64 = 1;
const PREPARED: i64 = 2;
const PREPARE: i64 = 4;
const HAS_EXTRA: i64 = 8;

/// The facts of one file, packed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Blocks {
    pub(super) facts: Vec<u8>,
    pub(super) ends: Vec<u8>,
    pub(super) extras: Vec<u8>,
    pub(super) activity: Vec<u8>,
    pub(super) names: Vec<u8>,
}

impl Blocks {
    /// Bytes in all of them.
    pub(super) const fn bytes(&self) -> usize {
        self.facts.len() + self.ends.len() + self.extras.len() + self.activity.len() + self.names.len()
    }
}

/// Packs facts that were scanned with every detail.
pub(super) fn pack(facts: &SegmentFacts) -> std::io::Result<Blocks> {
    let in_order = facts.events.windows(2).all(|pair| matches!(pair, [a, b] if a.lsn < b.lsn));
    let columnar = |event: &&Event| in_order && is_columnar(event);
    let others: Vec<&Event> = facts.events.iter().filter(|event| !columnar(event)).collect();
    let mut light = Vec::new();
    facts.identity.pack(&mut light);
    facts.fault.pack(&mut light);
    facts.bytes.pack(&mut light);
    facts.start.pack(&mut light);
    facts.walked.pack(&mut light);
    facts.transactions.pack(&mut light);
    facts.digests.pack(&mut light);
    put_number(&mut light, others.len() as u64);
    for event in others {
        event.pack(&mut light);
    }
    let (ends, extras) = pack_ends(facts.events.iter().filter(columnar));
    let extras = squeeze(&extras)?;
    let activity = pack_activity(&facts.activity);
    Ok(Blocks { facts: light, ends, extras, activity, names: pack_names(&facts.sightings)? })
}

/// The facts of the file of `entry`, without the ends of transactions where only a summary is wanted.
/// `None`: the blocks are not what [`pack`] makes.
pub(super) fn unpack(entry: &Entry, blocks: &Blocks, detail: Detail) -> Option<SegmentFacts> {
    let (name, partial) = match entry.name {
        WalFileName::Segment(name) => (name, false),
        WalFileName::Partial(name) | WalFileName::Backup(name, _) => (name, true),
        WalFileName::History(timeline) => (SegmentName { timeline, log: 0, segment: 0 }, true),
    };
    let mut from = Unpacker::new(&blocks.facts);
    let mut facts = SegmentFacts {
        name,
        partial,
        path: entry.object.path.display().to_string(),
        identity: Pack::unpack(&mut from)?,
        fault: Pack::unpack(&mut from)?,
        bytes: Pack::unpack(&mut from)?,
        start: Pack::unpack(&mut from)?,
        walked: Pack::unpack(&mut from)?,
        transactions: Pack::unpack(&mut from)?,
        digests: Pack::unpack(&mut from)?,
        activity: Activities::default(),
        sightings: Vec::new(),
        records: Vec::new(),
        events: Pack::unpack(&mut from)?,
    };
    if !from.is_done() {
        return None;
    }
    if detail == Detail::Summary {
        facts.events.retain(in_summary);
    } else {
        facts.events = unpack_ends(&blocks.ends, &blocks.extras, facts.events)?;
    }
    if detail == Detail::Events {
        facts.activity = unpack_activity(&blocks.activity)?;
        facts.sightings = unpack_names(&blocks.names)?;
    }
    Some(facts)
}

/// Whether an event fits into the columns: every real one does.
fn is_columnar(event: &Event) -> bool {
    let aligned = event.lsn.0.is_multiple_of(8) && event.end.0.is_multiple_of(8) && event.end > event.lsn;
    aligned && event.time.is_some() && matches!(event.what, What::End(_) | What::Prepare { .. })
}

fn pack_ends<'e>(events: impl Iterator<Item = &'e Event>) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut extras) = (Vec::new(), Vec::new());
    // Who owns how many of those that follow one another.
    let mut owners: Vec<(TimelineId, u64)> = Vec::new();
    let (mut places, mut lengths, mut times) = (Steps::new(), Column::new(), Steps::new());
    let (mut xids, mut kinds) = (Steps::new(), Column::new());
    for event in events {
        match owners.last_mut() {
            Some((owner, count)) if *owner == event.owner => *count += 1,
            _ => owners.push((event.owner, 1)),
        }
        places.push((event.lsn.0 >> 3).cast_signed());
        lengths.push((event.end.bytes_since(event.lsn) >> 3).cast_signed());
        times.push(event.time.map_or(0, |time| time.0));
        xids.push(i64::from(event.xid.0));
        kinds.push(kind_and_extra(event, &mut extras));
    }
    if owners.is_empty() {
        return (out, extras);
    }
    put_number(&mut out, owners.iter().map(|(_, count)| count).sum());
    owners.pack(&mut out);
    places.finish(&mut out);
    lengths.finish(&mut out);
    times.finish(&mut out);
    xids.finish(&mut out);
    kinds.finish(&mut out);
    (out, extras)
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

/// The ends of transactions among the `others`, all in LSN order.
fn unpack_ends(ends: &[u8], extras: &[u8], others: Vec<Event>) -> Option<Vec<Event>> {
    if ends.is_empty() {
        return Some(others);
    }
    let decoded = unsqueeze(extras)?;
    let mut extras = Unpacker::new(&decoded);
    let mut from = Unpacker::new(ends);
    let count = from.count_of_records()?;
    let owners: Vec<(TimelineId, u64)> = Pack::unpack(&mut from)?;
    let mut places = Sums::take(&mut from, count)?;
    let mut lengths = Values::take(&mut from, count)?;
    let mut times = Sums::take(&mut from, count)?;
    let mut xids = Sums::take(&mut from, count)?;
    let mut kinds = Values::take(&mut from, count)?;
    let mut owners = owners.into_iter().flat_map(|(owner, count)| (0..count).map(move |_| owner));
    let mut events = Vec::with_capacity(count + others.len());
    let mut others = others.into_iter().peekable();
    for _ in 0..count {
        let start = Lsn(places.next()?.cast_unsigned() << 3);
        while let Some(before) = others.next_if(|other| other.lsn < start) {
            events.push(before);
        }
        events.push(Event {
            lsn: start,
            end: start.plus(lengths.next()?.cast_unsigned() << 3),
            owner: owners.next()?,
            xid: Xid(u32::try_from(xids.next()?).ok()?),
            time: Some(PgTime(times.next()?)),
            what: what(kinds.next()?, &mut extras)?,
        });
    }
    events.extend(others);
    (from.is_done() && extras.is_done() && owners.next().is_none()).then_some(events)
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

/// Rows of catalogs are much alike: they are compressed.
fn pack_names(sightings: &Vec<Sighting>) -> std::io::Result<Vec<u8>> {
    if sightings.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    sightings.pack(&mut out);
    squeeze(&out)
}

fn unpack_names(bytes: &[u8]) -> Option<Vec<Sighting>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let decoded = unsqueeze(bytes)?;
    let mut from = Unpacker::new(&decoded);
    Pack::unpack(&mut from).filter(|_| from.is_done())
}
