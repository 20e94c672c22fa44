//! What holds whatever the order, the grouping, the pieces and the threads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::random::Random;
use support::recorded::Recording;
use support::replica::Replica;
use support::specimen::Specimen;
use walproof::archive::memory::Memory;
use walproof::archive::{
    Archive, Child, Deletion, Descent, LayoutChoice, Object, Secrets, Store, StoreError,
};
use walproof::audit::{Options, audit};
use walproof::chain::range::Range;
use walproof::scan::segment::Scan;
use walproof::scan::{Detail, Expectation, SegmentFacts};
use walproof::wal::{Lsn, Owners, SegmentName, TimelineId};

/// Segments of timeline 1 in a row, with damage of every kind that concerns neighbours.
struct Chain {
    names: Vec<SegmentName>,
    whole: Vec<Vec<u8>>,
}

fn chain() -> &'static Chain {
    static CHAIN: OnceLock<Chain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let specimen = Specimen::of(&Recording::of("16").archive());
        let of_first = |name: &SegmentName| name.timeline == TimelineId(1);
        let names: Vec<SegmentName> = specimen.segments().into_iter().filter(of_first).take(7).collect();
        let whole = names.iter().map(|name| specimen.bytes(*name)).collect();
        Chain { names, whole }
    })
}

fn scan(name: SegmentName, bytes: &[u8], pieces: &[usize]) -> SegmentFacts {
    let expectation = Expectation {
        owners: Owners::root(name.timeline),
        digests: Vec::new(),
        records_from: Some(Lsn::INVALID),
        digest_all: true,
        detail: Detail::Events,
    };
    let mut scan = Scan::new(name, &expectation, Some(bytes.len() as u64));
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (head, tail) = rest.split_at((*piece).min(rest.len()));
        rest = tail;
        if scan.feed(head).is_break() || rest.is_empty() {
            break;
        }
    }
    scan.finish()
}

/// Joins neighbours in the order that `picks` says, until one is left.
fn joined(mut ranges: Vec<Range>, picks: &[usize]) -> Range {
    let mut picks = picks.iter().cycle();
    while ranges.len() > 1 {
        let at = picks.next().unwrap() % (ranges.len() - 1);
        let right = ranges.remove(at + 1);
        let left = ranges.remove(at);
        ranges.insert(at, left.join(right));
    }
    ranges.remove(0)
}

/// Places where bits are flipped, or bytes zeroed: at the seams rather than elsewhere.
fn harm() -> impl Strategy<Value = Vec<(usize, usize, bool, u8)>> {
    let size = chain().whole[0].len();
    let offset =
        prop_oneof![0..200_usize, 0..size, size - 9000..size, (0..40_usize).prop_map(move |o| size - 1 - o)];
    prop::collection::vec((0..chain().names.len(), offset, prop::bool::weighted(0.2), 0..8_u8), 0..4)
}

fn harmed(harm: &[(usize, usize, bool, u8)]) -> Vec<Vec<u8>> {
    let mut segments = chain().whole.clone();
    for (segment, offset, zeros, bit) in harm {
        let bytes = &mut segments[*segment];
        let end = bytes.len().min(offset + 5000);
        if *zeros {
            bytes[*offset..end].fill(0);
        } else {
            bytes[*offset] ^= 1 << bit;
        }
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(16),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_grouping_joins_to_the_same_facts(harm in harm(), picks in prop::collection::vec(0..100_usize, 1..9)) {
        let segments = harmed(&harm);
        let ranges: Vec<Range> = chain().names.iter().zip(&segments)
            .filter_map(|(name, bytes)| Range::of(scan(*name, bytes, &[1 << 20]), Owners::root(name.timeline)))
            .collect();
        prop_assume!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].format == pair[1].format));
        let in_order = joined(ranges.clone(), &[0]);
        prop_assert_eq!(joined(ranges, &picks), in_order);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_facts(
        harm in harm(),
        segment in 0..7_usize,
        pieces in prop::collection::vec(prop_oneof![1..64_usize, 1..10_000_usize, 8192..300_000_usize], 1..20),
    ) {
        let segments = harmed(&harm);
        let (name, bytes) = (chain().names[segment], &segments[segment]);
        prop_assert_eq!(scan(name, bytes, &pieces), scan(name, bytes, &[bytes.len()]));
    }
}

/// A store that lists in any order.
#[derive(Debug)]
struct Shuffled {
    inner: Memory,
    seed: u64,
}

