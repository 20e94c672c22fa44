//! One file on its way: bytes in, records out.

use super::describe::{Speaker, is_described};
use super::line::Line;
use super::{Filter, names};
use crate::clock::Clock;
use crate::scan::identify::Identity;
use crate::wal::crc;
use crate::wal::record::{RecordHeader, check_body};
use crate::wal::walk::{
    Capture, Ending, Format, Head, HeadEnd, Record, Setup, Sink, Tail, Walk, Wound, check_gathered,
};
use crate::wal::{Lsn, Owners, SegmentName, SystemId, TimelineId};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Bytes looked at before the walk begins: as many pages as vote on the magic.
const FIRST_PIECE_BYTES: usize = 256 << 10;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: SegmentName,
    owners: Owners,
    length: u64,
    first: Vec<u8>,
    walk: Option<(Identity, Walk<Keeper>)>,
    not_wal: bool,
    asked_for_tail: bool,
    other_owners: BTreeSet<TimelineId>,
}

/// What remains of a file.
pub(super) struct Ended {
    pub(super) format: Format,
    pub(super) system_id: SystemId,
    /// Where the segment begins.
    pub(super) start: Lsn,
    /// Where it ends.
    pub(super) end: Lsn,
    /// A record starts or ends in it.
    pub(super) has_records: bool,
    /// Its WAL goes on to its end.
    pub(super) reaches_end: bool,
    pub(super) wounds: Vec<Wound>,
    /// What is open at its end, where the WAL gets there.
    pub(super) tail: Option<Tail>,
    /// All of it is the middle of a record.
    pub(super) open_head: Option<Head>,
    /// Other timelines whose records it had.
    pub(super) owners: BTreeSet<TimelineId>,
}

/// A record that was seen in this piece: the bytes of it that its line needs.
#[derive(Debug)]
struct Kept {
    lsn: Lsn,
    end: Lsn,
    owner: TimelineId,
    header: RecordHeader,
    layout: crate::wal::record::Layout,
    body: std::ops::Range<usize>,
}

/// Keeps the records of a piece until it has been walked.
#[derive(Debug, Default)]
struct Keeper {
    records: Vec<Kept>,
    bytes: Vec<u8>,
}

impl Sink for Keeper {
    fn capture(&self, header: &RecordHeader, _: &[u8]) -> Capture {
        if is_described(header) { Capture::Whole } else { Capture::Headers }
    }

    fn record(&mut self, record: &Record<'_>) {
        let from = self.bytes.len();
        let wanted = if is_described(&record.header) {
            record.body
        } else {
            // Block references are told by their headers.
            record.body.get(..record.layout.headers as usize).unwrap_or(record.body)
        };
        self.bytes.extend_from_slice(wanted);
        self.records.push(Kept {
            lsn: record.lsn,
            end: record.end,
            owner: record.owner,
            header: record.header,
            layout: record.layout,
            body: from..self.bytes.len(),
        });
    }

    fn run(&mut self, _index: usize) {}
}

impl File {
    pub(super) fn new(name: SegmentName, owners: Owners, length: u64) -> Self {
        Self {
            name,
            owners,
            length,
            first: Vec::new(),
            walk: None,
            not_wal: false,
            asked_for_tail: false,
            other_owners: BTreeSet::new(),
        }
    }

