//! Records as text, in the form of pg_waldump.
//!
//! The files are read one after another in the order of their names. What is kept is one piece of one file, and
//! for each timeline the record that is open at the end of its last file; so memory does not grow with the
//! archive. Other than pg_waldump it follows a record into the next segment, and reads every timeline: each
//! record under the timeline that owns it, once.
//!
//! PostgreSQL: `src/bin/pg_waldump/pg_waldump.c` (`pg_xlogdump` up to 9.6), 9.5 to 19.

pub mod describe;
mod file;
pub mod line;
pub mod names;
mod transaction;

pub use line::Line;

use crate::archive::{Archive, ReadError, Scratch, StoreError};
use crate::audit::Plan;
use crate::clock::Clock;
use crate::wal::record::ResourceManager;
use crate::wal::walk::{Format, Tail};
use crate::wal::{Lsn, SegmentName, SystemId, TimelineId, WalFileName, Xid};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

/// Which records are wanted; by default all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Those that start here or later.
    pub from: Option<Lsn>,
    /// Those that end here or earlier.
    pub to: Option<Lsn>,
    /// Those that this timeline owns.
    pub timeline: Option<TimelineId>,
    /// Those of these resource managers; none named: of all.
    pub managers: Vec<ResourceManager>,
    /// Those whose header has this transaction.
    pub xid: Option<Xid>,
    /// Only so many.
    pub limit: Option<u64>,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Records given.
    pub records: u64,
    /// Places that are damaged in the files that were read.
    pub wounds: u64,
}

/// Why it went no further.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A file's bytes could not be obtained.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody takes the records.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

/// The record that is open at the end of a timeline's last file.
#[derive(Debug)]
struct Open {
    end: Lsn,
    format: Format,
    system_id: SystemId,
    tail: Tail,
}

/// A run over an archive.
struct Dump<'a> {
    plan: &'a Plan,
    filter: &'a Filter,
    clock: &'a Clock,
    each: &'a mut dyn FnMut(&Line) -> io::Result<()>,
    outcome: Outcome,
    open: BTreeMap<TimelineId, Open>,
    /// Where the last file of each timeline ends.
    reached: BTreeMap<TimelineId, Lsn>,
    /// Timelines whose last file has no WAL at its end, and which file that is.
    ended_early: BTreeMap<TimelineId, SegmentName>,
    /// Segments by whose timeline's file they are shown.
    shown: BTreeSet<SegmentName>,
    /// How the last file was written: a guess at the next one's size, so that it need not be read.
    last: Option<Format>,
    failed: Option<io::Error>,
}

/// Gives every wanted record of the archive to `each`, by file name and position.
///
/// # Errors
/// Bytes could not be obtained, or `each` failed. Damage is no error: it is counted, and logged as a warning.
pub fn dump(
    archive: &Archive,
    plan: &Plan,
    filter: &Filter,
    clock: &Clock,
    each: &mut dyn FnMut(&Line) -> io::Result<()>,
) -> Result<Outcome, DumpError> {
    let whole = plan.entries.iter().filter_map(|entry| match entry.name {
        WalFileName::Segment(name) => Some(name),
        _ => None,
    });
    let mut dump = Dump {
        plan,
        filter,
        clock,
        each,
        outcome: Outcome::default(),
        open: BTreeMap::new(),
        reached: BTreeMap::new(),
        ended_early: BTreeMap::new(),
        shown: whole.collect(),
        last: None,
        failed: None,
    };
    let mut scratch = Scratch::default();
    let mut before = None;
    for entry in &plan.entries {
        let name = match entry.name {
            WalFileName::Segment(name) => name,
            // Its beginning of a segment that is there as a whole.
            WalFileName::Partial(name) if !dump.shown.contains(&name) => name,
            _ => continue,
        };
        // Of several copies the first one counts.
        if before.replace(name) == Some(name) {
            continue;
        }
        if !dump.may_matter(name) {
            dump.pass(name);
            continue;
        }
        if dump.is_full() {
            break;
        }
        dump.look_for_gap(name);
        let owners = plan.owners(name.timeline);
        let mut file = file::File::new(name, owners, entry.stored_size());
        let read = archive.read(entry, &mut scratch, &mut |piece| dump.feed(&mut file, piece));
        match read {
            Ok(()) => {}
            Err(ReadError::Unobtainable(error)) => return Err(error.into()),
            Err(other) => {
                tracing::warn!("{name}: {other}");
                dump.outcome.wounds += 1;
            }
        }
        dump.end(file);
        if let Some(error) = dump.failed.take() {
            return Err(error.into());
        }
    }
    Ok(dump.outcome)
}

