//! Which byte of an archive belongs to what: a second, simple reader of undamaged WAL.
//!
//! It shares no code with the program: it trusts every length, checks nothing, and is right only where nothing is
//! wrong, which is what makes it a witness.

use std::collections::BTreeMap;

use walproof::wal::{SegmentName, TimelineId};

use super::specimen::Specimen;

const PAGE: usize = 8192;

/// What a byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The header of the page that begins at this position; the record that crosses into the page, if any.
    Page { lsn: u64, crossing: Option<u64> },
    /// The record that starts at this position.
    Record { lsn: u64, part: Part },
    /// Nothing that a checksum, the server or an archive's rules protect, and why.
    Unprotected(&'static str),
}

/// Where in its record a byte lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Header,
    Body,
    /// On another page than the record's start.
    Continued,
}

/// Bytes `from..to` of a segment, all of one owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    pub from: usize,
    pub to: usize,
    pub owner: Owner,
}

/// A record that is not finished at a segment's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    lsn: u64,
    left: usize,
}

/// One segment, mapped.
#[derive(Clone, Debug)]
pub struct SegmentMap {
    pub name: SegmentName,
    pub pieces: Vec<Piece>,
    /// Records that start here.
    pub records: usize,
    /// The record that is not finished here.
    open: Option<Open>,
}

impl SegmentMap {
    /// The owner of a byte.
    pub fn owner(&self, offset: usize) -> Owner {
        let after = self.pieces.partition_point(|piece| piece.from <= offset);
        self.pieces[after - 1].owner
    }
}

/// Maps every segment of an undamaged archive.
pub fn map(specimen: &Specimen) -> Vec<SegmentMap> {
    let mut maps: BTreeMap<SegmentName, SegmentMap> = BTreeMap::new();
    let names = specimen.segments();
    for name in &names {
        let before = neighbour_before(specimen, &names, *name);
        let opening = before.and_then(|before| maps[&before].open);
        let bytes = specimen.bytes(*name);
        let mut reader = Reader::new(&bytes);
        reader.read(opening);
        let map =
            SegmentMap { name: *name, pieces: reader.pieces, records: reader.records, open: reader.open };
        maps.insert(*name, map);
    }
    // A record whose end is nowhere in the archive can be checked by nobody.
    let continued: Vec<SegmentName> =
        names.iter().filter_map(|name| neighbour_before(specimen, &names, *name)).collect();
    for (name, map) in &mut maps {
        if let (Some(open), false) = (map.open, continued.contains(name)) {
            forget(&mut map.pieces, open.lsn, "the end of this record is not in the archive");
        }
    }
    maps.into_values().collect()
}

fn forget(pieces: &mut [Piece], record: u64, why: &'static str) {
    for piece in pieces {
        match piece.owner {
            Owner::Record { lsn, .. } if lsn == record => piece.owner = Owner::Unprotected(why),
            _ => {}
        }
    }
}

/// The segment that stands before `name` on the way to its timeline: its own, or an ancestor's.
fn neighbour_before(specimen: &Specimen, names: &[SegmentName], name: SegmentName) -> Option<SegmentName> {
    // The archives here are small: no segment number comes near the next 4 GiB.
    let has = |timeline: TimelineId| {
        let before = |other: &&SegmentName| {
            other.timeline == timeline && other.log == name.log && other.segment + 1 == name.segment
        };
        names.iter().find(before).copied()
    };
    let path = specimen.plan.history(name.timeline).map(|history| history.path()).unwrap_or_default();
    path.into_iter().rev().find_map(has)
}

struct Reader<'a> {
    bytes: &'a [u8],
    start: u64,
    pieces: Vec<Piece>,
    records: usize,
    open: Option<Open>,
    overwrite_flag: u16,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let magic = u16::from_le_bytes([bytes[0], bytes[1]]);
        let is_19 = magic >= 0xD120;
        Self {
            bytes,
            start: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
            pieces: Vec::new(),
            records: 0,
            open: None,
            overwrite_flag: if is_19 { 0x0004 } else { 0x0008 },
        }
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..at + 2].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }

    fn mark(&mut self, from: usize, to: usize, owner: Owner) {
        if from < to {
            self.pieces.push(Piece { from, to, owner });
        }
    }

    fn read(&mut self, opening: Option<Open>) {
        self.open = opening;
        let mut ended: Option<&'static str> = None;
        for page in (0..self.bytes.len()).step_by(PAGE) {
            if let Some(why) = ended {
                self.mark(page, page + PAGE, Owner::Unprotected(why));
                continue;
            }
            if self.u16(page) == 0 {
                ended = Some("behind the end of the WAL");
                self.mark(page, page + PAGE, Owner::Unprotected("behind the end of the WAL"));
                continue;
            }
            ended = self.page(page);
        }
    }

    /// One page; gives the reason why nothing behind it is protected.
    fn page(&mut self, page: usize) -> Option<&'static str> {
        let header = if page == 0 { 40 } else { 24 };
        let left = self.u32(page + 16);
        let overwrites = self.u16(page + 2) & self.overwrite_flag != 0;
        if let Some(open) = self.open.filter(|_| overwrites) {
            forget(&mut self.pieces, open.lsn, "dropped after a crash, and overwritten");
            self.open = None;
        }
        let crossing = self.open.map(|open| open.lsn).filter(|_| left > 0);
        let owner = Owner::Page { lsn: self.start + page as u64, crossing };
        self.mark(page, page + 20, owner);
        self.mark(page + 20, page + 24, Owner::Unprotected("padding in a page header"));
        self.mark(page + 24, page + header, owner);
        let mut at = page + header;
        let end = page + PAGE;
        if left > 0 {
            let here = left.min(end - at);
            let owner = match self.open {
                Some(open) => {
                    assert_eq!(open.left, left, "page {:X}", self.start + page as u64);
                    Owner::Record { lsn: open.lsn, part: Part::Continued }
                }
                None => Owner::Unprotected("the start of this record is not in the archive"),
            };
            self.mark(at, at + here, owner);
            at += here;
            if here < left {
                self.open = self.open.map(|open| Open { left: left - here, ..open });
                return None;
            }
            self.open = None;
            at = self.align(at);
        }
        while at < end {
            let total = self.u32(at);
            if total == 0 {
                self.mark(at, end, Owner::Unprotected("behind the end of the WAL"));
                return Some("behind the end of the WAL");
            }
            let lsn = self.start + at as u64;
            let here = total.min(end - at);
            let head = here.min(24);
            self.records += 1;
            self.mark(at, at + head, Owner::Record { lsn, part: Part::Header });
            self.mark(at + head, at + here, Owner::Record { lsn, part: Part::Body });
            if here < total {
                self.open = Some(Open { lsn, left: total - here });
                return None;
            }
            let is_switch = self.bytes[at + 17] == 0 && self.bytes[at + 16] & 0xF0 == 0x40;
            at += here;
            if is_switch {
                self.mark(at, end, Owner::Unprotected("behind a segment switch"));
                return Some("behind a segment switch");
            }
            at = self.align(at);
        }
        None
    }

    fn align(&mut self, at: usize) -> usize {
        let aligned = at.next_multiple_of(8);
        self.mark(at, aligned, Owner::Unprotected("padding between records"));
        aligned
    }
}

/// Whether this bit of a page header says nothing: `XLP_BKP_REMOVABLE`, up to 18.
pub fn is_removable_flag(bytes: &[u8], offset: usize, bit: u8) -> bool {
    let magic = u16::from_le_bytes([bytes[0], bytes[1]]);
    magic < 0xD120 && offset % PAGE == 2 && bit == 2
}
