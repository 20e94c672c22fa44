//! Values as few bytes, and back: how facts lie in memory while nobody asks for them, and in the catalog.
//!
//! Numbers are LEB128 (signed ones in zigzag), sequences and options are preceded by their length or presence,
//! structures are their fields in order. What is read back is checked for being possible, never trusted: a length
//! that the bytes left cannot hold is refused before anything is allocated.

pub(crate) mod column;
pub(crate) mod squeeze;

use crate::wal::record::HEADER_BYTES;
use crate::wal::{FullXid, Lsn, Major, PgTime, SegmentNumber, SegmentSize, SystemId, TimelineId, Xid};
use std::collections::BTreeSet;

/// Records in the largest segment at most, each of them a header and nothing else.
const RECORDS_MAX: u64 = SegmentSize::MAX.bytes() / HEADER_BYTES as u64;

/// Bytes that are read from front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacker<'a> {
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// At the beginning of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether every byte was read.
    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next number, of records in one segment: no block has room for more.
    pub(crate) fn count_of_records(&mut self) -> Option<usize> {
        usize::try_from(self.number().filter(|count| *count <= RECORDS_MAX)?).ok()
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Appends a number.
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number as one that is small if it is near zero.
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// The signed number that [`zigzag`] made this of.
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A value that can be written as bytes and read back.
pub(crate) trait Pack: Sized {
    /// Appends the value.
    fn pack(&self, out: &mut Vec<u8>);

    /// Reads one value; `None` if the bytes hold none.
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self>;

    /// Appends several.
    fn pack_all(values: &[Self], out: &mut Vec<u8>) {
        put_number(out, values.len() as u64);
        for value in values {
            value.pack(out);
        }
    }

    /// Reads several. Every value takes a byte at least, so that no length is believed that cannot be.
    fn unpack_all(from: &mut Unpacker<'_>) -> Option<Vec<Self>> {
        let count = usize::try_from(from.number()?).ok().filter(|count| *count <= from.rest.len())?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(Self::unpack(from)?);
        }
        Some(values)
    }
}

/// The bytes of one value.
pub(crate) fn to_bytes<T: Pack>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.pack(&mut out);
    out
}

/// The value that all of `bytes` are.
pub(crate) fn from_bytes<T: Pack>(bytes: &[u8]) -> Option<T> {
    let mut from = Unpacker::new(bytes);
    T::unpack(&mut from).filter(|_| from.is_done())
}

impl Pack for u8 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        from.take(1)?.first().copied()
    }

    fn pack_all(values: &[Self], out: &mut Vec<u8>) {
        put_number(out, values.len() as u64);
        out.extend_from_slice(values);
    }

    fn unpack_all(from: &mut Unpacker<'_>) -> Option<Vec<Self>> {
        let count = usize::try_from(from.number()?).ok()?;
        from.take(count).map(<[u8]>::to_vec)
    }
}

macro_rules! pack_numbers {
    (unsigned $($unsigned:ty)+; signed $($signed:ty)+) => {
        $(impl Pack for $unsigned {
            fn pack(&self, out: &mut Vec<u8>) {
                put_number(out, u64::from(*self));
            }

            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Self::try_from(from.number()?).ok()
            }
        })+
        $(impl Pack for $signed {
            fn pack(&self, out: &mut Vec<u8>) {
                put_number(out, zigzag(i64::from(*self)));
            }

            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Self::try_from(unzigzag(from.number()?)).ok()
            }
        })+
    };
}

pack_numbers!(unsigned u16 u32 u64; signed i32 i64);

impl Pack for usize {
    fn pack(&self, out: &mut Vec<u8>) {
        // None is wider than 64 bits.
        put_number(out, *self as u64);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::try_from(from.number()?).ok()
    }
}

impl Pack for bool {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        match u8::unpack(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Pack for String {
    fn pack(&self, out: &mut Vec<u8>) {
        u8::pack_all(self.as_bytes(), out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::from_utf8(u8::unpack_all(from)?).ok()
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        T::pack_all(self, out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        T::unpack_all(from)
    }
}

impl<T: Pack + Ord + Clone> Pack for BTreeSet<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        let all: Vec<T> = self.iter().cloned().collect();
        all.pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Vec::unpack(from).map(|all: Vec<T>| all.into_iter().collect())
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        self.is_some().pack(out);
        if let Some(value) = self {
            value.pack(out);
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        if bool::unpack(from)? { T::unpack(from).map(Some) } else { Some(None) }
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        (**self).pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        T::unpack(from).map(Self::new)
    }
}

impl<A: Pack, B: Pack> Pack for (A, B) {
    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
        self.1.pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some((A::unpack(from)?, B::unpack(from)?))
    }
}

impl<A: Pack, B: Pack, C: Pack> Pack for (A, B, C) {
    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
        self.1.pack(out);
        self.2.pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Some((A::unpack(from)?, B::unpack(from)?, C::unpack(from)?))
    }
}

impl Pack for Major {
    fn pack(&self, out: &mut Vec<u8>) {
        self.magic().pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::from_magic(u16::unpack(from)?)
    }
}

impl Pack for SegmentSize {
    fn pack(&self, out: &mut Vec<u8>) {
        self.bytes().pack(out);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::new(u64::unpack(from)?)
    }
}

/// Structures as their fields in the order given.
macro_rules! pack_struct {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {
        $(impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                // Taken apart by name, so that a field that is added cannot be forgotten here.
                let Self { $($field),+ } = self;
                $($field.pack(out);)+
            }

            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                $(let $field = Pack::unpack(from)?;)+
                Some(Self { $($field),+ })
            }
        })+
    };
}

/// Enumerations as the number given and the fields of the variant.
macro_rules! pack_enum {
    ($($name:ident { $($number:literal => $variant:ident $({ $($field:ident),+ })? $(($inner:ident))?),+ $(,)? })+) => {
        $(impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),+ })? $(($inner))? => {
                        out.push($number);
                        $($($field.pack(out);)+)?
                        $($inner.pack(out);)?
                    })+
                }
            }

            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Some(match u8::unpack(from)? {
                    $($number => {
                        $($(let $field = Pack::unpack(from)?;)+)?
                        $(let $inner = Pack::unpack(from)?;)?
                        Self::$variant $({ $($field),+ })? $(($inner))?
                    })+
                    _ => return None,
                })
            }
        })+
    };
}

macro_rules! pack_newtypes {
    ($($name:ident)+) => {
        $(impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                self.0.pack(out);
            }

            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Pack::unpack(from).map(Self)
            }
        })+
    };
}

pack_newtypes!(Lsn TimelineId Xid FullXid SystemId PgTime SegmentNumber);

pub(crate) use {pack_enum, pack_struct};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            prop_assert_eq!(from_bytes::<u64>(&to_bytes(&value)), Some(value));
            prop_assert_eq!(from_bytes::<i64>(&to_bytes(&signed)), Some(signed));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = from_bytes::<Vec<(u64, Option<String>)>>(&bytes);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(from_bytes::<u64>(&[0xFF; 11]), None);
        assert_eq!(from_bytes::<u64>(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]), None);
        assert_eq!(from_bytes::<Vec<u8>>(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1]), None);
        assert_eq!(from_bytes::<Vec<u32>>(&[200, 1]), None);
        assert_eq!(from_bytes::<u8>(&[1, 2]), None);
        assert_eq!(from_bytes::<bool>(&[2]), None);
    }
}
