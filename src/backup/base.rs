//! One base backup, whatever it was known by, and several accounts of one put together.

use super::control::ControlFile;
use super::label::{LabelFile, Method};
use super::prepared::StandingPrepared;
use crate::wal::{Lsn, Major, PgTime, SegmentName, SegmentSize, SystemId, TimelineId};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What told of a backup. Later ones know better: where two accounts differ, the later in this list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SourceKind {
    /// A backup history file (`.backup`) among the WAL. It stays when the backup itself is long gone.
    HistoryFile,
    /// A `backup_manifest`.
    Manifest,
    /// A tool's own catalog: WAL-G.
    WalG,
    /// A tool's own catalog: pgBackRest.
    PgBackRest,
    /// A tool's own catalog: Barman or its cloud form.
    Barman,
    /// A tool's own catalog: pg_probackup.
    PgProbackup,
    /// A tool's own catalog: pg_rman.
    PgRman,
    /// A `backup_label` by itself.
    Label,
    /// A directory of tars as `pg_basebackup -Ft` writes it.
    Tar,
    /// A data directory.
    DataDirectory,
}

impl SourceKind {
    /// A name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HistoryFile => "backup history file",
            Self::Manifest => "backup manifest",
            Self::WalG => "WAL-G",
            Self::PgBackRest => "pgBackRest",
            Self::Barman => "Barman",
            Self::PgProbackup => "pg_probackup",
            Self::PgRman => "pg_rman",
            Self::Label => "backup_label",
            Self::Tar => "tar",
            Self::DataDirectory => "data directory",
        }
    }

    /// A tool's catalog, whose identifier is what people call the backup by.
    const fn is_tool(self) -> bool {
        matches!(self, Self::WalG | Self::PgBackRest | Self::Barman | Self::PgProbackup | Self::PgRman)
    }

    /// Whoever says this has seen the label, or restores chains of backups itself: what it does not call incremental
    /// can be started from.
    const fn knows_increments(self) -> bool {
        !matches!(self, Self::HistoryFile | Self::Manifest)
    }
}

/// An account of a backup: what told of it, and where that is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// Path or key.
    pub path: PathBuf,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.path.display())
    }
}

/// WAL that a backup needs on one timeline, as its manifest lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalRange {
    /// The timeline.
    pub timeline: TimelineId,
    /// First byte.
    pub start: Lsn,
    /// The byte after the last.
    pub end: Lsn,
}

/// A base backup: where recovery from it begins, and all that is known of it. `None` is "not known".
#[derive(Clone, PartialEq, Debug)]
pub struct BaseBackup {
    /// What people call it: the tool's identifier, else the text in its label, else its path.
    pub label: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Where replay begins: redo of its checkpoint.
    pub start_lsn: Lsn,
    /// The timeline on which it began.
    pub timeline: TimelineId,
    /// Position of its checkpoint record.
    pub checkpoint_lsn: Option<Lsn>,
    /// Where it ended: the end of its `BACKUP_END` record, or on a standby the minimum recovery point.
    pub stop_lsn: Option<Lsn>,
    /// The timeline on which it ended.
    pub stop_timeline: Option<TimelineId>,
    /// How it was made.
    pub method: Option<Method>,
    /// It was taken from a standby.
    pub from_standby: Option<bool>,
    /// The cluster.
    pub system_identifier: Option<SystemId>,
    /// The major version.
    pub version: Option<Major>,
    /// The part of the archive that holds its WAL, where a layout has parts (pgBackRest's `15-1`).
    pub group: Option<String>,
    /// Size of WAL segments.
    pub segment_size: Option<SegmentSize>,
    /// Its control file, sound.
    pub control: Option<ControlFile>,
    /// It has a `backup_label`: recovery starts from that. `Some(false)`: a data directory without one, which
    /// starts from its control file.
    pub has_label: Option<bool>,
    /// An incremental backup of 17 or later: start and timeline of the one that it builds on. No server starts from it
    /// before `pg_combinebackup`.
    pub incremental_from: Option<(Lsn, TimelineId)>,
    /// Identifiers of the tool's backups that it builds on; the tool restores them together.
    pub depends_on: Vec<String>,
    /// When it began.
    pub started: Option<PgTime>,
    /// When it ended.
    pub finished: Option<PgTime>,
    /// Transactions that stand prepared in it, where it is a data directory.
    pub prepared: Vec<StandingPrepared>,
    /// WAL segments that it carries in itself (pg_wal in the directory or in a tar), in order.
    pub wal: Vec<SegmentName>,
    /// WAL that its manifest says it needs, newest timeline first.
    pub wal_ranges: Vec<WalRange>,
    /// Its tool keeps it for ever.
    pub permanent: bool,
    /// Its tool keeps it until then (pg_probackup's `expire-time`).
    pub kept_until: Option<PgTime>,
    /// Its tool keeps all WAL behind it as well (Barman's `keep: full`).
    pub keeps_wal_behind: bool,
    /// Why nobody can recover from it, in one clause; `None` where nothing speaks against it.
    pub unusable: Option<String>,
    /// What a person should know before using it.
    pub cautions: Vec<String>,
    /// Who told, the best informed first.
    pub sources: Vec<Source>,
}

