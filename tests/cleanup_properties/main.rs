//! Cleanups of random archives: several timelines, backups of several kinds, gaps, damage, partial segments, backups that
//! are kept for ever. After every file that a cleanup removes, so wherever a kill may end it, all that was promised
//! still holds, by a walk through the archive that knows nothing of the library, and by the library itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "small numbers, and nobody else's interface"
)]

mod demand;
#[path = "../support/mod.rs"]
mod support;
mod walk;
mod world;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use demand::Demand;
use support::random::Random;
use walproof::archive::fault::{Fault, Faulty};
use walproof::archive::{Archive, LayoutChoice, Secrets};
use walproof::audit::{self, Audit, Options, Plan};
use walproof::backup::{self, BaseBackup};
use walproof::finding::{Code, Finding, Severity};
use walproof::recovery::Library;
use walproof::recovery::windows::{Window, windows};
use walproof::retention::baseline::Baseline;
use walproof::retention::execute::{ExecuteError, Lock, execute};
use walproof::retention::{Cleanup, Policy, Proposal, choose, propose, prove};
use walproof::scan::Detail;
use walproof::wal::{PgTime, SegmentName, TimelineId, WalFileName};
use world::{State, World};
use writer::SEGMENT;

/// Archives, and policies for each of them.
const WORLDS: u64 = 120;
const POLICIES: usize = 6;

fn archive_of(store: impl walproof::archive::Store + 'static) -> Archive {
    Archive::of_store("memory", Box::new(store), LayoutChoice::Auto, Secrets::default()).unwrap()
}

/// An archive, listed.
struct Listed {
    plan: Plan,
    backups: Vec<BaseBackup>,
    options: Options,
}

impl Listed {
    fn of(archive: &Archive) -> Option<Self> {
        let options = Options { detail: Detail::Events, ..Options::default() };
        let mut plan = audit::plan(archive, &options).ok()?;
        let backups = backup::discover(archive, &plan.inventory).backups;
        plan.backups.clone_from(&backups);
        Some(Self { plan, backups, options })
    }

    fn read<'a>(&'a self, archive: &'a Archive) -> Option<Library<'a>> {
        Library::read(archive, &self.plan, &self.options, &|_| {}).unwrap()
    }

    fn audit(&self, plan: &Plan, library: &Library<'_>) -> Audit {
        audit::judge(plan, &audit::join(plan, library.facts_in_order()), &self.options)
    }
}

/// What came of all runs: a property that never meets its case proves nothing.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    refused: BTreeMap<String, usize>,
    removed: usize,
    steps: usize,
    demands: usize,
    islands: usize,
    pruned: usize,
    stopped: usize,
}

#[test]
fn what_is_promised_holds_after_every_file_that_goes() {
    let mut tally = Tally::default();
    // More of them than a quick run has: CLEANUP_WORLDS=5000.
    let worlds = std::env::var("CLEANUP_WORLDS").map_or(WORLDS, |count| count.parse().unwrap());
    for seed in 0..worlds {
        let mut random = Random(seed);
        let world = World::random(&mut random);
        let archive = archive_of(world.memory(&BTreeSet::new()));
        let Some(listed) = Listed::of(&archive) else { continue };
        let Some(library) = listed.read(&archive) else { continue };
        let bench = Bench { seed, world: &world, listed: &listed, library: &library };
        bench.the_walk_and_the_library_agree();
        for _ in 0..POLICIES {
            bench.clean_up(&mut random, &mut tally);
        }
    }
    let refused: usize = tally.refused.values().sum();
    assert!(tally.runs > 2 * refused, "{tally:#?}");
    assert!(
        tally.removed > tally.runs && tally.islands > 20 && tally.pruned > 20 && tally.stopped > 50,
        "{tally:#?}"
    );
}

struct Bench<'a> {
    seed: u64,
    world: &'a World,
    listed: &'a Listed,
    library: &'a Library<'a>,
}

