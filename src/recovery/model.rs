//! The one model of PostgreSQL's recovery: what a server of one version does with one backup, one target, one
//! timeline and this archive.
//!
//! It follows the server step by step: find the timeline, read the backup's checkpoint, check that the backup is
//! on the way to the timeline, replay record by record, note consistency, stop or run out of WAL. What the server
//! would do is said even where nobody should let it.
//!
//! PostgreSQL: `InitWalRecovery`, `PerformWalRecovery`, `CheckRecoveryConsistency` in
//! `src/backend/access/transam/xlogrecovery.c`, `StartupXLOG` in `xlog.c`, 9.5 to 19.

use super::library::Library;
pub use super::prediction::{LastTransaction, Prediction, Refusal};
use super::route::{End, Route, checkpoint_at};
use super::routes::Routes;
use super::target::{Position, Stop, Target, may_stop_in, stops_at};
use super::words;
use crate::archive::StoreError;
use crate::backup::{BackupEnd, BaseBackup, Startup};
use crate::clock::Clock;
use crate::scan::event::{Event, What};
use crate::timeline::{History, TimelineTarget};
use crate::wal::payload::xlog::CheckPoint;
use crate::wal::{Lsn, Major, SegmentName, TimelineId};

/// What is asked of a server.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Where to stop.
    pub target: &'a Target,
    /// `recovery_target_inclusive`.
    pub inclusive: bool,
    /// `recovery_target_timeline`.
    pub timeline: TimelineTarget,
    /// The server's version.
    pub major: Major,
    /// The server's zone, for its words.
    pub clock: &'a Clock,
}

/// What a server does with `backup`.
pub fn predict<'a>(
    library: &'a Library<'a>,
    backup: &BaseBackup,
    request: &Request<'_>,
) -> Result<Prediction<'a>, StoreError> {
    predict_along(&Routes::new(library), backup, request)
}

/// The same, with what is known already of the ways through the files.
pub(super) fn predict_along<'a>(
    routes: &Routes<'a>,
    backup: &BaseBackup,
    request: &Request<'_>,
) -> Result<Prediction<'a>, StoreError> {
    match begin(routes, backup, request) {
        Ok((startup, history, start)) => replay(routes, &startup, request, history, start),
        Err(Refused(refusal, history, message)) => Ok(Prediction::refused(refusal, history, message)),
    }
}

/// Why the server gives up `backup` before it replays anything, if it does.
pub fn refusal(library: &Library<'_>, backup: &BaseBackup, request: &Request<'_>) -> Option<String> {
    begin(&Routes::new(library), backup, request).err().map(|Refused(_, _, message)| message)
}

/// Whether the WAL at a backup's checkpoint is of the backup's own timeline on the way that `history` goes. Up to 14 the
/// server goes by the record that it finds at that place, which may be a sibling's.
pub fn leads_through(history: &History, backup: &BaseBackup) -> bool {
    let checkpoint = backup.checkpoint_lsn.unwrap_or(backup.start_lsn);
    history.owner(checkpoint) == backup.timeline
}

/// What the server refuses for, the history that it goes by, and its words.
struct Refused(Refusal, Option<History>, String);

/// All that comes before the first record is replayed.
fn begin(
    routes: &Routes<'_>,
    backup: &BaseBackup,
    request: &Request<'_>,
) -> Result<(Startup, History, Start), Refused> {
    let library = routes.library;
    let startup = backup.startup().map_err(|error| Refused(Refusal::Backup, None, error.to_string()))?;
    let resolved = request.timeline.resolve(startup.target_timeline_start, |id| library.has_history(id));
    let timeline = resolved.map_err(|error| Refused(Refusal::TimelineNotFound, None, error.to_string()))?;
    if let Some(error) = library.history_error(timeline) {
        return Err(Refused(Refusal::HistoryInvalid, None, error.to_owned()));
    }
    let history = library.history(timeline);
    match find_checkpoint(routes, &history, &startup, request.major) {
        Ok((lsn, checkpoint)) => {
            let level = backup.control.as_ref().map(|control| control.wal_level).or(checkpoint.wal_level);
            let start = Start { lsn, checkpoint, is_minimal: level == Some(WAL_LEVEL_MINIMAL) };
            Ok((startup, history, start))
        }
        Err((refusal, message)) => Err(Refused(refusal, Some(history), message)),
    }
}

