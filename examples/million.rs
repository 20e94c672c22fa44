//! What a million segments cost besides their bytes: listing, plan, join and answer, by the code that `verify` runs,
//! with the facts of each segment remembered instead of read.
//!
//! `cargo run --release --example million -- [SEGMENTS] [whole|gaps|forks]`
//!
//! `whole`: one timeline without a fault. `gaps`: every tenth segment is missing. `forks`: a new timeline after each
//! hundredth of the segments.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use walproof::archive::memory::Memory;
use walproof::archive::{Archive, Entry, LayoutChoice, Secrets, StoreError};
use walproof::audit::{self, Options};
use walproof::clock::Clock;
use walproof::report::json::Document;
use walproof::report::verify;
use walproof::scan::identify::Identity;
use walproof::scan::stats::{Times, Transactions};
use walproof::scan::{Events, Expectation, FactStore, SegmentFacts};
use walproof::wal::walk::{Format, Run, Walked};
use walproof::wal::{
    Lsn, Major, PgTime, SegmentName, SegmentNumber, SegmentSize, SystemId, TimelineId, WalFileName,
};

const SEGMENT_BYTES: u64 = 16 << 20;
const RECORDS: u64 = 100_000;
const FORKS: u64 = 100;

/// What the archive looks like.
#[derive(Clone, Copy)]
struct Shape {
    segments: u64,
    gaps: bool,
    forks: bool,
}

impl Shape {
    fn timeline(&self, number: u64) -> TimelineId {
        let each = (self.segments / FORKS).max(1);
        #[expect(clippy::cast_possible_truncation, reason = "at most FORKS")]
        TimelineId(if self.forks { 1 + (number / each) as u32 } else { 1 })
    }

    fn is_there(&self, number: u64) -> bool {
        !self.gaps || !number.is_multiple_of(10) || number == 0
    }
}

fn size() -> SegmentSize {
    SegmentSize::new(SEGMENT_BYTES).unwrap_or(SegmentSize::MAX)
}

fn start_of(number: u64) -> Lsn {
    Lsn(number * SEGMENT_BYTES)
}

/// Where the last record of a segment starts.
fn last_of(number: u64) -> Lsn {
    start_of(number).plus(SEGMENT_BYTES - 96)
}

/// Remembers what a real segment's scan finds.
struct Facts;

impl FactStore for Facts {
    fn recall(&self, entry: &Entry, _: &Expectation) -> Result<Option<SegmentFacts>, StoreError> {
        let WalFileName::Segment(name) = entry.name else { return Ok(None) };
        let Some(SegmentNumber(number)) = name.number(size()) else { return Ok(None) };
        Ok(Some(facts(entry, name, number)))
    }

    fn knows(&self, _: &Entry, _: &Expectation) -> bool {
        true
    }

    fn keep(&self, _: &Entry, _: &Expectation, _: &SegmentFacts) {}
}

fn facts(entry: &Entry, name: SegmentName, number: u64) -> SegmentFacts {
    let start = start_of(number);
    let format = Format { major: Major::V15, magic: 0xD110, page_bytes: 8192, segment_size: size() };
    let prev_of_first = if number == 0 { Lsn::INVALID } else { last_of(number - 1) };
    let run = Run {
        owner: name.timeline,
        first: start.plus(40),
        prev_of_first,
        last: last_of(number),
        end: start_of(number + 1),
        records: RECORDS,
        continues: true,
    };
    let time = PgTime(i64::try_from(number).unwrap_or(0) * 60_000_000);
    SegmentFacts {
        name,
        partial: false,
        path: entry.object.path.display().to_string(),
        identity: Some(Identity { format, system_id: SystemId(7), address: start }),
        fault: None,
        bytes: SEGMENT_BYTES,
        start,
        walked: Walked { runs: vec![run], bytes: SEGMENT_BYTES, ends_unbroken: true, ..Walked::default() },
        transactions: vec![Transactions {
            commits: 1000,
            aborts: 1,
            commit_times: Some((time, time)),
            times: Some(Times::one(time)),
        }],
        events: Events::default(),
        activity: walproof::scan::activity::Activities::default(),
        sightings: Vec::new(),
        records: Vec::new(),
        digests: Vec::new(),
    }
}

fn archive(shape: Shape) -> Result<Archive, Box<dyn Error>> {
    let memory = Memory::new();
    let mut history = String::new();
    let mut before = shape.timeline(1);
    for number in (1..=shape.segments).filter(|number| shape.is_there(*number)) {
        let timeline = shape.timeline(number);
        if timeline != before {
            write!(history, "{before}\t{}\tno recovery target specified\n\n", start_of(number))?;
            memory.put(&WalFileName::History(timeline).to_string(), history.clone().into_bytes());
            before = timeline;
        }
        memory.put(&SegmentName::new(timeline, SegmentNumber(number), size()).to_string(), Vec::new());
    }
    Ok(Archive::of_store("memory", Box::new(memory), LayoutChoice::Auto, Secrets::default())?)
}

/// Peak of the resident size so far, in MiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let segments = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let kind = arguments.next().unwrap_or_else(|| "whole".to_owned());
    let shape = Shape { segments, gaps: kind == "gaps", forks: kind == "forks" };
    let archive = archive(shape)?;
    let mut out = io::stdout();
    let of_store = resident().unwrap_or(0);
    writeln!(out, "{segments} segments, {kind}; the simulated store takes {of_store} MiB")?;

    let begun = Instant::now();
    let mut lap = begun;
    let mut say = |what: &str, out: &mut io::Stdout| {
        let now = Instant::now();
        let result = writeln!(out, "{what:8} {:6.2} s", (now - lap).as_secs_f64());
        lap = now;
        result
    };
    let options = Options::default();
    let plan = audit::plan(&archive, &options)?;
    say("plan", &mut out)?;
    let survey = audit::survey_with(&archive, &plan, &options, Some(&Facts), &|_| {})?;
    say("join", &mut out)?;
    let audit = audit::judge(&plan, &survey, &options);
    say("judge", &mut out)?;
    let answer = verify::answer(&audit, Duration::ZERO, &Clock::utc());
    let text = Document::new("verify", "memory", answer).render()?;
    say("answer", &mut out)?;
    let resident = resident().unwrap_or(0);
    writeln!(out, "all      {:6.2} s", begun.elapsed().as_secs_f64())?;
    writeln!(out, "peak resident size {resident} MiB, {of_store} MiB of it the store")?;
    writeln!(
        out,
        "{} findings, {} timelines, {} bytes of JSON",
        audit.findings.len(),
        audit.timelines.len(),
        text.len()
    )?;
    Ok(())
}
