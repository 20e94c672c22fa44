//! One bit of a real archive is flipped, or one file cut: the verdict must be "damaged", with one finding that names
//! the record that the bit belongs to. What belongs to what is told by another reader (`support::wal_map`).
//!
//! Not protected, and so not flipped here, are:
//! * padding: bytes 20 to 23 of a page header, and up to seven bytes behind a record; the server neither checks nor
//!   reads them (the program warns with `padding-not-zero`);
//! * everything behind a segment switch and behind the end of the WAL, for the same reason;
//! * flag 0x0004 of a page up to version 18 (`XLP_BKP_REMOVABLE`): a hint to compression tools that may be on or off;
//! * a record whose start or end is not in the archive: its checksum cannot be computed; nor can the last three bits
//!   of its remaining length be checked, because records start at multiples of eight.
//!
//! `WALPROOF_FLIPS=10000` flips that many bits in all; `WALPROOF_SEED` starts elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::path::Path;

use support::random::Random;
use support::recorded::{Recording, VERSIONS};
use support::specimen::Specimen;
use support::wal_map::{self, Owner, Part, Piece, SegmentMap};
use walproof::audit::Audit;
use walproof::finding::{Code, Finding, Severity};
use walproof::wal::record::RecordHeader;
use walproof::wal::walk::{Capture, Record, Setup, Sink, Walk, Walked};
use walproof::wal::{SegmentName, crc};

/// Flips of one recording when nothing is said.
const FLIPS: usize = 150;
/// Of one with 16 MiB segments: each costs eight times as much.
const FLIPS_OF_LARGE_SEGMENTS: usize = 40;

/// One bit to flip.
#[derive(Clone, Copy, Debug)]
struct Flip {
    segment: SegmentName,
    offset: usize,
    bit: u8,
    owner: Owner,
}