impl BaseBackup {
    /// A backup of which only the place and the source are known.
    pub fn new(start_lsn: Lsn, timeline: TimelineId, source: Source) -> Self {
        Self {
            label: String::new(),
            aliases: Vec::new(),
            start_lsn,
            timeline,
            checkpoint_lsn: None,
            stop_lsn: None,
            stop_timeline: None,
            method: None,
            from_standby: None,
            system_identifier: None,
            version: None,
            group: None,
            segment_size: None,
            control: None,
            has_label: None,
            incremental_from: None,
            depends_on: Vec::new(),
            started: None,
            finished: None,
            prepared: Vec::new(),
            wal: Vec::new(),
            wal_ranges: Vec::new(),
            permanent: false,
            kept_until: None,
            keeps_wal_behind: false,
            unusable: None,
            cautions: Vec::new(),
            sources: vec![source],
        }
    }

    /// What a `backup_label` or a backup history file tells.
    pub fn from_label(label: &LabelFile, source: Source) -> Self {
        let has_label = (source.kind != SourceKind::HistoryFile).then_some(true);
        Self {
            label: label.label.clone(),
            checkpoint_lsn: Some(label.checkpoint_lsn),
            stop_lsn: label.stop.map(|(lsn, _)| lsn),
            stop_timeline: label.stop_timeline,
            method: label.method.clone(),
            from_standby: label.from_standby,
            has_label,
            incremental_from: label.incremental_from,
            started: label.start_time,
            finished: label.stop_time,
            ..Self::new(label.start_lsn, label.start_timeline(), source)
        }
    }

    /// Takes what a sound control file tells.
    #[must_use]
    pub fn with_control(self, control: ControlFile) -> Self {
        Self {
            system_identifier: Some(control.system_identifier),
            version: Some(control.version),
            segment_size: Some(control.segment_size),
            control: Some(control),
            ..self
        }
    }

    /// The best informed source.
    pub fn source(&self) -> Option<&Source> {
        self.sources.first()
    }

    /// Why recovery cannot begin from it, in one clause; `None` where it can.
    pub fn why_unusable(&self) -> Option<String> {
        if let Some(reason) = &self.unusable {
            return Some(reason.clone());
        }
        let (lsn, timeline) = self.incremental_from?;
        Some(format!(
            "it is an incremental backup, from {lsn} on timeline {timeline}: combine it with that one by pg_combinebackup first"
        ))
    }

    /// Whether a person may mean this backup by `name`: its label, another of its names, its path, or its start.
    pub fn is_called(&self, name: &str) -> bool {
        self.has_name(name)
            || self.sources.iter().any(|source| source.path == Path::new(name))
            || name.parse() == Ok(self.start_lsn)
    }

