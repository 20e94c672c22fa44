//! Every record of recorded archives, line by line as pg_waldump prints it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use support::recorded::Recording;
use support::{Server, tools};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, audit, plan};
use walproof::clock::Clock;
use walproof::dump::{Filter, Line, dump};
use walproof::wal::{Lsn, TimelineId};

/// pg_waldump's lines by file timeline and position.
type Expected = BTreeMap<(u32, Lsn), String>;

fn waldump(major: u32, archive: &Path, names: &[&str], expected: &mut Expected) {
    let mut command = Command::new(tools::program(major, "pg_waldump"));
    // It stops with an error where the WAL ends; what it read before that is on standard output.
    let output = command.env("TZ", "UTC").arg("-p").arg(archive).args(names).output().unwrap();
    let timeline = u32::from_str_radix(&names[0][..8], 16).unwrap();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("rmgr: ")) {
        let lsn = line.split_once("lsn: ").unwrap().1.split_once(',').unwrap().0;
        expected.insert((timeline, lsn.parse().unwrap()), line.to_owned());
    }
}

/// Each file alone, which goes on behind damage, and each timeline as a whole, which crosses segments.
fn expected(major: u32, archive: &Path) -> Expected {
    let mut names: Vec<String> = std::fs::read_dir(archive)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect();
    names.sort();
    let mut expected = Expected::new();
    for timeline in names.chunk_by(|a, b| a[..8] == b[..8]) {
        for name in timeline {
            waldump(major, archive, &[name], &mut expected);
        }
        waldump(major, archive, &[&timeline[0], timeline.last().unwrap()], &mut expected);
        for pair in timeline.windows(2) {
            waldump(major, archive, &[&pair[0], &pair[1]], &mut expected);
        }
    }
    expected
}

