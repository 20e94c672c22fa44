//! Carrying a cleanup out, and what is told of it when it cannot be carried to its end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::recorded::Recording;
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{self, Options};
use walproof::backup;
use walproof::recovery::Library;
use walproof::retention::execute::{Done, ExecuteError, Lock, execute};
use walproof::retention::{Policy, propose};
use walproof::scan::Detail;

/// A copy of a recorded archive, and a place for what the program remembers.
struct Yard {
    folder: tempfile::TempDir,
}

impl Yard {
    fn new() -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(yard.archive()).unwrap();
        for entry in fs::read_dir(Recording::of("16").archive()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, yard.archive().join(path.file_name().unwrap())).unwrap();
        }
        yard
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path("archive")
    }

    fn cleanup(&self, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_walproof"))
            .arg("cleanup")
            .arg(self.archive())
            .args(["--keep-backups", "1"])
            .args(options)
            .env("XDG_STATE_HOME", self.path("state"))
            .output()
            .unwrap()
    }

    /// The document and the exit status.
    fn json(&self, options: &[&str]) -> (Value, i32) {
        let mut all = vec!["--format", "json"];
        all.extend(options);
        let output = self.cleanup(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{options:?}: {said}"));
        (answer, output.status.code().unwrap())
    }

    fn files(&self) -> BTreeSet<String> {
        listing(&self.archive())
    }

    fn journal(&self) -> String {
        let state = self.path("state/walproof");
        let name = listing(&state).into_iter().find(|name| name.ends_with(".journal")).unwrap();
        fs::read_to_string(state.join(name)).unwrap()
    }

    /// Plans in this process, lets `meanwhile` happen, and carries the plan out.
    fn execute_after(&self, meanwhile: impl FnOnce()) -> (Done, Vec<String>) {
        let archive = Archive::open(self.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let options = Options { detail: Detail::Ends, ..Options::default() };
        let listing = audit::plan(&archive, &options).unwrap();
        let backups = backup::discover(&archive, &listing.inventory).backups;
        let library = Library::read(&archive, &listing, &options, &|_| {}).unwrap().unwrap();
        let policy = Policy { keep_backups: Some(1), ..Policy::default() };
        let proposal = propose(&library, &backups, &policy, &[], &options).unwrap();
        assert_eq!(proposal.refused, None);
        meanwhile();
        let lock = Lock::take_in(&self.path("own-state"), &archive).unwrap();
        let done = execute(&archive, &proposal.cleanup, None, &lock);
        (done, proposal.cleanup.remove.iter().map(|ruled| ruled.entry.stored_name()).collect())
    }
}

fn listing(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn planned(answer: &Value) -> Vec<String> {
    answer["remove"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_run_that_stops_half_way_tells_what_is_gone_what_is_left_and_why() {
    let yard = Yard::new();
    let all = yard.files();
    let (dry, status) = yard.json(&[]);
    let plan = planned(&dry);
    assert!(plan.len() > 3);
    assert_eq!((status, &dry["executed"], &dry["error"]), (0, &false.into(), &Value::Null));
    assert_eq!((strings(&dry["removed"]), strings(&dry["remaining"])), (Vec::new(), plan.clone()));
    // The third file cannot go: the trash holds its name.
    let (trash, journal_says) = (yard.path("trash"), " moved ");
    fs::create_dir(&trash).unwrap();
    fs::write(trash.join(&plan[2]), "older").unwrap();
    let execute = ["--execute", "--trash", trash.to_str().unwrap()];
    let (stopped, status) = yard.json(&execute);
    assert_eq!((status, &stopped["executed"]), (3, &false.into()));
    assert_eq!(strings(&stopped["removed"]), plan[..2]);
    assert_eq!(strings(&stopped["remaining"]), plan[2..]);
    assert_eq!(planned(&stopped), plan);
    let error = stopped["error"].as_str().unwrap();
    assert!(error.contains(&format!("stopped after 2 of {} files", plan.len())), "{error}");
    assert!(error.contains(&plan[2]) && error.contains("already holds this name"), "{error}");
    assert!(error.contains(trash.to_str().unwrap()), "{error}");
    let gone: u64 = dry["remove"].as_array().unwrap()[..2].iter().map(|f| f["bytes"].as_u64().unwrap()).sum();
    assert_eq!(stopped["bytes_freed"], gone);
    assert_eq!(yard.files().len(), all.len() - 2);
    let journal = yard.journal();
    assert_eq!(journal.lines().filter(|line| line.contains(journal_says)).count(), 2, "{journal}");
    assert!(journal.lines().last().unwrap().contains("stopped after 2"), "{journal}");
    // As text, once more: nothing can go before that file.
    let output = yard.cleanup(&execute);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text.starts_with("STOPPED") && text.contains("Not gone yet"), "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("already holds this name"));
    // Put right, the same command goes on.
    fs::remove_file(trash.join(&plan[2])).unwrap();
    let (done, status) = yard.json(&execute);
    assert_eq!((status, &done["executed"], &done["error"]), (0, &true.into(), &Value::Null));
    assert_eq!((strings(&done["removed"]), strings(&done["remaining"])), (plan[2..].to_vec(), Vec::new()));
    assert_eq!(yard.files(), all.difference(&plan.into_iter().collect()).cloned().collect());
    assert!(yard.journal().lines().last().unwrap().ends_with(" done"));
}

#[test]
fn the_trash_never_replaces_and_never_lies_in_the_archive() {
    let yard = Yard::new();
    let all = yard.files();
    let inside = yard.archive().join("trash");
    let (refused, status) = yard.json(&["--execute", "--trash", inside.to_str().unwrap()]);
    assert_eq!((status, strings(&refused["removed"]).len()), (1, 0));
    assert!(refused["refused"].as_str().unwrap().contains("lies in the archive"), "{refused}");
    assert_eq!(yard.files(), all, "not even the trash itself is made");
    let trash = yard.path("trash");
    let second = planned(&yard.json(&[]).0)[1].clone();
    fs::create_dir(&trash).unwrap();
    fs::write(trash.join(&second), "older").unwrap();
    let (stopped, status) = yard.json(&["--execute", "--trash", trash.to_str().unwrap()]);
    assert_eq!((status, strings(&stopped["removed"]).len()), (3, 1));
    assert!(stopped["error"].as_str().unwrap().contains("already holds this name"), "{stopped}");
    assert_eq!(fs::read(trash.join(&second)).unwrap(), b"older");
    assert!(yard.archive().join(&second).exists());
}

#[test]
fn a_second_run_waits_for_nobody() {
    let yard = Yard::new();
    let all = yard.files();
    let archive = Archive::open(yard.archive().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let lock = Lock::take_in(&yard.path("state/walproof"), &archive).unwrap();
    let output = yard.cleanup(&["--execute"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("another cleanup of this archive is running"));
    assert_eq!(yard.files(), all);
    // A dry run harms nobody.
    assert_eq!(yard.cleanup(&[]).status.code(), Some(0));
    drop(lock);
    assert_eq!(yard.cleanup(&["--execute"]).status.code(), Some(0));
}

#[test]
fn what_changed_since_the_plan_stops_it() {
    let kept = "00000001000000000000000A";
    let yard = Yard::new();
    let all = yard.files();
    let (done, _) = yard.execute_after(|| fs::remove_file(yard.archive().join(kept)).unwrap());
    assert!(matches!(&done.failure, Some(ExecuteError::Moved(path)) if path == kept), "{done:?}");
    assert_eq!((done.gone.len(), yard.files().len()), (0, all.len() - 1));

    let yard = Yard::new();
    let (done, _) = yard.execute_after(|| {
        let bytes = fs::read(yard.archive().join(kept)).unwrap();
        fs::write(yard.archive().join(kept), bytes).unwrap();
    });
    assert!(matches!(done.failure, Some(ExecuteError::Moved(_))), "{done:?}");
    assert_eq!(yard.files(), all);

    // What is to go is looked at again when its turn comes.
    let yard = Yard::new();
    let rewritten = "000000010000000000000006";
    let (done, plan) =
        yard.execute_after(|| fs::write(yard.archive().join(rewritten), "somebody's").unwrap());
    let turn = plan.iter().position(|name| name == rewritten).unwrap();
    assert!(turn > 0 && matches!(done.failure, Some(ExecuteError::Stopped { .. })), "{done:?}");
    assert_eq!(done.gone, (0..turn).collect::<Vec<_>>());
    assert!(yard.archive().join(rewritten).exists());

    // The archive goes on growing meanwhile: a new segment, and the one that pg_receivewal is writing.
    let yard = Yard::new();
    let partial = yard.archive().join("00000004000000000000000F.partial");
    fs::write(&partial, [0; 512]).unwrap();
    let (done, plan) = yard.execute_after(|| {
        fs::write(&partial, [0; 1024]).unwrap();
        fs::write(yard.archive().join("000000040000000000000010"), "new").unwrap();
    });
    assert!(done.failure.is_none(), "{done:?}");
    assert_eq!(done.gone.len(), plan.len());
    assert!(yard.archive().join("000000040000000000000010").exists() && partial.exists());
}

/// A dry run promises nothing that carrying out cannot do.
#[test]
fn what_stands_in_the_way_is_told_before_anything_is_done() {
    let yard = Yard::new();
    let all = yard.files();
    let refusal = |options: &[&str], told: &str| {
        for execute in [&[][..], &["--execute"]] {
            let (answer, status) = yard.json(&[options, execute].concat());
            let refused = answer["refused"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
            assert!(status == 1 && refused.contains(told), "{refused}");
            assert_eq!((planned(&answer).len(), yard.files()), (0, all.clone()));
        }
    };
    let file = yard.path("file");
    fs::write(&file, "").unwrap();
    let trash = |path: &Path| format!("--trash={}", path.display());
    refusal(&[&trash(&file)], "is not a directory");
    refusal(&[&trash(&file.join("below"))], "cannot be made");
    assert!(!yard.path("file/below").exists());
    // A link is never followed, and what it leads to is another's.
    let (linked, aside) = (yard.archive().join("000000010000000000000006"), yard.path("aside"));
    fs::rename(&linked, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &linked).unwrap();
    refusal(&[], "000000010000000000000006 would go, but is a symbolic link");
    refusal(&[&trash(&yard.path("trash"))], "is a symbolic link");
    assert!(aside.exists() && linked.is_symlink());
}

#[test]
fn the_trash_of_a_directory_is_a_directory() {
    let yard = Yard::new();
    let (here, all) = (yard.path("here"), yard.files());
    for elsewhere in ["s3://bucket/x", "gs://bucket/x", "file://host/x", ""] {
        let output = yard.cleanup(&["--execute", &format!("--trash={elsewhere}")]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains("--trash"), "{elsewhere}: {told}");
        assert_eq!(yard.files(), all);
    }
    let (done, status) = yard.json(&["--execute", "--trash", &format!("file://{}", here.display())]);
    assert_eq!((status, &done["trash"]), (0, &here.to_str().unwrap().into()));
    assert_eq!(listing(&here), strings(&done["removed"]).into_iter().collect());
}

#[test]
fn how_a_bare_time_is_read_is_told() {
    let yard = Yard::new();
    let options = ["--keep-since", "2026-11-21 09:00:00", "--now", "2026-11-22 09:00:00+01"];
    let (answer, _) = yard.json(&options);
    let since = answer["read_as"]["keep_since"].as_str().unwrap();
    assert!(since.contains("2026-11-21T09:00:00") && since.contains("UTC"), "{since}");
    assert!(answer["read_as"]["now"].as_str().unwrap().contains("2026-11-22T08:00:00"), "{answer:#}");
    let text = String::from_utf8(yard.cleanup(&options).stdout).unwrap();
    assert!(text.contains(&format!("--keep-since is read as {since}")), "{text}");
    assert_eq!(yard.json(&[]).0["read_as"], serde_json::json!({"keep_since": null, "now": null}));
}
