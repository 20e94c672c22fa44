//! Prediction against reality: a real server of each installable version writes a random history with a fork, and real
//! servers recover to random targets. What each does must be what walproof said it would.
//!
//! The seed is in every failure; `WALPROOF_SEED` repeats one, `WALPROOF_TARGETS` asks for more targets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};
use support::{Backup, Recovered, Recovery, Server};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::clock::Clock;
use walproof::find::{Happening, Index};
use walproof::recovery::{Library, Prediction, Request, Target, predict, words};
use walproof::scan::Detail;
use walproof::scan::event::What;
use walproof::timeline::TimelineTarget;
use walproof::wal::{Lsn, Major, PgTime, TimelineId, Xid};

/// Recoveries for each version, unless the environment says otherwise.
const TARGETS: usize = 8;

/// SplitMix64: the same seed asks the same questions.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Transactions of every ending, restore points, switches and now and then a checkpoint.
fn history(server: &Server, dice: &mut Dice, mark: &str, steps: usize) {
    let mut client = server.client();
    for step in 0..steps {
        let statements = match dice.roll(9) {
            0 => "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; DELETE FROM t WHERE i = 2; COMMIT".to_owned(),
            1 => "BEGIN; INSERT INTO t VALUES (2); ROLLBACK".to_owned(),
            2 => format!(
                "BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION '{mark}{step}'; COMMIT PREPARED '{mark}{step}'"
            ),
            3 => format!(
                "BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION '{mark}{step}'; ROLLBACK PREPARED '{mark}{step}'"
            ),
            4 => format!("SELECT pg_create_restore_point('{mark}{}')", step % 3),
            5 => "INSERT INTO t SELECT generate_series(1, 400)".to_owned(),
            6 => "TRUNCATE u; INSERT INTO u VALUES (1)".to_owned(),
            7 if dice.roll(3) == 0 => "SELECT pg_switch_wal()".to_owned(),
            8 if dice.roll(4) == 0 => "CHECKPOINT".to_owned(),
            _ => "INSERT INTO t VALUES (5)".to_owned(),
        };
        // A transaction block cannot hold what ends a prepared one.
        for statement in statements.split("; ") {
            client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}

/// A target out of what the archive holds (or does not), and whether it is inclusive.
fn random_target(dice: &mut Dice, index: &Index) -> (Target, bool) {
    let ends: Vec<&Happening> =
        index.happenings.iter().filter(|h| matches!(h.event.what, What::End(_))).collect();
    let end = dice.pick(&ends);
    let target = match dice.roll(8) {
        0 | 1 => Target::Time(PgTime(end.event.time.unwrap().0 + i64::try_from(dice.roll(3)).unwrap() - 1)),
        2 => Target::Xid(end.event.xid),
        3 => Target::Xid(Xid(end.event.xid.0 + 1)),
        4 => Target::Lsn(Lsn(
            dice.pick(&index.happenings).event.lsn.0 + u64::try_from(dice.roll(2)).unwrap() * 8
        )),
        5 => Target::Name(format!("{}{}", ["a", "b", "c"][dice.roll(3)], dice.roll(4))),
        6 => Target::Immediate,
        _ => Target::Latest,
    };
    (target, dice.roll(3) > 0)
}

/// Runs a real recovery to the target.
fn recover(backup: &Backup, server: &Server, target: &Target, inclusive: bool, timeline: &str) -> Recovered {
    let recovery = Recovery::of(backup, server.archive()).set("recovery_target_timeline", timeline);
    let recovery = match target {
        Target::Time(time) => recovery.set("recovery_target_time", &Clock::utc().server(*time)),
        Target::Xid(xid) => recovery.set("recovery_target_xid", &xid.to_string()),
        Target::Lsn(lsn) => recovery.set("recovery_target_lsn", &lsn.to_string()),
        Target::Name(name) => recovery.set("recovery_target_name", name),
        Target::Immediate => recovery.set("recovery_target", "immediate"),
        Target::Latest => recovery,
    };
    let recovery = match target {
        Target::Latest | Target::Immediate | Target::Name(_) => recovery,
        _ => recovery.set("recovery_target_inclusive", if inclusive { "on" } else { "off" }),
    };
    recovery.hot_standby().run()
}

/// What the new timeline's history file says in its last line: position and reason.
fn new_history(recovered: &Recovered) -> Option<(String, String)> {
    let server = recovered.server.as_ref()?;
    let newest = std::fs::read_dir(server.data().join("pg_wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "history"))
        .max()?;
    let text = std::fs::read_to_string(newest).unwrap();
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    let mut parts = line.splitn(3, '\t');
    parts.next()?;
    Some((parts.next()?.to_owned(), parts.next()?.trim_end().to_owned()))
}

fn compare(prediction: &Prediction<'_>, recovered: &Recovered, request: &Request<'_>) -> Vec<String> {
    let clock = Clock::utc();
    let reached = prediction.stop.as_ref().filter(|_| prediction.reached_target());
    let stopping = reached.and_then(|stop| words::stopping(stop, request.target, request.major, &clock));
    let logged = |marker: &str| recovered.logged(marker).map(ToOwned::to_owned);
    let history = new_history(recovered);
    let last = logged("last completed transaction was at log time ");
    let pairs = [
        ("fatal", prediction.fatal.clone(), recovered.fatal().map(ToOwned::to_owned)),
        ("stopping", stopping, logged("recovery stopping ").map(|rest| format!("recovery stopping {rest}"))),
        (
            "consistent",
            prediction.consistent.map(|lsn| lsn.to_string()),
            logged("consistent recovery state reached at "),
        ),
        ("last transaction", prediction.last_transaction.map(|last| clock.server(last.time)), last),
        (
            "switch point",
            prediction.switch_point().map(|lsn| lsn.to_string()),
            history.as_ref().map(|h| h.0.clone()),
        ),
        (
            "reason",
            prediction.switch_point().map(|_| words::reason(reached, request.target, request.major, &clock)),
            history.map(|h| h.1),
        ),
    ];
    let differing = pairs.into_iter().filter(|(_, ours, theirs)| ours != theirs);
    differing.map(|(what, ours, theirs)| format!("{what}: predicted {ours:?}, was {theirs:?}")).collect()
}

/// One version: a history with a fork, then random questions.
fn asked(version: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = number("WALPROOF_SEED").unwrap_or_else(|| u64::from(now));
    let mut dice = Dice(seed ^ u64::from(version));
    let server = Server::create(version)
        .segment_mib(if version < 11 { 16 } else { 1 })
        .set("max_prepared_transactions", "5")
        .start();
    server.sql("CREATE TABLE t (i int); CREATE TABLE u (i int)");
    history(&server, &mut dice, "a", 12);
    let first = server.backup("first");
    history(&server, &mut dice, "b", 25);
    server.sql("SELECT pg_create_restore_point('fork')");
    history(&server, &mut dice, "c", 10);
    let second = server.backup("second");
    history(&server, &mut dice, "a", 10);
    server.archive_everything();
    let fork =
        Recovery::of(&first, server.archive()).set("recovery_target_name", "fork").keep_archiving().run();
    let fork = fork.promoted();
    history(&fork, &mut dice, "b", 15);
    fork.archive_everything();

    let archive = Archive::open(server.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let options = Options { detail: Detail::Ends, ..Options::default() };
    let plan = plan(&archive, &options).unwrap();
    let library = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
    let major: Major = version.to_string().parse().unwrap();
    assert_eq!(library.major, major);
    let index = Index::of(&library);
    let clock = Clock::utc();
    let targets = number("WALPROOF_TARGETS").map_or(TARGETS, |targets| usize::try_from(targets).unwrap());
    let mut wrong = Vec::new();
    for _ in 0..targets {
        let (target, inclusive) = random_target(&mut dice, &index);
        let backup = [&first, &second][dice.roll(2)];
        let timeline = TimelineId(u32::try_from(dice.roll(2)).unwrap() + 1);
        let loaded = walproof::backup::load(&backup.path()).unwrap();
        let request = Request {
            target: &target,
            inclusive,
            timeline: TimelineTarget::Number(timeline),
            major,
            clock: &clock,
        };
        let prediction = predict(&library, &loaded[0], &request).unwrap();
        let recovered = recover(backup, &server, &target, inclusive, &timeline.to_string());
        for difference in compare(&prediction, &recovered, &request) {
            let from = backup.start_lsn();
            wrong.push(format!(
                "{target:?} inclusive {inclusive} timeline {timeline} from {from}: {difference}"
            ));
        }
    }
    assert!(wrong.is_empty(), "PostgreSQL {version}, WALPROOF_SEED={seed}:\n{}", wrong.join("\n"));
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            asked($version);
        })*
    };
}

versions! {
    predicted_10 10
    predicted_11 11
    predicted_12 12
    predicted_13 13
    predicted_14 14
    predicted_15 15
    predicted_16 16
    predicted_17 17
    predicted_18 18
}
