//! The catalog at work: facts go out to whoever reads an archive, and new ones come in.

use super::block::{self, Blocks};
use super::database::{Catalog, CatalogError};
use super::rows::{FileRow, put};
use crate::archive::{Archive, Entry, Identity, Inventory, StoreError};
use crate::backup::Discovered;
use crate::pack::{Pack, put_number};
use crate::scan::zone::FileZone;
use crate::scan::{Detail, Expectation, FactStore, SegmentFacts};
use crate::wal::Lsn;
use crate::wal::record::MAX_RECORD_BYTES;
use rusqlite::params;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Files whose facts are written in one transaction. A killed run loses what each thread was writing, and one more such
/// batch.
const BATCH_FILES: usize = 64;
/// A batch is written earlier if it has so many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// A file may change twice without a new time within this, so facts of one that is so young are not kept.
const CLOCK_TICK_NS: i64 = 10_000_000;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Files that were read.
    pub scanned: u64,
    /// Files whose facts were known.
    pub reused: u64,
    /// Files that are no longer there, and were at the last run.
    pub removed: u64,
    /// Bytes of WAL read.
    pub bytes_scanned: u64,
}

/// Why a file cannot be recalled.
const NOT_THERE: &str = "is not in the catalog: run `walproof index` first";
/// The same of one that is there: who owns its WAL follows from the histories, and so do the facts that are kept.
const OTHER_HISTORIES: &str = "was indexed with other history files than the catalog has now: run `walproof index` on \
                               its part of the archive again, with the history files of all parts beside it";

/// What is known of one file, without its facts.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) row: FileRow,
    pub(super) crc: u32,
    pub(super) gone: bool,
}

impl Known {
    /// Whether a scan of the file would find the same again.
    fn serves(&self, entry: &Entry, expectation: &Expectation) -> bool {
        let row = &self.row;
        self.is_of(entry) && row.rests_on == rests_on(expectation, row.start, row.end)
    }

    /// Whether it is of this very file.
    fn is_of(&self, entry: &Entry) -> bool {
        let identity = &entry.object.identity;
        let tells = identity.modified_ns.is_some() || identity.etag.is_some();
        tells && self.row.identity == *identity && self.row.name == entry.name.to_string()
    }
}

/// What is known of all files, by their paths.
type AllKnown = HashMap<PathBuf, Known>;

/// Facts that are written together.
#[derive(Debug, Default)]
struct Pending {
    files: Vec<(FileRow, Blocks)>,
    bytes: usize,
}

/// An open catalog that facts are taken from and given to. Many threads may use it at once.
#[derive(Debug)]
pub struct Keeper {
    catalog: Mutex<Catalog>,
    /// Never waited for while the catalog is written.
    pending: Mutex<Pending>,
    known: Mutex<Arc<AllKnown>>,
    /// The archive must not be read.
    offline: bool,
    /// What went wrong; from then on nothing is taken or given any more.
    trouble: Mutex<Option<CatalogError>>,
    scanned: AtomicU64,
    reused: AtomicU64,
    bytes_scanned: AtomicU64,
}

impl Keeper {
    /// Looks at what the catalog holds.
    pub fn new(catalog: Catalog) -> Result<Self, CatalogError> {
        Self::with(catalog, false)
    }

    /// For answers from the catalog alone.
    pub fn offline(catalog: Catalog) -> Result<Self, CatalogError> {
        Self::with(catalog, true)
    }

    /// For answers from these rows of the catalog alone.
    pub(super) fn of_rows(catalog: Catalog, rows: Vec<(i64, FileRow, u32)>) -> Self {
        let known =
            |(id, row, crc): (i64, FileRow, u32)| (row.path.clone(), Known { id, row, crc, gone: false });
        Self::knowing(catalog, rows.into_iter().map(known).collect(), true)
    }

    fn with(catalog: Catalog, offline: bool) -> Result<Self, CatalogError> {
        let known = load(&catalog)?;
        Ok(Self::knowing(catalog, known, offline))
    }

    fn knowing(catalog: Catalog, known: AllKnown, offline: bool) -> Self {
        Self {
            catalog: Mutex::new(catalog),
            pending: Mutex::default(),
            known: Mutex::new(Arc::new(known)),
            offline,
            trouble: Mutex::new(None),
            scanned: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            bytes_scanned: AtomicU64::new(0),
        }
    }

    /// Writes what is left, and which files are no longer there. `entries` are all that the archive has now.
    pub fn finish<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Tally, CatalogError> {
        if let Some(trouble) = lock(&self.trouble).take() {
            return Err(trouble);
        }
        let pending = std::mem::take(&mut *lock(&self.pending));
        self.write(&pending)?;
        let removed = self.mark_gone(&mut self.lock(), entries)?;
        Ok(Tally {
            scanned: self.scanned.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            removed,
            bytes_scanned: self.bytes_scanned.load(Ordering::Relaxed),
        })
    }

