//! What kind of WAL a file holds, from its first bytes.
//!
//! One damaged byte must not turn a segment into another version's or another size's: the magic is the one that
//! most pages of the first piece carry, and the size is the one that agrees with the file's name and length.

use crate::wal::page::{DEFAULT_PAGE_BYTES, LongHeader, PageHeader};
use crate::wal::walk::Format;
use crate::wal::{Lsn, Major, SegmentName, SegmentSize, SystemId};

/// Pages looked at for the magic.
const VOTERS: usize = 32;

/// What the first page says, and what it must be taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// How the segment is written.
    pub format: Format,
    /// `xlp_sysid` as stored.
    pub system_id: SystemId,
    /// `xlp_pageaddr` of the first page as stored.
    pub address: Lsn,
}

impl Identity {
    /// Looks at the first bytes of a file of `length` bytes (where that is known) that is called `name`.
    ///
    /// `None`: no page here has the magic of a known version.
    pub fn of(first: &[u8], name: SegmentName, length: Option<u64>) -> Option<Self> {
        let page_bytes = page_bytes(first);
        let (major, magic) = elect_magic(first, page_bytes)?;
        let long = LongHeader::read(first)?;
        let address = long.short().address();
        let segment_size =
            segment_size(&long, name, length).or_else(|| size_by_name(first, page_bytes, name))?;
        let format = Format { major, magic, page_bytes, segment_size };
        Some(Self { format, system_id: long.system_id(), address })
    }
}

/// `xlp_xlog_blcksz`, unless a page stands before the second one that it gives, or none stands there; else what almost
/// every server has.
fn page_bytes(first: &[u8]) -> usize {
    let stored = LongHeader::read(first).map_or(0, |long| long.page_bytes() as usize);
    let possible = stored.is_power_of_two() && PAGE_BYTES_POSSIBLE.contains(&stored);
    let confirmed = second_page(first, stored)
        .is_none_or(|second| Major::from_magic(second.magic()).is_some() || second.is_zero());
    let stands_before = |smaller: usize| stored > smaller && is_next_page(first, smaller);
    if possible && confirmed && !stands_before(DEFAULT_PAGE_BYTES) { stored } else { DEFAULT_PAGE_BYTES }
}

/// What `XLOG_BLCKSZ` can be.
const PAGE_BYTES_POSSIBLE: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 16;

fn second_page(first: &[u8], page_bytes: usize) -> Option<PageHeader> {
    first.get(page_bytes..).and_then(PageHeader::read)
}

/// Whether the page after the first stands here, by its magic and its address.
fn is_next_page(first: &[u8], page_bytes: usize) -> bool {
    let begin = PageHeader::read(first).map(|page| page.address());
    second_page(first, page_bytes).zip(begin).is_some_and(|(second, begin)| {
        Major::from_magic(second.magic()).is_some() && second.address() == begin.plus(page_bytes as u64)
    })
}

/// The size that puts a segment of this name where its pages say it is; the smallest, where several do. For a file
/// whose length is not known before all of it is decoded and whose header gives a size that cannot be.
fn size_by_name(first: &[u8], page_bytes: usize, name: SegmentName) -> Option<SegmentSize> {
    let begin = PageHeader::read(first)?.address();
    let sizes = (0..=10).filter_map(|power| SegmentSize::new(1 << (20 + power)));
    // A segment that begins the address space, or is the only one in its file's name, fits every size.
    let fits = |size: &SegmentSize| name.start(*size) == Some(begin);
    let all: Vec<SegmentSize> = sizes.filter(fits).collect();
    let usual = all.iter().find(|size| size.bytes() == USUAL_SEGMENT_BYTES);
    (is_next_page(first, page_bytes)).then(|| usual.or(all.first()).copied())?
}

/// `--wal-segsize` where it is not given.
const USUAL_SEGMENT_BYTES: u64 = 16 << 20;

/// The known magic that most pages carry; among equals the first page's.
fn elect_magic(first: &[u8], page_bytes: usize) -> Option<(Major, u16)> {
    let magics: Vec<u16> = first
        .chunks(page_bytes)
        .take(VOTERS)
        .filter_map(|page| PageHeader::read(page).map(|header| header.magic()))
        .filter(|magic| Major::from_magic(*magic).is_some())
        .collect();
    let votes = |magic: u16| magics.iter().filter(|other| **other == magic).count();
    // `max_by_key` gives the last of equals, so the first page comes last.
    let magic = *magics.iter().rev().max_by_key(|magic| votes(**magic))?;
    Some((Major::from_magic(magic)?, magic))
}

/// The size that puts a segment of this name where its first page says it is; else what is stored, else the
/// file's length.
fn segment_size(long: &LongHeader, name: SegmentName, length: Option<u64>) -> Option<SegmentSize> {
    let stored = SegmentSize::new(u64::from(long.segment_bytes()));
    let as_file = length.and_then(SegmentSize::new);
    let fits = |size: &SegmentSize| name.start(*size) == Some(long.short().address());
    let possible = |size: &SegmentSize| name.start(*size).is_some();
    stored.filter(fits).or(as_file.filter(fits)).or(stored.filter(possible)).or(as_file.filter(possible))
}
