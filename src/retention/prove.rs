//! The plan held to the recovery model: what can be recovered to before must be recoverable to after.

use super::archivecleanup::{OldestKept, Rules};
use super::choose::{Chosen, Guarded};
use super::plan::Cleanup;
use crate::archive::StoreError;
use crate::audit::{self, Options, Plan};
use crate::backup::BaseBackup;
use crate::finding::{Code, Finding, Severity};
use crate::recovery::Library;
use crate::recovery::windows::{Window, windows};
use crate::timeline::probe_latest;
use crate::wal::{SegmentName, TimelineId, WalFileName};
use std::collections::BTreeSet;
use std::path::Path;

/// What can be recovered to once the plan was carried out, by the same model on the files that stay.
pub fn windows_after(
    library: &Library<'_>,
    backups: &[BaseBackup],
    cleanup: &Cleanup,
) -> Result<Vec<Window>, StoreError> {
    let (plan, segments) = what_stays(library, cleanup);
    windows(&library.without(&plan, &segments), backups, library.major)
}

/// Gaps that an audit will find once the plan was carried out, and that `before` does not have: behind backups that
/// keep nothing but their own WAL.
pub fn new_gaps(
    library: &Library<'_>,
    cleanup: &Cleanup,
    options: &Options,
    before: &[Finding],
) -> Vec<Finding> {
    let (plan, segments) = what_stays(library, cleanup);
    let left = library.without(&plan, &segments);
    let audit = audit::judge(&plan, &audit::join(&plan, left.every_file()), options);
    let is_known = |gap: &Finding| {
        before
            .iter()
            .any(|old| (old.code, &old.segment, &old.expected) == (gap.code, &gap.segment, &gap.expected))
    };
    let is_gap =
        |finding: &Finding| finding.code == Code::SegmentMissing && finding.severity == Severity::Error;
    audit.findings.into_iter().filter(|finding| is_gap(finding) && !is_known(finding)).collect()
}

/// Listing, histories and backups' accounts without what `cleanup` removes, and the segments that it removes.
pub fn what_stays(library: &Library<'_>, cleanup: &Cleanup) -> (Plan, BTreeSet<SegmentName>) {
    let mut segments: BTreeSet<SegmentName> = BTreeSet::new();
    let mut plan: Plan = library.plan.clone();
    let gone: BTreeSet<&Path> =
        cleanup.remove.iter().map(|ruled| ruled.entry.object.path.as_path()).collect();
    plan.inventory.entries.retain(|entry| !gone.contains(entry.object.path.as_path()));
    for backup in &mut plan.backups {
        backup.sources.retain(|source| !gone.contains(source.path.as_path()));
    }
    plan.backups.retain(|backup| !backup.sources.is_empty());
    for ruled in &cleanup.remove {
        match ruled.entry.name {
            WalFileName::Segment(name) => {
                segments.insert(name);
            }
            WalFileName::History(timeline) => {
                plan.histories.remove(&timeline);
                plan.history_files.remove(&timeline);
            }
            WalFileName::Partial(_) | WalFileName::Backup(..) => {}
        }
    }
    plan.entries.retain(|entry| match entry.name {
        WalFileName::Segment(name) => !segments.contains(&name),
        _ => !gone.contains(entry.object.path.as_path()),
    });
    (plan, segments)
}

/// All that is known of an archive before and after a plan.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The archive.
    pub library: &'a Library<'a>,
    /// Its backups.
    pub backups: &'a [BaseBackup],
    /// What is to be kept.
    pub chosen: &'a Chosen,
    /// What goes.
    pub cleanup: &'a Cleanup,
    /// What can be recovered to before.
    pub before: &'a [Window],
    /// What can be recovered to after.
    pub after: &'a [Window],
    /// What is wrong with the archive.
    pub findings: &'a [Finding],
}

