//! Carrying a plan out: one run at a time, oldest first, a line in the journal for each file.

use super::places;
use super::plan::{Cleanup, Ruled};
use crate::archive::{Archive, Deletion, Object, StoreError};
use crate::clock::{self, Clock};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Carrying out was not begun, or not finished. What was removed until then is in the journal.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another run holds the lock.
    #[error("another cleanup of this archive is running (it holds {})", .0.display())]
    Running(PathBuf),
    /// Lock or journal cannot be made.
    #[error("cannot write {}: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no place for lock and journal.
    #[error("no directory for the lock and the journal: neither XDG_STATE_HOME nor HOME is set")]
    NoPlace,
    /// A file that the plan keeps is not there any more, or is another one.
    #[error("{0} changed since the plan was made: nothing was removed")]
    Moved(String),
    /// The store keeps what is deleted.
    #[error("{0}: nothing was removed")]
    Kept(String),
    /// Removing stopped at a file.
    #[error("stopped after {done} of {total} files: {source}")]
    Stopped {
        /// How many are gone.
        done: usize,
        /// Of so many.
        total: usize,
        /// Why the next one is not.
        source: StoreError,
    },
}

/// The lock against a second run, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `archive`.
    pub fn take(archive: &Archive) -> Result<Self, ExecuteError> {
        let path = places::of_archive(archive, "lock").ok_or(ExecuteError::NoPlace)?;
        let file = open(&path, OpenOptions::new().write(true))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ExecuteError::Running(path)),
            Err(TryLockError::Error(source)) => Err(ExecuteError::State { path, source }),
        }
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, ExecuteError> {
    let failed = |source| ExecuteError::State { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    options.create(true).open(path).map_err(failed)
}

/// Removes what `cleanup` removes, or moves it to `trash`.
///
/// # Errors
/// The first failure ends it: on each timeline, what is gone is then older than what is left.
pub fn execute(
    archive: &Archive,
    cleanup: &Cleanup,
    trash: Option<&Path>,
    _lock: &Lock,
) -> Result<(), ExecuteError> {
    let Some(first) = cleanup.remove.first() else { return Ok(()) };
    unchanged(archive, cleanup)?;
    if trash.is_none()
        && let Deletion::Kept(reason) = archive.store().deletion(&first.entry.object)?
    {
        return Err(ExecuteError::Kept(reason));
    }
    let path = places::of_archive(archive, "journal").ok_or(ExecuteError::NoPlace)?;
    let mut journal = Journal { file: open(&path, OpenOptions::new().append(true))?, path };
    journal.write(&format!("cleanup of {}: {} files", archive.location(), cleanup.remove.len()))?;
    match trash {
        Some(trash) => move_all(archive, cleanup, trash, &mut journal),
        None => remove_all(archive, cleanup, &mut journal),
    }
}

/// Everything that the plan keeps must still be there as it was read.
fn unchanged(archive: &Archive, cleanup: &Cleanup) -> Result<(), ExecuteError> {
    let inventory = archive.inventory()?;
    let now: BTreeMap<&Path, &Object> =
        inventory.entries.iter().map(|entry| (entry.object.path.as_path(), &entry.object)).collect();
    let moved = cleanup.keep.iter().find(|ruled| {
        let planned = &ruled.entry.object;
        now.get(planned.path.as_path()).is_none_or(|found| found.identity != planned.identity)
    });
    moved.map_or(Ok(()), |ruled| Err(ExecuteError::Moved(ruled.entry.object.path.display().to_string())))
}

struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    fn write(&mut self, line: &str) -> Result<(), ExecuteError> {
        let line = format!("{} {}\n", Clock::utc().iso(clock::now()), crate::report::printable(line));
        let failed = |source| ExecuteError::State { path: self.path.clone(), source };
        self.file.write_all(line.as_bytes()).map_err(failed)
    }

    fn file(&mut self, verb: &str, ruled: &Ruled) -> Result<(), ExecuteError> {
        let path = ruled.entry.object.path.display();
        self.write(&format!("{verb} {path} ({} bytes): {}", ruled.entry.stored_size(), ruled.reason))
    }
}

fn remove_all(archive: &Archive, cleanup: &Cleanup, journal: &mut Journal) -> Result<(), ExecuteError> {
    let objects: Vec<&Object> = cleanup.remove.iter().map(|ruled| &ruled.entry.object).collect();
    let mut done = 0;
    let mut failure = None;
    archive.store().remove(&objects, &mut |index, outcome| {
        let Some(ruled) = cleanup.remove.get(index) else { return ControlFlow::Continue(()) };
        let noted = match outcome {
            Ok(()) => {
                done += 1;
                journal.file("removed", ruled)
            }
            Err(source) => Err(ExecuteError::Stopped { done, total: objects.len(), source }),
        };
        match noted {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    });
    failure.map_or(Ok(()), Err)
}

fn move_all(
    archive: &Archive,
    cleanup: &Cleanup,
    trash: &Path,
    journal: &mut Journal,
) -> Result<(), ExecuteError> {
    for (done, ruled) in cleanup.remove.iter().enumerate() {
        let moved = archive.store().move_to(&ruled.entry.object, trash);
        let total = cleanup.remove.len();
        moved.map_err(|source| ExecuteError::Stopped { done, total, source })?;
        journal.file("moved", ruled)?;
    }
    Ok(())
}
