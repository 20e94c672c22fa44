//! An archive opened for a command, with the catalog of what was read before.

use super::common::{self, CommandError, CommonArgs};
use crate::archive::{Archive, Entry};
use crate::audit::{self, Audit, AuditError, Options, Plan, SegmentCounts, Survey};
use crate::backup::{self, BaseBackup, Discovered};
use crate::catalog::{Catalog, CatalogError, Keeper, Offline, Place, Tally, Unseen, default_place};
use crate::clock::Clock;
use crate::find::prune::{Selection, widen_across, with_successors};
use crate::finding::Severity;
use crate::recovery::Library;
use crate::scan::FactStore;
use crate::scan::zone::FileZone;
use crate::wal::{PgTime, SegmentName, WalFileName};
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

/// What a command reads from.
#[derive(Debug)]
pub(super) struct Reading {
    /// The archive; with `--offline` one that has no segments to read.
    pub(super) archive: Archive,
    /// Its listing and histories.
    pub(super) plan: Plan,
    discovered: Discovered,
    keeper: Option<Keeper>,
    offline: bool,
    /// When the catalog was last brought up to date, where nothing else is read.
    updated: Option<PgTime>,
}

impl From<CatalogError> for CommandError {
    fn from(error: CatalogError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<SegmentCounts> for Unseen {
    fn from(counts: SegmentCounts) -> Self {
        Self { missing: counts.missing, damaged: counts.damaged }
    }
}

impl CommonArgs {
    /// Where the catalog is kept.
    pub(super) fn catalog_path(&self) -> Option<PathBuf> {
        self.catalog.clone().or_else(|| default_place(&self.archive))
    }
}

impl Reading {
    /// Lists the archive, or takes the listing from the catalog. A catalog that cannot be used is done without,
    /// unless it is all there is.
    pub(super) fn open(common: &CommonArgs, options: &Options) -> Result<Self, CommandError> {
        if common.offline {
            let path = common.catalog_path().ok_or_else(no_place)?;
            return Self::offline(&common.archive, Catalog::open_to_read(&path)?, options);
        }
        let keeper = if common.no_catalog { None } else { usable_keeper(common) };
        Self::with(common, options, keeper)
    }

    /// Lists the archive.
    pub(super) fn with(
        common: &CommonArgs,
        options: &Options,
        keeper: Option<Keeper>,
    ) -> Result<Self, CommandError> {
        let archive = common.open()?;
        let mut plan = audit::plan(&archive, options)?;
        let discovered = backup::discover(&archive, &plan.inventory);
        plan.backups.clone_from(&discovered.backups);
        tracing::info!(
            "{}: layout {}, {} WAL files, {} histories, {} accounts of base backups, {}",
            archive.location(),
            archive.layout(),
            plan.entries.len(),
            plan.histories.len(),
            discovered.backups.len(),
            if keeper.is_some() { "with a catalog" } else { "without a catalog" },
        );
        Ok(Self { archive, plan, discovered, keeper, offline: false, updated: None })
    }

    /// Takes the listing from `catalog`.
    pub(super) fn offline(location: &str, catalog: Catalog, options: &Options) -> Result<Self, CommandError> {
        let kept = catalog.offline()?;
        is_its_own(&kept, location)?;
        let archive = kept.archive(location)?;
        let mut plan = audit::plan_of(&archive, kept.inventory, options)?;
        plan.backups.clone_from(&kept.discovered.backups);
        let keeper = Some(Keeper::offline(catalog)?);
        let (discovered, updated) = (kept.discovered, kept.updated);
        Ok(Self { archive, plan, discovered, keeper, offline: true, updated })
    }

    /// The same with nothing but the segments `chosen`, and what no segment shows.
    pub(super) fn offline_in(
        location: &str,
        catalog: Catalog,
        chosen: &[&Place],
        options: &Options,
    ) -> Result<(Self, Unseen), CommandError> {
        let (kept, keeper, unseen) = catalog.offline_in(chosen)?;
        is_its_own(&kept, location)?;
        let archive = kept.archive(location)?;
        let plan = audit::plan_of(&archive, kept.inventory, options)?;
        let (discovered, updated) = (kept.discovered, kept.updated);
        let reading = Self { archive, plan, discovered, keeper: Some(keeper), offline: true, updated };
        Ok((reading, unseen))
    }

    /// Writes down the bounds of all files, where the catalog holds all that they follow from.
    pub(super) fn keep_places(&self, options: &Options, unseen: Unseen) -> Result<(), CommandError> {
        let Some(keeper) = self.keeper.as_ref().filter(|_| !self.offline) else { return Ok(()) };
        if keeper.has_places()? {
            return Ok(());
        }
        let Some(mut places) = keeper.own_places(&self.plan.inventory)? else { return Ok(()) };
        self.widen_across(&mut places, options)?;
        Ok(keeper.keep_places(&self.plan.inventory, &places, unseen)?)
    }

    /// Records across the ends of files are read from the facts of both.
    fn widen_across(&self, places: &mut [Place], options: &Options) -> Result<(), CommandError> {
        let zones: Vec<&FileZone> = places.iter().map(|place| &place.zone).collect();
        let open: Selection = (0..zones.len()).filter(|at| zones[*at].open).collect();
        let wanted: BTreeSet<SegmentName> =
            with_successors(open, &zones, |_| true).into_iter().map(|at| zones[at].name).collect();
        let mut plan = self.plan.clone();
        plan.entries
            .retain(|entry| matches!(entry.name, WalFileName::Segment(name) if wanted.contains(&name)));
        let library = Library::read_with(&self.archive, &plan, options, self.store(), &|_| {})?;
        if let Some(library) = library {
            let mut zones: Vec<&mut FileZone> = places.iter_mut().map(|place| &mut place.zone).collect();
            widen_across(&library, &mut zones);
        }
        Ok(())
    }

    /// Nothing but the catalog is read.
    pub(super) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// When the catalog that an answer is from was last brought up to date.
    pub(super) fn as_of(&self, clock: &Clock) -> Option<String> {
        self.updated.map(|time| clock.iso(time))
    }

    /// The same as a line under the answer: what is well in it may not be so any more.
    pub(super) fn as_of_line(&self, clock: &Clock) -> String {
        let when =
            self.as_of(clock).map_or_else(|| "at an unknown time".to_owned(), |time| format!("at {time}"));
        if self.offline {
            format!("\nread from the catalog alone, which was last brought up to date {when}\n")
        } else {
            String::new()
        }
    }

    /// The facts of every segment; what is new is written to the catalog.
    pub(super) fn library(
        &self,
        common: &CommonArgs,
        options: &Options,
    ) -> Result<ManuallyDrop<Library<'_>>, CommandError> {
        let library = read_library(common, &self.archive, &self.plan, options, self.store())?;
        self.remember_or_warn();
        Ok(library)
    }

    /// Every file, joined; what is new is given to the catalog.
    pub(super) fn survey(&self, common: &CommonArgs, options: &Options) -> Result<Survey, CommandError> {
        let bar = common.bar();
        let show = |progress| common::show(&bar, progress);
        let survey = audit::survey_with(&self.archive, &self.plan, options, self.store(), &show);
        bar.finish_and_clear();
        Ok(survey?)
    }

    /// The verdict on the archive, earlier parts included; what is new is given to the catalog.
    pub(super) fn audit(&self, common: &CommonArgs, options: &Options) -> Result<Audit, CommandError> {
        audit::all_heard(&self.plan, &self.discovered)?;
        let parts = audit::earlier_parts(&self.archive, &self.plan, options)?;
        let bar = common.bar();
        let show = |progress| common::show(&bar, progress);
        let audit = audit::audit_planned(&self.archive, &self.plan, &parts, options, self.store(), &show);
        bar.finish_and_clear();
        let of_parts = parts.iter().flat_map(|part| &part.plan.inventory.entries);
        if let Err(error) = self.remember_with(of_parts) {
            tracing::warn!("{error}; this answer was read from the archive");
        }
        Ok(audit?)
    }

    /// After a run that read all bytes without the catalog: a catalog that is there forgets the files that this run found
    /// damaged, so that nobody answers from what they held before. Bit rot changes neither size nor time.
    pub(super) fn distrust(&self, common: &CommonArgs, audit: &Audit) {
        let there = common.catalog_path().filter(|path| !common.no_catalog && path.exists());
        let (None, Some(path)) = (&self.keeper, there) else { return };
        let errors = audit.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let names: BTreeSet<&str> = errors.filter_map(|finding| finding.segment.as_deref()).collect();
        if names.is_empty() {
            return;
        }
        let forgotten = Catalog::open(&path).and_then(Keeper::new).and_then(|keeper| keeper.forget(&names));
        if let Err(error) = forgotten {
            tracing::warn!("{error}: what other commands take from it may be older than this damage");
        }
    }

    /// Writes to the catalog what this run has found out.
    pub(super) fn remember(&self) -> Result<Tally, CatalogError> {
        self.remember_with([])
    }

    /// The same, with entries besides those of the plan.
    fn remember_with<'a>(&'a self, more: impl IntoIterator<Item = &'a Entry>) -> Result<Tally, CatalogError> {
        let Some(keeper) = self.keeper.as_ref().filter(|_| !self.offline) else {
            return Ok(Tally::default());
        };
        let tally = keeper.finish(self.plan.inventory.entries.iter().chain(more))?;
        keeper.keep_listing(&self.archive, &self.plan.inventory, &self.discovered)?;
        Ok(tally)
    }

