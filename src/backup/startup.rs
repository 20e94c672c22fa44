//! What a server takes from a backup before it reads any WAL.
//!
//! | backup | starts at | consistent when |
//! |---|---|---|
//! | with a label, from a primary | the label's checkpoint | its `BACKUP_END` record is replayed |
//! | with a label, from a standby | the label's checkpoint | pg_control's minimum recovery point is reached |
//! | no label, a copy of a stopped primary | pg_control's checkpoint | that checkpoint's record is replayed |
//! | no label, a copy of a standby | pg_control's checkpoint | pg_control's minimum recovery point is reached |
//! | no label, a copy of a running primary | pg_control's checkpoint | the WAL in its own pg_wal ends |
//!
//! PostgreSQL: `src/backend/access/transam/xlogrecovery.c` (`InitWalRecovery`, 15 to 19), `xlog.c` (`StartupXLOG`,
//! up to 14).

use super::base::BaseBackup;
use super::control::{ControlFile, State};
use super::label::Method;
use crate::wal::{Lsn, TimelineId};

/// Which event ends the backup for a server that replays it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackupEnd {
    /// A `BACKUP_END` record that names this start.
    Record {
        /// Start of the backup: the payload of the record.
        start: Lsn,
    },
    /// Replay reaches this position.
    Position(Lsn),
    /// A backup of a standby whose control file is not at hand: the position is in there.
    Unknown,
    /// No backup is being recovered: the minimum recovery point alone decides.
    None,
}

/// How a server starts from a backup with a recovery target or a restore_command set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Startup {
    /// Position of the checkpoint record; `None` where only redo is known.
    pub checkpoint_lsn: Option<Lsn>,
    /// Where replay begins.
    pub redo_lsn: Lsn,
    /// The timeline of the checkpoint.
    pub timeline: TimelineId,
    /// Where the search for the target timeline begins, and what `current` means: the greater of the control file's
    /// checkpoint timeline and minimum recovery timeline.
    pub target_timeline_start: TimelineId,
    /// Replay of the backup's own pg_wal to its end comes first, and makes it consistent (a copy of a running primary
    /// without a label).
    pub crash_recovery_first: bool,
    /// What ends the backup.
    pub end: BackupEnd,
    /// At the end of WAL the server dies if no `BACKUP_END` record was seen.
    pub end_record_required: bool,
    /// Replay must have reached this as well.
    pub min_recovery_point: Lsn,
    /// The timeline of that point.
    pub min_recovery_timeline: TimelineId,
}

/// The server gives up before it reads WAL: FATAL, in the words of [`Display`](std::fmt::Display).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The label says standby, the control file says that the server was none.
    #[error("backup_label contains data inconsistent with control file")]
    Inconsistent,
    /// The directory has to be combined with others first (17 and later).
    #[error("this is an incremental backup, not a data directory")]
    Incremental,
    /// There is neither a label nor a control file: not a server's message.
    #[error("neither a backup_label nor a control file is known")]
    Nothing,
}

impl BaseBackup {
    /// How a server starts from this backup. What only the control file knows is filled in, where it is missing, with what
    /// a primary's says.
    pub fn startup(&self) -> Result<Startup, StartupError> {
        if self.incremental_from.is_some() {
            return Err(StartupError::Incremental);
        }
        match (self.has_label, &self.control) {
            (Some(false), Some(control)) => Ok(from_control(control)),
            (Some(false), None) => Err(StartupError::Nothing),
            (_, control) => self.startup_by_label(control.as_ref()),
        }
    }

    /// With a label, which the server believes more than the control file.
    fn startup_by_label(&self, control: Option<&ControlFile>) -> Result<Startup, StartupError> {
        let from_standby = self.from_standby == Some(true);
        let standby_states = [State::InArchiveRecovery, State::ShutDownInRecovery];
        if from_standby && control.is_some_and(|control| !standby_states.contains(&control.state)) {
            return Err(StartupError::Inconsistent);
        }
        let end = match (from_standby, control) {
            (false, _) => BackupEnd::Record { start: self.start_lsn },
            (true, Some(control)) => BackupEnd::Position(control.min_recovery_point),
            // What the standby called the end of the backup is its minimum recovery point.
            (true, None) => self.stop_lsn.map_or(BackupEnd::Unknown, BackupEnd::Position),
        };
        let (min_recovery_point, min_recovery_timeline) = minimum(control, self.start_lsn, self.timeline);
        Ok(Startup {
            checkpoint_lsn: self.checkpoint_lsn,
            redo_lsn: self.start_lsn,
            timeline: self.timeline,
            target_timeline_start: control.map_or(self.timeline, target_timeline_start),
            crash_recovery_first: false,
            end,
            end_record_required: !from_standby && self.method.as_ref().is_none_or(|m| *m == Method::Streamed),
            min_recovery_point,
            min_recovery_timeline,
        })
    }
}

