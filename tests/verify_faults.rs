//! What happens to archives, done to real ones: each wound is told once, with its code and place, and the exit status
//! is the one that a script waits for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use support::replica::Replica;
use support::wounds::WOUNDS;
use support::{account, recorded::Recording};
use walproof::archive::fault::{Fault, Faulty};
use walproof::archive::memory::Memory;
use walproof::archive::{Archive, LayoutChoice, Secrets};
use walproof::audit::{AuditError, Options, Unread, audit};
use walproof::finding::Severity;

/// The version whose archive is harmed; `support::wounds` speaks of its segments.
const VERSION: &str = "14";

#[test]
fn each_wound_is_told_once() {
    let complaints: Vec<String> = WOUNDS
        .iter()
        .filter_map(|wound| {
            let archive = Replica::of(VERSION);
            (wound.inflict)(&archive);
            let verdict = archive.verify(&[]);
            let status = i32::from(!wound.errors.is_empty());
            let said = if wound.errors.is_empty() { "ok" } else { "damaged" };
            let right = verdict.status == status
                && verdict.json["verdict"] == said
                && verdict.told("error") == wound.errors
                && verdict.told("warning") == wound.warnings;
            (!right)
                .then(|| format!("{}: status {}, {:#}", wound.name, verdict.status, verdict.json["findings"]))
        })
        .collect();
    assert!(complaints.is_empty(), "{} of {}\n{}", complaints.len(), WOUNDS.len(), complaints.join("\n\n"));
}

/// What was remembered of an archive gives the verdict that reading it gives.
#[test]
fn what_is_remembered_gives_the_same_verdict() {
    let mut complaints = Vec::new();
    for wound in WOUNDS {
        let archive = Replica::of(VERSION);
        let healthy = archive.verify(&["--incremental"]);
        assert_eq!(healthy.status, 0, "{}", healthy.stderr);
        (wound.inflict)(&archive);
        let read = archive.verify(&[]);
        for run in ["first", "second"] {
            let remembered = archive.verify(&["--incremental"]);
            let same = remembered.json["findings"] == read.json["findings"]
                && remembered.json["timelines"] == read.json["timelines"]
                && remembered.json["segments"] == read.json["segments"]
                && remembered.status == read.status;
            if !same {
                let said = &remembered.json["findings"];
                complaints.push(format!("{}, {run} run: {said:#}\n{}", wound.name, remembered.stderr));
            }
        }
    }
    assert!(complaints.is_empty(), "{}\n{}", complaints.len(), complaints.join("\n\n"));
}

/// Every error says what can no longer be recovered, and where it is.
#[test]
fn each_error_has_its_place_and_impact() {
    for wound in WOUNDS.iter().filter(|wound| !wound.errors.is_empty()) {
        let archive = Replica::of(VERSION);
        (wound.inflict)(&archive);
        let verdict = archive.verify(&[]);
        for error in verdict.json["findings"].as_array().unwrap().iter().filter(|f| f["severity"] == "error")
        {
            assert!(error["impact"].is_string(), "{}: {error:#}", wound.name);
            let about_history = error["code"].as_str().unwrap().starts_with("timeline-history");
            assert!(about_history || error["lsn"].is_string(), "{}: {error:#}", wound.name);
            assert!(error["expected"].is_string() || about_history, "{}: {error:#}", wound.name);
        }
    }
}

/// The undamaged archives of all versions have nothing wrong, and a gap in each is one finding.
#[test]
fn a_gap_is_found_in_every_version() {
    for version in support::recorded::VERSIONS {
        let archive = Replica::of(version);
        let whole = archive.verify(&[]);
        assert_eq!((whole.status, whole.told("error")), (0, vec![]), "{version}");
        assert_eq!(whole.told("warning"), Vec::<String>::new(), "{version}");
        let segments: Vec<String> = archive.names().into_iter().filter(|name| name.len() == 24).collect();
        let of_first = segments.iter().filter(|name| name.starts_with("00000001")).count();
        let gone = &segments[of_first / 2];
        archive.remove(gone);
        let verdict = archive.verify(&[]);
        assert_eq!(verdict.told("error"), [format!("segment-missing {gone}")], "{version}");
        assert_eq!(verdict.json["segments"]["missing"], 1, "{version}");
        assert_eq!(verdict.status, 1);
    }
}