    /// The same, where the answer does not depend on it.
    pub(super) fn remember_or_warn(&self) {
        if let Err(error) = self.remember() {
            tracing::warn!("{error}; this answer was read from the archive");
        }
    }

    /// The catalog, once everything is read.
    pub(super) fn into_catalog(self) -> Option<Catalog> {
        self.keeper.map(Keeper::into_catalog)
    }

    /// Takes the backups that are given with `--backup` for as much a part of the archive as those found in it.
    pub(super) fn add_given_backups(&mut self, common: &CommonArgs) -> Result<(), CommandError> {
        let mut all = given_backups(common)?;
        all.append(&mut self.plan.backups);
        self.plan.backups = backup::merge(all);
        Ok(())
    }

    /// Backups given and backups found, put together.
    pub(super) fn backups(&self, common: &CommonArgs) -> Result<Vec<BaseBackup>, CommandError> {
        all_backups(common, &self.discovered)
    }

    fn store(&self) -> Option<&dyn FactStore> {
        self.keeper.as_ref().map(|keeper| keeper as &dyn FactStore)
    }
}

/// What another archive holds is no answer for this one.
fn is_its_own(kept: &Offline, location: &str) -> Result<(), CommandError> {
    if kept.is_of(location) {
        return Ok(());
    }
    Err(CommandError::Failed(format!("the catalog is of {}, not of {location}", kept.location)))
}

