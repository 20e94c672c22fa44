//! A tar file as a store: `pg_wal.tar` of `pg_basebackup -Ft`, compressed or not, on this machine or in a bucket.
//!
//! The members of an uncompressed tar are read where they lie. A compressed one can only be read from its
//! beginning, so a reader that goes through it in order (which is what an audit does) decompresses it once: the
//! decoder stays where the last member ended, and members that it passes on the way are kept for a while,
//! because several threads do not ask in perfect order.

use super::codec;
use super::directory::Directory;
use super::ranges::{ReadSeek, open_stored};
use super::store::{
    Child, Deletion, Descent, Identity, Object, ObjectKind, Sink, Store, StoreError, TAR_NOT_DECOMPRESSED,
};
use super::tar_members::{self, Contents, Member, Placed, Stream};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes handed out at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Members that a reader of a compressed tar passed on its way are kept up to this many bytes in all.
const KEPT_BYTES: u64 = 128 << 20;

/// A tar file.
#[derive(Debug)]
pub struct TarFile {
    /// The folder in which the tar lies.
    folder: Arc<dyn Store>,
    tar: Object,
    compressed: bool,
    /// Where the reader of a compressed tar stands.
    cursor: Mutex<Option<Cursor>>,
    /// Stored bytes could not be had.
    read_failed: Arc<AtomicBool>,
}

/// Whether `name` is that of a tar file, compressed or not.
pub(crate) fn is_tar_name(name: &str) -> bool {
    let stem = [".gz", ".lz4", ".zst", ".bz2", ".xz"].iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.unwrap_or(name).rsplit_once('.').is_some_and(|(_, last)| ["tar", "tgz"].contains(&last))
}

impl TarFile {
    /// Takes the file at `path` for a tar.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::find_in(Arc::new(Directory::open(folder)?), path.file_name().unwrap_or_default().as_ref())
    }

    /// Takes what is called `name` in a store for a tar.
    pub fn find_in(folder: Arc<dyn Store>, name: &Path) -> Result<Self, StoreError> {
        let tar = folder.find(name)?.ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
            StoreError::Read { path: name.to_owned(), source }
        })?;
        Self::of_object(folder, tar)
    }

    /// Takes an object for a tar.
    pub(crate) fn of_object(folder: Arc<dyn Store>, tar: Object) -> Result<Self, StoreError> {
        let mut head = Vec::new();
        let begun = open_stored(&folder, &tar)
            .and_then(|file| file.take(codec::MAGIC_BYTES as u64).read_to_end(&mut head));
        begun.map_err(|source| StoreError::Read { path: tar.path.clone(), source })?;
        let compressed = codec::sniff(&head) != codec::Codec::None;
        Ok(Self { folder, tar, compressed, cursor: Mutex::default(), read_failed: Arc::default() })
    }

    fn file(&self) -> io::Result<Box<dyn ReadSeek>> {
        open_stored(&self.folder, &self.tar)
    }

    /// The tar's path, for messages.
    fn path(&self) -> PathBuf {
        self.folder.local_root().unwrap_or(Path::new("")).join(&self.tar.path)
    }

    /// The plain bytes of the tar from its beginning.
    fn plain(&self) -> io::Result<Box<dyn Read + Send>> {
        let file = Watched { file: self.file()?, failed: Arc::clone(&self.read_failed) };
        let file = BufReader::with_capacity(PIECE_BYTES, file);
        if self.compressed { codec::reader(file) } else { Ok(Box::new(file)) }
    }

    /// What is in the tar, as far as it can be read, and what is wrong with it.
    fn list_members(&self) -> io::Result<Contents> {
        let is_sure = self.tar.path.to_str().is_some_and(is_tar_name);
        let mut contents = Contents::default();
        if !self.compressed {
            let mut placed = Placed { file: self.file()?, left: self.tar.identity.size };
            tar_members::list(&mut placed, is_sure, &mut contents)?;
            return Ok(contents);
        }
        let mut stream = Stream(self.plain()?);
        match tar_members::list(&mut stream, is_sure, &mut contents) {
            Err(error) if self.is_unobtainable() || !is_sure => Err(error),
            Err(_) => {
                contents.fault(TAR_NOT_DECOMPRESSED);
                Ok(contents)
            }
            Ok(()) => Ok(contents),
        }
    }

    /// Whether the stored bytes could not be had at some time, so that what a decoder says may not be their fault.
    fn is_unobtainable(&self) -> bool {
        self.read_failed.load(Ordering::Relaxed)
    }

    /// What tells a member of `size` bytes that begin at `start` from any other: its place, and the tar itself, since
    /// a member that is written over keeps the time in its header.
    fn identity_of(&self, size: u64, start: u64) -> Identity {
        let Identity { size: tar_size, modified_ns, changed_ns, device, inode, etag } = &self.tar.identity;
        let number = |inode: &Option<u64>| inode.map(|inode| inode.to_string()).unwrap_or_default();
        let etag = format!("{tar_size} {} {}", number(inode), etag.as_deref().unwrap_or_default());
        let (modified_ns, changed_ns, device) = (*modified_ns, *changed_ns, *device);
        Identity { size, modified_ns, changed_ns, device, inode: Some(start), etag: Some(etag) }
    }

    /// Hands out `size` bytes that begin at `start` of an uncompressed tar.
    fn read_in_place(&self, start: u64, size: u64, buffer: &mut Vec<u8>, sink: Sink<'_>) -> io::Result<u64> {
        let mut file = self.file()?;
        file.seek(SeekFrom::Start(start))?;
        buffer.resize(PIECE_BYTES, 0);
        copy_pieces(&mut file.take(size), buffer, sink)
    }

    /// Hands out a member of a compressed tar.
    fn read_in_order(&self, start: u64, size: u64, buffer: &mut Vec<u8>, sink: Sink<'_>) -> io::Result<u64> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = cursor.as_mut().and_then(|cursor| cursor.take_kept(start)) {
            drop(cursor);
            return Ok(give_pieces(&kept, sink));
        }
        let mut here = match cursor.take() {
            Some(here) if here.position <= start => here,
            _ => Cursor { plain: self.plain()?, position: 0, kept: VecDeque::new() },
        };
        here.go_to(start)?;
        buffer.resize(PIECE_BYTES, 0);
        let mut broke = false;
        let taken = copy_pieces(&mut (&mut here.plain).take(size), buffer, &mut |piece| {
            let flow = sink(piece);
            broke = flow.is_break();
            flow
        })?;
        here.position += taken;
        if !broke || taken == size {
            *cursor = Some(here);
        }
        Ok(taken)
    }
}