impl Bench<'_> {
    /// What the library calls a backup of the world.
    fn index(&self, backup: usize) -> usize {
        let truth = &self.world.backups[backup];
        let is_it = |b: &BaseBackup| (b.start_lsn.0, b.timeline.0) == (truth.start, truth.timeline);
        self.listed.backups.iter().position(is_it).unwrap()
    }

    fn window<'w>(&self, windows: &'w [Window], backup: usize, timeline: u32) -> Option<&'w Window> {
        let index = self.index(backup);
        windows.iter().find(|window| (window.backup, window.timeline) == (index, TimelineId(timeline)))
    }

    /// Both say from which backups one gets where.
    fn the_walk_and_the_library_agree(&self) {
        let windows = windows(self.library, &self.listed.backups, self.library.major).unwrap();
        let errors: Vec<Finding> = self.listed.audit(&self.listed.plan, self.library).findings;
        let errors: Vec<&Finding> = errors.iter().filter(|f| f.severity == Severity::Error).collect();
        assert_eq!(errors.is_empty(), self.world.is_sound || errors.is_empty(), "{}: {errors:#?}", self.seed);
        for (backup, truth) in self.world.backups.iter().enumerate() {
            for timeline in self.world.timelines.keys().copied() {
                let walked = self.world.reach(&self.world.state, truth, timeline);
                let found = self.window(&windows, backup, timeline);
                let place = || {
                    format!(
                        "seed {}: {truth:?} on {timeline}: {walked:X?} {found:?}\n{:X?}",
                        self.seed, self.world.state
                    )
                };
                assert_eq!(walked.is_some(), found.is_some(), "{}", place());
                if let (Some(end), Some(window), true) = (walked, found, self.world.is_sound) {
                    // What reaches into a segment that is not there ends before it began.
                    let end = self.world.last_record(timeline, end);
                    assert_eq!((end - 1) / SEGMENT, (window.end.0 - 1) / SEGMENT, "{}", place());
                }
            }
        }
    }

    fn policy(&self, random: &mut Random) -> (Policy, Option<u64>) {
        let world = self.world;
        let time = |random: &mut Random| {
            let commits = &world.commits;
            let time = if commits.is_empty() { 0 } else { random.pick(commits).time };
            PgTime(time + random.below(3) as i64 - 1)
        };
        let mut policy = Policy::default();
        let mut oldest = None;
        match random.below(4) {
            0 => policy.keep_backups = Some(1 + random.below(3)),
            1 => policy.since = Some(time(random)),
            2 => {
                let places: Vec<(u32, u64)> = world.state.segments.keys().copied().collect();
                let (id, number) = *random.pick(&places);
                policy.oldest_kept = WalFileName::parse(&writer::name(id, number));
                oldest = Some(number);
            }
            _ => {
                policy.keep_backups = Some(1 + random.below(3));
                policy.since = Some(time(random));
            }
        }
        if random.below(2) == 0 {
            policy.backups_since = Some(time(random));
        }
        policy.prune_timelines = random.below(3) == 0;
        policy.clean_history = random.below(2) == 0;
        (policy, oldest)
    }

    fn clean_up(&self, random: &mut Random, tally: &mut Tally) {
        let (policy, oldest) = self.policy(random);
        let mut findings = self.listed.audit(&self.listed.plan, self.library).findings;
        if random.below(2) == 0 {
            for finding in &mut findings {
                finding.acknowledged = true;
            }
        }
        let listed = self.listed;
        let proposal = propose(self.library, &listed.backups, &policy, &findings, &listed.options).unwrap();
        tally.runs += 1;
        if let Some(reason) = &proposal.refused {
            assert!(proposal.cleanup.remove.is_empty());
            let kind: Vec<&str> = reason.split(' ').take(3).collect();
            *tally.refused.entry(kind.join(" ")).or_default() += 1;
            return;
        }
        let run = Run { bench: self, policy: &policy, proposal: &proposal, findings: &findings };
        run.is_as_careful_as_pg_archivecleanup(tally);
        run.keeps_promises_at_every_step(&self.world.demands(&policy, oldest), tally);
        run.stops_where_a_request_fails(random, tally);
    }
}

/// One cleanup of one archive.
struct Run<'a> {
    bench: &'a Bench<'a>,
    policy: &'a Policy,
    proposal: &'a Proposal,
    findings: &'a [Finding],
}

