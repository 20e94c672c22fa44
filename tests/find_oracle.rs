//! Every event that was recorded beside an archive is found by its time, its transaction and its position.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::recorded::{Recording, VERSIONS};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::clock::Clock;
use walproof::find::query::{Found, is_subtransaction, name_of};
use walproof::find::{Index, Query};
use walproof::names::Names;
use walproof::recovery::Library;
use walproof::scan::Detail;
use walproof::scan::event::What;
use walproof::wal::{Lsn, Xid};

fn with_index(version: &str, check: impl FnOnce(&Recording, &Index)) {
    let recording = Recording::of(version);
    let archive = Archive::open(recording.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let options = Options { detail: Detail::Events, ..Options::default() };
    let plan = plan(&archive, &options).unwrap();
    let library = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
    check(&recording, &Index::of(&library));
}

fn lsn(value: &Value) -> Option<Lsn> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// Whether one of `found` is the recorded transaction's end: right xid, right time, record between the positions.
fn is_among(found: &[Found<'_>], event: &Value) -> bool {
    let xid = u32::try_from(event["xid"].as_u64().unwrap()).unwrap();
    let (before, after) = (lsn(&event["before"]).unwrap(), lsn(&event["after"]).unwrap());
    let time = event["time"].as_str().map(|text| Clock::utc().read(text).unwrap().time);
    found.iter().any(|one| {
        let found = &one.happening.event;
        found.xid == Xid(xid)
            && before <= found.lsn
            && found.lsn < after
            && time.is_none_or(|time| found.time == Some(time))
    })
}

#[test]
fn every_recorded_transaction_is_found() {
    for version in VERSIONS {
        with_index(version, |recording, index| {
            let events = recording.oracle["events"].as_array().unwrap();
            let mut asked = 0;
            for event in
                events.iter().filter(|event| event["xid"].is_u64() && lsn(&event["before"]).is_some())
            {
                let xid = Xid(u32::try_from(event["xid"].as_u64().unwrap()).unwrap());
                let by_xid = Query { xid: Some(xid), ..Query::default() };
                assert!(is_among(&by_xid.run(index, &Names::default()), event), "{version} by xid: {event}");
                let by_lsn = Query { lsn: lsn(&event["before"]), ..Query::default() };
                assert!(
                    is_among(&by_lsn.run(index, &Names::default()), event),
                    "{version} by position: {event}"
                );
                if let Some(time) = event["time"].as_str() {
                    let time = Clock::utc().read(time).unwrap().time;
                    let by_time = Query { time: Some(time), ..Query::default() };
                    assert!(
                        is_among(&by_time.run(index, &Names::default()), event),
                        "{version} by time: {event}"
                    );
                }
                if let Some(subxid) = event["subxid"].as_u64() {
                    let subxid = Xid(u32::try_from(subxid).unwrap());
                    let by_subxid = Query { xid: Some(subxid), ..Query::default() };
                    let found = by_subxid.run(index, &Names::default());
                    assert!(is_among(&found, event), "{version} by subtransaction: {event}");
                    assert!(found.iter().any(|one| is_subtransaction(one.happening, subxid)));
                }
                asked += 1;
            }
            assert!(asked > 50, "{version}: only {asked} transactions were recorded");
        });
    }
}

#[test]
fn what_was_lost_is_found_by_its_kind() {
    for version in VERSIONS {
        with_index(version, |recording, index| {
            let events = recording.oracle["events"].as_array().unwrap();
            for (part, kind) in [("-drop", "drop"), ("-trunc", "truncate")] {
                let by_kind = Query { kinds: vec![kind.to_owned()], ..Query::default() };
                let found = by_kind.run(index, &Names::default());
                assert!(!found.is_empty(), "{version}: no {kind}");
                let named = |event: &&Value| event["name"].as_str().is_some_and(|name| name.contains(part));
                for event in events.iter().filter(named).filter(|event| event["end"] == "COMMIT") {
                    assert!(is_among(&found, event), "{version} {kind}: {event}");
                }
            }
        });
    }
}

#[test]
fn restore_points_are_found_by_name() {
    for version in VERSIONS {
        with_index(version, |recording, index| {
            for event in recording.oracle["events"].as_array().unwrap() {
                let Some(name) = event["restore_point"].as_str() else { continue };
                let by_name = Query { name: Some(name.to_owned()), ..Query::default() };
                let end = lsn(&event["lsn"]).unwrap();
                let found = by_name.run(index, &Names::default());
                let right = |one: &Found<'_>| {
                    matches!(one.happening.event.what, What::RestorePoint { .. })
                        && name_of(one.happening) == Some(name)
                        && one.happening.event.end == end
                };
                assert!(found.iter().any(right), "{version}: {event}");
            }
        });
    }
}