impl Proof<'_> {
    /// Why the plan must not be carried out; `None`: nothing speaks against it.
    pub fn objection(&self) -> Option<String> {
        self.of_place()
            .or_else(|| self.damage())
            .or_else(|| self.lost_window())
            .or_else(|| self.lost_tip())
            .or_else(|| self.lost_way())
            .or_else(|| self.torn())
            .or_else(|| self.less_careful())
    }

    fn of_place(&self) -> Option<String> {
        let inventory = &self.library.plan.inventory;
        inventory
            .is_pg_wal
            .then(|| "this is a server's own pg_wal: only the server may remove files there".to_owned())
    }

    /// Damage that nobody accepted, in what is kept.
    fn damage(&self) -> Option<String> {
        let errors = self.findings.iter().filter(|f| f.severity == Severity::Error && !f.acknowledged);
        let worst = errors.into_iter().find(|finding| self.touches_kept(finding))?;
        Some(format!(
            "what would be kept is not whole, and removing older WAL could remove the last good copy: {} ({}). \
             If that loss is known, accept it with walproof ack",
            worst.message,
            worst.code.name()
        ))
    }

    /// A segment that a kept backup cannot do without.
    fn torn(&self) -> Option<String> {
        let number = |name: WalFileName| match name {
            WalFileName::Segment(name) => Some((name, name.number(self.library.segment_size)?)),
            _ => None,
        };
        let gone = self.cleanup.remove.iter().filter_map(|ruled| number(ruled.entry.name));
        let needs = |guarded: &&Guarded, number| guarded.first <= number && number <= guarded.last;
        let mut torn = gone.filter(|(name, number)| !self.cleanup.prunes(name.timeline, *number)).filter_map(
            |(name, number)| Some((name, self.chosen.guarded.iter().find(|guarded| needs(guarded, number))?)),
        );
        let (name, guarded) = torn.next()?;
        let label = self.name_of(guarded);
        Some(format!("it would take {name} away from backup {label} which is kept"))
    }

    fn touches_kept(&self, finding: &Finding) -> bool {
        let name = finding.segment.as_deref().and_then(WalFileName::parse);
        let (WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::Backup(name, _)) =
            (match name {
                Some(name) => name,
                None => return true,
            })
        else {
            return true;
        };
        let Some(number) = name.number(self.library.segment_size) else { return true };
        let guarded = |guarded: &Guarded| guarded.first <= number && number <= guarded.last;
        !self.cleanup.prunes(name.timeline, number)
            && (number >= self.chosen.boundary || self.chosen.guarded.iter().any(guarded))
    }

    /// A backup that is kept and would lose what it can be recovered to.
    fn lost_window(&self) -> Option<String> {
        self.chosen.guarded.iter().find_map(|guarded| {
            let of = |windows: &'_ [Window]| -> Vec<Window> {
                windows.iter().filter(|window| window.backup == guarded.backup).cloned().collect()
            };
            let (before, after) = (of(self.before), of(self.after));
            let lost = before.iter().find(|old| {
                let new = after.iter().find(|new| new.timeline == old.timeline);
                !new.is_some_and(|new| self.still_serves(guarded, old, new))
            })?;
            Some(self.loss(guarded, lost.timeline))
        })
    }

    /// The end of the newest timeline that could be recovered to. Which backup leads there does not matter.
    fn lost_tip(&self) -> Option<String> {
        let tip = |window: &Window| (window.timeline, window.end);
        let newest = self.before.iter().map(tip).max()?;
        let is_kept =
            |window: &&Window| self.chosen.guarded.iter().any(|guarded| guarded.backup == window.backup);
        let stays = self.after.iter().filter(is_kept).any(|window| tip(window) == newest);
        let (timeline, end) = newest;
        (!stays).then(|| format!("no kept backup would lead to {end} on timeline {timeline} any more"))
    }

    /// A timeline from which another one would be found as the newest, and as the one to which the next number goes
    /// (`findNewestTimeLine`).
    fn lost_way(&self) -> Option<String> {
        let (after, _) = what_stays(self.library, self.cleanup);
        let is_kept = |index: usize| self.chosen.guarded.iter().any(|guarded| guarded.backup == index);
        let backups = self.backups.iter().enumerate().filter(|(index, _)| is_kept(*index));
        let begun = backups.flat_map(|(_, backup)| [Some(backup.timeline), backup.stop_timeline]).flatten();
        let reached =
            self.before.iter().filter(|window| is_kept(window.backup)).map(|window| window.timeline);
        begun.chain(reached).find_map(|from| {
            let old = probe_latest(from, |id| self.library.has_history(id));
            let new = probe_latest(from, |id| after.history_files.contains(&id));
            (old != new).then(|| {
                format!(
                    "recovery from timeline {from} finds timeline {old} as the newest, and would find timeline {new}"
                )
            })
        })
    }

    fn still_serves(&self, guarded: &Guarded, old: &Window, new: &Window) -> bool {
        if new.path != old.path || new.consistent != old.consistent {
            return false;
        }
        // An island is good for itself; all others for everything that they were good for.
        guarded.first < self.chosen.boundary || new.end == old.end
    }

    /// Labels alone say little: `pg_basebackup` gives all backups one.
    fn name_of(&self, guarded: &Guarded) -> String {
        let backup = self.backups.get(guarded.backup);
        backup.map_or_else(String::new, |backup| format!("{}, start {},", backup.label, backup.start_lsn))
    }

    fn loss(&self, guarded: &Guarded, timeline: TimelineId) -> String {
        let label = self.name_of(guarded);
        format!("backup {label} could no longer be recovered from on timeline {timeline} as it can now")
    }

    /// `pg_archivecleanup` would keep a file that the plan removes.
    fn less_careful(&self) -> Option<String> {
        let boundary = self.library.name(TimelineId(1), self.chosen.boundary).to_string();
        let oldest_kept = OldestKept::parse(boundary.as_bytes(), None)?;
        let rules = Rules { oldest_kept, extension: None, backup_history: true };
        let pruned = |name: WalFileName| match name {
            WalFileName::History(_) => true,
            WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::Backup(name, _) => {
                let number = name.number(self.library.segment_size);
                number.is_some_and(|number| self.cleanup.prunes(name.timeline, number))
            }
        };
        let names = self.cleanup.remove.iter().map(|ruled| ruled.entry.name);
        let wrong =
            names.filter(|name| !pruned(*name)).find(|name| !rules.removes(name.to_string().as_bytes()))?;
        Some(format!("{wrong} is not before {boundary}: pg_archivecleanup would keep it"))
    }
}
