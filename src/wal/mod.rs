//! The format: bytes to records. No I/O, no threads, no clock.

pub mod byte_text;
pub mod crc;
pub mod fault;
pub mod lsn;
pub mod name;
pub mod owners;
pub mod page;
pub mod payload;
mod quick;
pub mod record;
pub mod resource_manager;
pub mod time;
pub mod version;
pub mod walk;

pub use lsn::{FullXid, Lsn, SegmentNumber, SegmentSize, SystemId, TimelineId, Xid};
pub use name::{SegmentName, WalFileName};
pub use owners::Owners;
pub use time::PgTime;
pub use version::Major;
