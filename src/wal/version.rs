//! What differs between the major versions of PostgreSQL: the one place that knows.
//!
//! The first two bytes of every WAL page (`xlp_magic`) tell the version that wrote it. Everything else in
//! [`crate::wal`] asks this module for facts and never compares version numbers itself.
//!
//! | fact | changes |
//! |---|---|
//! | page flags | 0x0008 is overwrite-contrecord up to 18; 19 dropped 0x0004's old meaning and moved it there |
//! | tail after a switch | empty pages with headers up to 10, zero pages from 11 |
//! | block image flags | renumbered in 15 |
//! | commit and abort parts | origin and database of aborts from 11, dropped statistics from 15, wider from 18 |
//! | `CheckPoint` | 80 bytes up to 11, 88 up to 18 (wal_level from 17), 96 in 19 |
//! | resource managers | last built-in 19, 21, 22; custom ones 128 to 255 from 15 |
//!
//! PostgreSQL: `XLOG_PAGE_MAGIC` and the flags in `src/include/access/xlog_internal.h`, `xlogrecord.h`,
//! `xact.h`, `rmgrlist.h` and `src/include/catalog/pg_control.h` of each branch.

use std::fmt;
use std::str::FromStr;

/// A major version of PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is the version it is named for")]
pub enum Major {
    V9_5,
    V9_6,
    V10,
    V11,
    V12,
    V13,
    V14,
    V15,
    V16,
    V17,
    V18,
    V19,
}

/// Each version with its name and page magic, oldest first. Magics never repeat and never go down.
const MAJORS: [(Major, &str, u16); 12] = [
    (Major::V9_5, "9.5", 0xD087),
    (Major::V9_6, "9.6", 0xD093),
    (Major::V10, "10", 0xD097),
    (Major::V11, "11", 0xD098),
    (Major::V12, "12", 0xD101),
    (Major::V13, "13", 0xD106),
    (Major::V14, "14", 0xD10D),
    (Major::V15, "15", 0xD110),
    (Major::V16, "16", 0xD113),
    (Major::V17, "17", 0xD116),
    (Major::V18, "18", 0xD118),
    (Major::V19, "19", 0xD120),
];

/// The magic after 19beta1's; the layouts in WAL are the same.
const MAGIC_AFTER_19_BETA_1: u16 = 0xD121;

/// How a `CheckPoint` lies in a checkpoint record: byte offsets in its main data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckPointLayout {
    /// Size of the whole structure.
    pub bytes: usize,
    /// Offset of `wal_level`, where it is there.
    pub wal_level: Option<usize>,
    /// Offset of the next transaction id.
    pub next_xid: usize,
    /// The id is stored as epoch then 32-bit id, rather than as one 64-bit number.
    pub next_xid_epoch_first: bool,
    /// Offset of `time`, in Unix seconds.
    pub time: usize,
    /// Offset of `oldestActiveXid`.
    pub oldest_active_xid: usize,
}

/// Which bits of a block reference's `bimg_info` mean what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageBits {
    /// The page has a hole of zeros that was left out.
    pub has_hole: u8,
    /// The image is compressed by pglz.
    pub pglz: u8,
    /// The image is compressed by LZ4 (none before 15).
    pub lz4: u8,
    /// The image is compressed by Zstandard (none before 15).
    pub zstd: u8,
    /// The image is to be restored at replay; zero where every image is.
    pub apply: u8,
}

impl ImageBits {
    /// Every bit that says "compressed".
    pub const fn compressed(self) -> u8 {
        self.pglz | self.lz4 | self.zstd
    }
}

impl Major {
    /// The newest version known.
    pub const NEWEST: Self = Self::V19;

    /// The version whose pages carry `magic`; `None` for a number that no release wrote.
    pub const fn from_magic(magic: u16) -> Option<Self> {
        if magic == MAGIC_AFTER_19_BETA_1 {
            return Some(Self::V19);
        }
        let mut i = 0;
        while i < MAJORS.len() {
            if MAJORS[i].2 == magic {
                return Some(MAJORS[i].0);
            }
            i += 1;
        }
        None
    }

    /// The page magic of this version (of 19beta1 for 19, which may still change).
    pub const fn magic(self) -> u16 {
        MAJORS[self as usize].2
    }

