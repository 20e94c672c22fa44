//! Carrying a plan out: one run at a time, oldest first, a line in the journal for each file.

use super::places;
use super::plan::{Cleanup, Ruled};
use crate::archive::{Archive, Deletion, Object, StoreError};
use crate::clock::{self, Clock};
use crate::report::text::counted;
use crate::wal::WalFileName;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

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
    /// The trash lies in the archive itself.
    #[error("the trash {} lies in the archive: what is moved there would be taken for WAL of the archive", .0.display())]
    TrashInside(PathBuf),
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

/// How carrying out went.
#[derive(Debug, Default)]
pub struct Done {
    /// Which files of [`Cleanup::remove`] are gone, by their index, in the order in which they went.
    pub gone: Vec<usize>,
    /// Why it ended before all were gone. On each timeline, what is gone is then on the outer side of what is left.
    pub failure: Option<ExecuteError>,
}

/// The lock against a second run, held until it is dropped, and the journal that its holder may write.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    journal: PathBuf,
}

impl Lock {
    /// Takes the lock of `archive`, at the place where this machine keeps such files.
    pub fn take(archive: &Archive) -> Result<Self, ExecuteError> {
        Self::take_in(&places::state_directory().ok_or(ExecuteError::NoPlace)?, archive)
    }

    /// Takes the lock of `archive` in `directory`, where the journal is written too.
    pub fn take_in(directory: &Path, archive: &Archive) -> Result<Self, ExecuteError> {
        let path = places::in_directory(directory, archive, "lock");
        let file = open(&path, OpenOptions::new().write(true))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file, journal: places::in_directory(directory, archive, "journal") }),
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

/// Whether what is deleted in the place of `cleanup` stays there; `None`: it goes, or there is nothing to remove.
pub fn kept_by_store(archive: &Archive, cleanup: &Cleanup) -> Result<Option<String>, StoreError> {
    let Some(first) = cleanup.remove.first() else { return Ok(None) };
    Ok(match archive.store().deletion(&first.entry.object)? {
        Deletion::Kept(reason) => Some(reason),
        Deletion::Final => None,
    })
}

/// Why what `cleanup` removes cannot go, neither for good nor to `trash`; `None`: nothing speaks against it.
///
/// # Errors
/// That cannot be found out.
pub fn obstacle(
    archive: &Archive,
    cleanup: &Cleanup,
    trash: Option<&Path>,
) -> Result<Option<String>, StoreError> {
    let store = archive.store();
    if trash.is_none()
        && let Some(reason) = kept_by_store(archive, cleanup)?
    {
        return Ok(Some(reason));
    }
    let held = cleanup.remove.iter().find_map(|ruled| {
        let reason = store.holds_on_to(&ruled.entry.object)?;
        Some(format!("{} would go, but {reason}", ruled.entry.object.path.display()))
    });
    let Some(trash) = trash.filter(|_| held.is_none()) else { return Ok(held) };
    let objects: Vec<&Object> = cleanup.remove.iter().map(|ruled| &ruled.entry.object).collect();
    let fit = outside(archive, trash).map_err(|error| error.to_string());
    let fit = fit.and_then(|()| store.check_trash(&objects, trash).map_err(|error| error.to_string()));
    Ok(fit.err())
}

/// Removes what `cleanup` removes, or moves it to `trash`. The first failure ends it.
pub fn execute(archive: &Archive, cleanup: &Cleanup, trash: Option<&Path>, lock: &Lock) -> Done {
    let mut done = Done::default();
    if !cleanup.remove.is_empty() {
        let carried_out = carry_out(archive, cleanup, trash, lock, &mut done.gone);
        done.failure = carried_out.err();
    }
    done
}

fn carry_out(
    archive: &Archive,
    cleanup: &Cleanup,
    trash: Option<&Path>,
    lock: &Lock,
    gone: &mut Vec<usize>,
) -> Result<(), ExecuteError> {
    unchanged(archive, cleanup)?;
    match trash {
        Some(trash) => outside(archive, trash)?,
        None => {
            if let Some(reason) = kept_by_store(archive, cleanup)? {
                return Err(ExecuteError::Kept(reason));
            }
        }
    }
    let path = lock.journal.clone();
    let mut journal = Journal { file: open(&path, OpenOptions::new().append(true))?, path };
    let count = counted(cleanup.remove.len() as u64, "file");
    journal.write(&format!("cleanup of {}: {count} to go", archive.location()))?;
    // Before the first one goes it is sure that lines can be written and stay.
    journal.sync()?;
    let ended = match trash {
        Some(trash) => move_all(archive, cleanup, trash, &mut journal, gone),
        None => remove_all(archive, cleanup, &mut journal, gone),
    };
    match &ended {
        Ok(()) => journal.write("done").and_then(|()| journal.sync())?,
        // The file may be what failed: the error itself is what counts.
        Err(error) => drop(journal.write(&error.to_string()).and_then(|()| journal.sync())),
    }
    ended
}