#[test]
fn a_part_of_the_archive_has_no_gaps_that_the_whole_has_not() {
    let archive = Replica::of(VERSION);
    let (from, to) = ("000000010000000000000008", "00000001000000000000000B");
    let parts: [&[&str]; 8] = [
        &["--from", from],
        &["--to", to],
        &["--from", from, "--to", to],
        &["--from", from, "--to", from],
        &["--timeline", "1"],
        &["--timeline", "2"],
        &["--timeline", "4"],
        &["--timeline", "2", "--from", "000000020000000000000009"],
    ];
    for part in parts {
        let verdict = archive.verify(part);
        assert_eq!((verdict.status, verdict.told("error")), (0, vec![]), "{part:?}");
        assert_eq!(verdict.told("warning"), Vec::<String>::new(), "{part:?}");
        assert!(verdict.json["segments"]["total"].as_u64().unwrap() > 0, "{part:?}");
    }
    archive.remove("000000010000000000000006");
    archive.remove("00000001000000000000000A");
    let told = |options: &[&str]| archive.verify(options).told("error");
    assert_eq!(told(&["--from", to]), Vec::<String>::new());
    assert_eq!(told(&["--from", from]), ["segment-missing 00000001000000000000000A"]);
    assert_eq!(told(&["--to", from]), ["segment-missing 000000010000000000000006"]);
    assert_eq!(told(&["--timeline", "2"]), Vec::<String>::new());
}

#[test]
fn what_cannot_be_looked_at_is_status_3() {
    let archive = Replica::empty();
    let nothing = archive.verify(&[]);
    assert_eq!(nothing.status, 3);
    assert!(nothing.stderr.contains("no WAL found"), "{}", nothing.stderr);
    fs::remove_dir(archive.archive()).unwrap();
    let nowhere = archive.verify(&[]);
    assert_eq!(nowhere.status, 3);
    assert!(nowhere.stderr.contains("archive"), "{}", nowhere.stderr);
    fs::write(archive.archive(), b"text").unwrap();
    assert_eq!(archive.verify(&[]).status, 3);
    symlink_to_itself(&archive);
    assert_eq!(archive.verify(&[]).status, 3);
}

fn symlink_to_itself(archive: &Replica) {
    fs::remove_file(archive.archive()).unwrap();
    std::os::unix::fs::symlink("archive", archive.archive()).unwrap();
}

#[test]
fn wrong_usage_is_status_2() {
    let archive = Replica::of(VERSION);
    for options in [&["--from", "seven"][..], &["--timeline", "x"], &["--max-age", "soon"], &["--frobnicate"]]
    {
        let refused = archive.verify(options);
        assert_eq!((refused.status, refused.json.is_null()), (2, true), "{options:?}");
    }
    for nonsense in [&["--timezone", "-25:00"][..], &["--timezone", "--format", "json"]] {
        assert_eq!(archive.verify(nonsense).status, 2, "{nonsense:?}");
    }
}

/// A server reads all of it; what was not read could say anything.
#[test]
fn a_history_that_is_too_long_is_not_taken_in_part() {
    let archive = Replica::of(VERSION);
    archive.edit("00000002.history", |bytes| bytes.extend(vec![b'#'; 1 << 20]));
    let verdict = archive.verify(&[]);
    assert_eq!(verdict.status, 1);
    let finding = verdict.only("timeline-history-invalid");
    assert!(finding["message"].as_str().unwrap().contains("not read to its end"), "{finding}");
}

/// Half the world lies west of Greenwich.
#[test]
fn a_zone_may_begin_with_a_hyphen() {
    let archive = Replica::of(VERSION);
    let last_commits = |zone| {
        let json = archive.verify(&["--timezone", zone]).json;
        json["timelines"][0]["last_commit"].as_str().unwrap().to_owned()
    };
    assert_eq!(last_commits("-05:00"), "2026-11-21T04:20:28.902236-05:00");
    assert_eq!(last_commits("UTC"), "2026-11-21T09:20:28.902236+00:00");
}

#[test]
fn old_wal_is_told_when_asked() {
    let archive = Replica::of(VERSION);
    let stale = archive.verify(&["--max-age", "1s"]);
    assert_eq!((stale.status, stale.told("warning")), (0, vec!["archive-stale -".to_owned()]));
    assert_eq!(archive.verify(&["--max-age", "40000d"]).told("warning"), Vec::<String>::new());
}

/// A name need not be text.
#[test]
fn a_name_that_is_not_utf_8_is_shown_and_does_no_harm() {
    let archive = Replica::of(VERSION);
    fs::write(archive.path(OsStr::from_bytes(b"caf\xE9.\xFF")), b"").unwrap();
    let verdict = archive.verify(&[]);
    assert_eq!((verdict.status, verdict.told("warning").len()), (0, 1));
    assert!(verdict.only("unknown-file")["segment"].as_str().unwrap().starts_with("caf"));
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let archive = Replica::of(VERSION);
    archive.write("\u{1b}[2J\u{7}evil\r", b"");
    archive.write("000000010000000000000012.\u{1b}[31m", b"");
    let report = archive.report();
    assert!(report.contains("evil"), "{report}");
    assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{report:?}");
}

