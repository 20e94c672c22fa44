//! A seeded workload that makes a server write every kind of WAL record that ordinary use brings:
//! all index types, sequences, large objects, two-phase commits, subtransactions, multixacts, messages longer
//! than a segment, databases, tablespaces, rewrites, truncation, removal, restore points, switches.

use std::fmt::Write;
use std::thread;

use postgres::Client;

use super::Server;
use super::server::value;

/// A small generator: the same seed gives the same statements (not the same bytes; times and ids differ).
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

const SCHEMA: &str = "
CREATE TABLE item (id serial PRIMARY KEY, k int, name text, tags int[], doc jsonb, spot point, at timestamptz);
CREATE INDEX item_name_hash ON item USING hash (name);
CREATE INDEX item_tags_gin ON item USING gin (tags);
CREATE INDEX item_doc_gin ON item USING gin (doc) WITH (fastupdate = off);
CREATE INDEX item_spot_gist ON item USING gist (spot);
CREATE INDEX item_spot_spgist ON item USING spgist (spot);
CREATE INDEX item_name_spgist ON item USING spgist (name);
CREATE INDEX item_id_brin ON item USING brin (id) WITH (pages_per_range = 4);
CREATE EXTENSION bloom;
CREATE INDEX item_k_bloom ON item USING bloom (k);
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 70);
INSERT INTO account SELECT i, 1000 FROM generate_series(1, 200) i;
CREATE TABLE ledger (account int REFERENCES account, amount int, note text);
CREATE SEQUENCE ticket CACHE 3;
CREATE UNLOGGED TABLE scratch (i int PRIMARY KEY, t text);
CREATE TABLE doomed_0 (i int, t text);
CREATE TABLE pending (i int);
";

/// Creates what [`round`] works on.
pub fn schema(server: &Server) {
    server.sql(SCHEMA);
}

