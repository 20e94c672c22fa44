//! A WAL record: its header, and the fragments behind it.
//!
//! ```text
//!  0 u32 xl_tot_len   whole record, without alignment padding and page headers
//!  4 u32 xl_xid       transaction, 0 if none
//!  8 u64 xl_prev      start of the record before
//! 16 u8  xl_info      high half: the resource manager's operation
//! 17 u8  xl_rmid      resource manager
//! 18 u16 padding      zero, covered by the checksum
//! 20 u32 xl_crc       CRC-32C of bytes 24 to the end, then of bytes 0 to 19
//! 24 …   fragment headers (block references, origin, main data length), then their payloads
//! ```
//!
//! Records start on 8-byte boundaries, so `xl_tot_len` is always on the record's first page; the rest of the
//! header may lie on the next one.
//!
//! PostgreSQL: `src/include/access/xlogrecord.h`, `DecodeXLogRecord` in
//! `src/backend/access/transam/xlogreader.c`, 9.5 to 19.

use super::fault::Fault;
use super::lsn::{Lsn, Xid};
use super::quick::check_image;
pub use super::resource_manager::ResourceManager;
use super::version::Major;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes in a record's header.
pub const HEADER_BYTES: usize = 24;
/// The largest record that a server writes (`XLogRecordMaxSize`, 1020 MiB; enforced from 16 on). A larger
/// length is damage whatever the version.
pub const MAX_RECORD_BYTES: u32 = 1020 << 20;
/// The smallest record: a header and nothing else.
pub const MIN_RECORD_BYTES: u32 = 24;
/// `XLR_MAX_BLOCK_ID`.
pub(super) const MAX_BLOCK_ID: u8 = 32;

/// A record's header as it lies in the WAL.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct RecordHeader {
    total_length: U32,
    xid: U32,
    prev: U64,
    info: u8,
    resource_manager: u8,
    padding: U16,
    crc: U32,
}

const _: () = assert!(size_of::<RecordHeader>() == HEADER_BYTES);

impl RecordHeader {
    /// The header at the start of `bytes`; `None` if fewer than 24 are there.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::read_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// `xl_tot_len`, in bytes.
    #[inline(always)]
    pub fn total_length(&self) -> u32 {
        self.total_length.get()
    }

    /// `xl_xid`; may be a subtransaction's.
    #[inline(always)]
    pub fn xid(&self) -> Xid {
        Xid(self.xid.get())
    }

    /// `xl_prev`.
    #[inline(always)]
    pub fn prev(&self) -> Lsn {
        Lsn(self.prev.get())
    }

    /// `xl_info`.
    #[inline(always)]
    pub fn info(&self) -> u8 {
        self.info
    }

    /// `xl_rmid`.
    #[inline(always)]
    pub fn resource_manager(&self) -> ResourceManager {
        ResourceManager(self.resource_manager)
    }

    /// `xl_crc`.
    #[inline(always)]
    pub fn crc(&self) -> u32 {
        self.crc.get()
    }

    /// Whether this is a segment switch, by the rule of `major`.
    #[inline(always)]
    pub fn is_switch(&self, major: Major) -> bool {
        let mask = if major.switch_needs_whole_info() { 0xFF } else { 0xF0 };
        self.resource_manager == ResourceManager::XLOG.0 && self.info & mask == 0x40
    }

    /// `ValidXLogRecordHeader` but for the previous-record link, which depends on what was read before.
    #[inline(always)]
    pub fn check(&self, major: Major) -> Result<(), Fault> {
        check_length(self.total_length())?;
        if !major.resource_manager_is_valid(self.resource_manager) {
            return Err(Fault::ResourceManager { found: self.resource_manager });
        }
        Ok(())
    }
}

/// The length that a header announces is one that a record can have.
#[inline(always)]
pub fn check_length(total_length: u32) -> Result<(), Fault> {
    if (MIN_RECORD_BYTES..=MAX_RECORD_BYTES).contains(&total_length) {
        Ok(())
    } else {
        Err(Fault::RecordLength { found: total_length })
    }
}