/// As another user, since root may read everything.
#[test]
fn a_file_without_permission_is_status_3_and_named() {
    let archive = Replica::of(VERSION);
    let (name, folder) = ("000000010000000000000008", archive.archive());
    archive.copy(name, name);
    // The recording is not everybody's to read, so what is left of it is copied.
    archive.keep(|other| other == name || other == "000000010000000000000009");
    archive.copy("000000010000000000000009", "000000010000000000000009");
    account::give(&archive.path(name));
    fs::set_permissions(archive.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    let outside = folder.parent().unwrap();
    let program = outside.join("walproof");
    fs::copy(env!("CARGO_BIN_EXE_walproof"), &program).unwrap();
    for path in [outside, folder.as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let verify = || {
        let mut command = account::command(&program);
        command.arg("verify").arg(&folder).env("XDG_STATE_HOME", outside.join("state")).output().unwrap()
    };
    let output = verify();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(name) && stderr.to_lowercase().contains("permission denied"), "{stderr}");
    // What could be read is told all the same.
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.starts_with("NOT VERIFIED") && told.contains("1 file left unread"), "{told}");
    assert!(told.contains("2 segments") && told.contains("1 damaged"), "{told}");
    // Nor is one that tells how far the WAL goes passed over.
    let teller = "000000010000000000000006.00000028.backup";
    archive.remove(name);
    fs::copy(Recording::of(VERSION).archive().join(teller), archive.path(teller)).unwrap();
    account::give(&archive.path(teller));
    let output = verify();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(archive.path(teller), fs::Permissions::from_mode(0o000)).unwrap();
    let output = verify();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(teller) && output.stdout.is_empty(), "{stderr}");
}

/// A read that fails, breaks off, or finds less than was listed, at every request: never a verdict.
#[test]
fn bytes_that_cannot_be_obtained_are_never_a_verdict() {
    let memory = Memory::new();
    let folder = Recording::of(VERSION).archive();
    for name in ["000000010000000000000008", "000000010000000000000009", "00000002.history"] {
        memory.put(name, fs::read(folder.join(name)).unwrap());
    }
    let mut told_of = 0;
    for fault in [Fault::Refused, Fault::BreaksOff, Fault::Short, Fault::Vanished] {
        for good in 0.. {
            let outcome = |unread| {
                let faulty = Faulty::new(memory.clone(), fault, good);
                let store = Box::new(faulty.clone());
                let archive =
                    Archive::of_store("memory", store, LayoutChoice::Auto, Secrets::default()).unwrap();
                let options = Options { unread, ..Options::default() };
                (audit(&archive, &options, &|_| {}), faulty.has_struck())
            };
            let (strict, has_struck) = outcome(Unread::IsAnError);
            let (told, struck_again) = outcome(Unread::IsTold);
            assert_eq!(has_struck, struck_again);
            if !has_struck {
                assert!(good > 3 && !strict.unwrap().is_damaged() && !told.unwrap().is_damaged());
                break;
            }
            assert!(matches!(strict, Err(AuditError::Store(_))), "{fault:?} at {good}");
            if let Ok(told) = told {
                assert!(told.is_damaged() && !told.unread.is_empty(), "{fault:?} at {good}");
                told_of += 1;
            }
        }
    }
    // Two segments, and each kind of fault.
    assert!(told_of >= 8, "{told_of}");
}

/// A file that is written to between the listing and the reading is told as it is in the end; one that is removed is
/// no verdict.
#[test]
fn a_file_that_changes_underfoot_is_told_as_it_is_in_the_end() {
    let archive = Replica::of(VERSION);
    let path = archive.path("00000001000000000000000F");
    let opened = Arc::new(Archive::open(archive.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap());
    let plan = || walproof::audit::plan(&opened, &Options::default()).unwrap();
    let survey = |plan| walproof::audit::survey(&opened, plan, &Options::default(), &|_| {});
    let codes = |plan| {
        let audit = walproof::audit::judge(plan, &survey(plan).unwrap(), &Options::default());
        let errors = audit.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.code.name()).collect::<Vec<_>>()
    };
    let listed = plan();
    let bytes = archive.read("00000001000000000000000F");
    archive.write("00000001000000000000000F", &bytes[..bytes.len() / 2]);
    assert_eq!(codes(&listed), ["segment-truncated"], "shrunk");
    let listed_half = plan();
    archive.write("00000001000000000000000F", &bytes);
    assert_eq!(codes(&listed_half), [""; 0], "grown");
    assert_eq!(codes(&listed), [""; 0], "as it was");
    fs::remove_file(path).unwrap();
    assert!(survey(&listed).is_err(), "gone");
}

