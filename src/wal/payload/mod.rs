//! What is inside records, as far as walproof needs it.

pub mod heap;
pub mod image;
pub mod xact;
pub mod xlog;

/// A cursor over a record's main data: every read compares with what is left first, and gives `None` where the
/// bytes end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes(count).map(|_| ())
    }

    /// Passes over bytes up to the next multiple of eight, counted from `start`, the data's first byte.
    pub fn align(&mut self, start: &[u8]) -> Option<()> {
        let position = start.len().checked_sub(self.rest.len())?;
        self.skip(position.next_multiple_of(8) - position)
    }

    /// An array of bytes.
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|b| b[0])
    }

    /// A little-endian 16-bit number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|b| u16::from_le_bytes(*b))
    }

    /// A little-endian 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|b| u32::from_le_bytes(*b))
    }

    /// A little-endian signed 32-bit number.
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(|b| i32::from_le_bytes(*b))
    }

    /// A little-endian 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(|b| u64::from_le_bytes(*b))
    }

    /// A little-endian signed 64-bit number.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(|b| i64::from_le_bytes(*b))
    }

    /// A C string, without its terminating zero.
    pub fn c_string(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(length)?;
        self.skip(1)?;
        Some(text)
    }

    /// A counted list (`int32` count, then that many items of `item_bytes`): the bytes of its items.
    pub fn counted(&mut self, item_bytes: usize) -> Option<&'a [u8]> {
        let count = usize::try_from(self.i32()?).ok()?;
        self.bytes(count.checked_mul(item_bytes)?)
    }
}