/// Which file of a relation a block belongs to (`ForkNumber`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fork(pub u8);

impl Fork {
    /// `MAIN_FORKNUM`: the relation's own pages.
    pub const MAIN: Self = Self(0);
}

/// A relation's place on disk (`RelFileNode` up to 15, `RelFileLocator` from 16).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RelationFile {
    /// OID of the tablespace: 1663 is `pg_default`, 1664 `pg_global`.
    pub tablespace: u32,
    /// OID of the database; 0 for shared relations.
    pub database: u32,
    /// Number of the file, equal to the table's OID only until the first rewrite.
    pub number: u32,
}

impl RelationFile {
    /// Reads twelve bytes: tablespace, database, number.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (fields, _) = <[U32; 3]>::read_from_prefix(bytes).ok()?;
        Some(Self { tablespace: fields[0].get(), database: fields[1].get(), number: fields[2].get() })
    }

    /// Its path below the data directory, without the version's directory in a tablespace.
    pub fn path(self) -> String {
        match self.tablespace {
            1664 => format!("global/{}", self.number),
            1663 => format!("base/{}/{}", self.database, self.number),
            other => format!("pg_tblspc/{other}/{}/{}", self.database, self.number),
        }
    }
}

/// A full-page image in a block reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// Bytes as stored, possibly compressed, without the hole.
    pub bytes: &'a [u8],
    /// Where the hole of zeros begins in the page.
    pub hole_offset: u16,
    /// Length of the hole.
    pub hole_length: u16,
    /// `bimg_info`; [`super::version::ImageBits`] tells what its bits mean.
    pub info: u8,
}

/// One block that a record touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockReference<'a> {
    /// Number of the reference within the record.
    pub id: u8,
    /// The relation's file.
    pub relation: RelationFile,
    /// Which of its forks.
    pub fork: Fork,
    /// Block number in that fork.
    pub block: u32,
    /// The page's image, where it has one.
    pub image: Option<Image<'a>>,
    /// Data that goes with the block.
    pub data: &'a [u8],
    /// The page is built anew at replay.
    pub will_init: bool,
}

pub(super) const BLOCK_HAS_IMAGE: u8 = 0x10;
pub(super) const BLOCK_HAS_DATA: u8 = 0x20;
pub(super) const BLOCK_WILL_INIT: u8 = 0x40;
pub(super) const BLOCK_SAME_RELATION: u8 = 0x80;
pub(super) const ID_DATA_SHORT: u8 = 255;
pub(super) const ID_DATA_LONG: u8 = 254;
const ID_ORIGIN: u8 = 253;
const ID_TOPLEVEL_XID: u8 = 252;

/// The fragment headers of a record, checked: where each payload lies in its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// Bytes of fragment headers: block payloads begin here.
    pub headers: u32,
    /// Where the main data begins in the body.
    pub main: u32,
    /// Length of the main data.
    pub main_length: u32,
    /// Replication origin.
    pub origin: Option<u16>,
    /// Top-level transaction, where the first record of a subtransaction tells it.
    pub toplevel_xid: Option<Xid>,
    /// Bytes of page images.
    pub image_bytes: u32,
    /// There is at least one block reference.
    pub has_blocks: bool,
}

/// A cursor over fragment headers: every read compares with what is left first.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Fault> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Fault::BodyLength)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline(always)]
    fn u8(&mut self) -> Result<u8, Fault> {
        self.take::<1>().map(|b| b[0])
    }

    #[inline(always)]
    fn u16(&mut self) -> Result<u16, Fault> {
        self.take().map(|b| u16::from_le_bytes(*b))
    }

    #[inline(always)]
    fn u32(&mut self) -> Result<u32, Fault> {
        self.take().map(|b| u32::from_le_bytes(*b))
    }
}

/// Lengths that one block reference's header announces, and the reference without its payloads.
struct BlockHeader {
    reference: BlockReference<'static>,
    image: Option<ImageHeader>,
    data_length: u16,
}

