//! Who destroyed what: `find --kind` on transactions that real servers ran, each of them known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use postgres::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use support::{Server, account, server};

/// The tables that each transaction finds.
const TABLES: &str = "
    DROP SCHEMA IF EXISTS s CASCADE;
    CREATE SCHEMA s;
    CREATE TABLE t (id serial PRIMARY KEY, note text, number int);
    CREATE INDEX t_number ON t (number);
    INSERT INTO t SELECT g, repeat('x', 100), g FROM generate_series(1, 6000) g;
    CREATE TABLE u (id int PRIMARY KEY, note text);
    INSERT INTO u SELECT g, 'u' FROM generate_series(1, 500) g;
    CREATE TABLE v (id int);
    INSERT INTO v SELECT g FROM generate_series(1, 500) g;
    CREATE TABLE void (id int PRIMARY KEY, note text);
    CREATE TABLE many (id int PRIMARY KEY, ids int[], note text, spot point);
    INSERT INTO many SELECT g, ARRAY[g, 2 * g], 'm' || g, point(g, g) FROM generate_series(1, 500) g;
    CREATE INDEX ON many USING gin (ids);
    CREATE INDEX ON many USING gist (spot);
    CREATE INDEX ON many USING spgist (spot);
    CREATE INDEX ON many USING brin (id);
    CREATE INDEX ON many USING hash (id);
    CREATE UNLOGGED TABLE light (id int PRIMARY KEY);
    INSERT INTO light VALUES (1);
    CREATE TABLE parted (id int) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (1000);
    INSERT INTO parted SELECT g FROM generate_series(1, 500) g;
    CREATE MATERIALIZED VIEW mat AS SELECT * FROM u;
    CREATE UNIQUE INDEX ON mat (id);
    CREATE SEQUENCE seq";

/// Losses, as `find` calls them.
type Kinds = &'static [&'static str];

const NOTHING: Kinds = &[];
const DROP: Kinds = &["drop"];
const TRUNCATE: Kinds = &["truncate"];
const REWRITE: Kinds = &["rewrite"];

/// Transactions, and what each destroyed. A server takes several statements as one transaction.
const CASES: [(&str, Kinds); 57] = [
    // What one of them does must not hide the other.
    ("TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 5000) g; REINDEX TABLE t", TRUNCATE),
    (
        "DROP INDEX t_number; TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 5000) g;
         CREATE INDEX t_number ON t (number)",
        &["drop", "truncate"],
    ),
    (
        "TRUNCATE t; CREATE TABLE w AS SELECT * FROM generate_series(1, 5000) g; CREATE INDEX ON w (g)",
        TRUNCATE,
    ),
    ("TRUNCATE u; CLUSTER t USING t_pkey", &["rewrite", "truncate"]),
    ("CLUSTER t USING t_pkey; TRUNCATE t", &["rewrite", "truncate"]),
    ("TRUNCATE t; ALTER TABLE t ALTER note TYPE varchar(200)", &["rewrite", "truncate"]),
    ("TRUNCATE t; ALTER TABLE t ALTER number TYPE bigint", &["rewrite", "truncate"]),
    ("ALTER TABLE t ALTER number TYPE bigint; TRUNCATE t", &["rewrite", "truncate"]),
    ("ALTER TABLE t SET TABLESPACE space; TRUNCATE t", TRUNCATE),
    ("TRUNCATE t; ALTER TABLE t SET TABLESPACE space", TRUNCATE),
    ("REINDEX TABLE u; TRUNCATE v", TRUNCATE),
    ("REFRESH MATERIALIZED VIEW mat; TRUNCATE v", &["rewrite", "truncate"]),
    ("REFRESH MATERIALIZED VIEW mat; DROP TABLE v", &["drop", "rewrite"]),
    ("ALTER TABLE t ALTER number TYPE bigint; DROP TABLE v", &["drop", "rewrite"]),
    ("DROP TABLE v; TRUNCATE u; CREATE TABLE w (id int)", &["drop", "truncate"]),
    // Each of them alone.
    ("TRUNCATE t", TRUNCATE),
    ("TRUNCATE t RESTART IDENTITY", TRUNCATE),
    ("TRUNCATE v", TRUNCATE),
    ("TRUNCATE t, u, v", TRUNCATE),
    ("TRUNCATE void", TRUNCATE),
    ("TRUNCATE many", TRUNCATE),
    ("TRUNCATE light", TRUNCATE),
    ("TRUNCATE parted", TRUNCATE),
    ("TRUNCATE v; INSERT INTO v SELECT g FROM generate_series(1, 5000) g", TRUNCATE),
    ("SAVEPOINT a; TRUNCATE v; RELEASE a; SAVEPOINT b; INSERT INTO v VALUES (1)", TRUNCATE),
    ("TRUNCATE v; TRUNCATE v", TRUNCATE),
    ("DROP TABLE t", DROP),
    ("DROP TABLE u, v CASCADE", DROP),
    ("DROP TABLE v", DROP),
    ("DROP TABLE light", DROP),
    ("DROP TABLE parted", DROP),
    ("DROP MATERIALIZED VIEW mat", DROP),
    ("DROP INDEX t_number", DROP),
    ("DROP SEQUENCE seq", DROP),
    ("DROP TABLE v; CREATE TABLE v (id int PRIMARY KEY, note text)", DROP),
    ("DROP TABLE v; CREATE TABLE v AS SELECT * FROM generate_series(1, 5000) g; CREATE INDEX ON v (g)", DROP),
    ("CREATE TABLE w (id int); DROP TABLE w; DROP TABLE v", DROP),
    // Harmless.
    ("CLUSTER t USING t_pkey", REWRITE),
    ("REINDEX TABLE t", REWRITE),
    ("REINDEX TABLE void", REWRITE),
    ("REINDEX TABLE many", REWRITE),
    ("REFRESH MATERIALIZED VIEW mat", REWRITE),
    ("ALTER TABLE void ALTER id TYPE bigint", REWRITE),
    ("ALTER TABLE t ALTER number TYPE bigint", REWRITE),
    ("ALTER TABLE t ADD COLUMN more float DEFAULT random()", REWRITE),
    ("ALTER TABLE t SET TABLESPACE space", REWRITE),
    ("ALTER TABLE void SET TABLESPACE space", REWRITE),
    ("ALTER TABLE many SET TABLESPACE space", REWRITE),
    ("ALTER TABLE t SET UNLOGGED", REWRITE),
    ("ALTER SEQUENCE seq RESTART WITH 1000", REWRITE),
    // Nothing that was there before.
    ("CREATE TABLE w (id int PRIMARY KEY, note text); INSERT INTO w VALUES (1); DROP TABLE w", NOTHING),
    ("CREATE TABLE w (id int PRIMARY KEY, note text); INSERT INTO w VALUES (1); TRUNCATE w", NOTHING),
    ("CREATE TABLE w (id int, note text); SAVEPOINT a; TRUNCATE w; RELEASE a", NOTHING),
    ("SAVEPOINT a; TRUNCATE t; DROP TABLE v; ROLLBACK TO a; INSERT INTO v VALUES (1)", NOTHING),
    ("CREATE MATERIALIZED VIEW other AS SELECT * FROM t; CREATE INDEX ON other (id)", NOTHING),
    (
        "CREATE TEMP TABLE short (id int PRIMARY KEY, note text) ON COMMIT DROP; INSERT INTO short VALUES (1)",
        NOTHING,
    ),
    (
        "CREATE TEMP TABLE short (id int); INSERT INTO short VALUES (1); TRUNCATE short; DROP TABLE short",
        NOTHING,
    ),
];