impl Store for Shuffled {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        self.inner.children(folder, limit)
    }
    fn names(&self) -> Vec<String> {
        self.inner.names()
    }
    fn raised(&self, levels: usize) -> Result<Box<dyn Store>, StoreError> {
        self.inner.raised(levels)
    }
    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        let mut objects = self.inner.list(descend)?;
        let mut random = Random(self.seed);
        for at in (1..objects.len()).rev() {
            objects.swap(at, random.below(at + 1));
        }
        Ok(objects)
    }
    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        self.inner.find(path)
    }
    fn read(
        &self,
        object: &Object,
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.read(object, buffer, sink)
    }
    fn deletion(&self, sample: &Object) -> Result<Deletion, StoreError> {
        self.inner.deletion(sample)
    }
    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        self.inner.remove(objects, done);
    }
    fn move_to(&self, object: &Object, trash: &Path) -> Result<(), StoreError> {
        self.inner.move_to(object, trash)
    }
}

/// An archive with something wrong of every kind, so that there is something to get out of order.
fn wounded() -> Replica {
    let archive = Replica::of("17");
    archive.remove("000000010000000000000006");
    archive.edit("000000010000000000000008", |bytes| bytes[500_000] ^= 1);
    archive.edit("000000010000000000000009", |bytes| bytes[900_000] ^= 1);
    archive.copy("00000001000000000000000A", "00000001000000000000000A.partial");
    archive.copy("00000001000000000000000B", "00000001000000000000000F");
    archive.edit("00000001000000000000000B", |bytes| bytes.truncate(1_000_000));
    archive.write("00000003.history", b"");
    archive.write("note", b"");
    archive.write("another note", b"");
    archive
}

#[test]
fn the_order_of_the_listing_does_not_matter() {
    let archive = wounded();
    let memory = Memory::new();
    for name in archive.names() {
        memory.put(&name, archive.read(&name));
    }
    let audits: Vec<_> = (1..6)
        .map(|seed| {
            let store = Box::new(Shuffled { inner: memory.clone(), seed });
            let archive = Archive::of_store("memory", store, LayoutChoice::Auto, Secrets::default()).unwrap();
            audit(&archive, &Options::default(), &|_| {}).unwrap()
        })
        .collect();
    assert!(audits[0].findings.len() > 7, "{:?}", audits[0].findings);
    assert!(audits.iter().all(|audit| *audit == audits[0]));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let archive = wounded();
    let run = |jobs: &str, format: &str| {
        let output = archive.walproof("verify", &["--jobs", jobs, "--format", format]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        let timeless = |line: &&str| !line.contains("\"seconds\"") && !line.starts_with("PostgreSQL");
        text.lines().filter(timeless).collect::<Vec<_>>().join("\n")
    };
    for format in ["json", "text"] {
        let one = run("1", format);
        assert!(one.lines().count() > 30);
        for jobs in ["2", "7"] {
            assert_eq!(run(jobs, format), one, "{format} with {jobs} jobs");
        }
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let archive = Replica::of("16");
    // Nobody reads the answer, and the status still tells it.
    let harmed = wounded();
    let cases = [(0, "text"), (1, "text"), (0, "json"), (1, "json")]
        .map(|(lines, format)| (lines, format, &archive, 0));
    for (lines, format, archive, status) in
        cases.into_iter().chain([(0, "text", &harmed, 1), (1, "json", &harmed, 1)])
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_walproof"))
            .args(["verify", "--format", format])
            .arg(archive.archive())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut head = BufReader::with_capacity(16, child.stdout.take().unwrap());
        for _ in 0..lines {
            head.read_line(&mut String::new()).unwrap();
        }
        drop(head);
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), complaint.as_str()),
            (Some(status), ""),
            "{lines} {format}"
        );
    }
}

fn has_keys(value: &serde_json::Value, keys: &str) {
    let object = value.as_object().unwrap();
    for key in keys.split_whitespace() {
        assert!(object.contains_key(key), "no {key} in {value:#}");
    }
}

/// The keys that scripts read.
#[test]
fn no_key_is_ever_absent() {
    for archive in [wounded(), Replica::of("12")] {
        let json = archive.verify(&[]).json;
        has_keys(
            &json,
            "schema_version command archive verdict system_identifier segment_size versions segments bytes \
             records seconds timelines findings",
        );
        assert_eq!((&json["schema_version"], &json["command"]), (&1.into(), &"verify".into()));
        assert!(json["system_identifier"].is_string() && json["versions"][0].is_string());
        has_keys(&json["segments"], "total verified damaged missing partial foreign");
        for timeline in json["timelines"].as_array().unwrap() {
            has_keys(
                timeline,
                "timeline parent switch_lsn reason history_file start_lsn end_lsn first_segment last_segment \
                 segments commits aborts first_commit last_commit ranges",
            );
            for range in timeline["ranges"].as_array().unwrap() {
                has_keys(range, "start_lsn end_lsn");
            }
        }
        for finding in json["findings"].as_array().unwrap() {
            has_keys(
                finding,
                "code severity acknowledged segment timeline lsn offset expected found message impact",
            );
        }
    }
}
