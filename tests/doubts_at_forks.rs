//! Forks, holes and ends that once were answered wrongly: each case is a recorded archive with some files changed.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use support::recorded::Recording;
use support::replica::{Replica, gzip, records_within};

const VERSION: &str = "16";
const SIZE: usize = 2 << 20;
/// Where the recorded archive's timeline 3 has its first record behind this offset of segment D.
const BOUNDARY: usize = 0xC498;

/// `1-7` is segment 7 of timeline 1.
fn name(short: &str) -> String {
    let (timeline, number) = short.split_once('-').unwrap();
    format!("{timeline:0>8}00000000{number:0>8}")
}

/// The recorded archive without some files; names without a `-` are as they are.
fn without(files: &[&str]) -> Replica {
    let archive = Replica::of(VERSION);
    for file in files {
        archive.remove(&if file.contains('.') { (*file).to_owned() } else { name(file) });
    }
    archive
}

/// Nothing was written from an offset on.
fn zero_from(archive: &Replica, short: &str, offset: usize) {
    archive.edit(&name(short), |bytes| bytes[offset..].fill(0));
}

fn resolve(archive: &Replica, arguments: &[&str]) -> Value {
    let options = [arguments, &["--format", "json", "--no-catalog"]].concat();
    serde_json::from_slice(&archive.walproof("resolve", &options).stdout).unwrap()
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}

fn latest_on_1(archive: &Replica) -> Value {
    resolve(archive, &["--target-latest", "--target-timeline", "1", "--backup-label", "b1"])
}

#[test]
fn a_last_file_without_a_record_is_no_end() {
    let whole = Replica::of(VERSION);
    assert_eq!(latest_on_1(&whole)["feasible"], true);
    let garbage = Replica::of(VERSION);
    garbage.edit(&name("1-E"), |bytes| bytes[40..].fill(0xA5));
    let swapped = Replica::of(VERSION);
    swapped.write(&name("1-E"), &whole.read(&name("1-9")));
    for archive in [garbage, swapped] {
        let answer = latest_on_1(&archive);
        assert_eq!(codes(&answer), ["segment-damaged"]);
        assert_eq!(answer["segments"]["damaged"][0], name("1-E"));
    }
}

/// What a server was writing when it crashed, or when its pg_wal was copied.
#[test]
fn a_last_record_that_was_written_in_part_is_an_end() {
    let whole = Replica::of(VERSION).read(&name("1-E"));
    let starts = records_within(&whole, 3 * 8192, 4 * 8192);
    let length = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let records = starts.into_iter().filter(|at| length(*at) >= 48).take(3);
    for (at, written) in records.flat_map(|at| [2, 8, 20, 30, length(at) - 10].map(|written| (at, written))) {
        let archive = Replica::of(VERSION);
        zero_from(&archive, "1-E", at + written);
        let verdict = archive.verify(&[]);
        assert_eq!(verdict.told("error"), Vec::<String>::new(), "{written} bytes at {at}");
        assert_eq!(verdict.only("incomplete-tail")["segment"], name("1-E"));
        assert_eq!(latest_on_1(&archive)["feasible"], true);
        // If WAL follows, it was no end.
        let archive = Replica::of(VERSION);
        archive.edit(&name("1-E"), |bytes| bytes[at + written..4 * 8192].fill(0));
        let errors = archive.verify(&[]).told("error");
        assert_eq!(errors.len(), 1, "{written} bytes at {at}: {errors:?}");
    }
}

#[test]
fn files_for_later_in_a_pg_wal_are_an_end() {
    let archive = Replica::of(VERSION);
    fs::create_dir(archive.path("archive_status")).unwrap();
    for later in ["1-F", "1-10"] {
        archive.write(&name(later), &vec![0; SIZE]);
    }
    let answer = latest_on_1(&archive);
    assert_eq!((&answer["feasible"], codes(&answer)), (&true.into(), vec![]));
}

