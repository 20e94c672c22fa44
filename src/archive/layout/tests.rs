//! Every layout, entered at every level that a user may name, and what is and is not taken for WAL in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::archive::memory::Memory;
use crate::archive::{Archive, Inventory, Secrets};

const SEGMENT: &str = "000000010000000000000073";
const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";

fn store_of(keys: &[&str]) -> Memory {
    let memory = Memory::new();
    for key in keys {
        memory.put(key, *b"x");
    }
    memory
}

fn listed(memory: &Memory, at: &str, choice: LayoutChoice) -> Inventory {
    opened(memory, at, choice).unwrap().inventory().unwrap()
}

fn opened(memory: &Memory, at: &str, choice: LayoutChoice) -> Result<Archive, StoreError> {
    Archive::of_store(at, Box::new(memory.at(at)), choice, Secrets::default())
}

fn names(inventory: &Inventory) -> Vec<String> {
    inventory.entries.iter().map(|entry| entry.name.to_string()).collect()
}

fn strays(inventory: &Inventory) -> Vec<&str> {
    inventory.strays.iter().map(|stray| stray.object.path.to_str().unwrap()).collect()
}

fn backups(inventory: &Inventory) -> Vec<(BackupKind, &str)> {
    inventory.backups.iter().map(|backup| (backup.kind, backup.label.as_str())).collect()
}

#[test]
fn names_are_read_through_every_suffix() {
    let segment = WalFileName::parse(SEGMENT).unwrap();
    for suffix in SUFFIXES {
        assert_eq!(wal_name(&format!("{SEGMENT}.{suffix}")), Some(segment));
    }
    let partial = WalFileName::parse(&format!("{SEGMENT}.partial")).unwrap();
    for name in [".partial", ".partial.gz", ".gz.partial", ".lz4.partial", ".partial.lz4.gpg"] {
        assert_eq!(wal_name(&format!("{SEGMENT}{name}")), Some(partial), "{name}");
    }
    assert_eq!(wal_name(&format!("{SEGMENT}.zst.gpg")), Some(segment));
    assert_eq!(wal_name("00000002.history.br").unwrap().to_string(), "00000002.history");
    for other in [
        format!("{SEGMENT}.gz.tmp"),
        format!("{SEGMENT}.part"),
        format!("{SEGMENT}_delta.lz4"),
        "00000002.history.partial".to_owned(),
        ".gz".to_owned(),
        format!("{SEGMENT}.partial.partial"),
    ] {
        assert_eq!(wal_name(&other), None, "{other}");
    }
}

#[test]
fn a_choice_reads_what_it_prints() {
    for layout in Layout::ALL {
        let choice = LayoutChoice::Given(layout);
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    assert_eq!("auto".parse(), Ok(LayoutChoice::Auto));
    assert!("wal-e".parse::<LayoutChoice>().is_err());
}

#[test]
fn wal_g_from_its_prefix_or_its_folder_of_wal() {
    let memory = store_of(&[
        &format!("p/wal_005/{SEGMENT}.lz4"),
        "p/wal_005/00000002.history.lz4",
        &format!("p/wal_005/{SEGMENT}.00000028.backup.lz4"),
        &format!("p/wal_005/{SEGMENT}_delta.lz4"),
        &format!("p/wal_005/{SEGMENT}.json"),
        &format!("p/wal_005/{}.json", &SEGMENT[..23]),
        "p/wal_005/note.txt",
        &format!("p/basebackups_005/base_{SEGMENT}_backup_stop_sentinel.json"),
        &format!("p/basebackups_005/base_{SEGMENT}/metadata.json"),
        &format!("p/basebackups_005/base_{SEGMENT}/tar_partitions/part_001.tar.lz4"),
        "p/segments_005/seg0/wal_005/000000010000000000000001.lz4",
        "p/catchup_005/x",
    ]);
    for at in ["p", "p/wal_005", "p/basebackups_005"] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!(found.layout, Layout::WalG, "{at}");
        assert_eq!(
            names(&found),
            [SEGMENT, &format!("{SEGMENT}.00000028.backup"), "00000002.history"],
            "{at}"
        );
        assert_eq!(strays(&found), ["wal_005/note.txt"], "{at}");
        assert_eq!(backups(&found), [(BackupKind::WalGSentinel, &*format!("base_{SEGMENT}"))], "{at}");
    }
    // WAL that was archived with cp before, beside WAL-G's folders, is not passed over in silence.
    let beside = store_of(&[&format!("m/wal_005/{SEGMENT}.lz4"), &format!("m/{SEGMENT}")]);
    let found = listed(&beside, "m", LayoutChoice::Auto);
    assert_eq!((names(&found).len(), strays(&found)), (1, vec![SEGMENT]));
    assert!(found.strays[0].named_like_wal);
    // The folder of WAL copied away, with the layout said.
    let copy = store_of(&[&format!("c/{SEGMENT}.lz4"), &format!("c/{SEGMENT}_delta.lz4")]);
    let found = listed(&copy, "c", LayoutChoice::Given(Layout::WalG));
    assert_eq!((names(&found), strays(&found).len()), (vec![SEGMENT.to_owned()], 0));
}

