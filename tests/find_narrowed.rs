//! A question that looks into few files gets the answer that all files give: random questions, on the archives of every
//! version.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use support::random::Random;
use support::recorded::{Recording, VERSIONS};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::find::prune::{can_narrow, first_look, meant, next_look, widen_across, with_successors};
use walproof::find::query::{Found, KINDS, name_of};
use walproof::find::tables::tables;
use walproof::find::{Happening, Index, Order, Query};
use walproof::names::{Names, all_makers};
use walproof::recovery::Library;
use walproof::scan::Detail;
use walproof::scan::zone::FileZone;
use walproof::wal::{Lsn, PgTime, SegmentName, TimelineId, Xid};

/// Questions asked of each archive.
const QUESTIONS: usize = 300;

/// A random question about what happened here, or nearly.
fn question(random: &mut Random, index: &Index) -> Query {
    let about: &Happening = random.pick(&index.happenings);
    let time = |random: &mut Random| {
        let happenings = &index.happenings;
        let time = (0..50).find_map(|_| random.pick(happenings).event.time).unwrap_or(PgTime(0));
        PgTime(time.0 + [-1_000_000, -1, 0, 0, 1, 3_000_000][random.below(6)])
    };
    let mut query = Query::default();
    match random.below(6) {
        0 => query.time = Some(time(random)),
        1 => {
            query.time = Some(time(random));
            query.window_us = Some(1 << random.below(24));
        }
        2 => {
            query.since = Some(time(random));
            query.until = Some(time(random));
            query.order = Order::Rows;
        }
        3 => query.xid = Some(Xid(about.event.xid.0 + u32::from(random.below(3) == 0))),
        4 => query.lsn = Some(Lsn(about.event.lsn.0 + [0, 0, 1, 24, 9000][random.below(5)])),
        _ => query.name = name_of(about).map(ToOwned::to_owned),
    }
    if random.below(3) == 0 {
        query.timeline = Some(TimelineId(1 + u32::try_from(random.below(3)).unwrap()));
    }
    if random.below(4) == 0 && (query.since.is_some() || query.xid.is_some()) {
        query.kinds = vec![KINDS[random.below(KINDS.len())].to_owned()];
    }
    query
}

fn names_of(library: &Library<'_>, index: &Index) -> Names {
    Names::of(library, &index.across.sightings, &index.across.events, Vec::new())
}

/// What an answer says of the events that were found.
fn told(found: &[Found<'_>], names: &Names) -> Vec<String> {
    found
        .iter()
        .map(|one| format!("{} {:?} {:?}", one.kind, one.happening, tables(one.happening, names)))
        .collect()
}

#[test]
fn narrowed_questions_get_the_whole_answer() {
    for version in VERSIONS {
        let recording = Recording::of(version);
        let archive = Archive::open(recording.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let options = Options { detail: Detail::Events, ..Options::default() };
        let plan = plan(&archive, &options).unwrap();
        let library = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
        let index = Index::of(&library);
        let names = names_of(&library, &index);

        let mut own: Vec<FileZone> = library.facts_in_order().map(FileZone::of).collect();
        own.sort_by_key(|zone| (zone.start, zone.name));
        let all: BTreeSet<SegmentName> = own.iter().map(|zone| zone.name).collect();
        let without = |kept: &BTreeSet<SegmentName>| all.difference(kept).copied().collect::<BTreeSet<_>>();
        let zones: Vec<&FileZone> = own.iter().collect();
        let open = (0..zones.len()).filter(|at| zones[*at].open).collect();
        let looked_at =
            with_successors(open, &zones, |_| true).into_iter().map(|at| zones[at].name).collect();
        let mut widened = own.clone();
        widen_across(
            &library.without(&plan, &without(&looked_at)),
            &mut widened.iter_mut().collect::<Vec<_>>(),
        );
        let zones: Vec<&FileZone> = widened.iter().collect();

        let mut random = Random(2718);
        let (mut asked, mut looked_into) = (0, 0);
        while asked < QUESTIONS {
            let query = question(&mut random, &index);
            if !can_narrow(&query) {
                continue;
            }
            let mut selected = first_look(&query, &zones);
            let (part, narrowed) = loop {
                let kept = selected.iter().map(|at| zones[*at].name).collect();
                let part = library.without(&plan, &without(&kept));
                let events = meant(&query, &part);
                let narrowed = Index::of_those(&part, |event| events.contains(&(event.owner, event.lsn)));
                let makers = all_makers(&part, &narrowed.across.sightings, &[]);
                let more = next_look(&part, &narrowed, &makers, false, &zones);
                if more.is_subset(&selected) {
                    break (part, narrowed);
                }
                selected.extend(more);
            };
            let whole = told(&query.run(&index, &names), &names);
            let part_names = names_of(&part, &narrowed);
            let told = told(&query.run(&narrowed, &part_names), &part_names);
            assert_eq!(told, whole, "{version}: {query:?} in {selected:?}");
            asked += 1;
            looked_into += selected.len();
        }
        assert!(looked_into < asked * zones.len(), "{version}: nothing is narrowed down");
    }
}

/// Of what happened in WAL that is missing or damaged nobody knows: the answer says so, from wherever it comes.
#[test]
fn an_answer_says_what_it_cannot_show() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, catalog) = (directory.path().join("archive"), directory.path().join("catalog"));
    fs::create_dir(&archive).unwrap();
    let mut segments = Vec::new();
    for entry in fs::read_dir(Recording::of("15").archive()).unwrap() {
        let (path, copy) = (entry.as_ref().unwrap().path(), archive.join(entry.unwrap().file_name()));
        fs::copy(path, &copy).unwrap();
        let name = copy.file_name().unwrap().to_str().unwrap();
        segments.extend((name.len() == 24 && name.starts_with("00000001")).then(|| copy.clone()));
    }
    segments.sort();
    let notes = |command: &str, more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
        let (archive, catalog) = (archive.to_str().unwrap(), catalog.to_str().unwrap());
        program.args([command, archive, "--format", "json", "--catalog", catalog]).args(more);
        let output = program.output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["notes"].to_string()
    };
    let about_one = ["--kind", "restore-point", "--since", "2000-01-01"];
    let asked = |how: &[&str]| [notes("find", how), notes("find", &[&about_one, how].concat())].concat();
    notes("index", &[]);
    assert_eq!(asked(&[]), "[][]");
    assert_eq!(asked(&["--offline"]), "[][]");
    fs::remove_file(&segments[2]).unwrap();
    let mut bytes = fs::read(&segments[4]).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&segments[4], bytes).unwrap();
    let first = asked(&[]);
    assert_eq!(
        first.matches("1 segment missing, 1 segment damaged: what happened there").count(),
        2,
        "{first}"
    );
    notes("index", &[]);
    assert_eq!(asked(&["--offline"]), first);
    // A second copy that cannot be unpacked.
    fs::write(segments[1].with_extension("gz"), [0x1F, 0x8B, 8, 0, 1, 2, 3]).unwrap();
    let second = asked(&[]);
    assert!(second != first && second.matches("segments damaged").count() == 2, "{second}");
    notes("index", &[]);
    assert_eq!(asked(&["--offline"]), second);
}