/// How the audit goes of 127 segments of which those of these numbers go away between listing and reading: the files that
/// were not read, or the one that was too many.
fn survey_without(gone: &[u32], threads: usize) -> Result<usize, String> {
    let memory = Memory::new();
    let name = |number: u32| format!("0000000100000000{number:08X}");
    for number in 1..128 {
        memory.put(&name(number), *b"no WAL");
    }
    let secrets = Secrets::default();
    let archive = Archive::of_store("memory", Box::new(memory.clone()), LayoutChoice::Auto, secrets).unwrap();
    let options = Options { unread: Unread::IsTold, ..Options::default() };
    let plan = walproof::audit::plan(&archive, &options).unwrap();
    for number in gone {
        memory.take(&name(*number));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let surveyed = pool.install(|| walproof::audit::survey(&archive, &plan, &options, &|_| {}));
    surveyed.map(|survey| survey.unread.len()).map_err(|error| error.to_string())
}

/// Where many files in a row cannot be read it is not the files, whatever thread comes to which first.
#[test]
fn too_many_files_in_a_row_are_told_alike_by_any_number_of_threads() {
    let without_10: Vec<u32> = (1..128).filter(|number| number % 11 != 0).collect();
    for threads in [1, 2, 3, 8] {
        // In a batch, across two, at the end; the eleventh is too many.
        for first in [20, 57, 115] {
            let gone: Vec<u32> = (first..first + 13).collect();
            let error = survey_without(&gone, threads).unwrap_err();
            let eleventh = format!("{:08X}", first + 10);
            assert!(error.contains(&eleventh), "{threads} threads from {first}: {error}");
            assert_eq!(survey_without(&gone[..10], threads), Ok(10), "{threads} threads from {first}");
        }
        assert_eq!(survey_without(&without_10, threads), Ok(without_10.len()), "{threads} threads");
    }
}

/// Memory is not taken by what a record says of its length.
#[test]
fn a_hostile_length_takes_no_memory() {
    let archive = Replica::of(VERSION);
    let hostile = WOUNDS.iter().find(|wound| wound.name == "hostile-length").unwrap();
    (hostile.inflict)(&archive);
    let script = format!("ulimit -v 1500000; exec '{}' verify archive", env!("CARGO_BIN_EXE_walproof"));
    let mut command = Command::new("sh");
    let output =
        command.current_dir(archive.archive().parent().unwrap()).args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where nothing but a `.partial` is left of the WAL.
#[test]
fn a_partial_without_any_segment_is_told() {
    let archive = Replica::of(VERSION);
    archive.keep(|name| name == "000000010000000000000011");
    archive.rename("000000010000000000000011", "000000010000000000000011.partial");
    let verdict = archive.verify(&[]);
    assert_eq!(verdict.told("warning"), ["partial-only 000000010000000000000011.partial"]);
    assert_eq!((verdict.status, verdict.json["segments"]["partial"].as_u64()), (0, Some(1)));
}

/// A sparse file may be larger than any disk.
#[test]
fn zeros_without_end_are_not_read_to_the_end() {
    let archive = Replica::of(VERSION);
    archive.write("000000010000000000000012", b"");
    let sparse = fs::File::options().write(true).open(archive.path("000000010000000000000012")).unwrap();
    sparse.set_len(1 << 42).unwrap();
    let verdict = archive.verify(&[]);
    assert_eq!((verdict.status, verdict.told("error").len()), (1, 1), "{:#}", verdict.json["findings"]);
}

/// A loss that somebody accepted is not called whole.
#[test]
fn an_accepted_loss_is_told_as_one() {
    let archive = Replica::of(VERSION);
    assert!(archive.report().starts_with("OK  archive: every segment is there and whole\n"));
    archive.remove("000000010000000000000009");
    let gone = ["--segment", "000000010000000000000009", "--reason", "the disk of May"];
    assert_eq!(archive.walproof("ack", &gone).status.code(), Some(0));
    let report = archive.report();
    assert!(
        report.starts_with("OK  archive: nothing is wrong beyond a loss that somebody accepted\n"),
        "{report}"
    );
    assert_eq!(archive.verify(&[]).only("segment-missing")["acknowledged"], true);
}