    fn has_name(&self, name: &str) -> bool {
        self.label == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Two accounts of one backup: the same start on the same timeline of the same cluster, as far as both know it. A
    /// standby without a new restart point lets several backups begin at one place: they are consistent at different ones.
    fn is_same_as(&self, other: &Self) -> bool {
        fn may_be_equal<T: PartialEq>(own: Option<&T>, other: Option<&T>) -> bool {
            own.zip(other).is_none_or(|(own, other)| own == other)
        }
        (self.start_lsn, self.timeline) == (other.start_lsn, other.timeline)
            && may_be_equal(self.system_identifier.as_ref(), other.system_identifier.as_ref())
            && may_be_equal(self.group.as_ref(), other.group.as_ref())
            && may_be_equal(self.consistent_on_standby().as_ref(), other.consistent_on_standby().as_ref())
    }

    /// Up to where a standby had replayed when it was copied.
    fn consistent_on_standby(&self) -> Option<Lsn> {
        let control = self.control.as_ref().filter(|_| self.from_standby == Some(true))?;
        Some(control.min_recovery_point)
    }

    /// Adds what a less informed account tells.
    fn add(&mut self, other: Self) {
        let knew_increments = self.sources.iter().any(|source| source.kind.knows_increments());
        let prefer_name = self.label.is_empty()
            || (other.sources.iter().any(|source| source.kind.is_tool())
                && !self.sources.iter().any(|source| source.kind.is_tool()));
        let names = [other.label].into_iter().chain(other.aliases).filter(|name| !name.is_empty());
        for (i, name) in names.enumerate() {
            if i == 0 && prefer_name {
                let old = std::mem::replace(&mut self.label, name);
                self.aliases.push(old);
            } else {
                self.aliases.push(name);
            }
        }
        self.aliases.retain(|alias| !alias.is_empty() && *alias != self.label);
        self.aliases.sort();
        self.aliases.dedup();
        if !knew_increments {
            self.incremental_from = self.incremental_from.or(other.incremental_from);
        }
        self.checkpoint_lsn = self.checkpoint_lsn.or(other.checkpoint_lsn);
        self.stop_lsn = self.stop_lsn.or(other.stop_lsn);
        self.stop_timeline = self.stop_timeline.or(other.stop_timeline);
        self.method = self.method.take().or(other.method);
        self.from_standby = self.from_standby.or(other.from_standby);
        self.system_identifier = self.system_identifier.or(other.system_identifier);
        self.version = self.version.or(other.version);
        self.group = self.group.take().or(other.group);
        self.segment_size = self.segment_size.or(other.segment_size);
        self.control = self.control.or(other.control);
        self.has_label = self.has_label.or(other.has_label);
        self.started = self.started.or(other.started);
        self.finished = self.finished.or(other.finished);
        self.permanent |= other.permanent;
        self.kept_until = self.kept_until.max(other.kept_until);
        self.keeps_wal_behind |= other.keeps_wal_behind;
        if self.depends_on.is_empty() {
            self.depends_on = other.depends_on;
        }
        if self.prepared.is_empty() {
            self.prepared = other.prepared;
        }
        if self.wal_ranges.is_empty() {
            self.wal_ranges = other.wal_ranges;
        }
        // One sound copy is enough to recover from.
        let a_copy = |sources: &[Source]| sources.iter().any(|source| source.kind >= SourceKind::Tar);
        if self.unusable.is_some() && a_copy(&other.sources) {
            self.unusable = other.unusable;
        }
        self.wal.extend(other.wal);
        self.wal.sort_unstable();
        self.wal.dedup();
        let new = other.cautions.into_iter().filter(|caution| !self.cautions.contains(caution));
        let new: Vec<String> = new.collect();
        self.cautions.extend(new);
        self.sources.extend(other.sources);
    }
}

/// Puts together what is one backup, in order of start and timeline. Where accounts differ, the better informed counts
/// ([`SourceKind`]): a data directory at hand knows better than a history file what state it is in.
pub fn merge(mut accounts: Vec<BaseBackup>) -> Vec<BaseBackup> {
    let rank = |backup: &BaseBackup| std::cmp::Reverse(backup.sources.first().map(|source| source.kind));
    accounts.sort_by(|a, b| {
        let place = |backup: &BaseBackup| (backup.start_lsn, backup.timeline);
        place(a).cmp(&place(b)).then(rank(a).cmp(&rank(b))).then_with(|| a.sources.cmp(&b.sources))
    });
    let mut merged: Vec<BaseBackup> = Vec::new();
    for account in accounts {
        let same = merged
            .iter_mut()
            .rev()
            .take_while(|backup| backup.start_lsn == account.start_lsn)
            .find(|backup| backup.is_same_as(&account));
        match same {
            Some(backup) => backup.add(account),
            None => merged.push(account),
        }
    }
    for backup in &mut merged {
        backup.sources.dedup();
        if backup.label.is_empty() {
            backup.label =
                backup.source().map(|source| source.path.display().to_string()).unwrap_or_default();
        }
    }
    break_chains(&mut merged);
    merged
}

/// What builds on a backup that is gone or that nobody can recover from is no better than that: from the first such backup
/// on to the last, and from those to what builds on them.
fn break_chains(backups: &mut [BaseBackup]) {
    let mut named: HashMap<String, usize> = HashMap::new();
    for (index, backup) in backups.iter().enumerate() {
        for name in backup.aliases.iter().chain([&backup.label]) {
            named.entry(name.clone()).or_insert(index);
        }
    }
    let mut built_on: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, backup) in backups.iter().enumerate() {
        for base in backup.depends_on.iter().filter_map(|name| named.get(name)) {
            built_on.entry(*base).or_default().push(index);
        }
    }
    let mut doubtful: BTreeSet<usize> = (0..backups.len()).collect();
    while let Some(index) = doubtful.pop_first() {
        let Some(reason) = why_broken(backups, index, &named) else { continue };
        if let Some(backup) = backups.get_mut(index) {
            backup.unusable = Some(reason);
        }
        doubtful.extend(built_on.get(&index).into_iter().flatten());
    }
}

