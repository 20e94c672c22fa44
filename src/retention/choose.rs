//! Which backups are kept, and from where on all WAL stays.

use crate::backup::{BaseBackup, SourceKind};
use crate::clock::Clock;
use crate::recovery::Library;
use crate::recovery::windows::Window;
use crate::wal::{Lsn, PgTime, SegmentNumber, TimelineId, WalFileName};
use std::collections::{BTreeMap, BTreeSet};

/// What must stay recoverable. Where several things are asked for, all of them hold.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The last so many backups, with all WAL from the first of them on.
    pub keep_backups: Option<usize>,
    /// Every target from this time on.
    pub since: Option<PgTime>,
    /// This WAL file and all behind it. It must be in the archive.
    pub oldest_kept: Option<WalFileName>,
    /// Backups that ended before this are not kept for their own sake.
    pub backups_since: Option<PgTime>,
    /// Remove timelines that no kept backup can reach.
    pub prune_timelines: bool,
    /// Remove backup history files that no kept backup needs.
    pub clean_history: bool,
    /// Backups that a person named, by index: they are kept for their own sake, unless [`backups_since`](Self::backups_since)
    /// leaves them out.
    pub named: BTreeSet<usize>,
}

impl Policy {
    /// Whether anything in it but [`oldest_kept`](Self::oldest_kept) says what goes.
    fn goes_by_backups(&self) -> bool {
        let by_them = self.keep_backups.is_some() || self.since.is_some() || self.backups_since.is_some();
        by_them || self.prune_timelines || self.clean_history
    }
}

/// A backup that is kept, with the segments that it cannot do without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guarded {
    /// Index of the backup.
    pub backup: usize,
    /// The segment of its start.
    pub first: SegmentNumber,
    /// The segment of its stop; beyond every segment where nobody knows its stop.
    pub last: SegmentNumber,
}

/// The choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Backups that are kept, by start.
    pub guarded: Vec<Guarded>,
    /// From this segment on everything stays, on every timeline.
    pub boundary: SegmentNumber,
    /// What asks for that, in a clause.
    pub why: String,
}

/// Chooses by `policy`. `windows` is what can be recovered to now. The error is why nothing may be removed.
pub fn choose(
    library: &Library<'_>,
    backups: &[BaseBackup],
    windows: &[Window],
    policy: &Policy,
    clock: &Clock,
) -> Result<Chosen, String> {
    let own = own(library, backups);
    let counted = counted(&own, backups, policy);
    let choice = Choice { library, backups, windows, policy, clock, counted };
    let rest: BTreeSet<usize> = own.iter().copied().filter(|index| !choice.counted.contains(index)).collect();
    if own.is_empty() && policy.goes_by_backups() {
        return Err("no base backup of this cluster is known: without one only --oldest-kept can say what to keep, and \
                    nothing else can be given with it"
            .to_owned());
    }
    let ranked = choice.ranked(&choice.counted);
    let rest = choice.ranked(&rest);
    let newest: BTreeSet<usize> = ranked.iter().filter_map(|order| order.last().copied()).collect();
    if let Some(broken) = newest.iter().find(|newest| !choice.has_window(**newest)) {
        return Err(format!(
            "the newest backup {} cannot be recovered from: its WAL is damaged or missing",
            choice.label(*broken)
        ));
    }
    let mut bounds = Vec::new();
    // Whatever is asked for: without the newest nothing newer can be recovered to.
    let mut kept: BTreeSet<usize> = newest;
    kept.extend(own.iter().filter(|index| policy.named.contains(index) && choice.is_young(**index)));
    choice.by_count(&ranked, &rest, &mut bounds, &mut kept)?;
    choice.by_time(&own, &mut bounds, &mut kept)?;
    choice.by_file(&mut bounds)?;
    choice.by_keepers(&own, &mut bounds);
    let (boundary, why) = bounds
        .into_iter()
        .min_by_key(|(number, _)| *number)
        .ok_or_else(|| "nothing says what to keep".to_owned())?;
    kept.extend(own.iter().copied().filter(|index| choice.is_kept(*index)));
    let mut guarded: Vec<Guarded> = kept.into_iter().filter_map(|index| choice.guard(index)).collect();
    guarded.sort_by_key(|guarded| (guarded.first, guarded.backup));
    choice.still_leads(&guarded, boundary, &why)?;
    Ok(Chosen { guarded, boundary, why })
}