    /// Keeps what the archive tells besides its segments.
    pub fn keep_listing(
        &self,
        archive: &Archive,
        inventory: &Inventory,
        discovered: &Discovered,
    ) -> Result<(), CatalogError> {
        self.lock().keep_listing(archive, inventory, discovered)
    }

    /// The catalog, once no more facts come.
    pub fn into_catalog(self) -> Catalog {
        self.catalog.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_gone<'a>(
        &self,
        catalog: &mut Catalog,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<u64, CatalogError> {
        let known = self.all_known();
        let mut left: HashMap<&PathBuf, &Known> = known.iter().collect();
        let mut back = Vec::new();
        for entry in entries {
            let known = left.remove(&entry.object.path);
            back.extend(known.filter(|known| known.gone));
        }
        let gone: Vec<&Known> = left.into_values().filter(|known| !known.gone).collect();
        if gone.is_empty() && back.is_empty() {
            return Ok(0);
        }
        catalog.write(|transaction| {
            let mut mark = transaction.prepare("UPDATE file SET gone = ?2 WHERE id = ?1")?;
            for known in &gone {
                mark.execute(params![known.id, true])?;
            }
            for known in &back {
                mark.execute(params![known.id, false])?;
            }
            forget_places(transaction)
        })?;
        Ok(gone.len() as u64)
    }

    /// Forgets the files of these names and those that a record begun in them may reach: what is kept of them is not what
    /// they hold, so they are read again.
    pub fn forget(&self, names: &BTreeSet<&str>) -> Result<(), CatalogError> {
        let named = |known: &&Known| names.contains(known.row.name.as_str());
        let known = self.all_known();
        let mut begins: Vec<Lsn> = known.values().filter(named).map(|known| known.row.start).collect();
        begins.sort_unstable();
        let reached = |known: &Known| {
            let in_front = begins.partition_point(|begin| *begin <= known.row.start);
            let nearest = in_front.checked_sub(1).and_then(|last| begins.get(last));
            nearest.is_some_and(|begin| known.row.start < begin.plus(u64::from(MAX_RECORD_BYTES)))
        };
        let stale = known.values().filter(|known| named(known) || reached(known)).map(|known| known.id);
        let stale: Vec<i64> = stale.collect();
        if stale.is_empty() {
            return Ok(());
        }
        self.lock().write(|transaction| {
            for id in &stale {
                transaction.execute("DELETE FROM block WHERE file = ?1", [id])?;
                transaction.execute("DELETE FROM file WHERE id = ?1", [id])?;
            }
            forget_places(transaction)
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    fn all_known(&self) -> Arc<AllKnown> {
        Arc::clone(&lock(&self.known))
    }

    /// Looks again at what the catalog holds: from now on that is what is known.
    pub(super) fn look_again(&self) -> Result<Arc<AllKnown>, CatalogError> {
        let known = Arc::new(load(&self.lock())?);
        *lock(&self.known) = Arc::clone(&known);
        Ok(known)
    }

    fn fetch(
        &self,
        entry: &Entry,
        known: &Known,
        detail: Detail,
    ) -> Result<Option<SegmentFacts>, CatalogError> {
        let (blocks, now) = {
            let catalog = self.lock();
            match catalog.blocks(known.id, known.crc, detail) {
                Ok(Some(blocks)) => (Some(blocks), known.crc),
                Ok(None) => (None, catalog.row_crc(known.id)?.unwrap_or_default()),
                Err(error) => return Err(error),
            }
        };
        let damaged = || self.lock().damaged(format!("the facts of {}", known.row.name));
        match blocks {
            Some(blocks) => block::unpack(entry, blocks, detail).map(Some).ok_or_else(damaged),
            // Another run wrote it anew in the meantime.
            None if now != known.crc => Ok(None),
            None => Err(damaged()),
        }
    }

    fn is_in_trouble(&self) -> bool {
        lock(&self.trouble).is_some()
    }

    fn give_up(&self, error: CatalogError) {
        tracing::debug!("{error}");
        lock(&self.trouble).get_or_insert(error);
    }

    fn take(
        &self,
        entry: &Entry,
        expectation: &Expectation,
        facts: &SegmentFacts,
    ) -> Result<(), CatalogError> {
        let Ok(blocks) = block::pack(facts) else {
            tracing::info!("there is too much in {} to be kept: it will be read again", facts.path);
            return Ok(());
        };
        let row = row(entry, expectation, facts);
        let full = {
            let mut pending = lock(&self.pending);
            pending.bytes += blocks.bytes();
            pending.files.push((row, blocks));
            let is_full = pending.files.len() >= BATCH_FILES || pending.bytes >= BATCH_BYTES;
            is_full.then(|| std::mem::take(&mut *pending))
        };
        full.map_or(Ok(()), |full| self.write(&full))
    }

    fn write(&self, pending: &Pending) -> Result<(), CatalogError> {
        if pending.files.is_empty() {
            return Ok(());
        }
        self.lock().write(|transaction| {
            for (row, blocks) in &pending.files {
                put(transaction, row, blocks, false)?;
            }
            forget_places(transaction)
        })
    }
}

impl FactStore for Keeper {
    fn recall(&self, entry: &Entry, expectation: &Expectation) -> Result<Option<SegmentFacts>, StoreError> {
        if self.is_in_trouble() {
            return Ok(None);
        }
        let lacking = |detail: String| StoreError::Location { location: entry.name.to_string(), detail };
        let all = self.all_known();
        let same = all.get(&entry.object.path).filter(|known| known.is_of(entry));
        let known = same.filter(|known| known.serves(entry, expectation));
        let found = known.map_or(Ok(None), |known| self.fetch(entry, known, expectation.detail));
        match found {
            Ok(None) if self.offline => {
                Err(lacking(if same.is_some() { OTHER_HISTORIES } else { NOT_THERE }.to_owned()))
            }
            Err(error) if self.offline => Err(lacking(error.to_string())),
            // It may have been the key that was lacking, which may be there now.
            Ok(Some(facts)) if !self.offline && facts.undecodable().is_some() => Ok(None),
            Ok(found) => {
                self.reused.fetch_add(u64::from(found.is_some()), Ordering::Relaxed);
                Ok(found)
            }
            Err(error) => {
                self.give_up(error);
                Ok(None)
            }
        }
    }

    fn knows(&self, entry: &Entry, expectation: &Expectation) -> bool {
        let known = self.all_known();
        let known = known.get(&entry.object.path).is_some_and(|known| known.serves(entry, expectation));
        known && !self.is_in_trouble()
    }

    fn keep(&self, entry: &Entry, expectation: &Expectation, facts: &SegmentFacts) {
        self.scanned.fetch_add(1, Ordering::Relaxed);
        self.bytes_scanned.fetch_add(facts.bytes, Ordering::Relaxed);
        if self.is_in_trouble() || is_too_young(&entry.object.identity) {
            return;
        }
        if let Err(error) = self.take(entry, expectation, facts) {
            self.give_up(error);
        }
    }
}

/// Bounds of all files are no longer those of all files.
fn forget_places(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM zone", []).map(|_| ())
}

fn load(catalog: &Catalog) -> Result<AllKnown, CatalogError> {
    let mut known = HashMap::new();
    for (id, row, crc, gone) in catalog.rows()? {
        if row.crc() != crc {
            return Err(catalog.damaged(format!("the row of {}", row.name)));
        }
        known.insert(row.path.clone(), Known { id, row, crc, gone });
    }
    Ok(known)
}

/// What the facts of a file from `start` to `end` depend on besides its bytes: who owns them, where digests are due.
/// A fork elsewhere does not matter to it.
fn rests_on(expectation: &Expectation, start: Lsn, end: Lsn) -> Vec<u8> {
    let mut out = vec![u8::from(expectation.owners.is_known()) | u8::from(expectation.digest_all) << 1];
    for (begin, owner) in expectation.owners.within(start, end) {
        put_number(&mut out, begin.bytes_since(start));
        put_number(&mut out, u64::from(owner.0));
    }
    let mut digests: Vec<Lsn> =
        expectation.digests.iter().copied().filter(|at| *at > start && *at < end).collect();
    digests.sort_unstable();
    digests.dedup();
    digests.pack(&mut out);
    out
}

fn row(entry: &Entry, expectation: &Expectation, facts: &SegmentFacts) -> FileRow {
    let identity = facts.identity;
    FileRow {
        path: entry.object.path.clone(),
        name: entry.name.to_string(),
        identity: entry.object.identity.clone(),
        rests_on: rests_on(expectation, facts.start, facts.end()),
        start: facts.start,
        end: facts.end(),
        system_id: identity.map(|identity| identity.system_id.0),
        segment_size: identity.map(|identity| identity.format.segment_size.bytes()),
        magic: identity.map(|identity| identity.format.magic),
        commits: facts.transactions.iter().map(|run| run.commits).sum(),
        aborts: facts.transactions.iter().map(|run| run.aborts).sum(),
        zone: FileZone::of(facts),
    }
}

fn is_too_young(identity: &Identity) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let times = [identity.modified_ns, identity.changed_ns];
    times.into_iter().flatten().any(|time| now.saturating_sub(time) < CLOCK_TICK_NS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