impl Dump<'_> {
    fn is_full(&self) -> bool {
        self.filter.limit.is_some_and(|limit| self.outcome.records >= limit)
    }

    /// Whether the file can hold a wanted record, as far as that is known without reading it.
    fn may_matter(&self, name: SegmentName) -> bool {
        let Some(size) = self.last.map(|format| format.segment_size) else { return true };
        let Some(start) = name.start(size) else { return true };
        let of_timeline = self.filter.timeline.is_none_or(|timeline| {
            name.timeline == timeline || self.plan.owners(name.timeline).at(start).0 == timeline
        });
        // A record that starts before it and ends in it may be wanted, but none that ends before it starts.
        of_timeline
            && self.filter.to.is_none_or(|to| start < to)
            && self.filter.from.is_none_or(|from| start.plus(size.bytes()) > from)
    }

    /// Passes a file that nobody asked for.
    fn pass(&mut self, name: SegmentName) {
        let end = self
            .last
            .and_then(|format| Some(name.start(format.segment_size)?.plus(format.segment_size.bytes())));
        self.reached.extend(end.map(|end| (name.timeline, end)));
        self.ended_early.remove(&name.timeline);
    }

    /// Whether files are missing between the one that was read last on the timeline and this one.
    fn look_for_gap(&mut self, name: SegmentName) {
        let start = self.last.and_then(|format| name.start(format.segment_size));
        let Some((start, reached)) = start.zip(self.reached.get(&name.timeline)) else { return };
        if *reached < start {
            tracing::warn!("there is no WAL from {reached} to {start} on timeline {}", name.timeline);
            self.outcome.wounds += 1;
        }
    }

    fn feed(&mut self, file: &mut file::File, piece: &[u8]) -> ControlFlow<()> {
        let flow = file.feed(piece);
        if self.drain(file).is_break() { ControlFlow::Break(()) } else { flow }
    }

    /// Gives away the records that are known by now, after the one that ends in the file's leading bytes.
    fn drain(&mut self, file: &mut file::File) -> ControlFlow<()> {
        if !file.is_past_head() {
            return ControlFlow::Continue(());
        }
        if let Some((tail, is_own)) = self.before(file) {
            let start = tail.start;
            match file.finish_crossing(tail, self.clock) {
                Some(line) => self.give(file.name, &line)?,
                None if is_own && !file.starts_with_overwrite() => self.warn_of_crossing(start, file.name),
                None => {}
            }
        }
        for line in file.take_lines(self.clock, self.filter) {
            self.give(file.name, &line)?;
        }
        ControlFlow::Continue(())
    }

    /// A record begins in the file before, and what goes on in this one is not the rest of it.
    fn warn_of_crossing(&mut self, start: Lsn, name: SegmentName) {
        if self.filter.from.is_none_or(|from| start >= from) {
            tracing::warn!("the record at {start} goes on in {name}, and is not whole or not right");
            self.outcome.wounds += 1;
        }
    }

    /// What is open at the end of the file before, taken once, and whether that is of the same timeline.
    fn before(&mut self, file: &mut file::File) -> Option<(Tail, bool)> {
        let (start, format, system_id) = file.ask_for_tail()?;
        let goes_on = |open: &Open| open.end == start && open.format == format && open.system_id == system_id;
        let own = self.open.remove(&file.name.timeline).filter(goes_on);
        own.map(|open| (open.tail, true)).or_else(|| {
            // The parent keeps its own: its files may go on.
            let parent = file.owner(Lsn(start.0.saturating_sub(1)));
            self.open.get(&parent).filter(|open| goes_on(open)).map(|open| (open.tail.clone(), false))
        })
    }

    /// Gives a record away if it is wanted.
    fn give(&mut self, file: SegmentName, line: &Line) -> ControlFlow<()> {
        let elsewhere = SegmentName { timeline: line.timeline, ..file };
        if line.timeline != file.timeline && self.shown.contains(&elsewhere) || !self.filter.takes(line) {
            return ControlFlow::Continue(());
        }
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.outcome.records += 1;
        if let Err(error) = (self.each)(line) {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Ends a file, after its last byte.
    fn end(&mut self, mut file: file::File) {
        let name = file.name;
        if self.failed.is_some() || self.is_full() {
            return;
        }
        file.start_if_short();
        let waiting = self.before_end(&mut file);
        let Some(ended) = file.finish() else {
            tracing::warn!("{name}: holds no WAL");
            self.outcome.wounds += 1;
            return;
        };
        for wound in &ended.wounds {
            tracing::warn!("{name}: {} at {}", wound.fault.message(), wound.lsn);
        }
        self.outcome.wounds += ended.wounds.len() as u64;
        self.last = Some(ended.format);
        let begins_with = self.reached.insert(name.timeline, ended.end);
        // Files that are kept for later use hold none.
        if let Some(early) = self.ended_early.remove(&name.timeline)
            && ended.has_records
            && begins_with == Some(ended.start)
        {
            tracing::warn!("the WAL in {early} ends early: {name} goes on");
            self.outcome.wounds += 1;
        }
        if !ended.reaches_end {
            self.ended_early.insert(name.timeline, name);
        }
        for owner in ended.owners {
            self.shown.insert(SegmentName { timeline: owner, ..name });
        }
        // Of a record's middle the next file goes on from what was open before it.
        let tail = match (ended.tail, waiting, ended.open_head) {
            (Some(tail), ..) => Some(tail),
            (None, Some((mut tail, _)), Some(head))
                if tail.total.saturating_sub(tail.have) == head.declared =>
            {
                tail.append(&head);
                Some(tail)
            }
            (None, Some((tail, true)), _) if ended.reaches_end => {
                self.warn_of_crossing(tail.start, name);
                None
            }
            _ => None,
        };
        self.open.remove(&name.timeline);
        if let Some(tail) = tail {
            let open = Open { end: ended.end, format: ended.format, system_id: ended.system_id, tail };
            self.open.insert(name.timeline, open);
        }
    }

    /// Gives away what is left, or takes what is open if all of the file belongs to it.
    fn before_end(&mut self, file: &mut file::File) -> Option<(Tail, bool)> {
        if file.is_past_head() {
            let _ = self.drain(file);
            return None;
        }
        self.before(file)
    }
}

impl Filter {
    /// Whether a record is wanted by its header alone.
    fn takes_header(&self, manager: ResourceManager, xid: Xid) -> bool {
        (self.managers.is_empty() || self.managers.contains(&manager))
            && self.xid.is_none_or(|wanted| wanted == xid)
    }

    fn takes(&self, line: &Line) -> bool {
        self.takes_header(line.manager, line.xid)
            && self.timeline.is_none_or(|timeline| timeline == line.timeline)
            && self.from.is_none_or(|from| line.lsn >= from)
            && self.to.is_none_or(|to| line.last_byte_end <= to)
    }
}