fn pgbackrest_keys() -> Vec<String> {
    let folder = &SEGMENT[..16];
    vec![
        "r/archive/main/archive.info".to_owned(),
        "r/archive/main/archive.info.copy".to_owned(),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}-{SHA1}.gz"),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}-{}.gz", SHA1.replace('0', "1")),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}.partial-{SHA1}.zst"),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}.00000028.backup"),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}-{SHA1}.gz.pgbackrest.tmp"),
        format!("r/archive/main/15-1/{folder}/{SEGMENT}-{SHA1}.gz.old"),
        "r/archive/main/15-1/00000002.history".to_owned(),
        format!("r/archive/main/16-2/{folder}/{SEGMENT}-{SHA1}.lz4"),
        "r/backup/main/backup.info".to_owned(),
        "r/backup/main/backup.info.copy".to_owned(),
        "r/backup/main/20261121-092219F/pg_data/pg_wal/000000010000000000000001.gz".to_owned(),
        "r/backup/main/20261121-092219F/backup.manifest".to_owned(),
    ]
}

#[test]
fn pgbackrest_from_every_level() {
    let keys = pgbackrest_keys();
    let memory = store_of(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let (backup, history) = (format!("{SEGMENT}.00000028.backup"), "00000002.history");
    let partial = format!("{SEGMENT}.partial");
    for at in ["r", "r/archive", "r/archive/main", "r/backup/main"] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!(found.layout, Layout::PgBackRest, "{at}");
        assert_eq!(found.groups, ["15-1", "16-2"], "{at}");
        assert_eq!(names(&found), [SEGMENT], "{at}");
        let older = opened(&memory, at, LayoutChoice::Auto).unwrap().part("15-1").inventory().unwrap();
        assert_eq!(names(&older), [SEGMENT, SEGMENT, &partial, &backup, history], "{at}");
        assert!(older.entries.iter().all(|entry| entry.group == 0), "{at}");
        assert_eq!(found.strays.len(), 1, "{at}");
        assert_eq!(backups(&found), [(BackupKind::PgBackRestInfo, "")], "{at}");
    }
    for at in ["r/archive/main/16-2", &format!("r/archive/main/16-2/{}", &SEGMENT[..16])] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!((names(&found), found.groups.len()), (vec![SEGMENT.to_owned()], 1), "{at}");
        assert_eq!(found.backups.len(), 1, "{at}");
    }
}

