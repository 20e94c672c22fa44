//! What a cleanup keeps, held to what real servers asked for, and to the model after every file that goes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::recorded::Recording;

/// A copy of a recorded archive, and a place for what the program remembers.
struct Yard {
    folder: tempfile::TempDir,
}

impl Yard {
    fn of(recording: &Recording) -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(yard.archive()).unwrap();
        for entry in fs::read_dir(recording.archive()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, yard.archive().join(path.file_name().unwrap())).unwrap();
        }
        yard
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn run(&self, command: &str, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_walproof"))
            .arg(command)
            .arg(self.archive())
            .args(options)
            .args(["--format", "json"])
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .output()
            .unwrap()
    }

    fn json(&self, command: &str, options: &[&str]) -> Value {
        let output = self.run(command, options);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{options:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn files(&self) -> BTreeSet<String> {
        listing(&self.archive())
    }
}

fn listing(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// Windows of the backups that are kept for all that follows them, without the earliest time: that grows vaguer
/// where older WAL is gone.
fn windows(of: &Value, labels: &[&str]) -> Vec<String> {
    let of_kept = |window: &&Value| labels.contains(&window["backup"].as_str().unwrap());
    let told = |window: &Value| {
        let mut window = window.clone();
        window.as_object_mut().unwrap().remove("earliest_time");
        window.to_string()
    };
    of.as_array().unwrap().iter().filter(of_kept).map(told).collect()
}

/// Whatever the real servers of the recording restored on behalf of a backup that is kept, is kept.
#[test]
fn what_real_servers_asked_for_is_kept() {
    for version in ["9.5", "12", "16", "19"] {
        let recording = Recording::of(version);
        let yard = Yard::of(&recording);
        for (options, kept) in [
            (["--keep-backups", "1"], &["b_tl2"][..]),
            (["--keep-backups", "2"], &["b_tl2", "b2"]),
            (["--keep-backups", "3"], &["b_tl2", "b2", "b1"]),
            (["--keep-days", "30000"], &["b_tl2", "b2", "b1"]),
        ] {
            let plan = yard.json("cleanup", &options);
            assert_eq!(plan["refused"], Value::Null, "{version} {options:?}");
            assert_eq!(plan["executed"], false);
            let removed = names(&plan["remove"]);
            assert!(!removed.is_empty(), "{version} {options:?} removes nothing");
            let answers = recording.oracle["answers"].as_array().unwrap();
            let mut asked = 0;
            for answer in answers.iter().filter(|a| kept.contains(&a["backup"].as_str().unwrap())) {
                for name in answer["result"]["restored"].as_array().unwrap() {
                    let name = name.as_str().unwrap();
                    assert!(!removed.iter().any(|gone| gone == name), "{version} {options:?}: {name}");
                    asked += 1;
                }
            }
            assert!(asked > 0);
            assert_eq!(windows(&plan["windows_before"], kept), windows(&plan["windows_after"], kept));
        }
    }
}

/// A run that is killed after any file leaves every kept backup as it was, and the archive without a gap.
#[test]
fn a_kill_at_any_point_harms_nothing() {
    let recording = Recording::of("16");
    let yard = Yard::of(&recording);
    let options = ["--keep-backups", "2", "--clean-history"];
    let plan = yard.json("cleanup", &options);
    let before = windows(&plan["windows_before"], &["b_tl2", "b2"]);
    assert!(!before.is_empty());
    for name in names(&plan["remove"]) {
        fs::remove_file(yard.archive().join(&name)).unwrap();
        let now = yard.json("timelines", &[]);
        assert_eq!(windows(&now["windows"], &["b_tl2", "b2"]), before, "after {name}");
        assert_eq!(yard.json("verify", &[])["verdict"], "ok", "after {name}");
    }
    let again = yard.json("cleanup", &options);
    assert_eq!(names(&again["remove"]), Vec::<String>::new());
}

#[test]
fn executing_does_what_the_plan_says_and_the_trash_holds_it() {
    let recording = Recording::of("16");
    let yard = Yard::of(&recording);
    fs::write(yard.archive().join("000000010000000000000004.mine"), b"keep me").unwrap();
    let all = yard.files();
    let trash = yard.folder.path().join("trash");
    let options = ["--keep-backups", "1", "--execute", "--trash", trash.to_str().unwrap()];
    let done = yard.json("cleanup", &options);
    assert_eq!(done["executed"], true);
    let removed: BTreeSet<String> = names(&done["remove"]).into_iter().collect();
    assert!(removed.len() > 2);
    assert_eq!(listing(&trash), removed);
    assert_eq!(yard.files(), all.difference(&removed).cloned().collect());
    let state = yard.folder.path().join("state/walproof");
    let journal = listing(&state).into_iter().find(|name| name.ends_with(".journal")).unwrap();
    let journal = fs::read_to_string(state.join(journal)).unwrap();
    assert!(removed.iter().all(|name| journal.contains(&format!(" moved {name} "))), "{journal}");
}

#[test]
fn the_oldest_file_must_be_there_and_is_a_boundary_for_every_timeline() {
    let yard = Yard::of(&Recording::of("16"));
    let all = yard.files();
    let refused = yard.run("cleanup", &["--oldest-kept", "000000010000000000000003", "--execute"]);
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(answer["refused"].as_str().unwrap().contains("is not in the archive"), "{answer}");
    assert_eq!((names(&answer["remove"]).len(), yard.files()), (0, all));
    let plan = yard.json("cleanup", &["--oldest-kept", "000000020000000000000007"]);
    // Segment 5 is the whole of the backup b1, which nobody gave up.
    let expected = ["000000010000000000000004", "000000010000000000000006", "000000020000000000000006"]
        .map(String::from);
    assert_eq!(names(&plan["remove"]), expected);
    assert_eq!(plan["keep_from"]["1"], "000000010000000000000005");
    assert_eq!(plan["keep_from"]["2"], "000000020000000000000007");
}

#[test]
fn without_a_retention_option_or_a_backup_nothing_is_planned() {
    let yard = Yard::of(&Recording::of("16"));
    assert_eq!(yard.run("cleanup", &[]).status.code(), Some(2));
    assert_eq!(yard.run("cleanup", &["--backup-days", "3"]).status.code(), Some(2));
    for name in yard.files().iter().filter(|name| name.ends_with(".backup")) {
        fs::remove_file(yard.archive().join(name)).unwrap();
    }
    let refused = yard.run("cleanup", &["--keep-backups", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    let oldest_kept = ["--oldest-kept", "000000010000000000000007"];
    let plan = yard.json("cleanup", &oldest_kept);
    assert_eq!(plan["refused"], Value::Null);
    assert_eq!(names(&plan["remove"]).len(), 4);
    // What a timeline is good for, nobody knows without a backup.
    for more in ["--prune-timelines", "--clean-history", "--backup-days=3", "--keep-days=3"] {
        let refused = yard.json("cleanup", &[&oldest_kept[..], &[more]].concat());
        let told = refused["refused"].as_str().unwrap_or_else(|| panic!("{more}: {refused:#}"));
        assert!(told.contains("only --oldest-kept") && names(&refused["remove"]).is_empty(), "{told}");
    }
}

#[test]
fn damage_in_what_is_kept_refuses_until_it_is_accepted() {
    let yard = Yard::of(&Recording::of("16"));
    let missing = "00000001000000000000000A";
    fs::remove_file(yard.archive().join(missing)).unwrap();
    assert_eq!(yard.json("verify", &[])["verdict"], "damaged");
    let refused = yard.run("cleanup", &["--keep-backups", "2", "--execute"]);
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(answer["refused"].as_str().unwrap().contains(missing), "{answer}");
    assert_eq!(answer["executed"], false);
    let before = yard.files();
    let baseline = yard.folder.path().join("known.json");
    let options = ["--segment", missing, "--reason", "lost in May", "--baseline", baseline.to_str().unwrap()];
    assert!(yard.run("ack", &options).status.success());
    assert_eq!(yard.json("verify", &[])["verdict"], "damaged", "another baseline");
    let known = yard.json("verify", &["--baseline", baseline.to_str().unwrap()]);
    assert_eq!(known["verdict"], "ok");
    let finding = known["findings"].as_array().unwrap().iter().find(|f| f["segment"] == missing).unwrap();
    assert_eq!((finding["acknowledged"].clone(), finding["severity"].clone()), (true.into(), "info".into()));
    for (command, more) in [("timelines", "-q"), ("index", "--rebuild"), ("index", "-q")] {
        let catalog = yard.folder.path().join("catalog");
        let options = [more, "--catalog", catalog.to_str().unwrap(), options[4], options[5]];
        assert_eq!(yard.run(command, &options[..3]).status.code(), Some(1), "{command}");
        assert_eq!(yard.run(command, &options).status.code(), Some(0), "{command}");
    }
    assert!(yard.run("ack", &options[..4]).status.success());
    assert_eq!(yard.json("verify", &[])["verdict"], "ok");
    assert_eq!(yard.files(), before);
    let plan = yard.json("cleanup", &["--keep-backups", "2"]);
    assert_eq!(plan["refused"], Value::Null);
    // What was accepted is the gap as it was: that it grows is news.
    fs::remove_file(yard.archive().join("00000001000000000000000B")).unwrap();
    assert_eq!(yard.json("verify", &[])["verdict"], "damaged");
    assert_eq!(yard.run("cleanup", &["--keep-backups", "2", "--offline"]).status.code(), Some(2));
}

/// A restore command may deliver either copy.
#[test]
fn another_copy_that_differs_or_is_damaged_refuses_as_damage_does() {
    let recording = Recording::of("16");
    let (segment, partial) = ("00000001000000000000000A", "00000001000000000000000F.partial");
    let good = fs::read(recording.archive().join(segment)).unwrap();
    let mut other = good.clone();
    other[25_982] ^= 0xFF;
    for (copy, code) in [(&other[..], "duplicate-differs"), (b"\x1F\x8B\x08\x00 no gzip", "unreadable")] {
        let yard = Yard::of(&recording);
        fs::write(yard.archive().join(partial), &good[..100]).unwrap();
        let place = yard.archive().join(segment);
        if code == "unreadable" {
            fs::write(place.with_extension("gz"), copy).unwrap();
        } else {
            fs::write(&place, copy).unwrap();
            assert!(Command::new("gzip").arg(&place).status().unwrap().success());
            fs::write(&place, &good).unwrap();
        }
        let codes = |answer: &Value| -> BTreeSet<String> {
            let findings = answer["findings"].as_array().unwrap().iter();
            findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
        };
        let refused = yard.run("cleanup", &["--keep-backups", "1", "--execute"]);
        let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{answer:#}");
        assert!(answer["refused"].as_str().unwrap().contains(code), "{answer:#}");
        let whole = yard.json("verify", &[]);
        assert_eq!(codes(&answer), codes(&whole));
        assert!(codes(&whole).contains("partial-only"));
        assert_eq!(yard.run("timelines", &[]).status.code(), Some(1));
        // In front of what is kept it does not matter.
        let front = "000000010000000000000004";
        fs::remove_file(place.with_extension("gz")).unwrap();
        fs::write(yard.archive().join(front).with_extension("gz"), b"\x1F\x8B\x08\x00 no gzip").unwrap();
        let plan = yard.json("cleanup", &["--keep-backups", "1"]);
        let removed = names(&plan["remove"]);
        assert!(removed.contains(&format!("{front}.gz")) && removed.contains(&front.to_owned()), "{plan:#}");
    }
}

#[test]
fn the_last_good_backup_is_not_given_up_for_a_broken_one() {
    let recording = Recording::of("16");
    let yard = Yard::of(&recording);
    // The newest backup is b_tl2, of timeline 2: its start is gone.
    fs::remove_file(yard.archive().join("000000020000000000000007")).unwrap();
    let refused = yard.run("cleanup", &["--keep-backups", "1", "--execute"]);
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(answer["refused"].as_str().unwrap().contains("b_tl2"), "{answer}");
}

#[test]
fn pruning_takes_dead_branches_only() {
    let yard = Yard::of(&Recording::of("16"));
    let plan = yard.json("cleanup", &["--keep-backups", "1", "--prune-timelines"]);
    let removed = names(&plan["remove"]);
    assert!(removed.contains(&"00000003000000000000000D".to_owned()));
    // A dead branch goes from its end back, and is told from its beginning on.
    let goes = |name: &str| removed.iter().position(|gone| gone == name).unwrap();
    assert!(goes("00000001000000000000000E") < goes("00000001000000000000000D"), "{removed:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .arg("cleanup")
        .arg(yard.archive())
        .args(["--keep-backups", "1", "--prune-timelines"])
        .env("XDG_STATE_HOME", yard.folder.path().join("state"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ranges: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once(" … ")).collect();
    assert!(ranges.iter().any(|(_, last)| last.starts_with("00000001000000000000000E")), "{text}");
    assert!(ranges.iter().all(|(first, last)| first < last), "{text}");
    // Without 3, a server that asks for 2, 3 … would not find 4.
    for kept in [
        "00000002.history",
        "00000003.history",
        "00000004.history",
        "000000020000000000000008",
        "000000040000000000000008",
    ] {
        assert!(!removed.contains(&kept.to_owned()), "{kept}");
    }
    assert_eq!(windows(&plan["windows_before"], &["b_tl2"]), windows(&plan["windows_after"], &["b_tl2"]));
    let all = yard.json("cleanup", &["--keep-backups", "3", "--prune-timelines"]);
    assert_eq!(names(&all["remove"]), ["000000010000000000000004"]);
}

#[test]
fn a_link_is_not_followed_and_a_server_s_own_wal_is_left_alone() {
    let yard = Yard::of(&Recording::of("16"));
    let outside = yard.folder.path().join("outside");
    fs::rename(yard.archive().join("000000010000000000000004"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, yard.archive().join("000000010000000000000004")).unwrap();
    let stopped = yard.run("cleanup", &["--keep-backups", "3", "--execute"]);
    assert_ne!(stopped.status.code(), Some(0));
    assert!(outside.exists());
    fs::create_dir(yard.archive().join("archive_status")).unwrap();
    let refused = yard.json("cleanup", &["--keep-backups", "1"]);
    assert!(refused["refused"].as_str().unwrap().contains("pg_wal"), "{refused}");
}
