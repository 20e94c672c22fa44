//! One record as pg_waldump prints it.

use super::describe::{Speaker, padded};
use super::file::operation;
use crate::report::json;
use crate::wal::record::{ResourceManager, block_headers};
use crate::wal::walk::Record;
use crate::wal::{Lsn, TimelineId, Xid};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// One record, described.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// The timeline that owns it.
    pub timeline: TimelineId,
    /// Its resource manager's name.
    pub rmgr: String,
    #[serde(skip)]
    pub(super) manager: ResourceManager,
    /// Bytes without page images.
    pub len_rec: u32,
    /// Bytes in all.
    pub len_tot: u32,
    /// `xl_xid`.
    #[serde(rename = "tx")]
    pub xid: Xid,
    /// Where it starts.
    #[serde(serialize_with = "json::text")]
    pub lsn: Lsn,
    /// Where it ends, rounded up.
    #[serde(serialize_with = "json::text")]
    pub end: Lsn,
    /// Where its last byte ends.
    #[serde(skip)]
    pub(super) last_byte_end: Lsn,
    /// `xl_prev`.
    #[serde(serialize_with = "json::text")]
    pub prev: Lsn,
    /// What it does.
    pub operation: String,
    /// The operation's name and what it says.
    pub desc: String,
    /// Block references, in pg_waldump's short form.
    pub blocks: Vec<String>,
}

impl Line {
    /// Describes a record.
    pub(super) fn of(record: &Record<'_>, speaker: &Speaker<'_>, page_bytes: u32) -> Self {
        let header = &record.header;
        let manager = header.resource_manager();
        let operation = operation(header, speaker.major);
        let total = header.total_length();
        let padding = u64::from(total.next_multiple_of(8) - total);
        let is_switch = header.is_switch(speaker.major);
        // Behind a switch nothing more is read.
        let last_byte_end = if is_switch {
            record.lsn.plus(u64::from(total))
        } else {
            Lsn(record.end.0.saturating_sub(padding))
        };
        let text = speaker.describe(record);
        let desc = if text.is_empty() { operation.clone() } else { format!("{operation} {text}") };
        Self {
            timeline: record.owner,
            rmgr: manager.name().map_or_else(|| format!("custom{:03}", manager.0), str::to_owned),
            manager,
            len_rec: total.saturating_sub(record.layout.image_bytes),
            len_tot: total,
            xid: header.xid(),
            lsn: record.lsn,
            end: record.end,
            last_byte_end,
            prev: header.prev(),
            desc,
            operation,
            blocks: blocks(record, speaker, page_bytes),
        }
    }
}

/// `XLogRecGetBlockRefInfo` in its short form.
fn blocks(record: &Record<'_>, speaker: &Speaker<'_>, page_bytes: u32) -> Vec<String> {
    let mut blocks = Vec::new();
    if !record.layout.has_blocks {
        return blocks;
    }
    let apply = speaker.major.image_bits().apply;
    let length = record.header.total_length().saturating_sub(24);
    // It was checked when it was read.
    let _ = block_headers(record.body, length, page_bytes, speaker.major, |block, image| {
        let file = block.relation;
        let mut text =
            format!("blkref #{}: rel {}/{}/{}", block.id, file.tablespace, file.database, file.number);
        let fork = match block.fork.0 {
            0 => "",
            1 => " fork fsm",
            2 => " fork vm",
            3 => " fork init",
            _ => " fork ?",
        };
        let _ = write!(text, "{fork} blk {}", block.block);
        match image {
            Some(info) if apply != 0 && info & apply == 0 => text.push_str(" FPW for WAL verification"),
            Some(_) => text.push_str(" FPW"),
            None => {}
        }
        blocks.push(text);
    });
    blocks
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rmgr: {:<11} len (rec/tot): {:>6}/{:>6}, tx: {:>10}, lsn: {}, prev {}, desc: {}",
            self.rmgr,
            self.len_rec,
            self.len_tot,
            self.xid.0,
            padded(self.lsn),
            padded(self.prev),
            self.desc
        )?;
        // With nothing behind its name, an operation is followed by a space all the same.
        if self.desc == self.operation {
            f.write_char(' ')?;
        }
        self.blocks.iter().try_for_each(|block| write!(f, ", {block}"))
    }
}