#[test]
fn several_stanzas_are_not_one_archive() {
    let mut keys = pgbackrest_keys();
    keys.push("r/archive/other/archive.info".to_owned());
    let memory = store_of(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = opened(&memory, "r", LayoutChoice::Auto).unwrap_err().to_string();
    assert!(refused.contains("main, other"), "{refused}");
    assert_eq!(listed(&memory, "r/archive/main", LayoutChoice::Auto).entries.len(), 1);
}

#[test]
fn a_copied_archive_id_is_known_by_its_names() {
    let folder = &SEGMENT[..16];
    for key in [format!("c/{folder}/{SEGMENT}-{SHA1}.gz"), format!("c/{SEGMENT}-{SHA1}")] {
        let found = listed(&store_of(&[&key]), "c", LayoutChoice::Auto);
        assert_eq!((found.layout, names(&found)), (Layout::PgBackRest, vec![SEGMENT.to_owned()]));
    }
}

#[test]
fn barman_from_its_home_its_server_or_its_wals() {
    let folder = &SEGMENT[..16];
    let memory = store_of(&[
        &format!("h/main/wals/{folder}/{SEGMENT}"),
        &format!("h/main/wals/{folder}/{SEGMENT}.00000028.backup"),
        "h/main/wals/00000002.history",
        "h/main/wals/xlog.db",
        "h/main/wals/odd",
        "h/main/base/20261121T091637/backup.info",
        "h/main/base/20261121T091637/annotations/keep",
        "h/main/base/20261121T091637/data/PG_VERSION",
        "h/main/base/20261121T091637/data/pg_wal/000000010000000000000001",
        "h/main/meta/20261122T091637-backup.info",
        "h/main/meta/20261122T091637-keep",
        "h/main/incoming/000000010000000000000074",
        "h/main/streaming/000000010000000000000074.partial",
        "h/main/identity.json",
    ]);
    for at in ["h", "h/main", "h/main/wals", &format!("h/main/wals/{folder}")] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!(found.layout, Layout::Barman, "{at}");
        let expected = [SEGMENT, &format!("{SEGMENT}.00000028.backup"), "00000002.history"];
        assert_eq!(names(&found), expected, "{at}");
        assert_eq!(found.strays.len(), 1, "{at}");
        let ids = [(BackupKind::BarmanInfo, "20261121T091637"), (BackupKind::BarmanInfo, "20261122T091637")];
        assert_eq!(backups(&found), ids, "{at}");
        assert!(found.backups.iter().all(|backup| backup.beside.len() == 1), "{at}");
    }
}

#[test]
fn barman_cloud_has_suffixes_and_tars() {
    let folder = &SEGMENT[..16];
    let memory = store_of(&[
        &format!("b/cluster/wals/{folder}/{SEGMENT}.gz"),
        "b/cluster/wals/00000002.history.gz",
        "b/cluster/base/20261121T091637/backup.info",
        "b/cluster/base/20261121T091637/data.tar.gz",
    ]);
    for at in ["b", "b/cluster", "b/cluster/wals"] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!(found.layout, Layout::BarmanCloud, "{at}");
        assert_eq!(names(&found), [SEGMENT, "00000002.history"], "{at}");
        assert_eq!((strays(&found).len(), found.backups.len()), (0, 1), "{at}");
    }
}

#[test]
fn pg_probackup_from_its_catalog_or_an_instance() {
    let memory = store_of(&[
        &format!("c/wal/one/{SEGMENT}.gz"),
        &format!("c/wal/one/{SEGMENT}.partial.gz"),
        "c/wal/one/000000010000000000000074.part",
        "c/backups/one/pg_probackup.conf",
        "c/backups/one/T5V9XR/backup.control",
        "c/backups/one/T5V9XR/backup_content.control",
        "c/backups/one/T5V9XR/database/pg_wal/000000010000000000000001",
    ]);
    for at in ["c", "c/wal", "c/wal/one", "c/backups/one"] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!(found.layout, Layout::PgProbackup, "{at}");
        assert_eq!(names(&found), [SEGMENT, &format!("{SEGMENT}.partial")], "{at}");
        assert_eq!(strays(&found).len(), 0, "{at}");
        assert_eq!(backups(&found), [(BackupKind::PgProbackupControl, "T5V9XR")], "{at}");
    }
}

