//! What a record says, in the words of pg_waldump.
//!
//! In full for Transaction and XLOG, and for what creates or removes relation files, databases and tablespaces or maps
//! relations to files; of all other records the name of the operation alone is given.
//!
//! PostgreSQL: `xactdesc.c`, `xlogdesc.c`, `standbydesc.c`, `smgrdesc.c`, `dbasedesc.c`, `tblspcdesc.c`, `relmapdesc.c`,
//! `heapdesc.c` in `src/backend/access/rmgrdesc`, 9.5 to 19.

use super::transaction;
use crate::clock::Clock;
use crate::report::printable;
use crate::wal::payload::Reader;
use crate::wal::payload::xlog::{CheckPoint, EndOfRecovery, Operation, ParameterChange, RestorePoint};
use crate::wal::record::{RecordHeader, RelationFile, ResourceManager};
use crate::wal::walk::Record;
use crate::wal::{Lsn, Major, PgTime};
use std::fmt::Write as _;

/// How records are described.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// The version that wrote them.
    pub major: Major,
    /// The zone for times.
    pub clock: &'a Clock,
}

/// Whether a record with this header is described by its contents.
pub fn is_described(header: &RecordHeader) -> bool {
    let operation = header.info() & 0xF0;
    match header.resource_manager() {
        ResourceManager::XLOG => !matches!(operation, 0x20 | 0xA0 | 0xB0 | 0xC0),
        ResourceManager::TRANSACTION
        | ResourceManager::STORAGE
        | ResourceManager::DATABASE
        | ResourceManager::TABLESPACE
        | ResourceManager::RELMAP => true,
        ResourceManager::HEAP => operation == 0x30,
        _ => false,
    }
}

