//! The members of a tar, header by header, as far as there are any: what a tar lacks at its end, or has in place of a
//! header, is told beside the members that are there.
//!
//! A header that is none is passed block by block until one comes that is. What stands in extended headers is limited
//! in length: nothing is held that a name cannot need.
//!
//! The format is that of POSIX (`ustar` and `pax`) and GNU tar.

use super::store::{A_DIRECTORY, ObjectKind, TAR_ENDS_EARLY, TAR_HAS_EXCESSIVE_HEADER, TAR_HAS_NO_HEADER};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, PathBuf};

/// Everything in a tar stands in blocks of so many bytes.
const BLOCK_BYTES: usize = 512;

/// Bytes that an extended header may have: a path of `PATH_MAX` bytes fits many times.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) path: PathBuf,
    pub(super) kind: ObjectKind,
    /// Bytes of it that are there.
    pub(super) size: u64,
    /// Where they begin among the plain bytes of the tar.
    pub(super) start: u64,
}

/// What is in a tar.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) members: Vec<Member>,
    /// What is wrong with the tar as a whole.
    pub(super) faults: Vec<&'static str>,
}

impl Contents {
    pub(super) fn fault(&mut self, what: &'static str) {
        if !self.faults.contains(&what) {
            self.faults.push(what);
        }
    }
}

/// Bytes that can be passed by.
pub(super) trait Pass: Read {
    /// Passes `count` bytes, or as many as there are, and says how many.
    fn pass(&mut self, count: u64) -> io::Result<u64>;
}

/// Bytes that can only be read.
pub(super) struct Stream<R>(pub(super) R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Pass for Stream<R> {
    fn pass(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.0).take(count), &mut io::sink())
    }
}

/// Bytes in a place, of which there are so many.
pub(super) struct Placed<R> {
    pub(super) file: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Placed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl<R: Read + Seek> Pass for Placed<R> {
    fn pass(&mut self, count: u64) -> io::Result<u64> {
        let passed = count.min(self.left);
        self.file.seek(SeekFrom::Current(i64::try_from(passed).map_err(io::Error::other)?))?;
        self.left -= passed;
        Ok(passed)
    }
}

/// Puts what is in the tar `from` into `contents`, which holds what there was when the bytes cannot be had.
///
/// # Errors
/// The bytes could not be had or decoded; or, where `is_sure` does not say that it is a tar, it does not begin as one.
pub(super) fn list(from: &mut dyn Pass, is_sure: bool, contents: &mut Contents) -> io::Result<()> {
    let mut walker = Walker { from, position: 0, contents };
    let mut said = Said::default();
    let mut block = [0; BLOCK_BYTES];
    loop {
        let is_whole = walker.block(&mut block)?;
        let header = header(&block).filter(|_| is_whole);
        if header.is_none() && walker.contents.members.is_empty() && !is_sure {
            return Err(io::Error::new(io::ErrorKind::InvalidData, no_tar(&block)));
        }
        match header {
            _ if !is_whole => {
                walker.contents.fault(TAR_ENDS_EARLY);
                return Ok(());
            }
            None if block.iter().all(|byte| *byte == 0) => return Ok(()),
            None => walker.contents.fault(TAR_HAS_NO_HEADER),
            Some((header, size)) => {
                let before = std::mem::take(&mut said);
                match header.entry_type() {
                    tar::EntryType::GNULongName => {
                        said.path = walker.extension(size)?.map(without_end);
                        said.size = before.size;
                    }
                    tar::EntryType::XHeader => {
                        said = Said::of_pax(&walker.extension(size)?.unwrap_or_default());
                        said.path = said.path.or(before.path);
                    }
                    tar::EntryType::GNULongLink | tar::EntryType::XGlobalHeader => {
                        walker.pass(size)?;
                        said = before;
                    }
                    _ => walker.member(&header, before, size)?,
                }
            }
        }
    }
}

/// What extended headers say of the member that follows.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Said {
    fn of_pax(bytes: &[u8]) -> Self {
        let mut said = Self::default();
        for record in tar::PaxExtensions::new(bytes).flatten() {
            match record.key_bytes() {
                b"path" => said.path = Some(record.value_bytes().to_vec()),
                b"size" => said.size = record.value().ok().and_then(|value| value.parse().ok()),
                _ => {}
            }
        }
        said
    }
}