/// Why what a backup that can be used builds on is of no use.
fn why_broken(backups: &[BaseBackup], index: usize, named: &HashMap<String, usize>) -> Option<String> {
    let backup = backups.get(index).filter(|backup| backup.unusable.is_none())?;
    backup.depends_on.iter().find_map(|name| match named.get(name).and_then(|base| backups.get(*base)) {
        None => Some(format!("it builds on {name}, which is not there")),
        Some(base) => base.unusable.is_some().then(|| format!("it builds on {name}, which cannot be used")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: &str =
        include_str!("../../tests/data/backup/pg15/00000001000000000000000B.00000028.backup");
    const CONTROL: &[u8] = include_bytes!("../../tests/data/backup/pg15/pg_control");

    fn account(text: &str, kind: SourceKind) -> BaseBackup {
        let Ok(label) = LabelFile::parse(text.as_bytes()) else { unreachable!() };
        BaseBackup::from_label(&label, Source { kind, path: PathBuf::from(kind.name()) })
    }

    fn history() -> BaseBackup {
        account(HISTORY, SourceKind::HistoryFile)
    }

    #[test]
    fn accounts_of_one_backup_complete_each_other() {
        let Ok(control) = ControlFile::parse(CONTROL) else { unreachable!() };
        let label = include_str!("../../tests/data/backup/pg15/backup_label");
        let directory = account(label, SourceKind::DataDirectory).with_control(control);
        for order in [[history(), directory.clone()], [directory.clone(), history()]] {
            let merged = merge(order.into());
            let [backup] = merged.as_slice() else { unreachable!() };
            assert_eq!((backup.label.as_str(), backup.stop_lsn), ("b2", Some(Lsn(0x160_0100))));
            assert_eq!(backup.control, Some(control));
            assert_eq!(backup.source().map(|source| source.kind), Some(SourceKind::DataDirectory));
            assert_eq!((backup.sources.len(), backup.aliases.len()), (2, 0));
        }
        let mut tool = BaseBackup::new(
            directory.start_lsn,
            directory.timeline,
            Source { kind: SourceKind::PgBackRest, path: PathBuf::from("backup.info") },
        );
        tool.label = "20261121-092219F".to_owned();
        tool.unusable = Some("error".to_owned());
        let merged = merge(vec![history(), tool.clone()]);
        assert_eq!(merged[0].why_unusable().as_deref(), Some("error"));
        let merged = merge(vec![history(), tool, directory]);
        assert_eq!((merged.len(), merged[0].label.as_str()), (1, "20261121-092219F"));
        assert!(merged[0].is_called("b2") && merged[0].is_called("0/01600028"));
        assert_eq!(merged[0].why_unusable(), None);
    }

    #[test]
    fn other_clusters_and_timelines_stay_apart() {
        let mut other = history();
        other.timeline = TimelineId(2);
        let with_id = |id| BaseBackup { system_identifier: Some(SystemId(id)), ..history() };
        assert_eq!(merge(vec![history(), other]).len(), 2);
        assert_eq!(merge(vec![with_id(1), with_id(2), history()]).len(), 2);
    }

    #[test]
    fn backups_of_a_standby_that_begin_at_one_place_stay_apart() {
        let Ok(control) = ControlFile::parse(CONTROL) else { unreachable!() };
        let of_standby = |consistent, path: &str| BaseBackup {
            from_standby: Some(true),
            control: Some(ControlFile { min_recovery_point: Lsn(consistent), ..control }),
            sources: vec![Source { kind: SourceKind::DataDirectory, path: PathBuf::from(path) }],
            ..history()
        };
        let (early, late) = (of_standby(0x170_0000, "early"), of_standby(0x180_0000, "late"));
        assert_eq!(merge(vec![early.clone(), late.clone()]).len(), 2);
        assert_eq!(merge(vec![early.clone(), BaseBackup { sources: late.sources, ..early }]).len(), 1);
    }

    #[test]
    fn a_combined_backup_is_no_longer_incremental() {
        let text = format!("{HISTORY}INCREMENTAL FROM LSN: 0/1400028\nINCREMENTAL FROM TLI: 1\n");
        let incremental = account(&text, SourceKind::HistoryFile);
        assert!(incremental.why_unusable().is_some());
        let label = include_str!("../../tests/data/backup/pg15/backup_label");
        let combined = account(label, SourceKind::DataDirectory);
        assert_eq!(merge(vec![incremental.clone(), combined])[0].why_unusable(), None);
    }

    #[test]
    fn what_builds_on_nothing_cannot_be_used() {
        let named = |label: &str, start: u64, on: &[&str]| BaseBackup {
            label: label.to_owned(),
            start_lsn: Lsn(start),
            depends_on: on.iter().map(|name| (*name).to_owned()).collect(),
            ..history()
        };
        let usable = |backups: Vec<BaseBackup>| {
            let merged = merge(backups);
            merged.iter().map(|backup| backup.why_unusable().is_none()).collect::<Vec<_>>()
        };
        let (full, delta) = (named("full", 0x100_0028, &[]), named("delta", 0x200_0028, &["full"]));
        let on_delta = named("on delta", 0x300_0028, &["delta"]);
        assert_eq!(usable(vec![full.clone(), delta.clone(), on_delta.clone()]), [true; 3]);
        assert_eq!(usable(vec![delta.clone(), on_delta.clone()]), [false; 2]);
        let corrupt = BaseBackup { unusable: Some("CORRUPT".to_owned()), ..full };
        assert_eq!(usable(vec![corrupt, delta, on_delta]), [false; 3]);
        let circle = [named("a", 0x100_0028, &["b"]), named("b", 0x200_0028, &["a"])];
        assert_eq!(usable(circle.to_vec()), [true; 2], "a tool's mistake, which does not hang");
        // Each in front of what it builds on; going over all of them again for each would be 10¹² steps.
        let chain =
            |i: u64| named(&format!("{i}"), (10_000 - i) << 24, &[&format!("{}", i.saturating_sub(1))]);
        assert_eq!(usable((1..10_000).map(chain).collect()), [false; 9_999]);
    }
}