/// Reads the backup's checkpoint and checks that it is on the way to the timeline.
fn find_checkpoint(
    routes: &Routes<'_>,
    history: &History,
    startup: &Startup,
    major: Major,
) -> Result<(Lsn, CheckPoint), (Refusal, String)> {
    let library = routes.library;
    let lsn = startup.checkpoint_lsn.or_else(|| checkpoint_of_redo(routes, history, startup.redo_lsn));
    let missing = |file, lsn| (Refusal::NoCheckpoint { file }, words::no_checkpoint(lsn, major));
    let lsn = lsn.ok_or_else(|| missing(false, startup.redo_lsn))?;
    let (facts, event, open) = checkpoint_at(library, history, lsn);
    let across = open.then(|| routes.from(history, lsn).event_at(lsn).cloned()).flatten();
    let found = event.or(across.as_ref());
    let Some(What::Checkpoint { checkpoint, .. }) = found.map(|event| &event.what) else {
        let wrong_size = facts.and_then(|facts| library.wrong_size(facts).map(|found| (facts.name, found)));
        if let Some((segment, found)) = wrong_size {
            let expected = library.segment_size.bytes();
            return Err((Refusal::NoCheckpoint { file: true }, words::wrong_size(segment, found, expected)));
        }
        return Err(missing(facts.is_some(), lsn));
    };
    // Up to 14 the record's own timeline counts, later the one in the label.
    let of = if major <= Major::V14 { checkpoint.timeline } else { startup.timeline };
    if history.owner(lsn) != of {
        // The server looks for where that timeline was left, to say it with the message.
        let message = if history.contains(of) {
            words::not_a_child(history.timeline)
        } else {
            words::not_in_history(of)
        };
        return Err((Refusal::NotDescendant, message));
    }
    let minimum = startup.min_recovery_point;
    let has_minimum = minimum > startup.redo_lsn && minimum != Lsn::INVALID;
    if has_minimum && history.owner(Lsn(minimum.0.saturating_sub(1))) != startup.min_recovery_timeline {
        let message = words::no_minimum(history.timeline, minimum, startup.min_recovery_timeline, major);
        return Err((Refusal::NotDescendant, message));
    }
    Ok((lsn, **checkpoint))
}

/// The first checkpoint whose redo is `redo`, where only that is known of a backup.
fn checkpoint_of_redo(routes: &Routes<'_>, history: &History, redo: Lsn) -> Option<Lsn> {
    let route = routes.from(history, redo);
    let is_its = |event: &&Event| matches!(&event.what, What::Checkpoint { checkpoint, .. } if checkpoint.redo == redo);
    route.others().find(is_its).map(|event| event.lsn)
}

/// `WAL_LEVEL_MINIMAL`, the same number in every version.
const WAL_LEVEL_MINIMAL: i32 = 0;

/// The checkpoint from which a server replays.
struct Start {
    lsn: Lsn,
    checkpoint: CheckPoint,
    /// The server of the backup wrote minimal WAL.
    is_minimal: bool,
}

/// Replays from the checkpoint's redo.
fn replay<'a>(
    routes: &Routes<'a>,
    startup: &Startup,
    request: &Request<'_>,
    history: History,
    start: Start,
) -> Result<Prediction<'a>, StoreError> {
    let Start { lsn: checkpoint_lsn, checkpoint, is_minimal } = start;
    let redo = checkpoint.redo;
    let (library, route) = (routes.library, routes.from(&history, redo));
    let mut prediction = Prediction {
        refusal: None,
        fatal: None,
        redo,
        consistent: None,
        stop: None,
        applied_to: redo,
        last_transaction: None,
        minimal_from: None,
        violations: Vec::new(),
        checkpoint: Some(checkpoint),
        history: Some(history),
        route: None,
    };
    if route.legs.is_empty() {
        prediction.fatal = Some(words::no_redo(redo, checkpoint_lsn, request.major));
        prediction.refusal = Some(Refusal::NoCheckpoint { file: false });
        return Ok(prediction);
    }
    // Replay from a shutdown checkpoint begins behind it.
    let replayed_from =
        if redo < checkpoint_lsn { redo } else { end_of(&route, checkpoint_lsn).unwrap_or(redo) };
    let run =
        Replay { library, startup, request, route: &route, redo, checkpoint_lsn, replayed_from, is_minimal };
    run.carry_out(&mut prediction)?;
    if let Some(history) = &prediction.history {
        prediction.violations = route.violations(history, prediction.decided_by());
    }
    prediction.route = Some(route);
    Ok(prediction)
}

fn end_of(route: &Route<'_>, lsn: Lsn) -> Option<Lsn> {
    route.event_at(lsn).map(|event| event.end)
}