fn lines(archive: &Path, filter: &Filter) -> Vec<Line> {
    let archive = Archive::open(archive.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let plan = plan(&archive, &Options::default()).unwrap();
    let mut lines = Vec::new();
    let each = &mut |line: &Line| {
        lines.push(line.clone());
        Ok(())
    };
    dump(&archive, &plan, filter, &Clock::utc(), each).unwrap();
    lines
}

/// Whether our line has all that it promises of pg_waldump's.
fn agrees(line: &Line, theirs: &str) -> bool {
    let ours = line.to_string();
    if matches!(line.rmgr.as_str(), "Transaction" | "XLOG" | "Storage" | "Database" | "Tablespace" | "RelMap")
        || (line.rmgr == "Heap" && line.operation == "TRUNCATE")
    {
        return ours == theirs;
    }
    let blocks = line.blocks.iter().fold(String::new(), |all, block| all + ", " + block);
    let head = ours.strip_suffix(&blocks).unwrap();
    theirs.starts_with(head) && theirs.ends_with(&blocks)
}

/// Holds every record of an archive to pg_waldump's lines.
fn all_agree(major: u32, archive: &Path, managers: &[&str]) {
    let expected = expected(major, archive);
    let lines = lines(archive, &Filter::default());
    let mut ours = BTreeMap::new();
    for line in &lines {
        let theirs = expected
            .get(&(line.timeline.0, line.lsn))
            .unwrap_or_else(|| panic!("{major}: pg_waldump has no {line}"));
        assert!(agrees(line, theirs), "{major}:\nours   {line}\ntheirs {theirs}");
        let twice = ours.insert((line.timeline.0, line.lsn), line);
        assert!(twice.is_none(), "{major}: twice {line}");
    }
    let ordered = |pair: &[Line]| (pair[0].timeline, pair[0].lsn) < (pair[1].timeline, pair[1].lsn);
    assert!(lines.windows(2).all(ordered), "{major}: out of order");
    for ((timeline, lsn), theirs) in &expected {
        // What a file has of its parent's is the parent's.
        let owned = (1..=*timeline).rev().find_map(|owner| ours.get(&(owner, *lsn)));
        let owned = owned.unwrap_or_else(|| panic!("{major}: not shown on {timeline}: {theirs}"));
        assert!(agrees(owned, theirs), "{major}: {theirs}");
    }
    for manager in managers {
        assert!(lines.iter().any(|line| line.rmgr == *manager), "{major}: no {manager}");
    }
}

#[test]
fn every_line_is_pg_waldumps() {
    for major in tools::WITH_TOOLS {
        let archive = Recording::of(&major.to_string()).archive();
        all_agree(major, &archive, &["Transaction", "XLOG", "Storage", "Heap"]);
        assert!(lines(&archive, &Filter::default()).len() > 1000, "{major}");
    }
}

/// What the recordings do not have: tablespaces, relations that are mapped to files, databases.
#[test]
fn what_is_rare_is_described_too() {
    for major in tools::WITH_TOOLS {
        let server = Server::create(major).start();
        let location = server.data().parent().unwrap().join("far \"away\"");
        support::account::create_directory(&location, 0o700);
        for statement in [
            &format!("CREATE TABLESPACE far LOCATION '{}'", location.display()),
            "CREATE DATABASE d TEMPLATE template0",
            "VACUUM FULL pg_class",
            "VACUUM FULL pg_database",
            "DROP DATABASE d",
            "DROP TABLESPACE far",
        ] {
            server.sql(statement);
        }
        server.archive_everything();
        all_agree(major, server.archive(), &["Tablespace", "RelMap", "Database"]);
    }
}

/// Of each record that pg_waldump shows, once for each timeline that owns it, `verify` counts one.
#[test]
fn verify_counts_the_records_that_pg_waldump_shows() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
    let recorded = tools::WITH_TOOLS.map(|major| (major, Recording::of(&major.to_string()).archive()));
    for (major, folder) in recorded.into_iter().chain([(17, demo)]) {
        let archive = Archive::open(folder.to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let audit = audit(&archive, &Options::default(), &|_| {}).unwrap();
        assert_eq!(audit.versions.iter().map(ToString::to_string).collect::<Vec<_>>(), [major.to_string()]);
        let plan = plan(&archive, &Options::default()).unwrap();
        let owned = |(timeline, lsn): &(u32, Lsn)| {
            let owner = plan.history(TimelineId(*timeline)).unwrap().owner(*lsn);
            (owner, *lsn)
        };
        let theirs: std::collections::BTreeSet<_> = expected(major, &folder).keys().map(owned).collect();
        assert_eq!(audit.records, theirs.len() as u64, "{}", folder.display());
        let of_timelines: u64 = audit.timelines.iter().map(|timeline| timeline.records).sum();
        assert_eq!(of_timelines, audit.records);
        for timeline in &audit.timelines {
            let theirs = theirs.iter().filter(|(owner, _)| *owner == timeline.timeline).count();
            assert_eq!(
                timeline.records,
                theirs as u64,
                "{} timeline {}",
                folder.display(),
                timeline.timeline
            );
        }
    }
}

#[test]
fn filters_take_what_they_say() {
    let archive = Recording::of("17").archive();
    let all = lines(&archive, &Filter::default());
    let middle = &all[all.len() / 2];
    let same = |filter: &Filter, wanted: &dyn Fn(&&Line) -> bool| {
        let wanted: Vec<Line> = all.iter().filter(wanted).cloned().collect();
        assert!(!wanted.is_empty() && lines(&archive, filter) == wanted, "{filter:?}");
    };
    same(&Filter { from: Some(middle.lsn), ..Filter::default() }, &|line| line.lsn >= middle.lsn);
    same(&Filter { to: Some(middle.lsn), ..Filter::default() }, &|line| line.lsn < middle.lsn);
    same(&Filter { xid: Some(middle.xid), ..Filter::default() }, &|line| line.xid == middle.xid);
    for timeline in [TimelineId(1), all.last().unwrap().timeline] {
        let filter = Filter { timeline: Some(timeline), ..Filter::default() };
        same(&filter, &|line| line.timeline == timeline);
    }
    let few = lines(&archive, &Filter { limit: Some(7), ..Filter::default() });
    assert_eq!(few, all[..7]);
}

#[test]
fn json_has_the_same_records() {
    let archive = Recording::of("15").archive();
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
        let output = command.arg("dump").arg(&archive).args(options).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        output.stdout
    };
    let text = String::from_utf8(run(&["--rmgr", "transaction"])).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["--rmgr", "Transaction", "--format", "json"])).unwrap();
    let records = json["records"].as_array().unwrap();
    assert_eq!(records.len(), text.lines().count());
    for (record, line) in records.iter().zip(text.lines()) {
        assert!(line.ends_with(&format!("desc: {}", record["desc"].as_str().unwrap())), "{line}");
    }
}
