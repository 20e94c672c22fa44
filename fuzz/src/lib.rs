//! What each fuzz target does with its bytes. `tests/fuzz_inputs.rs` includes this file too: every input that once
//! broke something is an ordinary test.
//!
//! No input may panic, hang, or make the program allocate by a length that nothing proves. What holds beyond that is
//! asserted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    reason = "a target fails by panicking; a test includes this file"
)]

use walproof::archive::memory::Memory;
use walproof::archive::{Archive, LayoutChoice, Secrets};
use walproof::audit::{self, Options};
use walproof::backup::control::ControlFile;
use walproof::backup::label::LabelFile;
use walproof::backup::manifest::Manifest;
use walproof::clock::Clock;
use walproof::dump::{Filter, dump};
use walproof::recovery::conf::Conf;
use walproof::scan::segment::Scan;
use walproof::scan::{Detail, Expectation, SegmentFacts};
use walproof::timeline::History;
use walproof::wal::{Lsn, Major, Owners, SegmentName, SegmentSize, TimelineId, WalFileName, crc};

/// What takes an input.
pub type Target = fn(&[u8]);

/// The targets, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("page", page),
    ("record", record),
    ("segment", segment),
    ("names", names),
    ("history", history),
    ("label", label),
];

const PAGE: usize = 8192;
const SEGMENT_BYTES: u32 = 1 << 20;
const MAGICS: [u16; 12] =
    [0xD087, 0xD093, 0xD097, 0xD098, 0xD101, 0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118, 0xD120];

/// The magic of the version that `byte` picks.
fn magic(byte: u8) -> u16 {
    let newest = MAGICS.iter().filter(|magic| Major::from_magic(**magic).is_some()).count();
    MAGICS[usize::from(byte) % newest]
}

fn scan(name: SegmentName, bytes: &[u8], pieces: usize) -> SegmentFacts {
    let expectation = Expectation {
        owners: Owners::root(name.timeline),
        digests: vec![Lsn(0x10_2000)],
        records_from: Some(Lsn::INVALID),
        digest_all: true,
        detail: Detail::Events,
    };
    let mut scan = Scan::new(name, &expectation, Some(bytes.len() as u64));
    for piece in bytes.chunks(pieces) {
        if scan.feed(piece).is_break() {
            break;
        }
    }
    scan.finish()
}

/// An archive of these files.
fn archive<'a>(files: impl IntoIterator<Item = (String, &'a [u8])>) -> Archive {
    let memory = Memory::new();
    for (name, bytes) in files {
        memory.put(&name, bytes);
    }
    Archive::of_store("memory", Box::new(memory), LayoutChoice::Auto, Secrets::default()).unwrap()
}

/// Everything that is said of an archive.
fn judge(archive: &Archive) {
    let options = Options { detail: Detail::Events, ..Options::default() };
    let Ok(audit) = audit::audit(archive, &options, &|_| {}) else { return };
    assert!(audit.findings.iter().all(|finding| !finding.message.is_empty()));
    let Ok(plan) = audit::plan(archive, &options) else { return };
    let mut lines = 0_u64;
    let mut each = |line: &walproof::dump::Line| {
        lines += 1;
        assert!(!line.to_string().is_empty());
        Ok(())
    };
    dump(archive, &plan, &Filter::default(), &Clock::utc(), &mut each).unwrap();
}

/// A file of any content under any name: two numbers and the first bytes.
pub fn page(data: &[u8]) {
    let Some((head, bytes)) = data.split_at_checked(8) else { return };
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let name = SegmentName { timeline: TimelineId(1), log: number(0), segment: number(4) };
    let facts = scan(name, bytes, PAGE);
    assert_eq!(facts, scan(name, bytes, 911));
}

/// A record with a right header around the body given, so that its content is read by everything that reads it.
pub fn record(data: &[u8]) {
    let Some(([version, manager, info, flags], body)) = data.split_first_chunk::<4>() else { return };
    let magic = magic(*version);
    let mut record = Vec::with_capacity(24 + body.len());
    record.extend_from_slice(&(24 + body.len() as u32).to_le_bytes());
    record.extend_from_slice(&u32::from(*flags).to_le_bytes());
    record.extend_from_slice(&0x0F_FFD8_u64.to_le_bytes());
    record.extend_from_slice(&[*info, *manager, 0, 0, 0, 0, 0, 0]);
    record.extend_from_slice(body);
    seal(&mut record);
    let bytes = laid_out(magic, &record);
    let name = SegmentName { timeline: TimelineId(1), log: 0, segment: 1 };
    let facts = scan(name, &bytes, 1 << 20);
    assert!(facts.walked.wounds.len() <= 1, "{:?}", facts.walked.wounds);
    judge(&archive([(name.to_string(), &bytes[..])]));
}

