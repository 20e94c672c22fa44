//! Page headers: checked as the server does, in its order, and then for what an archive can be held to.
//!
//! PostgreSQL: `XLogReaderValidatePageHeader` in `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::Walk;
use super::facts::Sink;
use crate::wal::fault::Fault;
use crate::wal::lsn::{Lsn, TimelineId};
use crate::wal::page::{LongHeader, PageFlags, PageHeader};

impl<S: Sink> Walk<S> {
    /// Checks a page header as the server does, in its order, and then what an archive can be held to.
    #[inline(always)]
    pub(super) fn check_page(&self, header: &PageHeader, page: &[u8], at: Lsn) -> Result<(), Fault> {
        let format = &self.setup.format;
        if header.magic() != format.magic {
            return Err(Fault::PageMagic { expected: format.magic, found: header.magic() });
        }
        let flags = header.flags();
        let info = flags.bits();
        let is_first = at == self.setup.start;
        let overwrite = info & format.major.overwrite_contrecord_flag() != 0;
        let continues = flags.contains(PageFlags::FIRST_IS_CONTRECORD);
        if info & !format.major.all_page_flags() != 0 {
            return Err(Fault::PageFlags { found: info });
        }
        if is_first && flags.contains(PageFlags::LONG_HEADER) {
            self.check_long_header(page)?;
        }
        // The server takes a long header in mid-segment for what it says, and then finds no records behind it.
        if is_first != flags.contains(PageFlags::LONG_HEADER) || (overwrite && continues) {
            return Err(Fault::PageFlags { found: info });
        }
        if header.address() != at {
            return Err(Fault::PageAddress { expected: at, found: header.address() });
        }
        if continues != (header.remaining() > 0) {
            return Err(Fault::PageRemaining { flags: info, found: header.remaining() });
        }
        self.check_timeline(header.timeline(), at)
    }

    /// A page whose timeline alone is wrong is read all the same: its records tell whether it is the page or the
    /// history that errs. Pages that err alike are one wound.
    #[cold]
    pub(super) fn page_of_wrong_timeline(&mut self, fault: Fault, at: Lsn) {
        if !self.suspect && self.out.wounds.last().is_none_or(|last| last.fault != fault) {
            self.wound(fault, at, at);
        }
        self.unbroken = false;
    }

    pub(super) fn check_long_header(&self, page: &[u8]) -> Result<(), Fault> {
        let Some(long) = LongHeader::read(page) else { return Ok(()) };
        let format = &self.setup.format;
        #[expect(clippy::cast_possible_truncation, reason = "segment and page sizes are at most 2^30")]
        let (segment_bytes, page_bytes) = (format.segment_size.bytes() as u32, format.page_bytes as u32);
        if long.segment_bytes() != segment_bytes {
            return Err(Fault::PageSegmentSize { expected: segment_bytes, found: long.segment_bytes() });
        }
        if long.page_bytes() != page_bytes {
            return Err(Fault::PageBlockSize { expected: page_bytes, found: long.page_bytes() });
        }
        Ok(())
    }

    /// The page carries the timeline that owns its first byte. Without a history only the order can be checked.
    #[inline(always)]
    pub(super) fn check_timeline(&self, found: TimelineId, at: Lsn) -> Result<(), Fault> {
        let owners = &self.setup.owners;
        if owners.is_known() {
            let expected = if at < self.owner_until { self.owner } else { owners.at(at).0 };
            if found != expected {
                return Err(Fault::PageTimeline { expected, found });
            }
        } else if found > self.setup.timeline || found < self.last_page_timeline || found.0 == 0 {
            return Err(Fault::PageTimeline { expected: self.setup.timeline, found });
        }
        Ok(())
    }
}
