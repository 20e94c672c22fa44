//! Records gathered from several pages or segments, and their checksums.

use super::facts::{Head, HeadEnd, Tail};
use crate::wal::crc::{self, Crc32c};
use crate::wal::fault::Fault;
use crate::wal::lsn::Lsn;
use crate::wal::record::{HEADER_BYTES, RecordHeader};
use crate::wal::version::Major;

/// State of a CRC-32C before the first byte.
pub const CRC_START: u32 = crc::INIT;

/// The checksum of a whole record: first what follows the header, then the header up to the checksum itself.
#[inline(always)]
pub(super) fn record_crc<C: Crc32c>(crc: C, record: &[u8]) -> u32 {
    let data = record.get(HEADER_BYTES..).unwrap_or_default();
    let header = record.get(..HEADER_BYTES - 4).unwrap_or_default();
    !crc.update(crc.update(CRC_START, data), header)
}

#[inline(always)]
pub(super) fn crc_fault(computed: u32, stored: u32) -> Option<Fault> {
    (computed != stored).then_some(Fault::Crc { expected: computed, found: stored })
}

/// Checks a record that was gathered from several pages (or segments): header, link, checksum, in this order.
///
/// # Errors
/// What is wrong first, and whether the checksum is right all the same.
pub fn check_gathered<C: Crc32c>(
    crc: C,
    record: &Tail,
    major: Major,
    check_link: impl FnOnce(Lsn) -> Result<(), Fault>,
) -> Result<RecordHeader, (Fault, bool)> {
    let header = RecordHeader::read(&record.captured).ok_or((Fault::BodyLength, false))?;
    let covered = record.captured.get(..HEADER_BYTES - 4).unwrap_or_default();
    let computed = !crc.update(record.crc, covered);
    let crc_is_good = computed == header.crc();
    header.check(major).map_err(|fault| (fault, false))?;
    check_link(header.prev()).map_err(|fault| (fault, crc_is_good))?;
    match crc_fault(computed, header.crc()) {
        Some(fault) => Err((fault, false)),
        None => Ok(header),
    }
}

/// The length with which the record at the start of `rest` (the rest of its page) has the right checksum, whatever
/// length it says. Looked for only before what may be the next record, or nothing: `lsn` is where the record
/// starts, which the next one links to.
pub(super) fn length_by_checksum(rest: &[u8], lsn: Lsn) -> Option<u32> {
    let header: &[u8; HEADER_BYTES] = rest.first_chunk()?;
    let stored = RecordHeader::read(header)?.crc();
    let link = lsn.0.to_le_bytes();
    let may_end_at = |at: &usize| match rest.get(*at..) {
        Some(next) if next.len() >= 16 => next.get(8..16) == Some(&link[..]) || next.iter().all(|b| *b == 0),
        _ => true,
    };
    let mut state = CRC_START;
    let mut covered = HEADER_BYTES;
    for end in (HEADER_BYTES..=rest.len()).step_by(8).filter(may_end_at) {
        for length in end.saturating_sub(7).max(HEADER_BYTES)..=end {
            state = crc::update(state, rest.get(covered..length)?);
            covered = length;
            let length = u32::try_from(length).ok()?;
            let mut corrected = *header;
            corrected.first_chunk_mut::<4>()?.copy_from_slice(&length.to_le_bytes());
            if crc::finish(crc::update(state, corrected.get(..HEADER_BYTES - 4)?)) == stored {
                return Some(length);
            }
        }
    }
    None
}

/// Rounds up to the next record boundary.
#[inline(always)]
pub(super) const fn aligned(position: usize) -> usize {
    (position + 7) & !7
}

impl Tail {
    pub(super) fn empty() -> Self {
        Self { start: Lsn::INVALID, total: 0, have: 0, crc: CRC_START, captured: Vec::new(), prev: None }
    }

    /// What was kept of the body.
    pub fn body(&self) -> &[u8] {
        self.captured.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl Head {
    pub(super) fn new(declared: u32) -> Self {
        Self { declared, have: 0, crc: 0, captured: Vec::new(), end: HeadEnd::Open }
    }
}
