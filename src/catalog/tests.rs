//! Facts through the blocks and back.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::block::{pack, unpack};
use crate::archive::{Entry, Identity, Object, ObjectKind};
use crate::scan::event::{End, EndDetails, Event, Prepared, What};
use crate::scan::segment::Scan;
use crate::scan::{Detail, Expectation, SegmentFacts};
use crate::wal::record::RelationFile;
use crate::wal::{Lsn, Owners, PgTime, SegmentName, TimelineId, WalFileName, Xid};
use proptest::prelude::*;

fn entry() -> Entry {
    let name = SegmentName::parse("000000010000000000000001").unwrap();
    let object =
        Object { path: name.to_string().into(), kind: ObjectKind::Regular, identity: Identity::default() };
    Entry { name: WalFileName::Segment(name), group: 0, object }
}

/// The facts of a file without WAL, to be filled with events.
fn facts() -> SegmentFacts {
    let expectation = Expectation {
        owners: Owners::root(TimelineId(1)),
        digests: Vec::new(),
        records_from: None,
        digest_all: false,
        detail: Detail::Events,
    };
    let entry = entry();
    let WalFileName::Segment(name) = entry.name else { unreachable!() };
    let mut facts = Scan::new(name, &expectation, None).finish();
    facts.path = entry.object.path.display().to_string();
    facts
}

fn end(lsn: u64, length: u64, time: i64, xid: u32, details: Option<EndDetails>) -> Event {
    let what = What::End(End {
        committed: !xid.is_multiple_of(7),
        prepared: xid.is_multiple_of(11),
        details: details.map(Box::new),
    });
    Event {
        lsn: Lsn(lsn),
        end: Lsn(lsn.saturating_add(length)),
        owner: TimelineId(1 + u32::from(xid % 1000 > 900)),
        xid: Xid(xid),
        time: Some(PgTime(time)),
        what,
    }
}

fn details() -> impl Strategy<Value = EndDetails> {
    let files = proptest::collection::vec(any::<(u32, u32, u32)>(), 0..4);
    let subtransactions = proptest::collection::vec(any::<u32>().prop_map(Xid), 0..5);
    (any::<Option<u32>>(), subtransactions, files, any::<Option<String>>(), any::<bool>()).prop_map(
        |(database, subtransactions, files, gid, incomplete)| EndDetails {
            database,
            subtransactions,
            dropped_files: files
                .into_iter()
                .map(|(tablespace, database, number)| RelationFile { tablespace, database, number })
                .collect(),
            dropped_stats: Vec::new(),
            gid,
            incomplete,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let restore_point = any::<(u64, String)>()
        .prop_map(|(lsn, name)| Event { what: What::RestorePoint { name }, ..end(lsn, 104, 5, 0, None) });
    let prepare = any::<(u64, u32, String)>().prop_map(|(lsn, xid, gid)| Event {
        what: What::Prepare(Box::new(Prepared { gid, database: xid, subtransactions: vec![Xid(xid)] })),
        ..end(lsn & !7, 200, -5, xid, None)
    });
    let odd =
        any::<(u64, u64, i64, u32)>().prop_map(|(lsn, length, time, xid)| end(lsn, length, time, xid, None));
    let usual = (0u64..1 << 24, 4u64..40, any::<i32>(), any::<u32>(), proptest::option::of(details()))
        .prop_map(|(lsn, length, time, xid, details)| end(lsn * 8, length * 8, time.into(), xid, details));
    prop_oneof![1 => restore_point, 1 => prepare, 1 => odd, 6 => usual]
}

proptest! {
    #[test]
    fn events_of_every_kind_come_back(mut events in proptest::collection::vec(event(), 0..600), sorted: bool) {
        if sorted {
            events.sort_by_key(|event| event.lsn);
            events.dedup_by_key(|event| event.lsn);
        }
        let facts = SegmentFacts { events: events.into(), ..facts() };
        let blocks = pack(&facts).unwrap();
        let ends = unpack(&entry(), blocks.clone(), Detail::Ends).unwrap();
        prop_assert!(ends.events.as_folded().is_some());
        prop_assert_eq!(&ends.events, &facts.events);
        prop_assert_eq!(unpack(&entry(), blocks, Detail::Events), Some(facts));
    }

    #[test]
    fn damaged_blocks_are_read_without_harm(
        events in proptest::collection::vec(event(), 0..50), place: usize, byte: u8,
    ) {
        let mut blocks = pack(&SegmentFacts { events: events.into(), ..facts() }).unwrap();
        for block in [&mut blocks.facts, &mut blocks.ends, &mut blocks.extras] {
            let length = block.len().max(1);
            if let Some(hit) = block.get_mut(place % length) {
                *hit = byte;
            }
        }
        // What is taken for sound is unpacked later, when nothing may fail any more.
        if let Some(facts) = unpack(&entry(), blocks.clone(), Detail::Ends) {
            let _ = facts.events.len();
        }
        let _ = unpack(&entry(), blocks, Detail::Events);
    }
}

/// A stream as pgbench's clients write it: eight records and a commit each, 64 clients whose ids and times overlap.
#[test]
fn a_commit_of_pgbench_takes_less_than_four_bytes() {
    let mut state = 42u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut lsn, mut time) = (0x100_0000u64, 800_000_000_000_000i64);
    let mut next_xid = 1000u32;
    let mut running: Vec<u32> = Vec::new();
    let mut events = Vec::new();
    for _ in 0..25_000 {
        while running.len() < 64 {
            running.push(next_xid);
            next_xid += 1;
        }
        // Mostly the oldest of a few end next, as where a third of all ids is out of order.
        let place = if random(3) == 0 { random(6) } else { 0 };
        let xid = running.remove(usize::try_from(place).unwrap());
        lsn += 400 + 8 * random(60) + if random(40) == 0 { 8000 } else { 0 };
        time += i64::try_from(random(90)).unwrap();
        let crossing = if random(200) == 0 { 24 } else { 0 };
        let mut event = end(lsn, 40 + crossing, time, xid, None);
        event.what = What::End(End { committed: true, prepared: false, details: None });
        event.owner = TimelineId(1);
        events.push(event);
    }
    let count = events.len();
    let facts = SegmentFacts { events: events.into(), ..facts() };
    let blocks = pack(&facts).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = blocks.ends.len() as f64 / count as f64;
    assert!(blocks.extras.is_empty() && each < 4.0, "{each:.2} bytes for each commit");
    assert_eq!(unpack(&entry(), blocks, Detail::Events), Some(facts));
}
