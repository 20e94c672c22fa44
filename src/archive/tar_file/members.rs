//! The members of a tar, up to where it is damaged or cut short.
//!
//! A tar of WAL that ends early still holds whole segments, and a part of one: the listing gives what is there
//! and marks the place where it ends, instead of nothing at all.

use crate::archive::store::{A_DIRECTORY, Identity, Object, ObjectKind};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, PathBuf};
use tar::{EntryType, Header};

/// Tars are written in blocks of this size.
const BLOCK_BYTES: usize = 512;

/// Bytes passed over at a time.
const SKIP_BYTES: usize = 64 << 10;

/// What a listing calls the place where a tar is damaged or cut short.
pub(crate) const DAMAGE: &str = "(the tar is damaged or cut short here)";

/// Where a tar's plain bytes come from.
pub(super) enum Source {
    /// A file and its length: members are passed over without being read.
    File(File, u64),
    /// A decoder.
    Stream(Box<dyn Read + Send>),
}

/// A reader of a tar's blocks.
pub(super) struct Blocks {
    pub(super) from: Source,
    pub(super) position: u64,
}

impl Blocks {
    /// The next header; `None` at the end of the tar.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < block.len() {
            let rest = &mut block[filled..];
            let read = match &mut self.from {
                Source::File(file, _) => file.read(rest),
                Source::Stream(stream) => stream.read(rest),
            };
            match read {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += BLOCK_BYTES as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let damaged = header.cksum()? != checksum(&block) || header.entry_size().is_err();
        if damaged { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Some(header)) }
    }

    /// Passes over `bytes`; how many there were, and what ended them early.
    fn skip(&mut self, bytes: u64) -> (u64, Option<io::Error>) {
        let (passed, error) = match &mut self.from {
            Source::File(file, length) => {
                let there = bytes.min(length.saturating_sub(self.position));
                (there, file.seek(SeekFrom::Start(self.position + there)).err())
            }
            Source::Stream(stream) => skip_stream(stream.as_mut(), bytes),
        };
        self.position += passed;
        let cut = (passed < bytes).then(|| io::ErrorKind::UnexpectedEof.into());
        (passed, error.or(cut))
    }
}

fn skip_stream(stream: &mut dyn Read, bytes: u64) -> (u64, Option<io::Error>) {
    let mut buffer = vec![0; SKIP_BYTES];
    let mut passed = 0;
    while passed < bytes {
        let wanted = usize::try_from(bytes - passed).unwrap_or(SKIP_BYTES).min(SKIP_BYTES);
        match stream.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(count) => passed += count as u64,
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (passed, Some(error)),
        }
    }
    (passed, None)
}

/// The sum of a header's bytes, its own field taken as spaces.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let outside = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte));
    outside.sum::<u32>() + 8 * u32::from(b' ')
}

/// Lists the members. An error of the file system is an error; one of the decoder's or the tar's own ends the list.
pub(super) fn members(blocks: &mut Blocks) -> io::Result<Vec<Object>> {
    let mut objects = Vec::new();
    loop {
        let ended = match blocks.header() {
            Ok(None) => return Ok(objects),
            Ok(Some(header)) => {
                let size = header.entry_size()?;
                let start = blocks.position;
                let (there, ended) =
                    blocks.skip(size.checked_next_multiple_of(BLOCK_BYTES as u64).unwrap_or(u64::MAX));
                objects.extend(member(&header, start, size.min(there)));
                ended
            }
            Err(error) => Some(error),
        };
        match ended {
            None => {}
            Some(error) if error.raw_os_error().is_some() => return Err(error),
            Some(_) => {
                let kind = ObjectKind::Special("the end of a damaged tar");
                objects.push(Object { path: DAMAGE.into(), kind, identity: Identity::default() });
                return Ok(objects);
            }
        }
    }
}

/// The member that a header describes; `None` for headers that only say more about the next one.
fn member(header: &Header, start: u64, size: u64) -> Option<Object> {
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => ObjectKind::Regular,
        EntryType::Directory => ObjectKind::Special(A_DIRECTORY),
        EntryType::Symlink | EntryType::Link => ObjectKind::Special("a link"),
        EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink => {
            return None;
        }
        _ => ObjectKind::Special("no regular file"),
    };
    let path: PathBuf = header.path().ok()?.components().filter(|part| *part != Component::CurDir).collect();
    let seconds = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(i64::MAX);
    // Where the member's bytes begin is as good as an inode number to tell two of one name apart.
    let identity = Identity {
        size,
        modified_ns: Some(seconds.saturating_mul(1_000_000_000)),
        inode: Some(start),
        etag: None,
    };
    (!path.as_os_str().is_empty()).then_some(Object { path, kind, identity })
}
