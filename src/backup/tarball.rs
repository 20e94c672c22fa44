//! Backups in tars: `base.tar` of `pg_basebackup -Ft`, plain or compressed.
//!
//! Of a tar that may have terabytes three small files are wanted. `backup_label` comes first in it and
//! `global/pg_control` last, before the WAL that `-X fetch` adds, so a compressed tar is read to its end; in a plain
//! one the data is skipped without being read. What is compressed is told by its first bytes. gzip of
//! the client has several members, which all count.
//!
//! PostgreSQL: `src/bin/pg_basebackup/pg_basebackup.c`, `astreamer_*.c` (`bbstreamer_*.c` in 15 and 16),
//! `src/backend/backup/basebackup.c` (`sendDir`, the control file last), 9.5 to 19.

use super::prepared::{FILE_BYTES_MAX, FILES_MAX};
use crate::archive::{ReadSeek, open_regular};
use crate::wal::{SegmentName, WalFileName};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Files that are wanted, by their names in the tar, and how many bytes of each at most.
const WANTED: [(&str, u64); 4] =
    [("backup_label", 1 << 16), ("global/pg_control", 8192), ("PG_VERSION", 64), ("standby.signal", 64)];

/// Entries of a base.tar among which its label is: the server sends it before everything else.
const FIRST_ENTRIES: usize = 2;

/// What a tar of a data directory holds of interest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TarContents {
    /// The wanted files that were found, by their names.
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// Beginnings of the files in its pg_twophase, by name.
    pub prepared: BTreeMap<String, Vec<u8>>,
    /// Segments in its pg_wal, or at its root in a `pg_wal.tar`.
    pub wal: Vec<SegmentName>,
    /// Why reading ended before the tar's end, where it did.
    pub cut: Option<String>,
}

/// Reads a tar. An error means that the file could not be opened or its beginning not read; a tar that breaks off is
/// told in [`TarContents::cut`].
pub fn read(path: &Path) -> io::Result<TarContents> {
    Ok(read_opened(open(Box::new(open_regular(path)?))?, usize::MAX))
}

/// Reads a tar in an object store: a plain one as it would be read from a file, of a compressed one, which would have to
/// be fetched whole, the beginning alone. Whether it was read to its end stands beside the contents.
pub(super) fn read_stored(tar: Box<dyn ReadSeek>) -> io::Result<(TarContents, bool)> {
    let opened = open(tar)?;
    let is_plain = matches!(opened, Opened::Plain(_));
    let contents = read_opened(opened, if is_plain { usize::MAX } else { FIRST_ENTRIES });
    Ok((contents, is_plain))
}

fn read_opened(opened: Opened, entries: usize) -> TarContents {
    let mut contents = TarContents::default();
    let outcome = visit_opened(opened, entries, &mut |path, file| contents.take(path, file));
    // What cannot be opened is an error, what breaks off is not.
    contents.cut = outcome.err().map(|error| error.to_string());
    contents.wal.sort_unstable();
    contents.wal.dedup();
    contents
}

/// Takes one regular file of a tar: its path, and its bytes.
type Visitor<'a> = dyn FnMut(&str, &mut dyn Read) -> io::Result<()> + 'a;

/// Gives each regular file of a tar to `visit`.
pub(super) fn for_each_file(path: &Path, visit: &mut Visitor<'_>) -> io::Result<()> {
    visit_opened(open(Box::new(open_regular(path)?))?, usize::MAX, visit)
}

/// Gives each regular file among the first `entries` of a tar to `visit`.
fn visit_opened(opened: Opened, entries: usize, visit: &mut Visitor<'_>) -> io::Result<()> {
    match opened {
        Opened::Compressed(stream) => visit_stream(tar::Archive::new(stream), entries, visit),
        Opened::Plain(mut file) => {
            let end = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(0))?;
            visit_seekable(tar::Archive::new(BufReader::new(file)), end, visit)
        }
    }
}

fn visit_stream<R: Read>(
    mut archive: tar::Archive<R>,
    entries: usize,
    visit: &mut Visitor<'_>,
) -> io::Result<()> {
    archive.entries()?.take(entries).try_for_each(|entry| visit_entry(&mut entry?, visit))
}

/// Skips over data by seeking, which is possible beyond the end too: where each entry ends is compared with `end`.
fn visit_seekable<R: Read + Seek>(
    mut archive: tar::Archive<R>,
    end: u64,
    visit: &mut Visitor<'_>,
) -> io::Result<()> {
    archive.entries_with_seek()?.try_for_each(|entry| {
        let mut entry = entry?;
        if entry.raw_file_position().saturating_add(entry.size()) > end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar ends within a file"));
        }
        visit_entry(&mut entry, visit)
    })
}

fn visit_entry<R: Read>(entry: &mut tar::Entry<'_, R>, visit: &mut Visitor<'_>) -> io::Result<()> {
    if !entry.header().entry_type().is_file() {
        return Ok(());
    }
    let path = entry.path_bytes().into_owned();
    let Ok(path) = std::str::from_utf8(&path) else { return Ok(()) };
    visit(path.strip_prefix("./").unwrap_or(path), entry)
}

impl TarContents {
    /// Keeps what is wanted of one file.
    fn take(&mut self, path: &str, file: &mut dyn Read) -> io::Result<()> {
        if let Some((name, limit)) = WANTED.into_iter().find(|(name, _)| *name == path) {
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            self.files.insert(name, bytes);
            return Ok(());
        }
        if let Some(name) = path.strip_prefix("pg_twophase/").filter(|_| self.prepared.len() < FILES_MAX) {
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
            self.prepared.insert(name.to_owned(), bytes);
            return Ok(());
        }
        let file = path.strip_prefix("pg_wal/").or_else(|| path.strip_prefix("pg_xlog/")).unwrap_or(path);
        if let Some(WalFileName::Segment(segment)) = WalFileName::parse(file) {
            self.wal.push(segment);
        }
        Ok(())
    }
}

/// A tar, by how it is stored.
enum Opened {
    /// A stream of the plain bytes.
    Compressed(Box<dyn Read>),
    /// The bytes are plain already.
    Plain(Box<dyn ReadSeek>),
}

/// Tells the compression by the first bytes.
fn open(mut file: Box<dyn ReadSeek>) -> io::Result<Opened> {
    let mut magic = Vec::new();
    (&mut file).take(6).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let reader = |file| BufReader::with_capacity(1 << 18, file);
    Ok(Opened::Compressed(match magic.as_slice() {
        [0x1F, 0x8B, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader(file))),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(reader(file))?),
        [0x04, 0x22, 0x4D, 0x18, ..] => Box::new(lz4_flex::frame::FrameDecoder::new(reader(file))),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(reader(file))),
        [0xFD, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader(file)))
        }
        _ => return Ok(Opened::Plain(file)),
    }))
}

#[cfg(test)]
#[path = "tarball_tests.rs"]
mod tests;