type Bounds = Vec<(SegmentNumber, String)>;

/// Backups of the archive's cluster.
fn own(library: &Library<'_>, backups: &[BaseBackup]) -> Vec<usize> {
    let foreign = |backup: &BaseBackup| backup.system_identifier.is_some_and(|id| id != library.system_id);
    (0..backups.len()).filter(|i| backups.get(*i).is_some_and(|b| !foreign(b))).collect()
}

/// Those of `own` by which the policy goes: what a tool's catalog or a person tells of, or a backup that lies there.
/// `pg_basebackup` leaves a history file for every replica that was ever made, for a backup that failed and for one
/// that was deleted: such files count only where nobody tells of anything else, or of fewer than are to be kept.
fn counted(own: &[usize], backups: &[BaseBackup], policy: &Policy) -> BTreeSet<usize> {
    let is_told = |index: &usize| {
        let sources = backups.get(*index).map_or(&[][..], |backup| &backup.sources);
        policy.named.contains(index) || sources.iter().any(|source| source.kind != SourceKind::HistoryFile)
    };
    let told: BTreeSet<usize> = own.iter().copied().filter(is_told).collect();
    if told.is_empty() { own.iter().copied().collect() } else { told }
}

/// Where the newest timeline ends as far as some backups lead, and which of them do.
struct Tip {
    timeline: TimelineId,
    end: Lsn,
    backups: BTreeSet<usize>,
}

struct Choice<'a> {
    library: &'a Library<'a>,
    backups: &'a [BaseBackup],
    windows: &'a [Window],
    policy: &'a Policy,
    clock: &'a Clock,
    counted: BTreeSet<usize>,
}