/// Everything that the plan keeps must still be there as it was read. A `.partial` may grow, and vanish when its segment is
/// whole: no recovery reads one.
fn unchanged(archive: &Archive, cleanup: &Cleanup) -> Result<(), ExecuteError> {
    let inventory = archive.inventory()?;
    let now: BTreeMap<&Path, &Object> =
        inventory.entries.iter().map(|entry| (entry.object.path.as_path(), &entry.object)).collect();
    let lasting = cleanup.keep.iter().filter(|ruled| !matches!(ruled.entry.name, WalFileName::Partial(_)));
    let moved = lasting.into_iter().find(|ruled| {
        let planned = &ruled.entry.object;
        now.get(planned.path.as_path()).is_none_or(|found| found.identity != planned.identity)
    });
    moved.map_or(Ok(()), |ruled| Err(ExecuteError::Moved(ruled.entry.object.path.display().to_string())))
}

/// That the trash is not a place where the archive is looked for.
///
/// # Errors
/// It is, or that cannot be found out.
pub fn outside(archive: &Archive, trash: &Path) -> Result<(), ExecuteError> {
    let inside = || Err(ExecuteError::TrashInside(trash.to_owned()));
    if let Some(root) = archive.store().local_root() {
        let failed = |source| ExecuteError::State { path: trash.to_owned(), source };
        // It may not exist yet: what is there of its path decides.
        let whole = std::path::absolute(trash).map_err(failed)?;
        let there = whole.ancestors().find_map(|folder| std::fs::canonicalize(folder).ok());
        let root = std::fs::canonicalize(root).map_err(failed)?;
        let places = [root].into_iter().chain(archive.store().linked_places());
        let is_inside = |there: &PathBuf| places.into_iter().any(|place| there.starts_with(place));
        return if there.as_ref().is_some_and(is_inside) { inside() } else { Ok(()) };
    }
    let text = trash.to_string_lossy();
    let place = archive.location().trim_end_matches('/');
    let is_below =
        |text: &str| text.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let goes_up = trash.components().next() == Some(Component::ParentDir);
    if if text.contains("://") { is_below(&text) } else { !goes_up } { inside() } else { Ok(()) }
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

    /// What was written stays, whatever becomes of the machine.
    fn sync(&self) -> Result<(), ExecuteError> {
        let failed = |source| ExecuteError::State { path: self.path.clone(), source };
        self.file.sync_data().map_err(failed)
    }

    fn file(&mut self, verb: &str, ruled: &Ruled) -> Result<(), ExecuteError> {
        let path = ruled.entry.object.path.display();
        self.write(&format!("{verb} {path} ({} bytes): {}", ruled.entry.stored_size(), ruled.reason))
    }
}

fn remove_all(
    archive: &Archive,
    cleanup: &Cleanup,
    journal: &mut Journal,
    gone: &mut Vec<usize>,
) -> Result<(), ExecuteError> {
    let objects: Vec<&Object> = cleanup.remove.iter().map(|ruled| &ruled.entry.object).collect();
    let mut failed = None;
    let mut unwritten = None;
    archive.store().remove(&objects, &mut |index, outcome| {
        match (outcome, cleanup.remove.get(index)) {
            (Ok(()), Some(ruled)) => {
                gone.push(index);
                // A second one that cannot be written is no news.
                unwritten = unwritten.take().or(journal.file("removed", ruled).err());
            }
            (Ok(()), None) => {}
            // Of a batch, others may still be told to be gone.
            (Err(source), _) => failed = failed.take().or(Some(source)),
        }
        let goes_on = failed.is_none() && unwritten.is_none();
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match failed {
        Some(source) => Err(ExecuteError::Stopped { done: gone.len(), total: objects.len(), source }),
        None => unwritten.map_or(Ok(()), Err),
    }
}

fn move_all(
    archive: &Archive,
    cleanup: &Cleanup,
    trash: &Path,
    journal: &mut Journal,
    gone: &mut Vec<usize>,
) -> Result<(), ExecuteError> {
    for (index, ruled) in cleanup.remove.iter().enumerate() {
        let moved = archive.store().move_to(&ruled.entry.object, trash);
        let total = cleanup.remove.len();
        moved.map_err(|source| ExecuteError::Stopped { done: gone.len(), total, source })?;
        gone.push(index);
        journal.file("moved", ruled)?;
    }
    Ok(())
}