/// What does not run inside of a transaction, or is several of them.
const ALONE: [(&str, Kinds); 6] = [
    ("VACUUM FULL t", REWRITE),
    ("VACUUM FULL void", REWRITE),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY mat", NOTHING),
    // An empty tail is cut off, all of it.
    ("DELETE FROM v|VACUUM v", NOTHING),
    ("BEGIN; TRUNCATE v; PREPARE TRANSACTION 'p'|COMMIT PREPARED 'p'", TRUNCATE),
    ("BEGIN; DROP TABLE v; PREPARE TRANSACTION 'p'|COMMIT PREPARED 'p'", DROP),
];

/// The number of transactions so far; it takes one.
fn transactions(client: &mut Client) -> u64 {
    server::value(client, "SELECT txid_current()").parse().unwrap()
}

/// Runs statements, those between `|` on their own. Gives the transactions that they took.
fn run(server: &Server, checkpoint: bool, statements: &str) -> Range<u64> {
    let mut client = server.client();
    client.batch_execute("SET search_path = s, public").unwrap();
    client.batch_execute(TABLES).unwrap();
    if checkpoint {
        // Then the next record of each page has its image.
        client.batch_execute("CHECKPOINT").unwrap();
    }
    let before = transactions(&mut client);
    for part in statements.split('|') {
        client.batch_execute(part).map_err(|error| format!("{part}: {error:?}")).unwrap();
    }
    before + 1..transactions(&mut client)
}

/// The transactions that `find` lists under each kind of loss.
fn listed(archive: &Path) -> BTreeMap<&'static str, BTreeSet<u64>> {
    let of_kind = |kind| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
        command.arg("find").arg(archive).args(["--no-catalog", "--format", "json", "--kind", kind]);
        let answer: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let events = answer["events"].as_array().unwrap();
        (kind, events.iter().map(|event| event["xid"].as_u64().unwrap()).collect())
    };
    ["drop", "rewrite", "truncate"].into_iter().map(of_kind).collect()
}

fn losses_on(major: u32, settings: &[(&str, &str)]) {
    let server = Server::create(major).set("autovacuum", "off");
    let server = settings.iter().fold(server, |server, (name, value)| server.set(name, value)).start();
    let space = server.data().with_file_name("space");
    account::create_directory(&space, 0o700);
    server.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display()));
    let mut ran = Vec::new();
    for checkpoint in [false, true] {
        for (statements, kinds) in CASES {
            let one = format!("BEGIN; {statements}; COMMIT");
            ran.push((run(&server, checkpoint, &one), statements, kinds));
        }
        for (statements, kinds) in ALONE {
            ran.push((run(&server, checkpoint, statements), statements, kinds));
        }
    }
    server.archive_everything();
    let listed = listed(server.archive());
    let mut wrong = Vec::new();
    for (xids, statements, expected) in &ran {
        let is_listed = |kind: &&str| xids.clone().any(|xid| listed[kind].contains(&xid));
        let found: Vec<&str> = listed.keys().copied().filter(is_listed).collect();
        if found != *expected {
            wrong.push(format!("{major} {settings:?}: {statements}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

macro_rules! losses {
    ($($name:ident: $major:literal, $settings:expr;)*) => {
        $(
            #[test]
            fn $name() {
                losses_on($major, &$settings);
            }
        )*
    };
}

losses! {
    losses_10: 10, [];
    losses_11: 11, [("wal_compression", "on")];
    losses_12: 12, [];
    losses_13: 13, [];
    losses_14: 14, [("wal_level", "logical")];
    losses_15: 15, [];
    losses_16: 16, [("wal_compression", "pglz")];
    losses_17: 17, [];
    losses_18: 18, [("wal_level", "logical")];
}