    /// Who owns the byte at `lsn`.
    pub(super) fn owner(&self, lsn: Lsn) -> TimelineId {
        self.owners.at(lsn).0
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, piece: &[u8]) -> ControlFlow<()> {
        if self.walk.is_none() && !self.not_wal {
            self.first.extend_from_slice(piece);
            if self.first.len() >= FIRST_PIECE_BYTES {
                self.start_if_short();
            }
        } else {
            self.walk_on(piece);
        }
        let full = self.walk.as_ref().is_some_and(|(_, walk)| walk.is_complete());
        if self.not_wal || full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Begins with the bytes that there are.
    pub(super) fn start_if_short(&mut self) {
        let first = std::mem::take(&mut self.first);
        if self.walk.is_some() || first.is_empty() {
            return;
        }
        let identity = Identity::of(&first, self.name, Some(self.length));
        let start = identity.and_then(|identity| self.name.start(identity.format.segment_size));
        let (Some(identity), Some(start)) = (identity, start) else {
            self.not_wal = true;
            return;
        };
        let owners = self.owners.clone();
        let setup = Setup { format: identity.format, start, timeline: self.name.timeline, owners };
        self.walk = Some((identity, Walk::new(setup, Keeper::default())));
        self.walk_on(&first);
    }

    fn walk_on(&mut self, piece: &[u8]) {
        let Some((identity, walk)) = &mut self.walk else { return };
        let room = identity.format.segment_size.bytes().saturating_sub(walk.bytes());
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(piece.len());
        walk.feed(piece.get(..taken).unwrap_or_default());
    }

    /// Whether it is known by now how the fragment at its start ends.
    pub(super) fn is_past_head(&self) -> bool {
        self.walk.as_ref().is_some_and(|(_, walk)| walk.is_past_head())
    }

    /// Whether it tells that the record open before it was given up.
    pub(super) fn starts_with_overwrite(&self) -> bool {
        self.walk.as_ref().is_some_and(|(_, walk)| walk.starts_with_overwrite())
    }

    /// Where it goes on from and how it is written; once.
    pub(super) fn ask_for_tail(&mut self) -> Option<(Lsn, Format, SystemId)> {
        let (identity, _) = self.walk.as_ref()?;
        let start = self.name.start(identity.format.segment_size)?;
        let first_time = !std::mem::replace(&mut self.asked_for_tail, true);
        first_time.then_some((start, identity.format, identity.system_id))
    }

    /// The record that begins with `tail` and ends here, if it is whole and right.
    pub(super) fn finish_crossing(&mut self, mut tail: Tail, clock: &Clock) -> Option<Line> {
        let (identity, walk) = self.walk.as_ref()?;
        let head = walk.head()?;
        let HeadEnd::Complete(end) = head.end else { return None };
        if head.declared != tail.total.saturating_sub(tail.have) {
            return None;
        }
        tail.append(head);
        let Format { major, page_bytes, .. } = identity.format;
        let header = check_gathered(crc::Portable, &tail, major, |_| Ok(())).ok()?;
        let page_bytes = u32::try_from(page_bytes).ok()?;
        let layout = check_body(tail.body(), tail.total.saturating_sub(24), page_bytes, major).ok()?;
        let owner = self.owners.at(tail.start).0;
        let record = Record { lsn: tail.start, end, owner, header, layout, body: tail.body() };
        Some(Line::of(&record, &Speaker { major, clock }, page_bytes))
    }

    /// The lines of the wanted records that were walked since the last call.
    pub(super) fn take_lines(&mut self, clock: &Clock, filter: &Filter) -> Vec<Line> {
        let Some((identity, walk)) = &mut self.walk else { return Vec::new() };
        let Keeper { records, bytes } = std::mem::take(&mut walk.sink);
        let speaker = Speaker { major: identity.format.major, clock };
        let page_bytes = u32::try_from(identity.format.page_bytes).unwrap_or(u32::MAX);
        let own = self.name.timeline;
        self.other_owners.extend(records.iter().map(|kept| kept.owner).filter(|owner| *owner != own));
        let wanted = |kept: &&Kept| filter.takes_header(kept.header.resource_manager(), kept.header.xid());
        let line = |kept: &Kept| {
            let Kept { lsn, end, owner, header, layout, .. } = *kept;
            let body = bytes.get(kept.body.clone()).unwrap_or_default();
            Line::of(&Record { lsn, end, owner, header, layout, body }, &speaker, page_bytes)
        };
        records.iter().filter(wanted).map(line).collect()
    }

    /// What is left of it; `None` if it holds no WAL.
    pub(super) fn finish(self) -> Option<Ended> {
        let (identity, walk) = self.walk?;
        let (walked, _) = walk.finish();
        let size = identity.format.segment_size;
        let reaches_end = matches!(walked.ending, Ending::Full | Ending::Switch { .. });
        Some(Ended {
            format: identity.format,
            system_id: identity.system_id,
            start: self.name.start(size)?,
            end: self.name.start(size)?.plus(size.bytes()),
            has_records: !walked.runs.is_empty() || walked.head.is_some(),
            reaches_end,
            wounds: walked.wounds,
            tail: walked.tail.filter(|_| reaches_end),
            open_head: walked.head.filter(|head| reaches_end && head.end == HeadEnd::Open),
            owners: self.other_owners,
        })
    }
}

/// The operation's name, or what pg_waldump prints for one that it does not know.
pub(super) fn operation(header: &RecordHeader, format: crate::wal::Major) -> String {
    let info = header.info() & 0xF0;
    names::operation(header.resource_manager(), info, format)
        .map_or_else(|| format!("UNKNOWN ({info:x})"), str::to_owned)
}