/// A replay to be carried out.
struct Replay<'a, 'r> {
    library: &'a Library<'a>,
    startup: &'r Startup,
    request: &'r Request<'r>,
    route: &'r Route<'a>,
    redo: Lsn,
    checkpoint_lsn: Lsn,
    replayed_from: Lsn,
    is_minimal: bool,
}

impl Replay<'_, '_> {
    fn carry_out(&self, prediction: &mut Prediction<'_>) -> Result<(), StoreError> {
        let consistent = self.consistency()?;
        if let Some(canceled) = self.canceled(consistent) {
            prediction.applied_to = canceled;
            prediction.fatal = Some(words::BACKUP_CANCELED.to_owned());
            return Ok(());
        }
        let stop = self.stop(consistent)?;
        let end = self.route.last_record().map_or(self.replayed_from, |(_, end)| end.max(self.replayed_from));
        prediction.applied_to = match &stop {
            Some(stop) if stop.applies_record() => stop.end,
            Some(stop) if stop.position == Position::Consistency && Some(stop.end) == consistent => stop.end,
            Some(stop) => self.end_before(stop.lsn),
            None => end,
        };
        prediction.minimal_from = self.minimal_from(prediction.applied_to);
        if let Some(at) = prediction.minimal_from.filter(|_| self.request.major >= Major::V14) {
            prediction.applied_to = at;
            prediction.consistent = consistent.filter(|consistent| *consistent <= at && !self.is_minimal);
            prediction.fatal = Some(words::wal_level_minimal(self.request.major));
            prediction.last_transaction = self.last_transaction(None, at);
            return Ok(());
        }
        if let Some((at, segment)) = prediction
            .history
            .as_ref()
            .and_then(|history| self.lost_on_the_way(history, prediction.applied_to))
        {
            prediction.applied_to = at;
            prediction.consistent = consistent.filter(|consistent| *consistent <= at);
            prediction.fatal = Some(words::removed_segment(segment));
            return Ok(());
        }
        let limit = prediction.applied_to;
        prediction.consistent = consistent.filter(|at| *at <= limit);
        prediction.fatal = self.fatal(stop.as_ref(), prediction.consistent);
        if prediction.fatal.is_none()
            && let Some(history) = &prediction.history
        {
            let replayed = history.owner(Lsn(limit.0.saturating_sub(1)));
            prediction.fatal = self.unreadable_prepared(replayed, limit).map(words::removed_segment);
        }
        let dies_before_redo_ends = prediction.fatal.as_deref() == Some(words::BEFORE_CONSISTENCY);
        prediction.last_transaction =
            if dies_before_redo_ends { None } else { self.last_transaction(stop.as_ref(), limit) };
        prediction.stop = stop.or_else(|| self.ran_out());
        Ok(())
    }

    /// Where the first WAL of `wal_level` minimal begins that is replayed up to `limit`. The server looks at what the
    /// control file says when it begins, and at each change of parameters.
    ///
    /// PostgreSQL: `CheckRequiredParameterValues`, `xlog_redo` in `src/backend/access/transam/xlog.c`, 9.5 to 19.
    fn minimal_from(&self, limit: Lsn) -> Option<Lsn> {
        let is_minimal = |event: &&Event| matches!(&event.what, What::ParameterChange(change) if change.wal_level == WAL_LEVEL_MINIMAL);
        let changes = self.route.others().filter(|event| self.applies(event));
        let changed = changes.take_while(|event| event.end <= limit).find(is_minimal);
        self.is_minimal.then_some(self.redo).or(changed.map(|event| event.lsn))
    }

    /// Where the data becomes consistent, if the WAL goes that far.
    fn consistency(&self) -> Result<Option<Lsn>, StoreError> {
        if self.startup.crash_recovery_first {
            // A copy of a running primary without a label: consistent at the end of its own WAL, which lies
            // in the copy.
            return Ok(None);
        }
        let backup_end = match self.startup.end {
            BackupEnd::None => self.replayed_from,
            BackupEnd::Unknown => return Ok(None),
            BackupEnd::Position(position) => position,
            BackupEnd::Record { .. } => {
                let is_its =
                    |event: &&Event| matches!(event.what, What::BackupEnd { start } if start == self.redo);
                match self.route.others().find(is_its) {
                    Some(event) => event.end,
                    None => return Ok(None),
                }
            }
        };
        let needed = backup_end.max(self.startup.min_recovery_point);
        if needed <= self.replayed_from {
            return Ok(Some(self.replayed_from));
        }
        if self.route.event_ending(needed).is_some() {
            return Ok(Some(needed));
        }
        Ok(self.route.record_ending(self.library, needed)?.map(|(_, end)| end))
    }

