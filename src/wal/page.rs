//! The header at the start of every WAL page.
//!
//! ```text
//!  0 u16 xlp_magic      version of the format
//!  2 u16 xlp_info       flags
//!  4 u32 xlp_tli        timeline of the first record that starts or continues here
//!  8 u64 xlp_pageaddr   position of byte 0 of this page
//! 16 u32 xlp_rem_len    bytes still to come of a record begun on an earlier page
//! 20 u32 padding        zero                                        short header: 24 bytes
//! 24 u64 xlp_sysid      the cluster
//! 32 u32 xlp_seg_size   bytes in a segment
//! 36 u32 xlp_xlog_blcksz bytes in a page                            long header: 40 bytes
//! ```
//!
//! The first page of a segment has the long header, all others the short one. Little-endian, as every platform
//! in common use writes it.
//!
//! PostgreSQL: `XLogPageHeaderData`, `XLogLongPageHeaderData` in `src/include/access/xlog_internal.h`, 9.5 to 19.

use super::lsn::{Lsn, SystemId, TimelineId};
use bitflags::bitflags;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes in a WAL page unless the server was compiled with another `XLOG_BLCKSZ`.
pub const DEFAULT_PAGE_BYTES: usize = 8192;
/// Bytes in the header of every page but a segment's first.
pub const SHORT_HEADER_BYTES: usize = 24;
/// Bytes in the header of a segment's first page.
pub const LONG_HEADER_BYTES: usize = 40;

bitflags! {
    /// `xlp_info`. The bit for overwrite-contrecord moved between versions:
    /// see [`super::Major::overwrite_contrecord_flag`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PageFlags: u16 {
        /// `XLP_FIRST_IS_CONTRECORD`: the page begins with the rest of an earlier page's record.
        const FIRST_IS_CONTRECORD = 0x0001;
        /// `XLP_LONG_HEADER`: the page has the long header.
        const LONG_HEADER = 0x0002;
        // Unknown bits are data to be reported, not an error.
        const _ = !0;
    }
}

/// The short header as it lies in the page.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PageHeader {
    magic: U16,
    info: U16,
    timeline: U32,
    address: U64,
    remaining: U32,
    padding: U32,
}

const _: () = assert!(size_of::<PageHeader>() == SHORT_HEADER_BYTES);

impl PageHeader {
    /// The header at the start of `page`; `None` if fewer bytes are there.
    #[inline(always)]
    pub fn read(page: &[u8]) -> Option<Self> {
        Self::read_from_prefix(page).ok().map(|(header, _)| header)
    }

    /// `xlp_magic`.
    #[inline(always)]
    pub fn magic(&self) -> u16 {
        self.magic.get()
    }

    /// `xlp_info`.
    #[inline(always)]
    pub fn flags(&self) -> PageFlags {
        PageFlags::from_bits_retain(self.info.get())
    }

    /// `xlp_tli`.
    #[inline(always)]
    pub fn timeline(&self) -> TimelineId {
        TimelineId(self.timeline.get())
    }

    /// `xlp_pageaddr`.
    #[inline(always)]
    pub fn address(&self) -> Lsn {
        Lsn(self.address.get())
    }

    /// `xlp_rem_len`: bytes of the continued record still to come, counted from this page on.
    #[inline(always)]
    pub fn remaining(&self) -> u32 {
        self.remaining.get()
    }

    /// The four bytes that fill the structure up to its alignment.
    #[inline(always)]
    pub fn padding(&self) -> u32 {
        self.padding.get()
    }

    /// Whether every field is zero, as in a page that was never written.
    pub fn is_zero(&self) -> bool {
        self.magic() == 0
            && self.flags().is_empty()
            && self.timeline().0 == 0
            && self.address() == Lsn::INVALID
            && self.remaining() == 0
    }
}

/// What the long header adds.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct LongHeader {
    short: PageHeader,
    system_id: U64,
    segment_bytes: U32,
    page_bytes: U32,
}

const _: () = assert!(size_of::<LongHeader>() == LONG_HEADER_BYTES);

impl LongHeader {
    /// The long header at the start of `page`, whatever its flags say; `None` if fewer bytes are there.
    pub fn read(page: &[u8]) -> Option<Self> {
        Self::read_from_prefix(page).ok().map(|(header, _)| header)
    }

    /// The part that every page has.
    pub fn short(&self) -> &PageHeader {
        &self.short
    }

    /// `xlp_sysid`.
    pub fn system_id(&self) -> SystemId {
        SystemId(self.system_id.get())
    }

    /// `xlp_seg_size`, in bytes.
    pub fn segment_bytes(&self) -> u32 {
        self.segment_bytes.get()
    }

    /// `xlp_xlog_blcksz`, in bytes.
    pub fn page_bytes(&self) -> u32 {
        self.page_bytes.get()
    }
}