impl Run<'_> {
    fn cleanup(&self) -> &Cleanup {
        &self.proposal.cleanup
    }

    fn place(&self) -> String {
        let removed: Vec<String> =
            self.cleanup().remove.iter().map(|r| format!("{} {}", r.entry.name, r.reason)).collect();
        format!("seed {}, {:?}\n{removed:#?}\n{:#?}", self.bench.seed, self.policy, self.bench.world.backups)
    }

    /// The state after the first `count` files went.
    fn state(&self, count: usize) -> State {
        let mut state = self.bench.world.state.clone();
        for ruled in &self.cleanup().remove[..count] {
            match ruled.entry.name {
                WalFileName::Segment(name) => {
                    let number = u64::from(name.log) * 4096 + u64::from(name.segment);
                    state.segments.remove(&(name.timeline.0, number)).unwrap();
                }
                WalFileName::History(timeline) => assert!(state.histories.remove(&timeline.0)),
                WalFileName::Partial(_) | WalFileName::Backup(..) => {}
            }
        }
        state
    }

    fn keeps_promises_at_every_step(&self, demands: &[Demand], tally: &mut Tally) {
        let bench = self.bench;
        let (world, listed) = (bench.world, bench.listed);
        let demands: Vec<&Demand> = demands.iter().filter(|d| world.holds(&world.state, d)).collect();
        let mut baseline = Baseline::default();
        for loss in self.proposal.losses(bench.library, PgTime(0)) {
            baseline.accept(loss);
        }
        tally.islands += usize::from(!self.proposal.gaps.is_empty());
        for count in 0..=self.cleanup().remove.len() {
            let state = self.state(count);
            tally.steps += 1;
            tally.demands += demands.len();
            for demand in &demands {
                assert!(world.holds(&state, demand), "after {count}: {demand:X?}\n{}", self.place());
            }
            let gone: Vec<usize> = (0..count).collect();
            let partial = self.cleanup().only(&gone);
            let after = prove::windows_after(bench.library, &listed.backups, &partial).unwrap();
            self.windows_last(&demands, &after, count);
            self.no_new_trouble(&partial, &baseline, count, tally);
            if count == self.cleanup().remove.len() {
                assert_eq!(after, self.proposal.after);
            }
        }
        tally.removed += self.cleanup().remove.len();
    }

    /// The library says the same of what a policy promises by name.
    fn windows_last(&self, demands: &[&Demand], after: &[Window], count: usize) {
        for demand in demands {
            let (Demand::Reach { backup, timeline, .. } | Demand::Start { backup, timeline }) = **demand
            else {
                continue;
            };
            let old = self.bench.window(&self.proposal.before, backup, timeline).unwrap();
            let new = self.bench.window(after, backup, timeline);
            let is_same = new.is_some_and(|new| {
                let same_end = old.end == new.end && old.latest == new.latest;
                old.path == new.path
                    && old.consistent == new.consistent
                    && (same_end || matches!(demand, Demand::Start { .. }))
            });
            assert!(is_same, "after {count}: {demand:?} {old:?} {new:?}\n{}", self.place());
        }
    }

    /// An audit finds nothing that it did not find before, but for gaps that the plan announced.
    fn no_new_trouble(&self, partial: &Cleanup, baseline: &Baseline, count: usize, tally: &mut Tally) {
        let (plan, segments) = prove::what_stays(self.bench.library, partial);
        let left = self.bench.library.without(&plan, &segments);
        let audit = self.bench.listed.audit(&plan, &left);
        let is_known = |f: &Finding| {
            self.findings.iter().any(|old| (old.code, &old.segment, old.lsn) == (f.code, &f.segment, f.lsn))
        };
        for finding in audit.findings {
            let is_gap = finding.code == Code::SegmentMissing;
            tally.islands += usize::from(is_gap && finding.severity == Severity::Info);
            let is_new = finding.severity == Severity::Error && !is_known(&finding);
            let is_accepted = is_gap && baseline.reason_for(&finding, audit.system_id).is_some();
            assert!(!is_new || is_accepted, "after {count}: {finding:#?}\n{}", self.place());
        }
    }

    /// Never a segment or a partial one that PostgreSQL's program would keep for the same boundary.
    fn is_as_careful_as_pg_archivecleanup(&self, tally: &mut Tally) {
        let bench = self.bench;
        let (listed, world) = (bench.listed, bench.world);
        let (backups, clock) = (&listed.backups, &listed.options.clock);
        let chosen = choose(bench.library, backups, &self.proposal.before, self.policy, clock).unwrap();
        let boundary =
            SegmentName::new(TimelineId(1), chosen.boundary, bench.library.segment_size).to_string();
        for ruled in &self.cleanup().remove {
            let name = ruled.entry.name;
            // One that is missing hides the newer ones from every server that looks for the newest.
            let pruned = match name {
                WalFileName::History(_) => panic!("{name}\n{}", self.place()),
                WalFileName::Segment(s) | WalFileName::Partial(s) | WalFileName::Backup(s, _) => {
                    let number = s.number(bench.library.segment_size).unwrap();
                    self.cleanup().prunes(s.timeline, number)
                }
            };
            tally.pruned += usize::from(pruned);
            assert!(self.policy.prune_timelines || !pruned, "{name}\n{}", self.place());
            assert!(pruned || name.to_string()[8..] < boundary[8..], "{name}\n{}", self.place());
            assert!(!ruled.reason.is_empty());
        }
        // The other side: where only a number of backups is asked for, all that it does not need goes.
        let only_count = self.policy.since.is_none() && self.policy.oldest_kept.is_none();
        if let (Some(count), true, None) = (self.policy.keep_backups, only_count, self.policy.backups_since) {
            let oldest = world.oldest_of_last(&world.state, count);
            let on_island = |number: u64| {
                let own = |b: &world::Backup| (b.start / SEGMENT..=(b.stop - 1) / SEGMENT).contains(&number);
                world.backups.iter().any(|backup| backup.permanent && own(backup))
            };
            for (id, number) in self.state(self.cleanup().remove.len()).segments.keys() {
                assert!(*number >= oldest || on_island(*number), "{id} {number}\n{}", self.place());
            }
        }
    }

    /// A store that fails at some file: exactly those before it are gone, that is told, and the next run finishes.
    fn stops_where_a_request_fails(&self, random: &mut Random, tally: &mut Tally) {
        let total = self.cleanup().remove.len();
        if total == 0 {
            return;
        }
        let world = self.bench.world;
        let fails_at = random.below(total + 1);
        let memory = world.memory(&BTreeSet::new());
        // One listing comes before the first removal.
        let faulty = Faulty::new(memory.clone(), Fault::Refused, 1 + fails_at as u64);
        let archive = archive_of(faulty);
        let state = tempfile::tempdir().unwrap();
        let lock = Lock::take_in(state.path(), &archive).unwrap();
        let busy = Lock::take_in(state.path(), &archive);
        assert!(matches!(busy, Err(ExecuteError::Running(_))));
        let done = execute(&archive, self.cleanup(), None, &lock);
        assert_eq!(done.gone, (0..fails_at).collect::<Vec<_>>());
        let path = |index: usize| self.cleanup().remove[index].entry.object.path.to_str().unwrap().to_owned();
        let gone: BTreeSet<String> = (0..fails_at).map(path).collect();
        let left: BTreeSet<String> =
            world.files.keys().filter(|path| !gone.contains(*path)).cloned().collect();
        assert_eq!(listing(&memory), left, "{}", self.place());
        match done.failure {
            Some(ExecuteError::Stopped { done, total: of, .. }) => assert_eq!((done, of), (fails_at, total)),
            other => assert!(other.is_none() && fails_at == total, "{other:?}"),
        }
        let journal = std::fs::read_dir(state.path()).unwrap().map(|e| e.unwrap().path());
        let journal =
            journal.into_iter().find(|path| path.extension().is_some_and(|e| e == "journal")).unwrap();
        let journal = std::fs::read_to_string(journal).unwrap();
        assert_eq!(journal.lines().filter(|line| line.contains(" removed ")).count(), fails_at, "{journal}");
        tally.stopped += usize::from(fails_at < total);
        if random.below(4) == 0 {
            self.goes_on(&archive_of(memory), fails_at);
        }
    }

    /// The same command again removes the rest, and nothing else.
    fn goes_on(&self, archive: &Archive, from: usize) {
        let Some(listed) = Listed::of(archive) else { return };
        let Some(library) = listed.read(archive) else { return };
        let mut findings = listed.audit(&listed.plan, &library).findings;
        for finding in &mut findings {
            finding.acknowledged = true;
        }
        let again = propose(&library, &listed.backups, self.policy, &findings, &listed.options).unwrap();
        assert_eq!(again.refused, None, "{}", self.place());
        let names = |cleanup: &Cleanup| -> Vec<String> {
            cleanup.remove.iter().map(|ruled| ruled.entry.object.path.display().to_string()).collect()
        };
        assert_eq!(names(&again.cleanup), names(self.cleanup())[from..], "{}", self.place());
    }
}

fn listing(memory: &walproof::archive::memory::Memory) -> BTreeSet<String> {
    use walproof::archive::Store;
    let listed = memory.list(&|_| walproof::archive::store::Descent::Whole).unwrap();
    listed.into_iter().map(|object| object.path.to_str().unwrap().to_owned()).collect()
}
