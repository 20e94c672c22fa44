//! Writes WAL of PostgreSQL 16: pages, records, checksums, timelines that fork. Only what recovery looks at is in it.

use std::collections::BTreeMap;

/// Bytes in a segment: the smallest size there is.
pub const SEGMENT: u64 = 1 << 20;
const PAGE: u64 = 8192;
const MAGIC: u16 = 0xD113;
pub const SYSTEM: u64 = 7_710_551_062_839_694_035;

const RM_XLOG: u8 = 0;
const RM_XACT: u8 = 1;

/// Where one record stands.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub start: u64,
    /// Where it ends, aligned: where the next one would begin, page headers aside.
    pub end: u64,
}

/// One timeline being written.
#[derive(Clone)]
pub struct Timeline {
    pub id: u32,
    /// The parent and where it was left.
    pub parent: Option<(u32, u64)>,
    /// Its files, by segment number.
    pub segments: BTreeMap<u64, Vec<u8>>,
    /// Its own records.
    pub records: Vec<Placed>,
    /// Where the next record goes.
    pub position: u64,
    previous: u64,
}

impl Timeline {
    /// Timeline 1 of a cluster, from the start of a segment.
    pub fn first(segment: u64) -> Self {
        let position = segment * SEGMENT;
        Self { id: 1, parent: None, segments: BTreeMap::new(), records: Vec::new(), position, previous: 0 }
    }

    /// A timeline that leaves this one behind its record number `record`.
    pub fn fork(&self, id: u32, record: usize) -> Self {
        let last = self.records[record];
        let switch = last.end;
        let mut child = Self {
            id,
            parent: Some((self.id, switch)),
            segments: BTreeMap::new(),
            records: Vec::new(),
            position: switch,
            previous: last.start,
        };
        let inside = switch % SEGMENT;
        if inside > 0 {
            let mut copy = self.segments[&(switch / SEGMENT)].clone();
            copy[usize::try_from(inside).unwrap()..].fill(0);
            child.segments.insert(switch / SEGMENT, copy);
        }
        child
    }

    /// Bytes of the current segment that are not written yet.
    pub fn left(&self) -> u64 {
        SEGMENT - self.position % SEGMENT
    }

    /// Where the next record will start, header of its page included.
    pub fn next_start(&self) -> u64 {
        let header = match (self.position % SEGMENT, self.position % PAGE) {
            (0, _) => 40,
            (_, 0) => 24,
            _ => 0,
        };
        self.position + header
    }

    pub fn commit(&mut self, xid: u32, time: i64) -> Placed {
        self.record(RM_XACT, 0x00, xid, &time.to_le_bytes())
    }

    /// A record of no consequence with so many bytes in it.
    pub fn filler(&mut self, bytes: usize) -> Placed {
        self.record(RM_XLOG, 0x20, 0, &vec![0x5A; bytes])
    }

    /// An online checkpoint.
    pub fn checkpoint(&mut self, redo: u64, time: i64) -> Placed {
        let body = checkpoint_body(redo, self.id, self.id, time);
        self.record(RM_XLOG, 0x10, 0, &body)
    }

    /// What a promoted server writes first.
    pub fn begin(&mut self, time: i64) -> Placed {
        let parent = self.parent.unwrap().0;
        let body = checkpoint_body(self.next_start(), self.id, parent, time);
        self.record(RM_XLOG, 0x00, 0, &body)
    }

    pub fn backup_end(&mut self, start: u64) -> Placed {
        self.record(RM_XLOG, 0x50, 0, &start.to_le_bytes())
    }

    /// Ends the segment, unless nothing was written into it.
    pub fn switch(&mut self) {
        if self.position.is_multiple_of(SEGMENT) {
            return;
        }
        let placed = self.record(RM_XLOG, 0x40, 0, &[]);
        if !self.position.is_multiple_of(SEGMENT) {
            self.position = (self.position / SEGMENT + 1) * SEGMENT;
        }
        self.records.last_mut().unwrap().end = self.position;
        assert!(placed.end <= self.position);
    }

    fn record(&mut self, manager: u8, info: u8, xid: u32, main: &[u8]) -> Placed {
        let mut body = Vec::new();
        match u8::try_from(main.len()) {
            Ok(0) => {}
            Ok(length) => body.extend([0xFF, length]),
            Err(_) => {
                body.push(0xFE);
                body.extend(u32::try_from(main.len()).unwrap().to_le_bytes());
            }
        }
        body.extend(main);
        let mut header = Vec::with_capacity(24);
        header.extend(u32::try_from(24 + body.len()).unwrap().to_le_bytes());
        header.extend(xid.to_le_bytes());
        header.extend(self.previous.to_le_bytes());
        header.extend([info, manager, 0, 0]);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&body), &header);
        header.extend(checksum.to_le_bytes());
        header.extend(body);
        self.put(&header)
    }

    fn put(&mut self, bytes: &[u8]) -> Placed {
        let start = self.next_start();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.position.is_multiple_of(PAGE) {
                self.page_header(if rest.len() < bytes.len() { rest.len() } else { 0 });
            }
            let room = usize::try_from(PAGE - self.position % PAGE).unwrap();
            let (here, behind) = rest.split_at(rest.len().min(room));
            self.raw(here);
            rest = behind;
        }
        self.position = self.position.next_multiple_of(8);
        self.previous = start;
        let placed = Placed { start, end: self.position };
        self.records.push(placed);
        placed
    }

    fn page_header(&mut self, remaining: usize) {
        let is_first = self.position.is_multiple_of(SEGMENT);
        let flags = u16::from(remaining > 0) | if is_first { 2 } else { 0 };
        let mut header = Vec::with_capacity(40);
        header.extend(MAGIC.to_le_bytes());
        header.extend(flags.to_le_bytes());
        header.extend(self.id.to_le_bytes());
        header.extend(self.position.to_le_bytes());
        header.extend(u32::try_from(remaining).unwrap().to_le_bytes());
        header.extend([0; 4]);
        if is_first {
            header.extend(SYSTEM.to_le_bytes());
            header.extend(u32::try_from(SEGMENT).unwrap().to_le_bytes());
            header.extend(u32::try_from(PAGE).unwrap().to_le_bytes());
        }
        self.raw(&header);
    }

    fn raw(&mut self, bytes: &[u8]) {
        let size = usize::try_from(SEGMENT).unwrap();
        let file = self.segments.entry(self.position / SEGMENT).or_insert_with(|| vec![0; size]);
        let at = usize::try_from(self.position % SEGMENT).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        self.position += bytes.len() as u64;
    }
}

fn checkpoint_body(redo: u64, timeline: u32, previous: u32, time: i64) -> Vec<u8> {
    const UNIX_SECONDS_IN_2000: i64 = 946_684_800;
    let mut body = vec![0; 88];
    body[0..8].copy_from_slice(&redo.to_le_bytes());
    body[8..12].copy_from_slice(&timeline.to_le_bytes());
    body[12..16].copy_from_slice(&previous.to_le_bytes());
    body[16] = 1;
    body[24..32].copy_from_slice(&1000_u64.to_le_bytes());
    body[64..72].copy_from_slice(&(time / 1_000_000 + UNIX_SECONDS_IN_2000).to_le_bytes());
    body[80..84].copy_from_slice(&1000_u32.to_le_bytes());
    body
}

/// `%X/%X`.
pub fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

/// The name of a segment.
pub fn name(timeline: u32, segment: u64) -> String {
    let per_log = (1_u64 << 32) / SEGMENT;
    format!("{timeline:08X}{:08X}{:08X}", segment / per_log, segment % per_log)
}
