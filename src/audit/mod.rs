//! The verdict on an archive: every file read, joined to its neighbours, and held to its histories.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let archive = walproof::archive::Archive::open("/backup/wal", walproof::archive::LayoutChoice::Auto)?;
//! let audit = walproof::audit::audit(&archive, &walproof::audit::Options::default(), &|_| {})?;
//! for finding in &audit.findings {
//!     eprintln!("{}: {}", finding.code.name(), finding.message);
//! }
//! # Ok(())
//! # }
//! ```

mod clusters;
mod files;
mod forks;
mod gaps;
mod impact;
mod islands;
mod outcomes;
mod parts;
pub mod plan;
pub mod stretch;
pub mod survey;
mod tail;
pub mod timelines;
mod witnesses;
mod wounds;

pub use plan::{Plan, ToldByBackup, plan, plan_of};
pub use survey::{Survey, expectations, join, survey, survey_with};
pub use timelines::TimelineReport;

use crate::archive::{Archive, StoreError};
use crate::backup::{self, Discovered, ProblemKind};
use crate::chain::chains::{ClusterId, FileState};
use crate::clock::Clock;
use crate::finding::{Code, Finding, Severity};
use crate::scan::{Detail, FactStore};
use crate::wal::{Lsn, Major, PgTime, SegmentSize, SystemId, TimelineId, WalFileName};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use witnesses::Witnesses;

/// What part of an archive to read, and what to hold it to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this timeline.
    pub timeline: Option<TimelineId>,
    /// Nothing before this file.
    pub from: Option<WalFileName>,
    /// Nothing behind this file.
    pub to: Option<WalFileName>,
    /// The newest WAL must not be older than this, at the time given.
    pub max_age: Option<(Duration, PgTime)>,
    /// For printing times.
    pub clock: Clock,
    /// How much to keep of what happened.
    pub detail: Detail,
    /// What to do about a file whose bytes cannot be obtained.
    pub unread: Unread,
}

/// What to do about a file whose bytes cannot be obtained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unread {
    /// Nothing is said of the archive.
    #[default]
    IsAnError,
    /// It is told ([`Audit::unread`]), and the others are read all the same: unless so many fail one after the other that
    /// it is not the files.
    IsTold,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeline: None,
            from: None,
            to: None,
            max_age: None,
            clock: Clock::utc(),
            detail: Detail::Summary,
            unread: Unread::default(),
        }
    }
}

/// Counts of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct SegmentCounts {
    /// Files that are named like segments.
    pub total: u64,
    /// Those in which everything is as it should be.
    pub verified: u64,
    /// Those in which something is wrong.
    pub damaged: u64,
    /// Segments that a path needs and that are not there.
    pub missing: u64,
    /// Files called `.partial`.
    pub partial: u64,
    /// Segments of other clusters than the newest.
    pub foreign: u64,
}

/// What an audit found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The newest cluster.
    pub system_id: Option<SystemId>,
    /// Its segment size.
    pub segment_size: Option<SegmentSize>,
    /// Versions of all clusters, oldest first.
    pub versions: Vec<Major>,
    /// Counts of files.
    pub segments: SegmentCounts,
    /// Bytes of WAL read, decompressed.
    pub bytes: u64,
    /// Records verified; those in a copied prefix count once.
    pub records: u64,
    /// The newest cluster's timelines.
    pub timelines: Vec<TimelineReport>,
    /// Other clusters in the same place.
    pub others: Vec<OtherCluster>,
    /// What is wrong or worth knowing: worst first, then by place.
    pub findings: Vec<Finding>,
    /// Why the bytes of files could not be obtained ([`Unread::IsTold`]): of these nothing is known.
    pub unread: Vec<String>,
    /// Only a part of the archive was asked for, and nothing is said of the rest.
    pub of_part: bool,
}

/// A cluster that is not the newest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherCluster {
    /// Its identity.
    pub system_id: SystemId,
    /// Its segment size.
    pub segment_size: SegmentSize,
    /// Its versions.
    pub versions: Vec<Major>,
    /// How many segments.
    pub segments: u64,
    /// Its timelines.
    pub timelines: Vec<TimelineReport>,
}

impl Audit {
    /// Whether anything is wrong that nobody accepted, or was left unread.
    pub fn is_damaged(&self) -> bool {
        !self.unread.is_empty() || self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// The audit could not be done or not be finished.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The archive could not be looked at.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that tells how far the WAL goes could not be obtained.
    #[error("{0}")]
    Unread(String),
    /// There is WAL, and none of it was asked for.
    #[error("nothing in {0} is of the timeline and the files that were asked for")]
    NoneWanted(String),
    /// There is nothing to audit.
    #[error("no WAL found in {0}")]
    NoWal(String),
}

/// How far a scan has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Files read.
    pub files: u64,
    /// Of so many.
    pub files_total: u64,
    /// Bytes of WAL read.
    pub bytes: u64,
}

