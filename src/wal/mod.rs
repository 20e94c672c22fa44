//! The format: bytes to records. No I/O, no threads, no clock.

pub mod crc;
pub mod lsn;
pub mod name;
pub mod time;
pub mod version;

pub use lsn::{FullXid, Lsn, SegmentNumber, SegmentSize, SystemId, TimelineId, Xid};
pub use name::{SegmentName, WalFileName};
pub use time::PgTime;
pub use version::Major;