/// Puts the right checksum into a record.
fn seal(record: &mut [u8]) {
    if let Some(sum) = crc::record_checksum(crc::Portable, record) {
        record[20..24].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The pages of a segment that begin with this record.
fn laid_out(magic: u16, record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = record;
    let mut index = 0;
    while index == 0 || !rest.is_empty() && index < SEGMENT_BYTES as usize / PAGE {
        let remaining = if index == 0 { 0 } else { rest.len() as u32 };
        let mut page = header(magic, index, u16::from(index > 0), remaining);
        let here = rest.len().min(PAGE - page.len());
        page.extend_from_slice(&rest[..here]);
        rest = &rest[here..];
        page.resize(PAGE, 0);
        bytes.append(&mut page);
        index += 1;
    }
    bytes
}

/// The header of a page of the segment that begins at 0/100000.
fn header(magic: u16, index: usize, flags: u16, remaining: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(PAGE);
    header.extend_from_slice(&magic.to_le_bytes());
    header.extend_from_slice(&(flags & !2 | if index == 0 { 2 } else { 0 }).to_le_bytes());
    header.extend_from_slice(&1_u32.to_le_bytes());
    header.extend_from_slice(&(u64::from(SEGMENT_BYTES) + (index * PAGE) as u64).to_le_bytes());
    header.extend_from_slice(&remaining.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    if index == 0 {
        header.extend_from_slice(&7_000_000_000_000_000_000_u64.to_le_bytes());
        header.extend_from_slice(&SEGMENT_BYTES.to_le_bytes());
        header.extend_from_slice(&(PAGE as u32).to_le_bytes());
    }
    header
}

/// Pages whose headers and checksums are mended, as far as the first two bytes say, so that more than the first
/// check is reached.
pub fn segment(data: &[u8]) {
    let Some(([version, mend], bytes)) = data.split_first_chunk::<2>() else { return };
    let mut bytes = bytes[..bytes.len().min(1 << 17)].to_vec();
    let magic = magic(*version);
    let mut last = 0x0F_FFD8_u64;
    for (index, page) in bytes.chunks_mut(PAGE).enumerate() {
        if mend & 1 != 0 && page.len() >= 40 {
            let flags = u16::from_le_bytes([page[2], page[3]]) & 0x0F;
            let remaining = u32::from_le_bytes(page[16..20].try_into().unwrap());
            let mended = header(magic, index, flags, remaining);
            page[..mended.len()].copy_from_slice(&mended);
            if mend & 2 != 0 {
                last = mend_records(page, mended.len() + remaining.min(1 << 20) as usize, index, last);
            }
        }
    }
    let name = SegmentName { timeline: TimelineId(1), log: 0, segment: 1 };
    let facts = scan(name, &bytes, 1 << 20);
    assert_eq!(facts, scan(name, &bytes, 1 + usize::from(*version) * 37));
    judge(&archive([(name.to_string(), &bytes[..])]));
}

/// Links and seals the records that lie on one page, and gives the start of the last one.
fn mend_records(page: &mut [u8], from: usize, index: usize, mut last: u64) -> u64 {
    let mut at = from.next_multiple_of(8);
    while let Some(length) = page.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(record) = page.get_mut(at..at.saturating_add(length)).filter(|record| record.len() >= 24)
        else {
            break;
        };
        record[8..16].copy_from_slice(&last.to_le_bytes());
        seal(record);
        last = u64::from(SEGMENT_BYTES) + (index * PAGE + at) as u64;
        at = (at + length).next_multiple_of(8);
    }
    last
}

/// Lines that are names of files, each of which holds a first page that fits its name.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(4096)]);
    let mut files = Vec::new();
    for name in text.lines().filter(|name| !name.is_empty()).take(48) {
        let parsed = WalFileName::parse(name);
        assert!(parsed.is_none_or(|parsed| parsed.to_string() == name), "{name:?}");
        let mut page = header(MAGICS[7], 0, 0, 0);
        if let Some(WalFileName::Segment(segment) | WalFileName::Partial(segment)) = parsed {
            let address = segment.start(SegmentSize::MIN).unwrap_or(Lsn::INVALID).0;
            page[4..8].copy_from_slice(&segment.timeline.0.to_le_bytes());
            page[8..16].copy_from_slice(&address.to_le_bytes());
        }
        page.resize(PAGE, 0);
        files.push((name.to_owned(), page));
    }
    judge(&archive(files.iter().map(|(name, page)| (name.clone(), &page[..]))));
}

/// Up to three history files, parted by a zero byte, over an archive of four timelines.
pub fn history(data: &[u8]) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (index, text) in data.splitn(3, |byte| *byte == 0).enumerate() {
        let timeline = TimelineId(index as u32 + 2);
        if let Ok(history) = History::parse(timeline, text) {
            let path = history.path();
            assert_eq!(path.last(), Some(&timeline));
            for lsn in [0, 1, 0x10_0000, u64::MAX].map(Lsn) {
                assert!(path.contains(&history.owner(lsn)));
            }
        }
        files.push((format!("{:08X}.history", timeline.0), text.to_vec()));
    }
    for timeline in 1..=4_u32 {
        for segment in timeline..timeline + 2 {
            let mut page = header(MAGICS[7], 0, 0, 0);
            page[4..8].copy_from_slice(&timeline.to_le_bytes());
            page[8..16].copy_from_slice(&(u64::from(segment) * u64::from(SEGMENT_BYTES)).to_le_bytes());
            page.resize(PAGE, 0);
            files.push((format!("{timeline:08X}00000000{segment:08X}"), page));
        }
    }
    judge(&archive(files.iter().map(|(name, bytes)| (name.clone(), &bytes[..]))));
}

/// The small files of a backup: label or history file, settings, manifest, control file.
pub fn label(data: &[u8]) {
    if let Ok(label) = LabelFile::parse(data) {
        assert!(label.start_timeline().0 > 0 || data.len() > 1);
    }
    let _ = Conf::parse(data);
    let _ = Manifest::read(data);
    let _ = ControlFile::parse(data);
}