#[derive(Clone, Copy)]
struct ImageHeader {
    length: u16,
    hole_offset: u16,
    hole_length: u16,
    info: u8,
}

/// Reads one block reference's header, with the checks of `DecodeXLogRecord` in its order.
#[inline(always)]
fn block_header(
    cursor: &mut Cursor<'_>,
    id: u8,
    page_bytes: u32,
    major: Major,
    last_relation: Option<RelationFile>,
) -> Result<BlockHeader, Fault> {
    let flags = cursor.u8()?;
    let data_length = cursor.u16()?;
    if (flags & BLOCK_HAS_DATA != 0) != (data_length > 0) {
        return Err(Fault::BlockData { flagged: flags & BLOCK_HAS_DATA != 0, length: data_length });
    }
    let image =
        if flags & BLOCK_HAS_IMAGE == 0 { None } else { Some(image_header(cursor, page_bytes, major)?) };
    let relation = if flags & BLOCK_SAME_RELATION == 0 {
        let bytes: &[u8; 12] = cursor.take()?;
        RelationFile::read(bytes).ok_or(Fault::BodyLength)?
    } else {
        last_relation.ok_or(Fault::BlockSameRelation)?
    };
    let block = cursor.u32()?;
    let reference = BlockReference {
        id,
        relation,
        fork: Fork(flags & 0x0F),
        block,
        image: None,
        data: &[],
        will_init: flags & BLOCK_WILL_INIT != 0,
    };
    Ok(BlockHeader { reference, image, data_length })
}

/// Reads the header of a page image.
#[inline(always)]
fn image_header(cursor: &mut Cursor<'_>, page_bytes: u32, major: Major) -> Result<ImageHeader, Fault> {
    let length = cursor.u16()?;
    let hole_offset = cursor.u16()?;
    let info = cursor.u8()?;
    let bits = major.image_bits();
    let has_length = info & bits.compressed() != 0 && info & bits.has_hole != 0;
    let stored_hole = if has_length { Some(cursor.u16()?) } else { None };
    let hole_length = check_image(length, hole_offset, info, stored_hole, page_bytes, bits)?;
    Ok(ImageHeader { length, hole_offset, hole_length, info })
}

/// Reads and checks the fragment headers of a record's body (all after the 24-byte header).
///
/// `body` may be cut: `body_length` is what the whole body has, and a header beyond the cut is
/// [`Fault::BodyLength`]. For every block reference `each` is called with the reference (payloads not yet
/// set), where its image and its data begin in the body, and their lengths.
#[inline(always)]
fn walk_headers(
    body: &[u8],
    body_length: u32,
    page_bytes: u32,
    major: Major,
    mut each: impl FnMut(&BlockHeader),
) -> Result<Layout, Fault> {
    let mut cursor = Cursor { rest: body };
    let mut layout = Layout::default();
    // What lies behind the cut still has to be announced.
    let beyond = u64::from(body_length) - (body.len() as u64).min(u64::from(body_length));
    let mut announced: u64 = 0;
    let mut blocks_announced: u64 = 0;
    let mut last_id: Option<u8> = None;
    let mut last_relation = None;
    while cursor.rest.len() as u64 + beyond > announced {
        let id = cursor.u8()?;
        match id {
            ID_DATA_SHORT | ID_DATA_LONG => {
                layout.main_length =
                    if id == ID_DATA_SHORT { u32::from(cursor.u8()?) } else { cursor.u32()? };
                announced += u64::from(layout.main_length);
                break;
            }
            ID_ORIGIN => layout.origin = Some(cursor.u16()?),
            ID_TOPLEVEL_XID if major.has_toplevel_xid() => layout.toplevel_xid = Some(Xid(cursor.u32()?)),
            _ if id <= MAX_BLOCK_ID => {
                if last_id.is_some_and(|last| id <= last) {
                    return Err(Fault::BlockOrder { found: id });
                }
                last_id = Some(id);
                let header = block_header(&mut cursor, id, page_bytes, major, last_relation)?;
                last_relation = Some(header.reference.relation);
                let image_length = header.image.map_or(0, |image| image.length);
                layout.image_bytes += u32::from(image_length);
                announced += u64::from(image_length) + u64::from(header.data_length);
                blocks_announced = announced;
                each(&header);
            }
            _ => return Err(Fault::BlockId { found: id }),
        }
    }
    if cursor.rest.len() as u64 + beyond != announced {
        return Err(Fault::BodyLength);
    }
    #[expect(clippy::cast_possible_truncation, reason = "all are at most body_length, which is 32 bits")]
    {
        layout.headers = (body.len() - cursor.rest.len()) as u32;
        layout.main = layout.headers + blocks_announced as u32;
    }
    layout.has_blocks = last_id.is_some();
    Ok(layout)
}