#[test]
fn folders_called_wal_and_backups_are_no_catalog_by_themselves() {
    let memory = store_of(&[&format!("srv/wal/main/{SEGMENT}"), "srv/backups/main/notes.txt"]);
    let found = listed(&memory, "srv/wal/main", LayoutChoice::Auto);
    assert_eq!((found.layout, names(&found)), (Layout::Plain, vec![SEGMENT.to_owned()]));
}

#[test]
fn pg_rman_keeps_wal_in_each_backup() {
    let memory = store_of(&[
        "c/pg_rman.ini",
        "c/system_identifier",
        "c/timeline_history/00000002.history",
        "c/20261121/091637/backup.ini",
        &format!("c/20261121/091637/arclog/{SEGMENT}"),
        "c/20261121/091637/database/base/1/1259",
        "c/20261121/091637/file_arclog.txt",
        &format!("c/20261122/091637/arclog/{SEGMENT}"),
    ]);
    let found = listed(&memory, "c", LayoutChoice::Auto);
    assert_eq!(found.layout, Layout::PgRman);
    assert_eq!(names(&found), [SEGMENT, SEGMENT, "00000002.history"]);
    assert_eq!(strays(&found).len(), 0);
    assert_eq!(backups(&found), [(BackupKind::PgRmanIni, "20261121/091637")]);
}

#[test]
fn a_pg_wal_has_files_that_are_no_wal_and_no_strays() {
    let memory = store_of(&[
        &format!("data/pg_wal/{SEGMENT}"),
        "data/pg_wal/archive_status/000000010000000000000072.done",
        "data/pg_wal/summaries/0000000100000000010000280000000001000100.summary",
        "data/pg_wal/RECOVERYXLOG",
        "data/pg_wal/xlogtemp.4711",
        "data/pg_wal/xlogtemp.x",
        "data/PG_VERSION",
        "data/base/1/1259",
    ]);
    for (at, stray) in [("data", "pg_wal/xlogtemp.x"), ("data/pg_wal", "xlogtemp.x")] {
        let found = listed(&memory, at, LayoutChoice::Auto);
        assert_eq!((found.layout, found.is_pg_wal), (Layout::Plain, true), "{at}");
        assert_eq!(names(&found), [SEGMENT], "{at}");
        assert_eq!(strays(&found), [stray], "{at}");
    }
}

#[test]
fn a_plain_archive_may_hold_backups_and_other_things() {
    let memory = store_of(&[
        &format!("a/{SEGMENT}"),
        &format!("a/{SEGMENT}.zst"),
        "a/sub/000000010000000000000074.gz",
        "a/backup1/base.tar.gz",
        "a/backup1/16400.tar.gz",
        "a/backup1/backup_manifest",
        "a/readme.txt",
    ]);
    let found = listed(&memory, "a", LayoutChoice::Auto);
    assert_eq!((found.layout, found.is_pg_wal), (Layout::Plain, false));
    assert_eq!(names(&found), [SEGMENT, SEGMENT, "000000010000000000000074"]);
    assert_eq!(strays(&found), ["readme.txt"]);
    assert_eq!(backups(&found), [(BackupKind::Manifest, "backup1"), (BackupKind::BaseTar, "backup1")]);
    assert_eq!(found.groups, [""]);
}

#[test]
fn the_order_of_a_listing_does_not_matter() {
    let keys = pgbackrest_keys();
    let rules = PgBackRestRules::new();
    let objects =
        store_of(&keys.iter().map(String::as_str).collect::<Vec<_>>()).at("r").list(&|_| Descent::Whole);
    let mut objects = objects.unwrap();
    let forth = Inventory::sort_out(objects.clone(), rules.0.as_ref(), Some("15-1"));
    objects.reverse();
    assert_eq!(Inventory::sort_out(objects, rules.0.as_ref(), Some("15-1")), forth);
}

struct PgBackRestRules(Box<dyn Rules>);

impl PgBackRestRules {
    fn new() -> Self {
        let keys = pgbackrest_keys();
        let memory = store_of(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        Self(recognise(Box::new(memory.at("r")), LayoutChoice::Auto).unwrap().1)
    }
}