struct Walker<'a> {
    from: &'a mut dyn Pass,
    position: u64,
    contents: &'a mut Contents,
}

impl Walker<'_> {
    /// Takes the next block; `false` if there is none, or not a whole one.
    fn block(&mut self, block: &mut [u8; BLOCK_BYTES]) -> io::Result<bool> {
        block.fill(0);
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => return Ok(false),
                Ok(count) => filled += count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += BLOCK_BYTES as u64;
        Ok(true)
    }

    /// Passes `size` bytes and what fills their last block. How many of them there were.
    fn pass(&mut self, size: u64) -> io::Result<u64> {
        let padded = size.checked_next_multiple_of(BLOCK_BYTES as u64).unwrap_or(size);
        let passed = self.from.pass(padded)?;
        self.position += passed;
        Ok(passed.min(size))
    }

    /// The bytes of an extended header; `None` if they are too many to be one.
    fn extension(&mut self, size: u64) -> io::Result<Option<Vec<u8>>> {
        if size > EXTENSION_BYTES_MAX {
            self.contents.fault(TAR_HAS_EXCESSIVE_HEADER);
            self.pass(size)?;
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = (&mut *self.from).take(size).read_to_end(&mut bytes)?;
        self.position += read as u64;
        let padding = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        self.position += self.from.pass(padding)?;
        Ok(Some(bytes))
    }

    fn member(&mut self, header: &tar::Header, said: Said, size: u64) -> io::Result<()> {
        let mut block = *header.as_bytes();
        // GNU's map of a sparse file goes on in blocks of its own.
        let mut goes_on = header.entry_type() == tar::EntryType::GNUSparse && block.get(482) == Some(&1);
        while goes_on {
            goes_on = self.block(&mut block)? && block.get(504) == Some(&1);
        }
        let size = said.size.unwrap_or(size);
        let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        let kind = match header.entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => ObjectKind::Regular,
            tar::EntryType::Directory => ObjectKind::Special(A_DIRECTORY),
            tar::EntryType::Symlink | tar::EntryType::Link => ObjectKind::Special("a link"),
            _ => ObjectKind::Special("no regular file"),
        };
        let index = self.contents.members.len();
        self.contents.members.push(Member { path, kind, size, start: self.position });
        let there = self.pass(size)?;
        if let Some(member) = self.contents.members.get_mut(index).filter(|_| there < size) {
            member.size = there;
        }
        Ok(())
    }
}

/// The header in a block, and the size that it gives.
fn header(block: &[u8; BLOCK_BYTES]) -> Option<(tar::Header, u64)> {
    let header = tar::Header::from_byte_slice(block);
    let is_checksum = |index: usize| (148..156).contains(&index);
    let byte = |(index, byte): (usize, &u8)| if is_checksum(index) { 32 } else { u32::from(*byte) };
    let sum: u32 = block.iter().enumerate().map(byte).sum();
    let is_zero = block.iter().all(|byte| *byte == 0);
    let is_sound = !is_zero && header.cksum().is_ok_and(|stored| stored == sum);
    Some((header.clone(), header.entry_size().ok()?)).filter(|_| is_sound)
}

/// What begins with `block` and was given for an archive.
fn no_tar(block: &[u8]) -> &'static str {
    match block {
        [_, 0xD0..=0xD1, 0..=0x0F, 0, ..] => {
            "it is one segment of WAL, not an archive: give the directory, the tar or the URL that holds it"
        }
        _ => "it is neither a directory nor a tar: give the directory, the tar or the URL that holds the WAL",
    }
}

fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}
