//! Records that start on a page: checked as the server does, accepted, and put into runs.
//!
//! PostgreSQL: `ValidXLogRecordHeader`, `ValidXLogRecord` in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::facts::{Context, Ending, Overwrite, Record, Run, Sink};
use super::gathered::{aligned, crc_fault, record_crc};
use super::{State, Walk};
use crate::wal::crc::Crc32c;
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;
use crate::wal::record::{HEADER_BYTES, Layout, MIN_RECORD_BYTES, RecordHeader, check_body, check_length};

impl<S: Sink> Walk<S> {
    /// Records from `position` on, to the page's end.
    #[inline(always)]
    pub(super) fn records<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn, position: usize) {
        let behind_head = self.behind_head;
        self.records_in_page(crc, page, at, position);
        if behind_head && self.out.wounds.last().is_some_and(|wound| wound.context == Context::BehindHead) {
            self.judge_head(crc, page, at);
        }
    }

    #[inline(always)]
    pub(super) fn records_in_page<C: Crc32c>(&mut self, crc: C, page: &[u8], at: Lsn, mut position: usize) {
        let major = self.setup.format.major;
        loop {
            position = self.records_together(crc, page, at, position);
            let Some(rest) = page.get(position..).filter(|rest| !rest.is_empty()) else { break };
            let lsn = at.plus(position as u64);
            let Some((length, _)) = rest.split_first_chunk() else { return };
            let total = u32::from_le_bytes(*length);
            if total == 0 {
                self.end_of_wal(rest, lsn);
                return;
            }
            let Some(header) = RecordHeader::read(rest) else {
                if let Err(fault) = check_length(total) {
                    self.bad_record(fault, lsn);
                    return;
                }
                self.open_partial(crc, rest, lsn, total);
                return;
            };
            if let Err(fault) = header.check(major) {
                if !self.ends_torn(rest, &header, fault, lsn) {
                    self.bad_record(fault, lsn);
                }
                return;
            }
            let link = self.check_prev_link(header.prev(), lsn);
            let Some(record) = rest.get(..total as usize) else {
                self.open_partial(crc, rest, lsn, total);
                return;
            };
            let end = aligned(position + total as usize);
            let computed = record_crc(crc, record);
            let body = record.get(HEADER_BYTES..).unwrap_or_default();
            let fault = link.err().or_else(|| crc_fault(computed, header.crc()));
            if let Some(fault) = fault {
                if computed == header.crc() && self.is_of_older_use(header.prev()) {
                    self.end_before_older_use(lsn, header.prev());
                    return;
                }
                if computed != header.crc() && self.ends_torn(rest, &header, fault, lsn) {
                    return;
                }
                self.doubtful_record(fault, lsn);
                if computed == header.crc() {
                    // The bytes are as they were written; it is what came before that is missing.
                    self.suspect = false;
                    self.prev = Lsn::INVALID;
                    self.accept(&header, body, lsn, at.plus(end as u64));
                } else if self.state == State::Lost {
                    return;
                }
            } else {
                self.accept(&header, body, lsn, at.plus(end as u64));
            }
            if self.state == State::Ended {
                self.check_rest_of_page(page, at, position + total as usize);
                return;
            }
            if end != position + total as usize {
                self.check_record_padding(page, at, position + total as usize, end);
            }
            position = end;
        }
        if self.state != State::Lost {
            self.state = State::Between;
        }
    }

    /// `xl_prev` must be the start of the record before; where that is not known, at least lie before this one.
    #[inline(always)]
    pub(super) fn check_prev_link(&self, found: Lsn, lsn: Lsn) -> Result<(), Fault> {
        let fits = if self.prev == Lsn::INVALID { found < lsn } else { found == self.prev };
        if fits { Ok(()) } else { Err(Fault::PrevLink { expected: self.prev, found }) }
    }

    /// A record that passed every check of its own bytes: takes it into the run and hands it on.
    #[inline(always)]
    pub(super) fn accept(&mut self, header: &RecordHeader, body: &[u8], lsn: Lsn, mut end: Lsn) {
        let format = &self.setup.format;
        let body_length = header.total_length().saturating_sub(MIN_RECORD_BYTES);
        #[expect(clippy::cast_possible_truncation, reason = "pages are at most 64 KiB")]
        let layout = match check_body(body, body_length, format.page_bytes as u32, format.major) {
            Ok(layout) => layout,
            Err(fault) => {
                self.doubtful_record(fault, lsn);
                self.suspect = false;
                return;
            }
        };
        let is_switch = header.is_switch(format.major);
        if is_switch {
            end = self.segment_end();
        }
        self.suspect = false;
        if self.overwritten.is_some() {
            self.note_overwrite(header, body, layout, lsn);
        }
        if lsn >= self.owner_until || !self.unbroken || self.out.runs.is_empty() {
            self.begin_run(header, lsn);
        }
        if let Some(run) = self.out.runs.last_mut() {
            run.last = lsn;
            run.end = end;
            run.records += 1;
        }
        self.prev = lsn;
        self.behind_head = false;
        let owner = self.owner;
        self.sink.record(&Record { lsn, end, owner, header: *header, layout, body });
        if is_switch {
            self.out.ending = Ending::Switch { at: lsn };
            self.state = State::Ended;
        } else {
            self.state = State::Between;
        }
    }

    /// The next record begins a run.
    pub(super) fn begin_run(&mut self, header: &RecordHeader, lsn: Lsn) {
        if self.head_doubt.is_some() {
            // A record where the second page leads to, or one that begins on it, says that it is right.
            if lsn.bytes_since(self.setup.start) < 2 * self.setup.format.page_bytes as u64 {
                self.blame_first_page();
            }
            self.head_doubt = None;
        }
        (self.owner, self.owner_until) = self.setup.owners.at(lsn);
        let run = Run {
            owner: self.owner,
            first: lsn,
            prev_of_first: header.prev(),
            last: lsn,
            end: lsn,
            records: 0,
            continues: self.unbroken,
        };
        self.out.runs.push(run);
        self.unbroken = true;
        self.sink.run(self.out.runs.len() - 1);
    }

    /// The first record behind a page with the overwrite flag must say which record it overwrites.
    pub(super) fn note_overwrite(&mut self, header: &RecordHeader, body: &[u8], layout: Layout, lsn: Lsn) {
        const OVERWRITE_CONTRECORD: u8 = 0xD0;
        let expected = self.overwritten.take().unwrap_or(Lsn::INVALID);
        let names = body.get(layout.main as usize..).and_then(|main| main.first_chunk());
        let is_overwrite = header.resource_manager().0 == 0 && header.info() & 0xF0 == OVERWRITE_CONTRECORD;
        let found = names.filter(|_| is_overwrite).map_or(Lsn::INVALID, |b| Lsn(u64::from_le_bytes(*b)));
        if found == Lsn::INVALID || (expected != Lsn::INVALID && found != expected) {
            // Where no record was open the server does not look at the flag: it is the page that is wrong.
            let no_record_was_open = expected == Lsn::INVALID;
            let page = Lsn(lsn.0 - lsn.0 % self.setup.format.page_bytes as u64);
            let place = if no_record_was_open { page } else { lsn };
            self.wound(Fault::OverwriteMismatch { expected, found }, place, place);
            self.unbroken &= no_record_was_open;
        } else {
            self.out.overwrites.push(Overwrite { dropped: found, at: lsn });
        }
    }
}
