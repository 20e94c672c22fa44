//! `find --offline` on a catalog of many commits, which a simulation writes on the path that `index` writes on.
//!
//! `cargo bench --bench lookup -- 100000000` prints the bytes that a commit takes and, for each kind of question, the
//! processor time and the greatest resident size of the process that answers it. Without a number: ten million. Then an
//! archive of a hundred thousand segments is indexed a second time.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "benchmarks")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use walproof::archive::memory::Memory;
use walproof::archive::{Archive, LayoutChoice, Secrets};
use walproof::audit::{Options, expectations, judge, plan, survey_with};
use walproof::backup::Discovered;
use walproof::catalog::{Catalog, Keeper, Unseen};
use walproof::scan::activity::{Activities, Activity, Rows};
use walproof::scan::event::{End, Event, What};
use walproof::scan::identify::Identity;
use walproof::scan::segment::Scan;
use walproof::scan::stats::Transactions;
use walproof::scan::{Detail, FactStore, SegmentFacts};
use walproof::wal::record::RelationFile;
use walproof::wal::walk::{Format, Run};
use walproof::wal::{Lsn, Major, PgTime, SegmentSize, SystemId, TimelineId, WalFileName, Xid};

/// Bytes of WAL that one transaction of pgbench writes, about.
const TRANSACTION_BYTES: u64 = 1024;
const SEGMENT_BYTES: u64 = 16 << 20;
const COMMITS_IN_SEGMENT: u64 = SEGMENT_BYTES / TRANSACTION_BYTES;
/// Segments of the archive that is indexed a second time.
const SEGMENTS_AGAIN: u64 = 100_000;
/// Microseconds from one commit to the next, about.
const PACE: i64 = 250;
const FIRST_TIME: i64 = 800_000_000_000_000;