/// A file that tells its own errors from those of a decoder that reads it.
struct Watched {
    file: Box<dyn ReadSeek>,
    failed: Arc<AtomicBool>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.failed.store(true, Ordering::Relaxed);
        }
        read
    }
}

/// A decoder on its way through a compressed tar.
struct Cursor {
    plain: Box<dyn Read + Send>,
    /// Plain bytes taken so far.
    position: u64,
    /// Stretches that were passed: where each began, and its bytes.
    kept: VecDeque<(u64, Vec<u8>)>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Cursor {
    /// Passes what lies before `start`, member by member, and keeps it while it is not too much.
    fn go_to(&mut self, start: u64) -> io::Result<()> {
        self.keep_or_skip(
            0,
            (self.position.next_multiple_of(512) - self.position).min(start - self.position),
        )?;
        while self.position < start {
            let mut header = [0; 512];
            self.plain.read_exact(&mut header)?;
            self.position += 512;
            let size = tar::Header::from_byte_slice(&header).entry_size().unwrap_or(0);
            let padded = size.div_ceil(512).saturating_mul(512).min(start.saturating_sub(self.position));
            self.keep_or_skip(size.min(padded), padded)?;
        }
        Ok(())
    }

    /// Takes `padded` bytes, of which the first `size` are a member's.
    fn keep_or_skip(&mut self, size: u64, padded: u64) -> io::Result<()> {
        let begin = self.position;
        let mut bytes = Vec::new();
        if size <= KEPT_BYTES {
            (&mut self.plain).take(size).read_to_end(&mut bytes)?;
        }
        let left = padded - bytes.len() as u64;
        let skipped = io::copy(&mut (&mut self.plain).take(left), &mut io::sink())?;
        self.position += bytes.len() as u64 + skipped;
        if skipped < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !bytes.is_empty() {
            self.kept.push_back((begin, bytes));
        }
        let mut held: u64 = self.kept.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        while held > KEPT_BYTES {
            held -= self.kept.pop_front().map_or(held, |(_, bytes)| bytes.len() as u64);
        }
        Ok(())
    }

    fn take_kept(&mut self, start: u64) -> Option<Vec<u8>> {
        let index = self.kept.iter().position(|(begin, _)| *begin == start)?;
        self.kept.remove(index).map(|(_, bytes)| bytes)
    }
}

/// Hands what `from` gives to `sink`, and says how much that was.
fn copy_pieces(from: &mut dyn Read, buffer: &mut [u8], sink: Sink<'_>) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let count = match from.read(buffer) {
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        taken += count as u64;
        if count == 0 || sink(&buffer[..count]).is_break() {
            return Ok(taken);
        }
    }
}