/// One round of everything. `round` must differ between the rounds of one timeline's past.
pub fn round(server: &Server, seed: u64, round: u32) {
    let mut dice = Dice(seed ^ u64::from(round) << 32);
    let mut client = server.client();
    client.batch_execute(&format!("SELECT setseed(0.{:03})", dice.roll(1000))).unwrap();
    let run = |client: &mut Client, statements: &str| {
        for statement in statements.split(";;") {
            client.batch_execute(statement).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
    };
    run(&mut client, &rows(&mut dice));
    run(&mut client, &subtransactions(&mut dice));
    run(&mut client, &two_phase(round));
    run(&mut client, &large_objects(&mut dice));
    run(&mut client, &format!("SELECT pg_create_restore_point('middle of round {round}')"));
    contention(server, dice.roll(1 << 40));
    run(&mut client, &rewrites(round));
    run(&mut client, &messages(segment_size(server)));
    run(&mut client, &databases(server.major(), round));
    tablespaces(server, round);
    run(&mut client, &maintenance(server.major()));
    origins(server, round);
    run(&mut client, &format!("SELECT pg_create_restore_point('round {round}')"));
}

fn segment_size(server: &Server) -> u64 {
    value(&mut server.client(), "SELECT pg_size_bytes(current_setting('wal_segment_size'))").parse().unwrap()
}

fn rows(dice: &mut Dice) -> String {
    let count = 200 + dice.roll(300);
    format!(
        "INSERT INTO item (k, name, tags, doc, spot, at)
           SELECT (random() * 1000)::int, md5(random()::text), ARRAY[i % 7, i % 11, (random() * 90)::int],
                  jsonb_build_object('k', i, 'v', md5(random()::text)), point(random(), random()), now()
           FROM generate_series(1, {count}) i;;
         UPDATE item SET name = upper(name), spot = point(random(), random()) WHERE id % 5 = {};;
         UPDATE account SET balance = balance + 1 WHERE id % 3 = 0;;
         DELETE FROM item WHERE id % 9 = {};;
         COPY (SELECT 1) TO '/dev/null';;
         SELECT nextval('ticket') FROM generate_series(1, 100);;
         ALTER SEQUENCE ticket RESTART WITH {};;
         INSERT INTO scratch SELECT i, 'x' FROM generate_series(1, 50) i ON CONFLICT DO NOTHING;;
         CREATE TEMPORARY TABLE IF NOT EXISTS passing (i int) ON COMMIT DELETE ROWS;;
         INSERT INTO passing VALUES (1);;
         SET synchronous_commit = off;;
         UPDATE account SET balance = balance - 1 WHERE id = 7;;
         RESET synchronous_commit",
        dice.roll(5),
        dice.roll(9),
        1000 + dice.roll(1000),
    )
}

/// Nested, rolled back, and more of them than a backend remembers (assignments are logged at 64).
fn subtransactions(dice: &mut Dice) -> String {
    let mut many = String::from("BEGIN;;");
    for i in 0..70 + dice.roll(30) {
        many += "SAVEPOINT s;;INSERT INTO ledger VALUES (1, ";
        many += &i.to_string();
        many += ", 'in a subtransaction');;";
        many += if dice.roll(4) == 0 { "ROLLBACK TO s;;" } else { "RELEASE s;;" };
    }
    many
        + "COMMIT;;BEGIN;;INSERT INTO ledger VALUES (2, 1, 'outer');;SAVEPOINT a;;INSERT INTO ledger VALUES (2, 2, 'a');;
           SAVEPOINT b;;INSERT INTO ledger VALUES (2, 3, 'b');;ROLLBACK TO a;;COMMIT;;
           BEGIN;;INSERT INTO ledger VALUES (3, 1, 'never');;SAVEPOINT c;;TRUNCATE scratch;;ROLLBACK;;
           BEGIN;;SELECT * FROM account WHERE id = 9 FOR SHARE;;SAVEPOINT m;;
           UPDATE account SET balance = 0 WHERE id = 9;;SELECT * FROM account WHERE id = 9 FOR UPDATE;;COMMIT"
}

fn two_phase(round: u32) -> String {
    format!(
        "BEGIN;;INSERT INTO ledger VALUES (4, 1, 'prepared');;SAVEPOINT p;;INSERT INTO ledger VALUES (4, 2, 'p');;
           CREATE TABLE prepared_{round} (i int);;PREPARE TRANSACTION 'kept {round}';;
         BEGIN;;DELETE FROM ledger WHERE account = 1;;PREPARE TRANSACTION 'dropped {round}';;
         BEGIN;;INSERT INTO pending VALUES (1);;PREPARE TRANSACTION 'left {round}';;
         CHECKPOINT;;COMMIT PREPARED 'kept {round}';;ROLLBACK PREPARED 'dropped {round}'"
    )
}

fn large_objects(dice: &mut Dice) -> String {
    format!(
        "SELECT lo_from_bytea(0, decode(repeat(md5(random()::text), {}), 'hex'));;
         SELECT lo_put(oid, 100, 'changed') FROM pg_largeobject_metadata;;
         SELECT lo_unlink(min(oid)) FROM pg_largeobject_metadata HAVING count(*) > 1",
        100 + dice.roll(400)
    )
}

/// Whole tables written anew, emptied, and removed.
fn rewrites(round: u32) -> String {
    let next = round + 1;
    format!(
        "VACUUM FULL ledger;;CLUSTER account USING account_pkey;;REINDEX INDEX item_name_hash;;
         BEGIN;;CREATE TABLE doomed_{next} AS SELECT i, md5(i::text) t FROM generate_series(1, 300) i;;
           CREATE INDEX ON doomed_{next} (t);;COMMIT;;
         INSERT INTO doomed_{round} SELECT 1;;TRUNCATE ledger RESTART IDENTITY;;DROP TABLE doomed_{round};;
         BEGIN;;DROP TABLE doomed_{next};;ROLLBACK;;
         CREATE MATERIALIZED VIEW totals AS SELECT sum(balance) FROM account;;
         REFRESH MATERIALIZED VIEW totals;;DROP MATERIALIZED VIEW totals;;
         ALTER TABLE item ADD COLUMN c{round} bigint DEFAULT (random() * 100)::bigint;;
         ALTER TABLE item DROP COLUMN c{round};;
         CREATE ROLE guest_{round};;GRANT SELECT ON item TO guest_{round};;
         DROP OWNED BY guest_{round};;DROP ROLE guest_{round}"
    )
}

/// Records longer than a page, and one that no segment can hold.
fn messages(segment_size: u64) -> String {
    format!(
        "SELECT pg_logical_emit_message(false, 'walproof', repeat('page ', 5000));;
         SELECT pg_logical_emit_message(true, 'walproof', repeat('segment ', {}));;
         SELECT pg_logical_emit_message(true, 'walproof', 'short');;SELECT pg_switch_wal()",
        segment_size / 8 + 20_000
    )
}

fn databases(major: u32, round: u32) -> String {
    // Each statement by itself: none of them may run in a transaction block.
    let strategies: &[&str] = if major >= 15 { &["STRATEGY wal_log", "STRATEGY file_copy"] } else { &[""] };
    let mut statements = String::new();
    for (i, strategy) in strategies.iter().enumerate() {
        let _ = write!(
            statements,
            "CREATE DATABASE d{round}_{i} TEMPLATE template0 {strategy};;
             ALTER DATABASE d{round}_{i} RENAME TO e{round}_{i};;DROP DATABASE e{round}_{i};;"
        );
    }
    statements + "SELECT 1"
}

fn tablespaces(server: &Server, round: u32) {
    let location = server.data().parent().unwrap().join(format!("space_{round}"));
    super::account::create_directory(&location, 0o700);
    let statements = [
        format!("CREATE TABLESPACE space_{round} LOCATION '{}'", location.display()),
        format!("CREATE TABLE far_{round} (i int PRIMARY KEY) TABLESPACE space_{round}"),
        format!("INSERT INTO far_{round} SELECT generate_series(1, 500)"),
        format!("ALTER TABLE far_{round} SET TABLESPACE pg_default"),
        format!("ALTER INDEX far_{round}_pkey SET TABLESPACE space_{round}"),
        format!("DROP TABLE far_{round}"),
        // Files of dropped tables stay until a checkpoint, and keep the tablespace from going.
        "CHECKPOINT".to_owned(),
        format!("DROP TABLESPACE space_{round}"),
    ];
    let mut client = server.client();
    for statement in statements {
        client.batch_execute(&statement).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
}

fn maintenance(major: u32) -> String {
    let concurrently = if major >= 12 { "REINDEX INDEX CONCURRENTLY item_tags_gin;;" } else { "" };
    format!(
        "VACUUM (FREEZE, ANALYZE) item;;VACUUM account;;ANALYZE;;
         SELECT gin_clean_pending_list('item_tags_gin');;SELECT brin_summarize_new_values('item_id_brin');;
         {concurrently}CREATE INDEX CONCURRENTLY item_late ON item (at);;DROP INDEX CONCURRENTLY item_late;;
         BEGIN;;LOCK TABLE ledger;;COMMIT;;CHECKPOINT"
    )
}

/// Commits that carry the place where their change comes from, as an apply worker writes them.
fn origins(server: &Server, round: u32) {
    let mut client = server.client();
    for statement in [
        format!("SELECT pg_replication_origin_create('elsewhere {round}')"),
        format!("SELECT pg_replication_origin_session_setup('elsewhere {round}')"),
        "BEGIN".to_owned(),
        "SELECT pg_replication_origin_xact_setup('0/ABCDEF', '2020-02-02 02:02:02+00')".to_owned(),
        "INSERT INTO ledger VALUES (6, 1, 'from elsewhere')".to_owned(),
        "COMMIT".to_owned(),
        "SELECT pg_replication_origin_session_reset()".to_owned(),
        format!("SELECT pg_replication_origin_drop('elsewhere {round}')"),
    ] {
        client.batch_execute(&statement).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
}

/// Sessions side by side: interleaved ids, commits out of order of their ids, multixacts by several.
fn contention(server: &Server, seed: u64) {
    thread::scope(|scope| {
        for session in 0..4_u64 {
            scope.spawn(move || {
                let mut dice = Dice(seed ^ session << 48);
                let mut client = server.client();
                for _ in 0..40 {
                    transfer(&mut client, &mut dice);
                }
            });
        }
    });
}

fn transfer(client: &mut Client, dice: &mut Dice) {
    // Lower id first: two transfers never wait for each other in a circle.
    let (a, b) = (1 + dice.roll(20), 30 + dice.roll(20));
    let end = if dice.roll(6) == 0 { "ROLLBACK" } else { "COMMIT" };
    for statement in [
        "BEGIN".to_owned(),
        format!("SELECT * FROM account WHERE id = {} FOR KEY SHARE", 60 + dice.roll(3)),
        format!("UPDATE account SET balance = balance - 1 WHERE id = {a}"),
        format!("UPDATE account SET balance = balance + 1 WHERE id = {b}"),
        format!("INSERT INTO ledger VALUES ({a}, 1, 'transfer')"),
        end.to_owned(),
    ] {
        client.batch_execute(&statement).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
}

const SHOP: &str = "
CREATE SCHEMA shop;
CREATE TABLE shop.customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE shop.orders (id serial PRIMARY KEY, customer int REFERENCES shop.customer, at timestamptz, total int);
CREATE TABLE shop.invoice (order_id int PRIMARY KEY REFERENCES shop.orders, text text);
INSERT INTO shop.customer SELECT i, 'customer ' || i FROM generate_series(1, 50) i;
";

/// Creates a small shop: customers, orders, invoices.
pub fn shop(server: &Server) {
    server.sql(SHOP);
}

/// Orders come in, each with its invoice, each in a transaction of its own.
pub fn trade(server: &Server, seed: u64, orders: u32) {
    let invoice = "INSERT INTO shop.invoice SELECT max(id), 'please pay' FROM shop.orders;";
    trades(server, seed, orders, invoice);
}

/// The same after the invoices are gone.
pub fn trade_without_invoices(server: &Server, seed: u64, orders: u32) {
    trades(server, seed, orders, "");
}

fn trades(server: &Server, seed: u64, orders: u32, and: &str) {
    let mut dice = Dice(seed);
    let mut client = server.client();
    for _ in 0..orders {
        let (customer, total) = (1 + dice.roll(50), 1 + dice.roll(500));
        let order =
            format!("INSERT INTO shop.orders (customer, at, total) VALUES ({customer}, now(), {total});");
        let end = if dice.roll(12) == 0 { "ROLLBACK" } else { "COMMIT" };
        client.batch_execute(&format!("BEGIN; {order} {and} {end}")).unwrap();
    }
}