/// Checks the fragment headers of a record whose body is `body_length` bytes long and begins with `body`.
#[inline(always)]
pub fn check_body(body: &[u8], body_length: u32, page_bytes: u32, major: Major) -> Result<Layout, Fault> {
    walk_headers(body, body_length, page_bytes, major, |_| {})
}

/// Calls `each` for every block reference of such a record, without its payloads, and with the `bimg_info` of its
/// page image if it has one.
///
/// # Errors
/// As [`check_body`].
pub fn block_headers(
    body: &[u8],
    body_length: u32,
    page_bytes: u32,
    major: Major,
    mut each: impl FnMut(BlockReference<'static>, Option<u8>),
) -> Result<Layout, Fault> {
    let give = |header: &BlockHeader| each(header.reference, header.image.map(|image| image.info));
    walk_headers(body, body_length, page_bytes, major, give)
}

/// The first block reference of a record, without its payloads; `None` if it has none.
pub fn first_block(body: &[u8], page_bytes: u32, major: Major) -> Option<BlockReference<'static>> {
    let (id, rest) = body.split_first()?;
    if *id > MAX_BLOCK_ID {
        return None;
    }
    if let Some(block) = super::quick::plain_first_block(body) {
        return Some(block);
    }
    block_header(&mut Cursor { rest }, *id, page_bytes, major, None).ok().map(|header| header.reference)
}

/// Relation and fork of the first block reference of a body of usual form, if that has no image.
#[inline]
pub fn plain_first_relation(body: &[u8]) -> Option<(RelationFile, Fork)> {
    let block = super::quick::plain_first_block(body).filter(|block| block.id <= MAX_BLOCK_ID)?;
    Some((block.relation, block.fork))
}

/// The block references of a record, with their payloads, from its whole body.
///
/// # Errors
/// A [`Fault`] where [`check_body`] would give one, or where `body` does not hold all payloads.
pub fn block_references<'a>(
    body: &'a [u8],
    page_bytes: u32,
    major: Major,
    references: &mut Vec<BlockReference<'a>>,
) -> Result<Layout, Fault> {
    references.clear();
    let mut sizes: Vec<(Option<ImageHeader>, u16)> = Vec::new();
    let body_length = u32::try_from(body.len()).map_err(|_| Fault::BodyLength)?;
    let layout = walk_headers(body, body_length, page_bytes, major, |header| {
        references.push(header.reference);
        sizes.push((header.image, header.data_length));
    })?;
    let mut rest = body.get(layout.headers as usize..).ok_or(Fault::BodyLength)?;
    for (reference, (image, data_length)) in references.iter_mut().zip(sizes) {
        if let Some(image) = image {
            let (bytes, after) = rest.split_at_checked(usize::from(image.length)).ok_or(Fault::BodyLength)?;
            rest = after;
            reference.image = Some(Image {
                bytes,
                hole_offset: image.hole_offset,
                hole_length: image.hole_length,
                info: image.info,
            });
        }
        let (data, after) = rest.split_at_checked(usize::from(data_length)).ok_or(Fault::BodyLength)?;
        rest = after;
        reference.data = data;
    }
    Ok(layout)
}