/// Without a label.
fn from_control(control: &ControlFile) -> Startup {
    let redo_lsn = control.checkpoint_copy.redo;
    let timeline = control.checkpoint_copy.timeline;
    let knows_its_end = control.min_recovery_point != Lsn::INVALID
        || control.backup_end_required
        || control.backup_end_point != Lsn::INVALID
        || control.state == State::ShutDown;
    let end = if control.backup_end_point != Lsn::INVALID {
        BackupEnd::Position(control.backup_end_point)
    } else if control.backup_start_point != Lsn::INVALID {
        BackupEnd::Record { start: control.backup_start_point }
    } else {
        BackupEnd::None
    };
    let (min_recovery_point, min_recovery_timeline) = minimum(Some(control), redo_lsn, timeline);
    Startup {
        checkpoint_lsn: Some(control.checkpoint),
        redo_lsn,
        timeline,
        target_timeline_start: target_timeline_start(control),
        crash_recovery_first: !knows_its_end,
        end,
        end_record_required: control.backup_end_required,
        min_recovery_point,
        min_recovery_timeline,
    }
}

/// The minimum recovery point, raised to the redo position if it is lower.
fn minimum(control: Option<&ControlFile>, redo: Lsn, timeline: TimelineId) -> (Lsn, TimelineId) {
    match control {
        Some(control) if control.min_recovery_point >= redo => {
            (control.min_recovery_point, control.min_recovery_timeline)
        }
        _ => (redo, timeline),
    }
}

fn target_timeline_start(control: &ControlFile) -> TimelineId {
    control.min_recovery_timeline.max(control.checkpoint_copy.timeline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::base::{Source, SourceKind};
    use crate::backup::label::LabelFile;
    use std::path::PathBuf;

    fn primary() -> (BaseBackup, ControlFile) {
        let control = ControlFile::parse(include_bytes!("../../tests/data/backup/pg15/pg_control"));
        let label = LabelFile::parse(include_bytes!("../../tests/data/backup/pg15/backup_label"));
        let (Ok(control), Ok(label)) = (control, label) else { unreachable!() };
        let source = Source { kind: SourceKind::DataDirectory, path: PathBuf::new() };
        (BaseBackup::from_label(&label, source).with_control(control), control)
    }

    #[test]
    fn a_primarys_backup_ends_with_its_record() {
        let (backup, _) = primary();
        let redo = Lsn(0x160_0028);
        let expected = Startup {
            checkpoint_lsn: Some(Lsn(0x160_0060)),
            redo_lsn: redo,
            timeline: TimelineId(1),
            target_timeline_start: TimelineId(1),
            crash_recovery_first: false,
            end: BackupEnd::Record { start: redo },
            end_record_required: true,
            min_recovery_point: redo,
            min_recovery_timeline: TimelineId(1),
        };
        assert_eq!(backup.startup(), Ok(expected));
        assert_eq!(BaseBackup { control: None, ..backup }.startup(), Ok(expected));
    }

    #[test]
    fn a_standbys_backup_ends_at_the_minimum_recovery_point() {
        let (backup, control) = primary();
        let backup = BaseBackup { from_standby: Some(true), ..backup };
        assert_eq!(backup.startup(), Err(StartupError::Inconsistent));
        let control = ControlFile {
            state: State::InArchiveRecovery,
            min_recovery_point: Lsn(0x170_0000),
            min_recovery_timeline: TimelineId(2),
            ..control
        };
        let startup = backup.with_control(control).startup();
        let found = startup.map(|s| (s.end, s.min_recovery_point, s.target_timeline_start));
        assert_eq!(found, Ok((BackupEnd::Position(Lsn(0x170_0000)), Lsn(0x170_0000), TimelineId(2))));
    }

    /// A backup that pg_basebackup of 15 took from a standby; a server that recovered it logged "consistent recovery state
    /// reached at 0/D028248".
    #[test]
    fn a_real_standbys_backup() {
        let control = ControlFile::parse(include_bytes!("../../tests/data/backup/standby-15/pg_control"));
        let label = LabelFile::parse(include_bytes!("../../tests/data/backup/standby-15/backup_label"));
        let (Ok(control), Ok(label)) = (control, label) else { unreachable!() };
        let source = Source { kind: SourceKind::DataDirectory, path: PathBuf::new() };
        let startup = BaseBackup::from_label(&label, source).with_control(control).startup();
        let found = startup.map(|s| (s.redo_lsn, s.end, s.min_recovery_point, s.end_record_required));
        let consistent = Lsn(0xD02_8248);
        assert_eq!(found, Ok((Lsn(0xD02_5A88), BackupEnd::Position(consistent), consistent, false)));
    }

    #[test]
    fn without_a_label_the_control_file_decides() {
        let (backup, control) = primary();
        let with = |control| BaseBackup { has_label: Some(false), ..backup.clone() }.with_control(control);
        let running = with(control).startup();
        assert!(running.is_ok_and(|s| s.crash_recovery_first && s.end == BackupEnd::None));
        let stopped = with(ControlFile { state: State::ShutDown, ..control }).startup();
        assert!(stopped.is_ok_and(|s| !s.crash_recovery_first && s.redo_lsn == s.min_recovery_point));
        let standby = ControlFile { min_recovery_point: Lsn(0x200_0000), ..control };
        assert!(with(standby).startup().is_ok_and(|s| s.min_recovery_point == Lsn(0x200_0000)));
        let interrupted =
            ControlFile { backup_start_point: Lsn(0x160_0028), backup_end_required: true, ..control };
        let found = with(interrupted).startup().map(|s| (s.end, s.end_record_required));
        assert_eq!(found, Ok((BackupEnd::Record { start: Lsn(0x160_0028) }, true)));
    }
}