fn give_pieces(bytes: &[u8], sink: Sink<'_>) -> u64 {
    let mut taken = 0;
    for piece in bytes.chunks(PIECE_BYTES) {
        taken += piece.len() as u64;
        if sink(piece).is_break() {
            break;
        }
    }
    taken
}

impl Store for TarFile {
    fn children(&self, folder: &Path, limit: usize) -> Result<Vec<Child>, StoreError> {
        if folder.components().next().is_some() {
            return Ok(Vec::new());
        }
        let listed = self.list(&|_| Descent::Whole)?;
        let names: BTreeSet<(String, bool)> = listed
            .iter()
            .filter_map(|object| {
                let first = object.path.components().next()?.as_os_str().to_str()?;
                Some((first.to_owned(), object.path.components().count() > 1 || object.is_directory()))
            })
            .take(limit)
            .collect();
        Ok(names.into_iter().map(|(name, is_folder)| Child { name, is_folder }).collect())
    }

    fn names(&self) -> Vec<String> {
        let name = self.tar.path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.into_iter().collect()
    }

    fn raised(&self, _levels: usize) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Self::of_object(Arc::clone(&self.folder), self.tar.clone())?))
    }

    fn list(&self, descend: &dyn Fn(&Path) -> Descent) -> Result<Vec<Object>, StoreError> {
        if descend(Path::new("")) == Descent::Skip {
            return Ok(Vec::new());
        }
        let contents =
            self.list_members().map_err(|source| StoreError::List { path: self.path(), source })?;
        let named = contents.members.into_iter().filter(|member| !member.path.as_os_str().is_empty());
        let mut objects: Vec<Object> = named
            .map(|Member { path, kind, size, start }| Object {
                path,
                kind,
                identity: self.identity_of(size, start),
            })
            .collect();
        objects.extend(contents.faults.into_iter().map(|what| Object {
            path: self.tar.path.clone(),
            kind: ObjectKind::Special(what),
            identity: self.tar.identity.clone(),
        }));
        Ok(objects)
    }

    fn find(&self, path: &Path) -> Result<Option<Object>, StoreError> {
        Ok(self.list(&|_| Descent::Whole)?.into_iter().find(|object| object.path == path))
    }

    fn read(&self, object: &Object, buffer: &mut Vec<u8>, sink: Sink<'_>) -> Result<(), StoreError> {
        let path = self.path().join(&object.path);
        let (start, size) = (object.identity.inode.unwrap_or(0), object.identity.size);
        let mut broke = false;
        let mut watched = |piece: &[u8]| {
            let flow = sink(piece);
            broke |= flow.is_break();
            flow
        };
        let read = if self.compressed {
            self.read_in_order(start, size, buffer, &mut watched)
        } else {
            self.read_in_place(start, size, buffer, &mut watched)
        };
        let taken = read.map_err(|source| {
            let path = path.clone();
            if self.compressed && !self.is_unobtainable() {
                StoreError::Damaged { path, detail: format!("the tar does not decompress: {source}") }
            } else {
                StoreError::Read { path, source }
            }
        })?;
        if broke || taken == size {
            return Ok(());
        }
        Err(StoreError::Changed { path, detail: format!("the tar ends {} bytes early", size - taken) })
    }

    fn around(&self) -> Option<&Arc<dyn Store>> {
        Some(&self.folder)
    }

    fn deletion(&self, _sample: &Object) -> Result<Deletion, StoreError> {
        Ok(Deletion::Kept("the members of a tar file cannot be removed".to_owned()))
    }

    fn holds_on_to(&self, _object: &Object) -> Option<String> {
        Some("is a member of a tar file".to_owned())
    }

    fn remove(
        &self,
        objects: &[&Object],
        done: &mut dyn FnMut(usize, Result<(), StoreError>) -> ControlFlow<()>,
    ) {
        for (index, object) in objects.iter().enumerate() {
            let refused = io::Error::new(io::ErrorKind::Unsupported, "it is a member of a tar file");
            if done(index, Err(StoreError::Remove { path: object.path.clone(), source: refused })).is_break()
            {
                return;
            }
        }
    }

    fn move_to(&self, object: &Object, _trash: &Path) -> Result<(), StoreError> {
        let source = io::Error::new(io::ErrorKind::Unsupported, "it is a member of a tar file");
        Err(StoreError::Remove { path: object.path.clone(), source })
    }
}