    /// End of a shutdown checkpoint before the backup's end was seen: the server takes the backup for canceled.
    fn canceled(&self, consistent: Option<Lsn>) -> Option<Lsn> {
        if !matches!(self.startup.end, BackupEnd::Record { .. }) {
            return None;
        }
        let until = consistent.unwrap_or(Lsn::MAX);
        let shutdown = |event: &&Event| {
            matches!(event.what, What::Checkpoint { online: false, .. })
                && event.lsn >= self.redo
                && event.lsn != self.checkpoint_lsn
                && event.end < until
        };
        let found = self.route.others().find(shutdown)?;
        // A target in front of it stops first.
        let stops_before = self.stops().next().is_some_and(|(event, _)| event.lsn < found.lsn);
        let by_position = matches!(self.request.target, Target::Lsn(lsn) if *lsn <= found.lsn);
        (!stops_before && !by_position).then_some(found.lsn)
    }

    /// The record at which the target stops the replay.
    fn stop(&self, consistent: Option<Lsn>) -> Result<Option<Stop>, StoreError> {
        let side = if self.request.inclusive { Position::After } else { Position::Before };
        match self.request.target {
            Target::Latest => Ok(None),
            Target::Lsn(lsn) => self.stop_at_record(*lsn, side),
            Target::Immediate => match consistent {
                Some(at) => self.stop_at_consistency(at),
                None => Ok(None),
            },
            _ => {
                let mut applied = self.stops().filter(|(event, _)| self.applies(event));
                Ok(applied.next().map(|(event, side)| Stop::at_event(side, event)))
            }
        }
    }

    /// Events at which the target stops the replay.
    fn stops(&self) -> impl Iterator<Item = (&Event, Position)> {
        let Request { target, inclusive, .. } = *self.request;
        let events = self.route.events_if(move |facts| may_stop_in(target, inclusive, facts));
        events.filter_map(move |event| Some((event, stops_at(target, inclusive, event)?)))
    }

    /// Whether the record of an event is replayed: those before a shutdown checkpoint's end are not.
    fn applies(&self, event: &Event) -> bool {
        event.lsn >= self.replayed_from || self.replayed_from == self.redo
    }

    fn stop_at_record(&self, lsn: Lsn, side: Position) -> Result<Option<Stop>, StoreError> {
        let record = self.route.record_at(self.library, lsn.max(self.replayed_from))?;
        Ok(record.map(|record| match self.route.event_at(record.0) {
            Some(event) => Stop::at_event(side, event),
            None => Stop::at_record(side, record),
        }))
    }

    /// Consistency is looked at before each record, and after each of the Transaction manager's that ends or prepares a
    /// transaction: that one is applied. (Of its other records, which no event is made of, nothing is known here.)
    ///
    /// PostgreSQL: the last test of `recoveryStopsAfter`, which only transactions' records come to.
    fn stop_at_consistency(&self, at: Lsn) -> Result<Option<Stop>, StoreError> {
        let completing = self.route.event_ending(at);
        if let Some(event) = completing.filter(|e| self.applies(e) && e.what.is_of_transaction()) {
            return Ok(Some(Stop::at_event(Position::Consistency, event)));
        }
        self.stop_at_record(at, Position::Consistency)
    }

    /// The end of what is applied when the record at `lsn` is not: it, or the page boundary in front of it.
    fn end_before(&self, lsn: Lsn) -> Lsn {
        let page = self
            .route
            .legs
            .iter()
            .find_map(|leg| leg.facts.identity)
            .map_or(8192, |i| i.format.page_bytes as u64);
        let in_page = lsn.0 % page;
        let header = if lsn.offset_in_segment(self.library.segment_size) < page { 40 } else { 24 };
        let overwrites = self.route.legs.iter().flat_map(|leg| &leg.facts.walked.overwrites);
        let dropped =
            overwrites.clone().find(|overwrite| overwrite.at == lsn).map(|overwrite| overwrite.dropped);
        match dropped {
            Some(dropped) => dropped,
            None if in_page == header => Lsn(lsn.0 - in_page),
            None => lsn,
        }
    }