impl Speaker<'_> {
    /// What follows the operation's name; empty where nothing does, or where the record is shorter than it says.
    pub fn describe(&self, record: &Record<'_>) -> String {
        if !is_described(&record.header) {
            return String::new();
        }
        let main = record.main();
        let info = record.header.info() & 0xF0;
        let text = match record.header.resource_manager() {
            ResourceManager::XLOG => self.xlog(main, info),
            ResourceManager::TRANSACTION => transaction::describe(self, record),
            ResourceManager::STORAGE => self.storage(main, info),
            ResourceManager::DATABASE => self.database(main, info),
            ResourceManager::TABLESPACE => tablespace(main, info),
            ResourceManager::RELMAP => relation_map(main),
            _ => self.heap_truncate(main),
        };
        text.unwrap_or_default()
    }

    /// A position within a description: its low half is padded from 19 on.
    pub(super) fn lsn(&self, lsn: Lsn) -> String {
        if self.major >= Major::V19 { padded(lsn) } else { lsn.to_string() }
    }

    pub(super) fn time(&self, time: PgTime) -> String {
        self.clock.waldump(time)
    }

    /// A relation's file (`relpathperm`).
    pub(super) fn path(&self, file: RelationFile) -> String {
        match file.tablespace {
            1664 => format!("global/{}", file.number),
            1663 => format!("base/{}/{}", file.database, file.number),
            tablespace => {
                let directory = match catalog_version(self.major) {
                    Some(version) => format!("PG_{}_{version}", self.major),
                    // Not final: each beta has its own.
                    None => format!("PG_{}_*", self.major),
                };
                format!("pg_tblspc/{tablespace}/{directory}/{}/{}", file.database, file.number)
            }
        }
    }

    fn xlog(&self, main: &[u8], info: u8) -> Option<String> {
        let mut reader = Reader::new(main);
        let flag = |value: u8| if value == 0 { "false" } else { "true" };
        Some(match Operation::from_info(info) {
            Operation::CheckpointShutdown | Operation::CheckpointOnline => self.checkpoint(main, info)?,
            Operation::NextOid => reader.u32()?.to_string(),
            Operation::BackupEnd => self.lsn(Lsn(reader.u64()?)),
            Operation::ParameterChange => self.parameter_change(main)?,
            Operation::RestorePoint => printable(&String::from_utf8_lossy(RestorePoint::read(main)?.name)),
            Operation::FullPageWritesChange | Operation::LogicalDecodingStatusChange => {
                flag(reader.u8()?).to_owned()
            }
            Operation::EndOfRecovery => self.end_of_recovery(main)?,
            Operation::OverwriteContrecord => {
                let dropped = Lsn(reader.u64()?);
                format!("lsn {}; time {}", self.lsn(dropped), self.time(PgTime(reader.i64()?)))
            }
            Operation::CheckpointRedo => format!("wal_level {}", self.wal_level(reader.i32()?)),
            _ => String::new(),
        })
    }

    fn wal_level(&self, level: i32) -> &'static str {
        self.major.wal_level_name(level).unwrap_or("?")
    }

    fn checkpoint(&self, main: &[u8], info: u8) -> Option<String> {
        let checkpoint = CheckPoint::read(main, self.major)?;
        let layout = self.major.checkpoint();
        let mut text = format!(
            "redo {}; tli {}; prev tli {}; fpw {}; ",
            self.lsn(checkpoint.redo),
            checkpoint.timeline,
            checkpoint.previous_timeline,
            checkpoint.full_page_writes
        );
        if let Some(level) = checkpoint.wal_level {
            let _ = write!(text, "wal_level {}; ", self.wal_level(level));
        }
        let newest = self.major >= Major::V19;
        if newest {
            let _ = write!(text, "logical decoding {}; ", *main.get(24)? != 0);
        }
        let full = checkpoint.next_xid.0;
        let separator = if self.major == Major::V9_5 { '/' } else { ':' };
        let _ = write!(text, "xid {}{separator}{}; ", full >> 32, full & 0xFFFF_FFFF);
        let mut counters = Reader::new(main.get(layout.next_xid.checked_add(8)?..)?);
        let (oid, multi) = (counters.u32()?, counters.u32()?);
        let offset = if newest { counters.u64()? } else { u64::from(counters.u32()?) };
        let _ = write!(text, "oid {oid}; multi {multi}; offset {offset}; ");
        let _ = write!(text, "oldest xid {} in DB {}; ", counters.u32()?, counters.u32()?);
        let _ = write!(text, "oldest multi {} in DB {}; ", counters.u32()?, counters.u32()?);
        let mut commit_times = Reader::new(main.get(layout.time.checked_add(8)?..)?);
        let (oldest, newest_xid) = (commit_times.u32()?, commit_times.u32()?);
        let _ = write!(text, "oldest/newest commit timestamp xid: {oldest}/{newest_xid}; ");
        let _ = write!(text, "oldest running xid {}; ", checkpoint.oldest_active_xid);
        if newest {
            let state = Reader::new(main.get(92..)?).u32()?;
            let name = ["off", "on", "inprogress-off", "inprogress-on"].get(usize::try_from(state).ok()?);
            let _ = write!(text, "checksums {}; ", name.unwrap_or(&"?"));
        }
        text.push_str(if info == 0 { "shutdown" } else { "online" });
        Some(text)
    }

    fn parameter_change(&self, main: &[u8]) -> Option<String> {
        let change = ParameterChange::read(main, self.major)?;
        let switch = |on| if on { "on" } else { "off" };
        let senders = change.max_wal_senders.map(|senders| format!("max_wal_senders={senders} "));
        Some(format!(
            "max_connections={} max_worker_processes={} {}max_prepared_xacts={} max_locks_per_xact={} \
             wal_level={} wal_log_hints={} track_commit_timestamp={}",
            change.max_connections,
            change.max_worker_processes,
            senders.unwrap_or_default(),
            change.max_prepared_transactions,
            change.max_locks_per_transaction,
            self.wal_level(change.wal_level),
            switch(change.wal_log_hints),
            switch(change.track_commit_timestamp)
        ))
    }

    fn end_of_recovery(&self, main: &[u8]) -> Option<String> {
        let end = EndOfRecovery::read(main)?;
        let time = self.time(end.time);
        let mut text = format!("tli {}; prev tli {}; time {time}", end.timeline, end.previous_timeline);
        if self.major >= Major::V17 {
            let level = Reader::new(main.get(16..)?).i32()?;
            let _ = write!(text, "; wal_level {}", self.wal_level(level));
        }
        Some(text)
    }

    fn storage(&self, main: &[u8], info: u8) -> Option<String> {
        let mut reader = Reader::new(main);
        if info == 0x10 {
            let file = RelationFile::read(reader.bytes(12)?)?;
            let suffix = match reader.i32()? {
                1 => "_fsm",
                2 => "_vm",
                3 => "_init",
                _ => "",
            };
            return Some(self.path(file) + suffix);
        }
        let blocks = reader.u32()?;
        let mut text = format!("{} to {blocks} blocks", self.path(RelationFile::read(reader.bytes(12)?)?));
        if self.major >= Major::V9_6 {
            let _ = write!(text, " flags {}", reader.i32()?);
        }
        Some(text)
    }

    fn database(&self, main: &[u8], info: u8) -> Option<String> {
        let mut reader = Reader::new(main);
        let database = reader.u32()?;
        let dropped = if self.major >= Major::V15 { 0x20 } else { 0x10 };
        if info == dropped && self.major >= Major::V13 {
            let spaces = reader.counted(4)?.chunks_exact(4);
            let each = spaces.filter_map(|bytes| Reader::new(bytes).u32());
            return Some(each.fold("dir".to_owned(), |text, space| format!("{text} {space}/{database}")));
        }
        let space = reader.u32()?;
        Some(match info {
            0x00 => {
                let (from, from_space) = (reader.u32()?, reader.u32()?);
                format!("copy dir {from_space}/{from} to {space}/{database}")
            }
            _ if info == dropped => format!("dir {space}/{database}"),
            _ => format!("create dir {space}/{database}"),
        })
    }

    fn heap_truncate(&self, main: &[u8]) -> Option<String> {
        let mut reader = Reader::new(main);
        reader.skip(4)?;
        let count = reader.u32()?;
        let flags = reader.u8()?;
        reader.skip(3)?;
        let relations = reader.bytes(usize::try_from(count).ok()?.checked_mul(4)?)?;
        let each = relations.chunks_exact(4).filter_map(|bytes| Reader::new(bytes).u32());
        let relations: Vec<String> = each.map(|oid| oid.to_string()).collect();
        let named = |names: [&'static str; 2]| -> Vec<&str> {
            let set = names.into_iter().zip([1, 2]).filter(|(_, bit)| flags & bit != 0);
            set.map(|(name, _)| name).collect()
        };
        if self.major >= Major::V16 {
            let flags = named(["CASCADE", "RESTART_SEQS"]).join(", ");
            return Some(format!("flags: [{flags}], nrelids: {count}, relids: [{}]", relations.join(", ")));
        }
        let flags = named(["cascade ", "restart_seqs "]).concat();
        Some(format!("{flags}nrelids {count} relids {}", relations.join(" ")))
    }
}