fn from_environment(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The protected pieces of an archive, by kind, so that rare ones get their share.
struct Targets {
    kinds: Vec<Vec<(SegmentName, Piece)>>,
}

impl Targets {
    fn of(maps: &[SegmentMap]) -> Self {
        let all = || maps.iter().flat_map(|map| map.pieces.iter().map(|piece| (map.name, *piece)));
        let pick =
            |wanted: &dyn Fn(&Piece) -> bool| all().filter(|(_, piece)| wanted(piece)).collect::<Vec<_>>();
        let part =
            |piece: &Piece, wanted: Part| matches!(piece.owner, Owner::Record { part, .. } if part == wanted);
        let first_and_last: Vec<_> = maps
            .iter()
            .flat_map(|map| {
                let of_records = map.pieces.iter().filter(|p| matches!(p.owner, Owner::Record { .. }));
                let (first, last) = (of_records.clone().take(3), of_records.rev().take(3));
                first.chain(last).map(|piece| (map.name, *piece)).collect::<Vec<_>>()
            })
            .collect();
        let kinds = vec![
            pick(&|piece| part(piece, Part::Header)),
            pick(&|piece| part(piece, Part::Body)),
            pick(&|piece| part(piece, Part::Continued)),
            pick(&|piece| matches!(piece.owner, Owner::Page { .. })),
            pick(&|piece| matches!(piece.owner, Owner::Page { .. }) && piece.from == 0 || piece.from == 24),
            first_and_last,
        ];
        Self { kinds: kinds.into_iter().filter(|kind| !kind.is_empty()).collect() }
    }

    fn flip(&self, random: &mut Random) -> Flip {
        let kind = random.below(self.kinds.len());
        let (segment, piece) = *random.pick(&self.kinds[kind]);
        let offset = piece.from + random.below(piece.to - piece.from);
        Flip { segment, offset, bit: u8::try_from(random.below(8)).unwrap(), owner: piece.owner }
    }
}

/// Why the verdict on a flip is not the right one; `None` if it is.
fn complaint(flip: &Flip, audit: &Audit) -> Option<String> {
    let errors: Vec<&Finding> = audit.findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let right = match flip.owner {
        Owner::Record { lsn, .. } => vec![lsn],
        Owner::Page { lsn, crossing } => {
            // Flags and remaining length speak of the record that crosses into the page as well.
            let speaks_of_record = matches!(flip.offset % 8192, 2 | 3 | 16..20);
            std::iter::once(lsn).chain(crossing.filter(|_| speaks_of_record)).collect()
        }
        Owner::Unprotected(_) => return None,
    };
    let named = |finding: &&Finding| finding.lsn.is_some_and(|lsn| right.contains(&lsn.0));
    if errors.len() == 1 && errors.iter().any(named) && errors.iter().all(|error| error.impact.is_some()) {
        return None;
    }
    let said: Vec<String> = errors
        .iter()
        .map(|f| format!("{} {:?} lsn {:?}: {} / {:?}", f.code.name(), f.segment, f.lsn, f.message, f.impact))
        .collect();
    Some(format!(
        "{} offset {} bit {} ({:X?}): {} errors\n    {}",
        flip.segment,
        flip.offset,
        flip.bit,
        flip.owner,
        errors.len(),
        said.join("\n    ")
    ))
}

fn flips_are_named(version: &str) {
    let recording = Recording::of(version);
    let specimen = Specimen::of(&recording.archive());
    assert!(!specimen.audit().is_damaged(), "{:?}", specimen.audit().findings);
    let maps = wal_map::map(&specimen);
    let targets = Targets::of(&maps);
    let large = specimen.bytes(specimen.segments()[0]).len() > 4 << 20;
    let default = if large { FLIPS_OF_LARGE_SEGMENTS } else { FLIPS };
    let count = from_environment("WALPROOF_FLIPS")
        .map_or(default, |all| usize::try_from(all).unwrap() / VERSIONS.len() + 1);
    let mut random = Random(from_environment("WALPROOF_SEED").unwrap_or(1) ^ version.len() as u64);
    let mut flips: Vec<Flip> = Vec::new();
    while flips.len() < count {
        let flip = targets.flip(&mut random);
        let bytes_of_header = matches!(flip.owner, Owner::Page { .. });
        let is_hint = bytes_of_header && flip.offset % 8192 == 2 && flip.bit == 2 && version != "19";
        // How long the rest is of a record that began before the archive is known to eight bytes only.
        let of_oldest = flip.segment == maps[0].name && flip.offset == 16 && flip.bit < 3;
        if !is_hint && !of_oldest {
            flips.push(flip);
        }
    }
    // Files are read once each.
    flips.sort_by_key(|flip| (flip.segment, flip.offset, flip.bit));
    let mut complaints = Vec::new();
    for of_segment in flips.chunk_by(|a, b| a.segment == b.segment) {
        let name = of_segment[0].segment;
        let mut bytes = specimen.bytes(name);
        for flip in of_segment {
            bytes[flip.offset] ^= 1 << flip.bit;
            complaints.extend(complaint(flip, &specimen.audit_with(name, &bytes)));
            bytes[flip.offset] ^= 1 << flip.bit;
        }
    }
    let shown: Vec<&str> = complaints.iter().take(40).map(String::as_str).collect();
    assert!(complaints.is_empty(), "{version}: {} of {count} flips:\n{}", complaints.len(), shown.join("\n"));
}

macro_rules! flips {
    ($($test:ident $version:literal;)+) => { $(
        #[test]
        fn $test() {
            flips_are_named($version);
        }
    )+ };
}

flips! {
    flips_in_9_5_are_named "9.5";
    flips_in_9_6_are_named "9.6";
    flips_in_10_are_named "10";
    flips_in_11_are_named "11";
    flips_in_12_are_named "12";
    flips_in_13_are_named "13";
    flips_in_14_are_named "14";
    flips_in_15_are_named "15";
    flips_in_16_are_named "16";
    flips_in_17_are_named "17";
    flips_in_18_are_named "18";
    flips_in_19_are_named "19";
}

/// How the walk of a segment begins.
fn setup(specimen: &Specimen, name: SegmentName) -> Setup {
    let facts = specimen.scan(name, &specimen.bytes(name));
    Setup {
        format: facts.identity.unwrap().format,
        start: facts.start,
        timeline: name.timeline,
        owners: specimen.plan.owners(name.timeline),
    }
}

/// What a walk says of a segment's first pages.
fn walk(setup: &Setup, pages: &[u8]) -> Walked {
    let mut walk = Walk::new(setup.clone(), Quiet);
    walk.feed_by(crc::Portable, pages);
    walk.finish().0
}

/// Wants nothing of the records.
struct Quiet;

impl Sink for Quiet {
    fn capture(&self, _: &RecordHeader, _: &[u8]) -> Capture {
        Capture::Headers
    }
    fn record(&mut self, _: &Record<'_>) {}
    fn run(&mut self, _: usize) {}
}

/// Pages of which every bit is flipped: two whole ones behind a segment's first, which is read before them.
const PAGES: usize = 3;
/// Pages read behind them, so that a wrong length or a missing rest shows.
const PAGES_BEHIND: usize = 3;

/// Every bit of real pages, one after the other.
fn every_bit_is_noticed(version: &str, segment: usize) {
    let recording = Recording::of(version);
    let specimen = Specimen::of(&recording.archive());
    let maps = wal_map::map(&specimen);
    let begins_within = |map: &&SegmentMap| {
        let start = u64::from(map.name.segment) * specimen.bytes(map.name).len() as u64;
        let of_pages = map.pieces.iter().filter(|piece| (8192..PAGES * 8192).contains(&piece.from));
        of_pages.clone().count() > 20
            && of_pages.clone().all(|piece| !matches!(piece.owner, Owner::Record { lsn, .. } if lsn < start))
    };
    let map = maps.iter().skip(segment).find(begins_within).unwrap();
    let whole = specimen.bytes(map.name);
    let mut pages = whole[..(PAGES + PAGES_BEHIND) * 8192].to_vec();
    let setup = setup(&specimen, map.name);
    let sound = walk(&setup, &pages);
    assert!(sound.wounds.is_empty(), "{:?}", sound.wounds);
    let mut complaints = Vec::new();
    for offset in 8192..PAGES * 8192 {
        let owner = map.owner(offset);
        for bit in 0..8 {
            pages[offset] ^= 1 << bit;
            let walked = walk(&setup, &pages);
            pages[offset] ^= 1 << bit;
            let right = match owner {
                Owner::Unprotected(_) => continue,
                Owner::Page { .. } if wal_map::is_removable_flag(&whole, offset, bit) => continue,
                Owner::Page { lsn, crossing } => vec![Some(lsn), crossing],
                Owner::Record { lsn, .. } => vec![Some(lsn)],
            };
            let wounds = &walked.wounds;
            if wounds.len() != 1 || !right.contains(&Some(wounds[0].lsn.0)) {
                complaints.push(format!("offset {offset} bit {bit} {owner:X?}: {wounds:X?}"));
            }
        }
    }
    let shown: Vec<&str> = complaints.iter().take(20).map(String::as_str).collect();
    assert!(complaints.is_empty(), "{version}: {}\n{}", complaints.len(), shown.join("\n"));
}

#[test]
fn every_bit_of_pages_of_9_6() {
    every_bit_is_noticed("9.6", 2);
}

#[test]
fn every_bit_of_pages_of_14() {
    every_bit_is_noticed("14", 3);
}

#[test]
fn every_bit_of_pages_of_19() {
    every_bit_is_noticed("19", 4);
}

/// A file cut at any length is damaged, whatever its place in the archive, and that is all that is wrong.
#[test]
fn every_cut_is_noticed() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
    let specimen = Specimen::of(&demo);
    let names = specimen.segments();
    let mut complaints = Vec::new();
    for name in [names[0], names[1], names[3], *names.last().unwrap()] {
        let whole = specimen.bytes(name);
        let at_pages =
            (0..whole.len()).step_by(8192).flat_map(|page| [page.saturating_sub(1), page, page + 1]);
        let every_length = if name == names[1] { 8192..3 * 8192 } else { 0..100 };
        for length in at_pages.chain(every_length).chain(whole.len() - 100..whole.len()) {
            let audit = specimen.audit_with(name, &whole[..length]);
            let errors: Vec<&Finding> =
                audit.findings.iter().filter(|f| f.severity == Severity::Error).collect();
            let file = name.to_string();
            let named =
                |f: &&Finding| f.code == Code::SegmentTruncated && f.segment.as_deref() == Some(&file);
            if errors.len() != 1 || !errors.iter().all(named) {
                complaints.push(format!("{name} cut to {length}: {errors:?}"));
            }
        }
    }
    let shown: Vec<&str> = complaints.iter().take(20).map(String::as_str).collect();
    assert!(complaints.is_empty(), "{}\n{}", complaints.len(), shown.join("\n"));
}