impl Choice<'_> {
    /// Those of `some` from which a server can start and that nobody keeps for ever, oldest first, in two orders: by the
    /// times at which they began, as far as they have one, and by timeline and start. The clock of a host that makes backups
    /// may be behind, and a timeline that was left may still have backups made: where the two differ, nobody knows
    /// which is the newer one.
    fn ranked(&self, some: &BTreeSet<usize>) -> [Vec<usize>; 2] {
        let usable = |backup: &BaseBackup| backup.why_unusable().is_none() && !backup.permanent;
        let mut ranked: Vec<(usize, &BaseBackup)> = some
            .iter()
            .filter_map(|index| Some((*index, self.backups.get(*index)?)))
            .filter(|(_, backup)| usable(backup))
            .collect();
        let indexes =
            |ranked: &[(usize, &BaseBackup)]| ranked.iter().map(|(index, _)| *index).collect::<Vec<_>>();
        ranked.sort_by_key(|(_, b)| (b.timeline, b.start_lsn));
        let by_place = indexes(&ranked);
        // One without a time takes no place from those that have one.
        if ranked.iter().any(|(_, backup)| backup.started.is_some()) {
            ranked.retain(|(_, backup)| backup.started.is_some());
            ranked.sort_by_key(|(_, b)| b.started);
        }
        [indexes(&ranked), by_place]
    }

    /// The ends of the newest timeline that a backup leads to: the server writes there, or would go on there. What only
    /// backups that do not count lead to is another.
    fn tips(&self) -> Vec<Tip> {
        let tip = |counts: &dyn Fn(usize) -> bool| {
            let windows = || self.windows.iter().filter(|window| counts(window.backup));
            let (timeline, end) = windows().map(|window| (window.timeline, window.end)).max()?;
            let leads = windows().filter(|window| (window.timeline, window.end) == (timeline, end));
            Some(Tip { timeline, end, backups: leads.map(|window| window.backup).collect() })
        };
        tip(&|index| self.counted.contains(&index)).into_iter().chain(tip(&|_| true)).collect()
    }

    /// What is kept must lead to the newest timeline's end, if anything does.
    fn still_leads(&self, guarded: &[Guarded], boundary: SegmentNumber, why: &str) -> Result<(), String> {
        let begins = |guarded: &&Guarded| self.start(guarded.backup) >= boundary;
        let stays: BTreeSet<usize> = guarded.iter().filter(begins).map(|guarded| guarded.backup).collect();
        if self.has_window_at_all() && !stays.iter().any(|index| self.has_window(*index)) {
            return Err(format!(
                "{why}, but no backup that is kept begins there or behind it: the WAL that is kept could be reached \
                 from none"
            ));
        }
        let tips = self.tips();
        let Some(lost) = tips.iter().find(|tip| tip.backups.is_disjoint(&stays)) else { return Ok(()) };
        let leads = self.best(&lost.backups).map_or_else(String::new, |index| self.label(index));
        Err(format!(
            "{why}, but no backup that is kept and begins there or behind it leads to {} on timeline {}, where the \
             newest timeline ends; backup {leads}, does",
            lost.end, lost.timeline
        ))
    }

    /// The latest of some backups; a permanent one only where there is no other.
    fn best(&self, of: &BTreeSet<usize>) -> Option<usize> {
        of.iter().copied().max_by_key(|index| (!self.is_permanent(*index), self.start(*index)))
    }

    fn is_permanent(&self, index: usize) -> bool {
        self.backups.get(index).is_some_and(|backup| backup.permanent)
    }

    fn has_window(&self, index: usize) -> bool {
        self.windows.iter().any(|window| window.backup == index)
    }

    fn has_window_at_all(&self) -> bool {
        !self.windows.is_empty()
    }

    fn label(&self, index: usize) -> String {
        self.backups.get(index).map_or_else(String::new, |b| format!("{}, start {}", b.label, b.start_lsn))
    }

    fn start(&self, index: usize) -> SegmentNumber {
        let start = self.backups.get(index).map_or(Lsn::INVALID, |backup| backup.start_lsn);
        start.segment(self.library.segment_size)
    }

    fn by_count(
        &self,
        ranked: &[Vec<usize>; 2],
        rest: &[Vec<usize>; 2],
        bounds: &mut Bounds,
        kept: &mut BTreeSet<usize>,
    ) -> Result<(), String> {
        let Some(count) = self.policy.keep_backups else { return Ok(()) };
        // One that cannot be recovered from does not count: it would push out one that can.
        // What is told of pushes out no more than as many: to hear of a backup must not cost another its WAL.
        let last = |(order, rest): (&Vec<usize>, &Vec<usize>)| -> BTreeSet<usize> {
            let newest_first = order.iter().rev().chain(rest.iter().rev()).copied();
            newest_first.filter(|index| self.has_window(*index)).take(count).collect()
        };
        let ([times, places], [rest_times, rest_places]) = (ranked, rest);
        let (by_time, by_place) = (last((times, rest_times)), last((places, rest_places)));
        let last: BTreeSet<usize> = by_time.union(&by_place).copied().collect();
        let first = last
            .iter()
            .copied()
            .min_by_key(|index| self.start(*index))
            .ok_or_else(|| "no backup that can be recovered from counts for --keep-backups".to_owned())?;
        let noun = match by_place.len() {
            found if found < count => {
                format!(
                    "{count} backups are to be kept, {found} can be recovered from, and the first of them is"
                )
            }
            found if found < last.len() => {
                format!(
                    "of the last {found} by time, and the last {found} by timeline and start, the first is"
                )
            }
            1 => "the last backup is".to_owned(),
            found => format!("of the last {found} backups, the first is"),
        };
        bounds.push((self.start(first), format!("{noun} {}", self.label(first))));
        // A number of backups may all be of a timeline that was left: nothing would lead to the one in use.
        for tip in self.tips().iter().filter(|tip| tip.backups.is_disjoint(&last)) {
            let Some(leads) = self.best(&tip.backups) else { continue };
            let none = if last.len() == 1 {
                "the last backup does not lead"
            } else {
                "none of the last backups leads"
            };
            let why = format!(
                "{none} to {} on timeline {}, where the newest timeline ends; backup {}, does",
                tip.end,
                tip.timeline,
                self.label(leads)
            );
            bounds.push((self.start(leads), why));
            kept.insert(leads);
        }
        kept.extend(last);
        Ok(())
    }

    /// Every stretch of WAL on which something happened since keeps the latest backup that can go to that time: on each
    /// timeline, what ends at the same place can be recovered to from the latest of the backups that lead there. The
    /// newest timeline's end is always such a stretch: it is where the server writes, or would go on.
    fn by_time(&self, own: &[usize], bounds: &mut Bounds, kept: &mut BTreeSet<usize>) -> Result<(), String> {
        let Some(since) = self.policy.since else { return Ok(()) };
        let mut stretches: BTreeMap<(TimelineId, Lsn), Vec<&Window>> = BTreeMap::new();
        for window in self.windows {
            stretches.entry((window.timeline, window.end)).or_default().push(window);
        }
        let newest: Vec<(TimelineId, Lsn)> = self.tips().iter().map(|tip| (tip.timeline, tip.end)).collect();
        // A target is of the time that it has itself, whatever comes behind it.
        let latest = |windows: &Vec<&Window>| windows.iter().filter_map(|window| window.newest).max();
        stretches.retain(|stretch, windows| newest.contains(stretch) || latest(windows) >= Some(since));
        let shown = self.clock.iso(since);
        let mut found = false;
        for windows in stretches.values() {
            // One that does not count may hold the boundary back, and never lifts it.
            let counts = |window: &&&Window| self.counted.contains(&window.backup);
            let counted: Vec<&Window> = windows.iter().filter(counts).copied().collect();
            for base in [self.base(&counted, since), self.base(windows, since)].into_iter().flatten() {
                found = true;
                kept.insert(base);
                bounds.push((
                    self.start(base),
                    format!("the recovery window since {shown} begins with backup {}", self.label(base)),
                ));
            }
        }
        let later = |index: &usize| {
            self.backups.get(*index).is_some_and(|b| b.finished.or(b.started).is_none_or(|end| end >= since))
        };
        kept.extend(own.iter().copied().filter(later));
        if found { Ok(()) } else { Err("no backup can be recovered from".to_owned()) }
    }

    /// The latest backup that can go to `since`, else the earliest of all; a permanent one only where no other can.
    fn base(&self, windows: &[&Window], since: PgTime) -> Option<usize> {
        // The WAL in front of it will be gone.
        let reach = windows.iter().filter(|window| window.earliest_alone.is_some_and(|from| from <= since));
        reach
            .map(|window| window.backup)
            .max_by_key(|index| (!self.is_permanent(*index), self.start(*index)))
            .or_else(|| windows.iter().map(|window| window.backup).min_by_key(|index| self.start(*index)))
    }

    /// Backups behind which their tool keeps all WAL.
    fn by_keepers(&self, own: &[usize], bounds: &mut Bounds) {
        for index in own.iter().copied().filter(|index| self.has_window(*index)) {
            if self.backups.get(index).is_some_and(|backup| backup.permanent && backup.keeps_wal_behind) {
                let why = format!("the tool keeps backup {} with all WAL behind it", self.label(index));
                bounds.push((self.start(index), why));
            }
        }
    }

    fn by_file(&self, bounds: &mut Bounds) -> Result<(), String> {
        let Some(name) = self.policy.oldest_kept else { return Ok(()) };
        if !self.library.plan.inventory.entries.iter().any(|entry| entry.name == name) {
            return Err(format!("the oldest file to keep, {name}, is not in the archive"));
        }
        let (WalFileName::Segment(segment) | WalFileName::Partial(segment) | WalFileName::Backup(segment, _)) =
            name
        else {
            return Err(format!("{name} is not the name of a segment"));
        };
        let number = segment
            .number(self.library.segment_size)
            .ok_or_else(|| format!("no segment of {} is called {name}", self.library.segment_size))?;
        bounds.push((number, format!("the oldest file to keep is {name}")));
        Ok(())
    }

    /// Whether a backup is kept whatever the window.
    fn is_kept(&self, index: usize) -> bool {
        let Some(backup) = self.backups.get(index) else { return false };
        if backup.permanent {
            return true;
        }
        match self.policy.backups_since {
            Some(_) => self.is_young(index),
            // A number of backups is asked for: no others.
            None => self.policy.keep_backups.is_none(),
        }
    }

    /// Whether a backup is not too old to be kept for its own sake; of one without a time nobody can say that it is.
    fn is_young(&self, index: usize) -> bool {
        let end = self.backups.get(index).and_then(|backup| backup.finished.or(backup.started));
        end.zip(self.policy.backups_since).is_none_or(|(end, since)| end >= since)
    }

    fn guard(&self, index: usize) -> Option<Guarded> {
        let backup = self.backups.get(index)?;
        let size = self.library.segment_size;
        let windows = self.windows.iter().filter(|window| window.backup == index);
        let ends = windows.map(|window| window.consistent).chain(backup.stop_lsn);
        let ends = ends.chain(backup.wal_ranges.iter().map(|range| range.end));
        let starts = backup.wal_ranges.iter().map(|range| range.start).chain([backup.start_lsn]);
        Some(Guarded {
            backup: index,
            first: starts.min()?.segment(size),
            last: ends.max().map_or(SegmentNumber(u64::MAX), |end| end.segment_of_end(size)),
        })
    }
}