fn tablespace(main: &[u8], info: u8) -> Option<String> {
    let mut reader = Reader::new(main);
    let space = reader.u32()?;
    if info != 0 {
        return Some(space.to_string());
    }
    let path = main.get(4..)?.split(|byte| *byte == 0).next()?;
    Some(format!("{space} \"{}\"", printable(&String::from_utf8_lossy(path))))
}

fn relation_map(main: &[u8]) -> Option<String> {
    let mut reader = Reader::new(main);
    let (database, space, bytes) = (reader.u32()?, reader.u32()?, reader.i32()?);
    Some(format!("database {database} tablespace {space} size {bytes}"))
}

/// A position as pg_waldump's columns have it.
pub fn padded(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
}

/// `CATALOG_VERSION_NO` of the releases; `None` while it is not final.
const fn catalog_version(major: Major) -> Option<u32> {
    Some(match major {
        Major::V9_5 => 201_510_051,
        Major::V9_6 => 201_608_131,
        Major::V10 => 201_707_211,
        Major::V11 => 201_809_051,
        Major::V12 => 201_909_212,
        Major::V13 => 202_007_201,
        Major::V14 => 202_107_181,
        Major::V15 => 202_209_061,
        Major::V16 => 202_307_071,
        Major::V17 => 202_406_281,
        Major::V18 => 202_506_291,
        Major::V19 => return None,
    })
}