#[test]
fn a_parents_wal_does_not_prove_what_a_childs_backup_holds() {
    let recording = Recording::of(VERSION);
    let backups = ["b1", "b2", "b_tl2"].map(|label| recording.backup(label));
    // Two seconds before the last commit that the backup on timeline 2 holds.
    let mut arguments = vec!["--target-time", "2026-11-21 09:22:24.246636+00", "--target-timeline", "2"];
    for backup in &backups {
        arguments.extend(["--backup", backup.to_str().unwrap()]);
    }
    let from_whole = resolve(&Replica::of(VERSION), &arguments);
    assert_eq!((&from_whole["feasible"], &from_whole["backup"]["timeline"]), (&true.into(), &1.into()));
    let answer = resolve(&without(&["2-6"]), &arguments);
    assert_eq!(answer["feasible"], false);
    assert!(codes(&answer).contains(&"segment-missing"), "{answer:#}");
    let rejected = answer["rejected_backups"].as_array().unwrap().iter();
    let reasons: Vec<&str> = rejected.map(|backup| backup["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("nothing proves")), "{reasons:?}");
}

#[test]
fn a_copied_prefix_goes_up_to_the_fork() {
    for gone in [&[][..], &["1-D", "1-E"]] {
        let archive = without(gone);
        zero_from(&archive, "3-D", BOUNDARY);
        let verdict = archive.verify(&[]);
        assert_eq!(verdict.told("error"), [format!("segment-ends-early {}", name("3-D"))]);
    }
}

#[test]
fn wal_ends_where_others_say_that_it_was_written() {
    // The history of a timeline without a file of its own.
    let archive = without(&["1-E", "3-D", "4-8", "00000004.history"]);
    zero_from(&archive, "1-D", BOUNDARY);
    let error = [format!("segment-ends-early {}", name("1-D"))];
    assert_eq!(archive.verify(&[]).told("error"), error);
    // Two of them tell it once.
    archive.copy("00000003.history", "00000005.history");
    assert_eq!(archive.verify(&[]).told("error"), error);
    // The history file of a backup that ended at 0/1800100.
    let archive = without(&["1-D", "1-E", "3-D", "4-8", "00000003.history", "00000004.history"]);
    zero_from(&archive, "1-C", 0xD8);
    let told = archive.verify(&[]);
    let codes = [told.told("error"), told.told("warning")].concat();
    assert_eq!(codes, [format!("segment-ends-early {}", name("1-C"))]);
}

#[test]
fn retention_does_not_explain_the_loss_of_a_childs_first_segment() {
    let archive = without(&["1-4", "1-5", "000000010000000000000005.00000028.backup", "2-6"]);
    let verdict = archive.verify(&[]);
    assert_eq!(verdict.told("error"), [format!("segment-missing {}", name("2-6"))]);
    // It took both.
    let archive = without(&["1-4", "1-5", "000000010000000000000005.00000028.backup", "1-6", "2-6"]);
    assert_eq!(archive.verify(&[]).told("error"), Vec::<String>::new());
}

#[test]
fn what_two_paths_miss_is_counted_once() {
    let archive = without(&["1-C", "1-D", "00000001000000000000000C.00000028.backup"]);
    let verdict = archive.verify(&[]);
    assert_eq!(verdict.json["segments"]["missing"], 2);
    assert_eq!(verdict.told("error"), [format!("segment-missing {}", name("1-C"))]);
}

#[test]
fn nobody_knows_which_of_two_different_copies_is_restored() {
    let archive = Replica::of(VERSION);
    let bytes = archive.read(&name("1-9"));
    let packed = format!("{}.gz", name("1-9"));
    archive.write(&packed, &gzip(&bytes));
    assert_eq!(latest_on_1(&archive)["feasible"], true, "the same WAL");
    archive.write(&packed, &gzip(&bytes[..SIZE / 2]));
    let answer = latest_on_1(&archive);
    assert_eq!(codes(&answer), ["segment-damaged"]);
    assert_eq!(answer["segments"]["damaged"][0], name("1-9"));
    // Where it is not needed it does not matter.
    let behind = ["--target-latest", "--target-timeline", "1", "--backup-label", "b2"];
    assert_eq!(resolve(&archive, &behind)["feasible"], true);
}

#[test]
fn dump_goes_by_what_was_asked_for_and_tells_of_damage_across_files() {
    let whole = Replica::of(VERSION);
    let status = |archive: &Replica, arguments: &[&str]| archive.walproof("dump", arguments).status.code();
    assert_eq!(status(&whole, &[]), Some(0));
    // The files in front were not asked for.
    assert_eq!(status(&whole, &["--timeline", "1", "--from", "0/1000000", "--to", "0/1540000"]), Some(0));
    assert_eq!(status(&whole, &["--offline"]), Some(2));
    // All of it is the middle of a record.
    let middle = name("1-9");
    for harm in [1_000_000, SIZE / 2] {
        let zeroed = Replica::of(VERSION);
        zeroed.edit(&middle, |bytes| bytes[harm..].fill(0));
        let cut = Replica::of(VERSION);
        cut.edit(&middle, |bytes| bytes.truncate(harm));
        let flipped = Replica::of(VERSION);
        flipped.edit(&middle, |bytes| bytes[harm + 100] ^= 1);
        for archive in [zeroed, cut, flipped] {
            assert_eq!(status(&archive, &[]), Some(1), "{harm}");
        }
    }
}

#[test]
fn a_transaction_of_another_timeline_is_named_with_it() {
    let archive = Replica::of(VERSION);
    let on_1 = latest_on_1(&archive)["last_transaction"]["xid"].to_string();
    let answer = resolve(&archive, &["--target-xid", &on_1, "--target-timeline", "2"]);
    let problems = answer["problems"].as_array().unwrap();
    let told = problems.iter().find(|problem| problem["code"] == "target-not-reached").unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains(&format!("transaction {on_1} ended on timeline 1, at 0/")), "{message}");
}

#[test]
fn slips_are_said_to_be_such() {
    let archive = Replica::of(VERSION);
    let refused = |command: &str, arguments: &[&str]| {
        let output = archive.walproof(command, arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for timeline in ["foo", "", "1abc", "0", "-1", "4294967296"] {
        let (status, words) = refused("resolve", &[&format!("--target-timeline={timeline}")]);
        assert_eq!(status, 2, "{timeline}: {words}");
    }
    for name in ["", &"n".repeat(64)] {
        assert_eq!(refused("resolve", &["--target-name", name]).0, 2, "{name}");
    }
    let (status, words) = refused("verify", &["--timeline", "99"]);
    assert!(status == 3 && words.contains("asked for"), "{words}");
    // Links among what would go are another reason.
    for name in archive.names() {
        archive.edit(&name, |_| {});
    }
    let inside = archive.path("trash");
    let dry = archive.walproof("cleanup", &["--keep-backups", "1", "--trash", inside.to_str().unwrap()]);
    let told = String::from_utf8(dry.stdout).unwrap();
    assert!(dry.status.code() == Some(1) && told.contains("lies in the archive"), "{told}");
}