/// A number that looks random.
fn scatter(of: u64) -> u64 {
    let mixed = (of ^ (of >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 11
}

fn xid(commit: u64) -> Xid {
    // Transactions do not end in the order in which they begin.
    Xid(u32::try_from(1000 + commit / 8 * 8 + (commit + scatter(commit / 8)) % 8).unwrap())
}

fn time(commit: u64) -> PgTime {
    let jitter = i64::try_from(scatter(commit) % 400).unwrap();
    PgTime(FIRST_TIME + i64::try_from(commit).unwrap() * PACE + jitter)
}

fn lsn(commit: u64) -> Lsn {
    Lsn(SEGMENT_BYTES + commit * TRANSACTION_BYTES + scatter(commit) % 60 * 8 + 64)
}

/// Which tables of pgbench a transaction changes.
fn tables() -> Vec<RelationFile> {
    (16385..16389).map(|number| RelationFile { tablespace: 1663, database: 5, number }).collect()
}

/// What a scan of one segment of pgbench's WAL would find, with the commits of `first` and those after it.
fn facts(mut facts: SegmentFacts, first: u64, count: u64) -> SegmentFacts {
    let commits = first..first + count;
    let format = Format {
        major: Major::V15,
        magic: 0xD110,
        page_bytes: 8192,
        segment_size: SegmentSize::new(SEGMENT_BYTES).unwrap(),
    };
    facts.identity = Some(Identity { format, system_id: SystemId(7), address: facts.start });
    let event = |commit: u64| Event {
        lsn: lsn(commit),
        end: lsn(commit).plus(40),
        owner: TimelineId(1),
        xid: xid(commit),
        time: Some(time(commit)),
        what: What::End(End { committed: true, prepared: false, details: None }),
    };
    facts.events = commits.clone().map(event).collect();
    let mut of_transactions: Vec<Activity> = commits
        .clone()
        .map(|commit| Activity {
            owner: 1,
            xid: xid(commit).0,
            database: 5,
            rows: Rows { inserted: 1, updated: 3, deleted: 0 },
            tables: 1,
            ..Activity::default()
        })
        .collect();
    of_transactions.sort_by_key(|activity| activity.xid);
    facts.activity = Activities { of_transactions, table_sets: vec![Vec::new(), tables()] };
    let mut transactions = Transactions::default();
    for event in &facts.events {
        transactions.add_event(event);
    }
    facts.transactions = vec![transactions];
    facts.walked.runs = vec![Run {
        owner: TimelineId(1),
        first: facts.start.plus(40),
        prev_of_first: Lsn::INVALID,
        last: facts.events.last().unwrap().lsn,
        end: facts.events.last().unwrap().end,
        records: COMMITS_IN_SEGMENT * 6,
        continues: true,
    }];
    facts
}

/// An archive of so many segments, of which nobody reads more than the names.
fn archive(segments: u64) -> Archive {
    let memory = Memory::new();
    let byte: Arc<[u8]> = Arc::from(&b"x"[..]);
    for number in 1..=segments {
        memory.put(&format!("00000001{:08X}{:08X}", number / 256, number % 256), Arc::clone(&byte));
    }
    Archive::of_store("simulated", Box::new(memory), LayoutChoice::Auto, Secrets::default()).unwrap()
}

/// Writes the catalog of `archive` with so many commits in each segment.
fn simulate(archive: &Archive, path: &Path, commits_in_segment: u64) {
    let options = Options { detail: Detail::Events, ..Options::default() };
    let plan = plan(archive, &options).unwrap();
    let keeper = Keeper::new(Catalog::open(path).unwrap()).unwrap();
    for ((entry, expectation), segment) in expectations(&plan, &options).zip(0..) {
        let WalFileName::Segment(name) = entry.name else { unreachable!() };
        let empty = Scan::new(name, &expectation, None).finish();
        let first = segment * COMMITS_IN_SEGMENT;
        keeper.keep(entry, &expectation, &facts(empty, first, commits_in_segment));
    }
    keeper.finish(&plan.inventory.entries).unwrap();
    keeper.keep_listing(archive, &plan.inventory, &no_backups()).unwrap();
    let places = keeper.own_places(&plan.inventory).unwrap().unwrap();
    keeper.keep_places(&plan.inventory, &places, Unseen::default()).unwrap();
}

fn no_backups() -> Discovered {
    Discovered { backups: Vec::new(), problems: Vec::new() }
}

/// What `index` does when nothing is new, but for listing a directory (see `inventory`) and printing.
fn index_again(archive: &Archive, path: &Path) {
    let begun = Instant::now();
    let options = Options::default();
    let plan = plan(archive, &options).unwrap();
    let keeper = Keeper::new(Catalog::open(path).unwrap()).unwrap();
    let survey = survey_with(archive, &plan, &options, Some(&keeper), &|_| {}).unwrap();
    let tally = keeper.finish(&plan.inventory.entries).unwrap();
    keeper.keep_listing(archive, &plan.inventory, &no_backups()).unwrap();
    assert!(keeper.has_places().unwrap());
    let audit = judge(&plan, &survey, &options);
    let took = begun.elapsed().as_secs_f64();
    println!(
        "indexing {} segments again: {} read, {took:.2} s ({} findings)",
        tally.reused + tally.scanned,
        tally.scanned,
        audit.findings.len()
    );
}

/// How often a question is asked: the clock of a process is coarse.
const TIMES: f64 = 20.0;

/// Milliseconds of processor time of one run of a command.
fn milliseconds(arguments: &[&str]) -> f64 {
    let script =
        format!("TIMEFORMAT='%3U %3S'; time for i in {{1..{TIMES}}}; do \"$@\" >/dev/null 2>&1; done");
    let output = Command::new("bash").args(["-c", &script, "bash"]).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let seconds = told.split_whitespace().map(|field| field.parse::<f64>().unwrap());
    seconds.sum::<f64>() * 1e3 / TIMES
}

/// Mebibytes of memory that a command needs at most, and what it prints.
fn mebibytes(arguments: &[&str]) -> (f64, String) {
    let output = Command::new("/usr/bin/time").args(["-f", "%M"]).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let kibibytes: f64 = told.lines().last().unwrap().parse().unwrap();
    (kibibytes / 1024.0, String::from_utf8_lossy(&output.stdout).into_owned())
}

fn main() {
    let wanted: u64 =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog");
    let segments = wanted.div_ceil(COMMITS_IN_SEGMENT);
    simulate(&archive(segments), &catalog, COMMITS_IN_SEGMENT);
    let commits = segments * COMMITS_IN_SEGMENT;
    let size = std::fs::metadata(&catalog).unwrap().len();
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let each = size as f64 / commits as f64;
    println!("{commits} commits, {size} bytes, {each:.2} bytes each");
    let middle = commits / 2;
    let text = walproof::clock::Clock::utc().iso(time(middle));
    let ask = |what: &str, question: &[&str]| {
        let mut arguments = vec![env!("CARGO_BIN_EXE_walproof")];
        arguments.extend(question);
        arguments.extend(["simulated", "--offline", "--catalog", catalog.to_str().unwrap()]);
        let (mebibytes, told) = mebibytes(&arguments);
        assert!(told.contains("event") || told.contains("base backup") || what.ends_with("a name"), "{told}");
        let best = (0..5).map(|_| milliseconds(&arguments)).fold(f64::MAX, f64::min);
        println!("{what}: {best:.1} ms of processor time, {mebibytes:.1} MiB");
    };
    ask("find by a time", &["find", "--time", &text]);
    ask("find by an xid", &["find", "--xid", &xid(middle).to_string()]);
    ask("find by an LSN", &["find", "--lsn", &lsn(middle).to_string()]);
    ask("find by a name", &["find", "--name", "none"]);
    ask("resolve a time", &["resolve", "--target-time", &text]);
    let again = folder.path().join("again");
    let archive = archive(SEGMENTS_AGAIN);
    simulate(&archive, &again, 10);
    for _ in 0..3 {
        index_again(&archive, &again);
    }
}
