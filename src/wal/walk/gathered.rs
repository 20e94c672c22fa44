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
/// starts, which the next one links to. Each length that is tried takes one of `tries`; without any, none is found.
pub(super) fn length_by_checksum(rest: &[u8], lsn: Lsn, tries: &mut usize) -> Option<u32> {
    let header: &[u8; HEADER_BYTES] = rest.first_chunk()?;
    let stored = RecordHeader::read(header)?.crc();
    let link = lsn.0.to_le_bytes();
    let empty_from = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let may_end_at = |at: &usize| match rest.get(*at..) {
        Some(next) if next.len() >= 16 => next.get(8..16) == Some(&link[..]) || *at >= empty_from,
        _ => true,
    };
    let mut state = CRC_START;
    let mut covered = HEADER_BYTES;
    for end in (HEADER_BYTES..=rest.len()).step_by(8).filter(may_end_at) {
        for length in end.saturating_sub(7).max(HEADER_BYTES)..=end {
            *tries = tries.checked_sub(1)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const LSN: Lsn = Lsn(0x100_0028);

    /// A record of `length` bytes with the right checksum, which says that it is longer, and zeros behind it.
    fn longer_than_it_is(length: u32, of: usize) -> Vec<u8> {
        let mut bytes = vec![0; of];
        let record = &mut bytes[..length as usize];
        record[HEADER_BYTES..].fill(0x11);
        record[..4].copy_from_slice(&length.to_le_bytes());
        let data = crc::update(CRC_START, &record[HEADER_BYTES..]);
        let checksum = crc::finish(crc::update(data, &record[..HEADER_BYTES - 4]));
        record[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        record[..4].copy_from_slice(&(length + 100).to_le_bytes());
        bytes
    }

    #[test]
    fn the_length_that_fits_the_checksum_is_found_where_tries_are_left() {
        for length in [32, 61, 64] {
            let rest = longer_than_it_is(length, 8192);
            let mut tries = 8192;
            assert_eq!(length_by_checksum(&rest, LSN, &mut tries), Some(length));
            // Nothing is tried inside the record, where neither a link nor nothing follows.
            assert!(8192 - tries <= 16, "{length}: {tries}");
            assert_eq!(length_by_checksum(&rest, LSN, &mut 0), None);
        }
    }

    /// Looking through what follows, again at each place where a record may end, would be 10¹³ bytes here.
    #[test]
    fn zeros_in_front_of_something_are_gone_over_once() {
        let mut rest = longer_than_it_is(64, 32 << 20);
        rest[40] ^= 1;
        if let Some(last) = rest.last_mut() {
            *last = 1;
        }
        let mut tries = usize::MAX;
        assert_eq!(length_by_checksum(&rest, LSN, &mut tries), None);
        assert!(usize::MAX - tries <= 32, "{tries}");
    }
}