    /// "9.5", "9.6", "10" … "19".
    pub const fn name(self) -> &'static str {
        MAJORS[self as usize].1
    }

    /// `XLP_ALL_FLAGS`. The minors of 9.6 to 14 before November 2021 did not know 0x0008 and reject it; which
    /// minor wrote a file cannot be seen, so it is taken where its major ever wrote it.
    pub const fn all_page_flags(self) -> u16 {
        match self {
            Self::V9_5 | Self::V19 => 0x0007,
            _ => 0x000F,
        }
    }

    /// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: zero where the version has none.
    pub const fn overwrite_contrecord_flag(self) -> u16 {
        match self {
            Self::V9_5 => 0,
            Self::V19 => 0x0004,
            _ => 0x0008,
        }
    }

    /// Pages after a segment switch are zero; before 11 they are empty pages with valid headers.
    pub const fn switch_tail_is_zero(self) -> bool {
        self as u8 >= Self::V11 as u8
    }

    /// `RmgrIdIsValid`: a built-in resource manager or, from 15 on, a custom one.
    pub const fn resource_manager_is_valid(self, id: u8) -> bool {
        let last_built_in = match self {
            Self::V9_5 => 19,
            Self::V19 => 22,
            _ => 21,
        };
        id <= last_built_in || (self as u8 >= Self::V15 as u8 && id >= 128)
    }

    /// The block id for a top-level transaction id is known (252).
    pub const fn has_toplevel_xid(self) -> bool {
        self as u8 >= Self::V14 as u8
    }

    /// A switch record is told by `xl_info` as a whole rather than by its high half.
    pub const fn switch_needs_whole_info(self) -> bool {
        (self as u8) < Self::V10 as u8
    }

    /// What the bits of `bimg_info` mean.
    pub const fn image_bits(self) -> ImageBits {
        match self {
            Self::V9_5 | Self::V9_6 => ImageBits { has_hole: 1, pglz: 2, lz4: 0, zstd: 0, apply: 0 },
            Self::V10 | Self::V11 | Self::V12 | Self::V13 | Self::V14 => {
                ImageBits { has_hole: 1, pglz: 2, lz4: 0, zstd: 0, apply: 4 }
            }
            _ => ImageBits { has_hole: 1, pglz: 4, lz4: 8, zstd: 16, apply: 2 },
        }
    }

    /// How a checkpoint record's main data lies.
    pub const fn checkpoint(self) -> CheckPointLayout {
        match self {
            Self::V9_5 | Self::V9_6 | Self::V10 | Self::V11 => CheckPointLayout {
                bytes: 80,
                wal_level: None,
                next_xid: 20,
                next_xid_epoch_first: true,
                time: 56,
                oldest_active_xid: 72,
            },
            Self::V19 => CheckPointLayout {
                bytes: 96,
                wal_level: Some(20),
                next_xid: 32,
                next_xid_epoch_first: false,
                time: 72,
                oldest_active_xid: 88,
            },
            _ => CheckPointLayout {
                bytes: 88,
                wal_level: if self as u8 >= Self::V17 as u8 { Some(20) } else { None },
                next_xid: 24,
                next_xid_epoch_first: false,
                time: 64,
                oldest_active_xid: 80,
            },
        }
    }

    /// Abort records may carry database and origin.
    pub const fn abort_has_database_and_origin(self) -> bool {
        self as u8 >= Self::V11 as u8
    }

    /// Bytes of one dropped-statistics item in a commit or abort record; `None` where there are none.
    pub const fn dropped_stats_item_bytes(self) -> Option<usize> {
        match self {
            Self::V15 | Self::V16 | Self::V17 => Some(12),
            Self::V18 | Self::V19 => Some(16),
            _ => None,
        }
    }

    /// `max_wal_senders` stands third in a parameter change.
    pub const fn parameter_change_has_wal_senders(self) -> bool {
        self as u8 >= Self::V12 as u8
    }

    /// The name of a `wal_level` as stored in checkpoints and parameter changes.
    pub const fn wal_level_name(self, level: i32) -> Option<&'static str> {
        match (self, level) {
            (_, 0) => Some("minimal"),
            (Self::V9_5, 1) => Some("archive"),
            (Self::V9_5, 2) => Some("hot_standby"),
            (Self::V9_5, 3) => Some("logical"),
            (_, 1) => Some("replica"),
            (_, 2) => Some("logical"),
            _ => None,
        }
    }

    /// The directory in the data directory that holds WAL.
    pub const fn wal_directory(self) -> &'static str {
        if (self as u8) < Self::V10 as u8 { "pg_xlog" } else { "pg_wal" }
    }
}

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text named no version that walproof knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a PostgreSQL major version from 9.5 to 19")]
pub struct ParseMajorError(pub String);

impl FromStr for Major {
    type Err = ParseMajorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        MAJORS
            .iter()
            .find(|(_, name, _)| *name == text)
            .map(|(major, _, _)| *major)
            .ok_or_else(|| ParseMajorError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_magics_grow() {
        for (i, (major, name, magic)) in MAJORS.iter().enumerate() {
            assert_eq!(*major as usize, i);
            assert_eq!(Major::from_magic(*magic), Some(*major));
            assert_eq!(name.parse(), Ok(*major));
        }
        assert!(MAJORS.windows(2).all(|pair| pair[0].2 < pair[1].2));
        assert_eq!(Major::from_magic(0xD115), None);
    }
}