/// Reads the archive from end to end and says what is wrong with it. `progress` is called after each file, from
/// any thread.
pub fn audit(
    archive: &Archive,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Audit, AuditError> {
    let mut newest = plan(archive, options)?;
    let discovered = backup::discover(archive, &newest.inventory);
    all_heard(&newest, &discovered)?;
    newest.backups = discovered.backups;
    let parts = earlier_parts(archive, &newest, options)?;
    audit_planned(archive, &newest, &parts, options, None, progress)
}

/// That no backup history file is left unread: the verdict goes by what they tell.
///
/// # Errors
/// One of them could not be obtained.
pub fn all_heard(plan: &Plan, discovered: &Discovered) -> Result<(), AuditError> {
    let is_history = |path: &Path| {
        let mut entries = plan.inventory.entries.iter();
        entries.any(|entry| matches!(entry.name, WalFileName::Backup(..)) && entry.object.path == path)
    };
    let mut unread = discovered.problems.iter().filter(|problem| problem.kind == ProblemKind::Unread);
    match unread.find(|problem| is_history(&problem.path)) {
        None => Ok(()),
        Some(problem) => Err(AuditError::Unread(format!("{}: {}", problem.path.display(), problem.message))),
    }
}

/// A part of an archive with an earlier cluster in it, and its plan.
#[derive(Debug)]
pub struct Part {
    archive: Archive,
    /// Its listing.
    pub plan: Plan,
    group: String,
}

/// The parts of the archive besides the one that `newest` is the plan of, listed.
pub fn earlier_parts(archive: &Archive, newest: &Plan, options: &Options) -> Result<Vec<Part>, AuditError> {
    let older = newest.inventory.groups.len().saturating_sub(1);
    let mut parts = Vec::new();
    for group in newest.inventory.groups.iter().take(older) {
        let archive = archive.part(group);
        match plan(&archive, options) {
            Err(AuditError::NoWal(_) | AuditError::NoneWanted(_)) => {}
            plan => {
                let plan = Plan { backups: newest.backups.clone(), ..plan? };
                parts.push(Part { archive, plan, group: group.clone() });
            }
        }
    }
    Ok(parts)
}

/// The same as [`audit`] for what is listed already. Files that `store` knows are not read again.
pub fn audit_planned(
    archive: &Archive,
    newest: &Plan,
    parts: &[Part],
    options: &Options,
    store: Option<&dyn FactStore>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Audit, AuditError> {
    let mut audit = judge(newest, &survey_with(archive, newest, options, store, progress)?, options);
    for Part { archive, plan, group } in parts {
        let earlier = judge(plan, &survey_with(archive, plan, options, store, progress)?, options);
        parts::absorb(&mut audit, earlier, group);
    }
    sort(&mut audit.findings);
    Ok(audit)
}

/// Reads the verdict off the joined facts.
pub fn judge(plan: &Plan, survey: &Survey, options: &Options) -> Audit {
    let newest = survey.chains.newest();
    let mut findings = Vec::new();
    let mut missing = 0;
    let mut timelines = Vec::new();
    let mut others = Vec::new();
    let files_of = clusters::files_of(survey);
    let impostors = clusters::impostors(survey, &files_of, newest);
    let mut mixed_in = clusters::mixed_in(survey, &files_of, newest);
    mixed_in.extend(&impostors);
    let later = files::kept_for_later(plan, survey);
    let mut of_files = plan.findings.clone();
    of_files.extend(clusters::findings(survey, &files_of, newest, &impostors));
    of_files.extend(files::findings(plan, survey, newest, &later));
    for (id, cluster) in &survey.chains.clusters {
        let is_newest = Some(*id) == newest;
        if impostors.contains(id) {
            continue;
        }
        let (later, mixed_in) = (&later, &mixed_in);
        let view = timelines::ClusterView { id: *id, cluster, plan, survey, is_newest, later, mixed_in };
        let contradicted = forks::contradicted(&view);
        let witnesses = Witnesses::of(&view, options);
        let mut holes = gaps::holes(&view, options);
        let mut told = gaps::told_holes(&view, options, &witnesses, &holes);
        holes.retain(|hole, _| !contradicted.explains_hole(hole));
        told.retain(|hole, _| !contradicted.explains_hole(hole));
        let sure = told.iter().filter(|(hole, _)| witnesses.doubt(&view, hole).is_none());
        let lost = holes.iter().chain(sure).filter(|(_, island)| island.is_none());
        missing += lost.map(|(hole, _)| hole.count).sum::<u64>();
        let stretches = stretch::stretches(&view);
        let mut of_cluster: Vec<Finding> = wounds::findings(&view);
        if is_newest {
            let all: Vec<gaps::Hole> = holes.keys().chain(told.keys()).copied().collect();
            of_files.extend(files::unread(plan, newest, &all));
            of_cluster.append(&mut of_files);
        }
        of_cluster.extend(gaps::findings(&view, &holes, |_, finding| finding));
        of_cluster
            .extend(gaps::findings(&view, &told, |hole, finding| witnesses.explain(&view, hole, finding)));
        of_cluster.extend(witnesses.fork_not_archived(&view));
        of_cluster.extend(forks::findings(&view));
        for early in witnesses.ended_early(&view) {
            // What the file itself shows, or another witness, is told once.
            let is_same = |told: &Finding| {
                (told.code, &told.segment, told.lsn) == (early.code, &early.segment, early.lsn)
            };
            if !of_cluster.iter().any(is_same) {
                of_cluster.push(early);
            }
        }
        of_cluster.extend(tail::findings(&view, &stretches));
        of_cluster.retain(|finding| !contradicted.explains(finding));
        impact::say(&mut of_cluster, &stretches, &options.clock);
        findings.append(&mut of_cluster);
        let reports = timelines::reports(&view, &stretches);
        if is_newest {
            timelines = reports;
        } else {
            others.push(OtherCluster {
                system_id: id.system_id,
                segment_size: id.segment_size,
                versions: cluster.versions.iter().copied().collect(),
                segments: cluster.chains.values().map(|chain| chain.present.count()).sum(),
                timelines: reports,
            });
        }
    }
    if newest.is_none() {
        findings.extend(files::unread(plan, newest, &[]));
    }
    findings.append(&mut of_files);
    findings.extend(tail::staleness(survey, options));
    sort(&mut findings);
    let records = |reports: &[TimelineReport]| reports.iter().map(|report| report.records).sum::<u64>();
    let mut versions: Vec<Major> =
        survey.chains.clusters.values().flat_map(|cluster| cluster.versions.iter().copied()).collect();
    versions.sort_unstable();
    versions.dedup();
    Audit {
        system_id: newest.map(|id| id.system_id),
        segment_size: newest.map(|id| id.segment_size),
        versions,
        segments: count(survey, newest, &impostors, missing, &findings),
        bytes: survey.bytes,
        records: records(&timelines) + others.iter().map(|other| records(&other.timelines)).sum::<u64>(),
        timelines,
        others,
        findings,
        unread: survey.unread.clone(),
        of_part: options.timeline.is_some() || options.from.is_some() || options.to.is_some(),
    }
}

/// Worst first, then by place, so that the order does not depend on how the findings were made.
fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.severity, f.timeline, f.lsn.unwrap_or(Lsn::MAX), f.code);
        key(a)
            .cmp(&key(b))
            .then_with(|| a.segment.cmp(&b.segment))
            .then_with(|| a.offset.cmp(&b.offset))
            .then_with(|| a.message.cmp(&b.message))
    });
}

fn count(
    survey: &Survey,
    newest: Option<ClusterId>,
    impostors: &HashSet<ClusterId>,
    missing: u64,
    findings: &[Finding],
) -> SegmentCounts {
    let mut counts = SegmentCounts {
        total: survey.chains.files.len() as u64,
        missing,
        partial: survey.chains.partials.len() as u64,
        ..SegmentCounts::default()
    };
    let gaps = [Code::SegmentMissing, Code::TimelineHistoryMissing, Code::TimelineHistoryInvalid];
    let blamed: std::collections::BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding.code.severity() == Severity::Error && !gaps.contains(&finding.code))
        .filter_map(|finding| finding.segment.as_deref())
        .collect();
    for file in &survey.chains.files {
        let foreign = file.cluster.is_some_and(|id| Some(id) != newest && !impostors.contains(&id));
        counts.foreign += u64::from(foreign);
        let damaged =
            file.state == FileState::Damaged || (!foreign && blamed.contains(file.name.to_string().as_str()));
        if damaged {
            counts.damaged += 1;
        } else if file.state != FileState::Recycled {
            counts.verified += 1;
        }
    }
    counts
}