    /// Why the server dies after it began to replay.
    fn fatal(&self, stop: Option<&Stop>, consistent: Option<Lsn>) -> Option<String> {
        if stop.is_some() {
            return consistent.is_none().then(|| words::BEFORE_CONSISTENCY.to_owned());
        }
        if let End::WrongSize { segment, found } = &self.route.end {
            return Some(words::wrong_size(*segment, *found, self.library.segment_size.bytes()));
        }
        if *self.request.target != Target::Latest && self.request.major >= Major::V13 {
            return Some(words::TARGET_NOT_REACHED.to_owned());
        }
        if consistent.is_some() || self.startup.crash_recovery_first {
            return None;
        }
        let message = match self.startup.end {
            BackupEnd::None => words::ENDS_BEFORE_MINIMUM,
            _ => words::ENDS_BEFORE_BACKUP_END,
        };
        Some(message.to_owned())
    }

    /// With hot_standby, which is on by default from 10 on, the server reads standing prepared transactions again at each
    /// shutdown checkpoint too, as the one with which a timeline begins: where that is, and the file that is not there
    /// (seen on 11, 12, 13, 15 and 17; with hot_standby off all of them went on).
    ///
    /// PostgreSQL: `xlog_redo`, `PrescanPreparedTransactions` in `src/backend/access/transam`, 10 to 19.
    fn lost_on_the_way(&self, history: &History, limit: Lsn) -> Option<(Lsn, SegmentName)> {
        if !self.route.legs.iter().any(|leg| leg.facts.events.may_have_prepared()) {
            return None;
        }
        let shutdowns = self.route.others().filter_map(|event| match &event.what {
            What::Checkpoint { online: false, checkpoint } => Some((event, checkpoint)),
            _ => None,
        });
        let replayed = shutdowns.filter(|(event, _)| event.lsn >= self.replayed_from && event.end <= limit);
        let mut lost = replayed.filter_map(|(event, checkpoint)| {
            let begins = checkpoint.previous_timeline != checkpoint.timeline;
            let on = if begins { checkpoint.previous_timeline } else { history.owner(event.lsn) };
            Some((event.lsn, self.unreadable_prepared(on, event.lsn)?))
        });
        lost.next()
    }

    /// At the end of recovery the server (10 and later) reads standing prepared transactions out of pg_wal again, from
    /// the file of the timeline that it replays. Where it stopped in the part of a child's first file that was
    /// copied, it restored only the child's file, asks for the parent's, and dies (seen on 16.14).
    fn unreadable_prepared(&self, replayed: TimelineId, limit: Lsn) -> Option<SegmentName> {
        if self.request.major < Major::V10 {
            return None;
        }
        // Only a child's file stands in the place of one that is asked for, and a route goes on to newer timelines only.
        if self.route.legs.last().is_none_or(|leg| leg.timeline <= replayed) {
            return None;
        }
        let mut standing: Vec<&Event> = Vec::new();
        let events = self.route.events_if(|facts| facts.events.may_have_prepared());
        for event in events.filter(|event| self.applies(event) && event.end <= limit) {
            match &event.what {
                What::Prepare { .. } => standing.push(event),
                What::End(end) if end.prepared => standing.retain(|prepare| prepare.xid != event.xid),
                _ => {}
            }
        }
        let of =
            |lsn: Lsn| self.route.legs.iter().find(|leg| leg.facts.start <= lsn && lsn < leg.facts.end());
        standing.iter().find_map(|prepare| {
            let leg = of(prepare.lsn).filter(|leg| leg.timeline > replayed)?;
            Some(self.library.name(replayed, leg.number))
        })
    }

    /// The last commit or abort that the log counts. A stop behind a position looks at the position first, so that the
    /// stop record itself is not counted.
    fn last_transaction(&self, stop: Option<&Stop>, limit: Lsn) -> Option<LastTransaction> {
        let uncounted = match (self.request.target, stop) {
            (Target::Lsn(_), Some(stop)) => Some(stop.lsn),
            _ => None,
        };
        let counts = |event: &&Event| self.applies(event) && matches!(event.what, What::End(_));
        let mut counted = self.route.events_backwards(limit).filter(counts);
        let last = counted.find(|event| Some(event.lsn) != uncounted)?;
        Some(LastTransaction { xid: last.xid, time: last.time?, lsn: last.lsn })
    }

    /// The WAL ended: the last record applied.
    fn ran_out(&self) -> Option<Stop> {
        let (lsn, end) = self.route.last_record()?;
        Some(Stop { position: Position::EndOfWal, record: None, lsn, end, xid: None, time: None })
    }
}

/// The timeline that comes after all that are there.
pub fn next_timeline(library: &Library<'_>, timeline: TimelineId) -> TimelineId {
    let newest = crate::timeline::probe_latest(timeline, |id| library.has_history(id));
    TimelineId(newest.0.saturating_add(1))
}