/// There is no directory for catalogs.
pub(super) fn no_place() -> CommandError {
    let message =
        "there is no directory for the catalog (neither XDG_CACHE_HOME nor HOME is set): give --catalog";
    CommandError::Failed(message.to_owned())
}

/// The catalog, where it can be used.
fn usable_keeper(common: &CommonArgs) -> Option<Keeper> {
    let path = common.catalog_path()?;
    match Catalog::open(&path).and_then(Keeper::new) {
        Ok(keeper) => Some(keeper),
        Err(error) => {
            tracing::warn!("{error}; going on without a catalog");
            None
        }
    }
}

/// The backups that are given with `--backup`.
fn given_backups(common: &CommonArgs) -> Result<Vec<BaseBackup>, CommandError> {
    let loaded = common.backup.iter().map(|path| backup::load(path));
    let loaded: Result<Vec<_>, _> = loaded.collect();
    Ok(loaded.map_err(|error| CommandError::Failed(error.to_string()))?.concat())
}

/// Backups given and backups found, put together.
pub(super) fn all_backups(common: &CommonArgs, found: &Discovered) -> Result<Vec<BaseBackup>, CommandError> {
    let mut all = given_backups(common)?;
    for problem in &found.problems {
        if problem.kind == backup::ProblemKind::Unread {
            let message = format!("{}: {}", problem.path.display(), problem.message);
            return Err(CommandError::Failed(message));
        }
        tracing::warn!("{}: {}", problem.path.display(), problem.message);
    }
    all.extend(found.backups.iter().cloned());
    Ok(backup::merge(all))
}

/// The facts of every segment, with a bar while they are read. The program ends with its answer: to take millions of
/// events apart one by one before that would be a tenth of its time.
pub(super) fn read_library<'a>(
    common: &CommonArgs,
    archive: &'a Archive,
    plan: &'a Plan,
    options: &Options,
    store: Option<&dyn FactStore>,
) -> Result<ManuallyDrop<Library<'a>>, CommandError> {
    let bar = common.bar();
    let library = Library::read_with(archive, plan, options, store, &|progress| common::show(&bar, progress));
    bar.finish_and_clear();
    let library = library?.ok_or_else(|| AuditError::NoWal(archive.location().to_owned()))?;
    Ok(ManuallyDrop::new(library))
}

/// Says of backups that `--backup` names what nobody would notice otherwise: they are none of this archive's.
pub(super) fn warn_of_foreign(common: &CommonArgs, library: &Library<'_>, backups: &[BaseBackup]) {
    let is_given = |backup: &&BaseBackup| {
        let mut sources = backup.sources.iter();
        sources.any(|source| common.backup.iter().any(|given| source.path.starts_with(given)))
    };
    for backup in backups.iter().filter(is_given) {
        if let Some(id) = backup.system_identifier.filter(|id| *id != library.system_id) {
            tracing::warn!(
                "backup {} (start {}), which --backup names, is of another cluster: its system identifier is {id}, that \
                 of the newest WAL is {}",
                backup.label,
                backup.start_lsn,
                library.system_id
            );
        }
    }
}
