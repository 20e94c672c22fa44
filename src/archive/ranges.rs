//! A stored object as a file that can be read from anywhere: a tar in a bucket.
//!
//! A reader that goes on fetches larger and larger pieces, one that jumps begins small again: going over the headers of
//! a tar costs little however large its members are, and no more than one piece is in memory.

use super::regular::open_regular;
use super::store::{Object, Store};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Bytes fetched behind a jump: a header and a small file.
const FIRST_BYTES: u64 = 64 << 10;

/// Bytes fetched at once by a reader that goes on.
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// Bytes that can be read from anywhere.
pub(crate) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Opens `object` of `store`: the file itself, where it is one.
pub(crate) fn open_stored(store: &Arc<dyn Store>, object: &Object) -> io::Result<Box<dyn ReadSeek>> {
    Ok(match store.local_root() {
        Some(root) => Box::new(open_regular(&root.join(&object.path))?),
        None => Box::new(Ranges {
            store: Arc::clone(store),
            object: object.clone(),
            position: 0,
            piece: Vec::new(),
            piece_start: 0,
            next_bytes: FIRST_BYTES,
        }),
    })
}

/// An object, the place in it, and the piece of it that was fetched last.
struct Ranges {
    store: Arc<dyn Store>,
    object: Object,
    position: u64,
    piece: Vec<u8>,
    piece_start: u64,
    next_bytes: u64,
}

impl Ranges {
    /// What of the piece stands at the position and behind it.
    fn ahead(&self) -> &[u8] {
        let from = self.position.checked_sub(self.piece_start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.piece.get(from..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> io::Result<()> {
        let goes_on = self.position == self.piece_start + self.piece.len() as u64;
        self.next_bytes = if goes_on { (self.next_bytes * 2).min(PIECE_BYTES_MAX) } else { FIRST_BYTES };
        let end = self.object.identity.size.min(self.position.saturating_add(self.next_bytes));
        let fetched = self.store.read_range(&self.object, self.position..end);
        self.piece = fetched.map_err(|error| io::Error::other(error.to_string()))?;
        self.piece_start = self.position;
        if self.piece.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Read for Ranges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.object.identity.size {
            return Ok(0);
        }
        if self.ahead().is_empty() {
            self.fetch()?;
        }
        let count = self.ahead().read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Ranges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let sought = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.object.identity.size.checked_add_signed(distance),
        };
        self.position = sought.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::archive::memory::Memory;
    use std::path::Path;

    #[test]
    fn any_reading_and_seeking_gives_the_bytes_of_the_object() {
        let content: Vec<u8> = (0..3_000_000u32).flat_map(|at| (at * 7).to_le_bytes()).collect();
        let memory = Memory::new();
        memory.put("tar", content.clone());
        let store: Arc<dyn Store> = Arc::new(memory);
        let object = store.find(Path::new("tar")).unwrap().unwrap();
        let mut whole = Vec::new();
        open_stored(&store, &object).unwrap().read_to_end(&mut whole).unwrap();
        assert!(whole == content);
        let mut file = open_stored(&store, &object).unwrap();
        for (to, count) in
            [(0, 10), (70_000, 600), (65_000, 20_000), (11_999_990, 10), (5, 9_000_000), (12_000_000, 0)]
        {
            assert_eq!(file.seek(SeekFrom::Start(to)).unwrap(), to);
            let mut bytes = vec![0; count];
            file.read_exact(&mut bytes).unwrap();
            let from = usize::try_from(to).unwrap();
            assert!(bytes == content[from..from + count], "{to} {count}");
        }
        assert_eq!(file.seek(SeekFrom::Current(100)).unwrap(), 12_000_100);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
        assert!(file.seek(SeekFrom::End(-12_000_001)).is_err());
    }
}
