//! The catalog against the archives that servers of every version wrote: it gives back what a scan finds, reads
//! what is new and nothing else, and survives what happens to files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::recorded::{Recording, VERSIONS};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, judge, plan, survey, survey_with};
use walproof::catalog::{Catalog, Keeper};
use walproof::recovery::Library;
use walproof::scan::{Detail, FactStore};

fn walproof(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args(arguments)
        .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .output()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `index` with more arguments; its status and document.
fn index(archive: &Path, catalog: &Path, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["index", text(archive), "--catalog", text(catalog), "--format", "json"];
    arguments.extend(more);
    let output = walproof(&arguments);
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    (output.status.code().unwrap(), document)
}

fn segments(document: &Value) -> [u64; 4] {
    ["total", "scanned", "reused", "removed"]
        .map(|key| document["segments"][key].as_u64().unwrap_or_else(|| panic!("{document}")))
}

/// A copy of an archive that may be changed, and a place for its catalog.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn of(version: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("archive")).unwrap();
        for entry in fs::read_dir(Recording::of(version).archive()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), directory.path().join("archive").join(entry.file_name())).unwrap();
        }
        // A file that was written this very moment is not trusted to stay as it is.
        std::thread::sleep(Duration::from_millis(30));
        Self { directory }
    }

    fn archive(&self) -> PathBuf {
        self.directory.path().join("archive")
    }

    fn catalog(&self) -> PathBuf {
        self.directory.path().join("catalog")
    }

    fn segment_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.archive())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().len() == 24)
            .collect();
        files.sort();
        files
    }
}

fn open(archive: &Path) -> Archive {
    Archive::open(text(archive), LayoutChoice::Auto).unwrap()
}

/// What the catalog gives back is what a scan finds, on every archive, in either detail.
#[test]
fn the_catalog_equals_the_scan() {
    for version in VERSIONS {
        let directory = tempfile::tempdir().unwrap();
        let archive = open(&Recording::of(version).archive());
        let options = Options { detail: Detail::Events, ..Options::default() };
        let plan = plan(&archive, &options).unwrap();
        let scanned = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
        let path = directory.path().join("catalog");
        for run in 0..3 {
            let keeper = Keeper::new(Catalog::open(&path).unwrap()).unwrap();
            let store: Option<&dyn FactStore> = Some(&keeper);
            let kept = Library::read_with(&archive, &plan, &options, store, &|_| {}).unwrap().unwrap();
            assert!(scanned.facts_in_order().eq(kept.facts_in_order()), "{version}, run {run}");
            let summary = Options::default();
            let with = survey_with(&archive, &plan, &summary, store, &|_| {}).unwrap();
            let without = survey(&archive, &plan, &summary, &|_| {}).unwrap();
            assert_eq!(
                judge(&plan, &with, &summary),
                judge(&plan, &without, &summary),
                "{version}, run {run}"
            );
            let tally = keeper.finish(&plan.inventory.entries).unwrap();
            let again = if run == 0 { 0 } else { plan.entries.len() as u64 };
            assert!(tally.reused >= again && (run == 0) == (tally.scanned > 0), "{version}, {tally:?}");
        }
    }
}

#[test]
fn only_what_is_new_or_changed_is_read() {
    let place = Place::of("15");
    let (archive, catalog) = (place.archive(), place.catalog());
    let last = place.segment_files().pop().unwrap();
    let aside = place.directory.path().join("aside");
    fs::rename(&last, &aside).unwrap();
    let (_, first) = index(&archive, &catalog, &[]);
    let total = segments(&first)[0];
    assert_eq!(segments(&first), [total, total, 0, 0]);
    let (_, second) = index(&archive, &catalog, &[]);
    assert_eq!(segments(&second), [total, 0, total, 0]);
    assert_eq!(second["bytes_scanned"], 0);
    for key in ["commits", "aborts", "restore_points", "checkpoints", "findings"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    fs::rename(&aside, &last).unwrap();
    assert_eq!(segments(&index(&archive, &catalog, &[]).1), [total + 1, 1, total, 0]);
    let file = fs::File::options().write(true).open(&last).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(5)).unwrap();
    assert_eq!(segments(&index(&archive, &catalog, &[]).1), [total + 1, 1, total, 0]);
    fs::remove_file(&last).unwrap();
    assert_eq!(segments(&index(&archive, &catalog, &[]).1), [total, 0, total, 1]);
    assert_eq!(segments(&index(&archive, &catalog, &["--rebuild"]).1), [total, total, 0, 0]);
}

/// A damaged file whose copy brought its old size, time and inode along, and a tar of which one byte was changed.
#[test]
fn what_was_written_over_in_place_is_read_again() {
    let place = Place::of("16");
    let (archive, catalog) = (place.archive(), place.catalog());
    let victim = place.segment_files().swap_remove(1);
    let tar = place.directory.path().join("pg_wal.tar");
    let mut builder = tar::Builder::new(fs::File::create(&tar).unwrap());
    for file in place.segment_files() {
        builder.append_path_with_name(&file, file.file_name().unwrap()).unwrap();
    }
    builder.finish().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let tar_catalog = place.directory.path().join("tar.catalog");
    assert_eq!(index(&archive, &catalog, &[]).0, 0);
    // Without its histories it is no whole archive.
    index(&tar, &tar_catalog, &[]);
    let tar_incremental = ["--incremental", "--catalog", text(&tar_catalog)];
    let before = verify(&tar, &tar_incremental);

    let stored = fs::metadata(&victim).unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    bytes[200] ^= 1;
    fs::write(&victim, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&victim).unwrap();
    file.set_modified(stored.modified().unwrap()).unwrap();
    let incremental = ["--incremental", "--catalog", text(&catalog)];
    assert_eq!(verify(&archive, &incremental).0, 1);

    // The same byte of the second member.
    let size = usize::try_from(stored.len()).unwrap();
    let mut bytes = fs::read(&tar).unwrap();
    bytes[512 + size + 512 + 200] ^= 1;
    fs::write(&tar, &bytes).unwrap();
    let after = verify(&tar, &[]);
    assert_ne!(after, before);
    assert_eq!(verify(&tar, &tar_incremental), after);
}

/// The counts are those that verify gives, for every version.
/// `verify` with more arguments: its status, and its document without the time it took.
fn verify(archive: &Path, more: &[&str]) -> (i32, Value) {
    let output = walproof(&[&["verify", text(archive), "--format", "json"], more].concat());
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if let Some(seconds) = document.get_mut("seconds") {
        *seconds = Value::Null;
    }
    (output.status.code().unwrap(), document)
}

#[test]
fn verify_reads_only_what_is_new_and_says_the_same() {
    for version in VERSIONS {
        let place = Place::of(version);
        let (archive, catalog) = (place.archive(), place.catalog());
        let incremental = ["--incremental", "--catalog", text(&catalog)];
        let whole = verify(&archive, &[]);
        assert_eq!(verify(&archive, &incremental), whole, "{version}");
        assert_eq!(segments(&index(&archive, &catalog, &[]).1)[1], 0, "{version}: index reads nothing more");
        assert_eq!(verify(&archive, &incremental), whole, "{version}, from the catalog");

        let damaged = place.segment_files().swap_remove(2);
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[200] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        let whole = verify(&archive, &[]);
        assert_eq!(whole.0, 1, "{version}");
        assert_eq!(verify(&archive, &incremental), whole, "{version}: damage that is new");
        assert_eq!(verify(&archive, &incremental), whole, "{version}: damage that is known");
        fs::remove_dir_all(&archive).unwrap();
        let offline = ["--incremental", "--offline", "--catalog", text(&catalog)];
        let (status, answer) = verify(&archive, &offline);
        assert_eq!(
            (status, &answer["findings"]),
            (1, &whole.1["findings"]),
            "{version}: without the archive"
        );
    }
    let nowhere = Place::of("9.5").catalog();
    assert_eq!(verify(Path::new("."), &["--offline", "--catalog", text(&nowhere)]).0, 3);
    assert_eq!(verify(Path::new("."), &["--incremental", "--no-catalog"]).0, 2);
}

#[test]
fn counts_are_those_of_verify() {
    for version in VERSIONS {
        let place = Place::of(version);
        let (_, document) = index(&place.archive(), &place.catalog(), &[]);
        let output = walproof(&["verify", text(&place.archive()), "--format", "json"]);
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["commits", "aborts"] {
            let timelines = verified["timelines"].as_array().unwrap();
            let sum: u64 = timelines.iter().map(|timeline| timeline[key].as_u64().unwrap()).sum();
            assert_eq!(document[key], sum, "{version}: {key}");
        }
        assert_eq!(document["findings"], verified["findings"], "{version}");
        assert!(document["restore_points"].as_u64() > Some(0) && document["checkpoints"].as_u64() > Some(0));
    }
}

#[test]
fn answers_are_the_same_with_without_and_from_the_catalog_alone() {
    for version in ["9.5", "13", "19"] {
        let place = Place::of(version);
        let (archive, catalog) = (place.archive(), place.catalog());
        let backup = Recording::of(version).backup("b1");
        let ask = |command: &str, more: &[&str]| {
            let mut arguments = vec![command, text(&archive), "--format", "json", "--backup", text(&backup)];
            arguments.extend(more);
            let output = walproof(&arguments);
            let mut document: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
            // Where each record lies is not kept.
            document["replay"]["records"] = Value::Null;
            // How old the catalog is, is told by an answer from it alone.
            document["catalog_updated"] = Value::Null;
            (output.status.code(), document)
        };
        for command in ["resolve", "find", "timelines"] {
            let plain = ask(command, &["--no-catalog"]);
            let first = ask(command, &["--catalog", text(&catalog)]);
            let second = ask(command, &["--catalog", text(&catalog)]);
            assert!(plain == first && first == second, "{version}: {command}");
        }
        fs::rename(&archive, place.directory.path().join("elsewhere")).unwrap();
        let offline = ask("find", &["--catalog", text(&catalog), "--offline"]);
        let resolved = ask("resolve", &["--catalog", text(&catalog), "--offline"]);
        fs::rename(place.directory.path().join("elsewhere"), &archive).unwrap();
        assert_eq!(offline, ask("find", &["--no-catalog"]), "{version}");
        assert_eq!(resolved, ask("resolve", &["--no-catalog"]), "{version}");
    }
}

/// A document without the one key that tells how old the catalog is.
fn without_age(document: &[u8]) -> Value {
    let mut document: Value = serde_json::from_slice(document).unwrap();
    document["catalog_updated"] = Value::Null;
    document
}

/// What a file that is no sound catalog does to each command.
fn spoiled(spoil: impl Fn(&Path)) {
    let place = Place::of("14");
    let (archive, catalog) = (place.archive(), place.catalog());
    let (_, sound) = index(&archive, &catalog, &[]);
    spoil(&catalog);
    let (status, message) = index(&archive, &catalog, &[]);
    assert_eq!(status, 3, "{message}");
    assert!(message.as_str().unwrap().contains("--rebuild"), "{message}");
    let find =
        ["find", text(&archive), "--kind", "restore-point", "--format", "json", "--catalog", text(&catalog)];
    let with = walproof(&find);
    assert_eq!(with.status.code(), Some(0));
    assert!(!with.stderr.is_empty());
    let without = walproof(&[&find[..6], &["--no-catalog"]].concat());
    assert_eq!(with.stdout, without.stdout);
    assert_eq!(walproof(&[&find[..], &["--offline"]].concat()).status.code(), Some(3));
    let (_, rebuilt) = index(&archive, &catalog, &["--rebuild"]);
    for key in ["commits", "aborts", "restore_points", "checkpoints", "findings"] {
        assert_eq!(sound[key], rebuilt[key], "{key}");
    }
    let total = segments(&rebuilt)[0];
    assert_eq!(segments(&index(&archive, &catalog, &[]).1), [total, 0, total, 0]);
}

#[test]
fn a_catalog_of_a_newer_version_is_left_alone() {
    spoiled(|catalog| {
        let connection = rusqlite::Connection::open(catalog).unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
    });
}

#[test]
fn a_truncated_catalog_is_told() {
    spoiled(|catalog| {
        let file = fs::File::options().write(true).open(catalog).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
}

#[test]
fn a_catalog_with_a_wrong_row_is_told() {
    spoiled(|catalog| {
        let connection = rusqlite::Connection::open(catalog).unwrap();
        connection.execute("UPDATE file SET commits = commits + 1 WHERE id = 2", []).unwrap();
    });
}

#[test]
fn a_catalog_with_wrong_facts_is_told() {
    spoiled(|catalog| {
        let connection = rusqlite::Connection::open(catalog).unwrap();
        connection.execute("UPDATE block SET facts = zeroblob(length(facts)) WHERE file = 2", []).unwrap();
    });
}

#[test]
fn bytes_that_are_no_catalog_are_told() {
    spoiled(|catalog| fs::write(catalog, [0x5A; 8192]).unwrap());
}

/// Killed at any moment, a run leaves a catalog that the next one goes on with.
#[test]
fn a_killed_run_leaves_a_catalog_that_can_be_used() {
    let place = Place::of("16");
    let (archive, catalog) = (place.archive(), place.catalog());
    for milliseconds in [1, 5, 10, 20, 30, 45, 60, 90, 130, 200] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_walproof"))
            .args(["index", text(&archive), "--catalog", text(&catalog), "--rebuild", "--format", "json"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let (status, document) = index(&archive, &catalog, &[]);
        assert!(status <= 1, "{document}");
        let [total, scanned, reused, _] = segments(&document);
        assert_eq!(scanned + reused, total);
        let (_, fresh) = index(&archive, &place.directory.path().join("fresh"), &["--rebuild"]);
        assert_eq!(document["commits"], fresh["commits"]);
    }
}

/// Runs walproof where no file can grow beyond so many blocks of 1024 bytes: as on a disk that fills up.
fn on_a_full_disk(blocks: usize, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let walproof = ["-c", &script, "bash", env!("CARGO_BIN_EXE_walproof")];
    Command::new("bash").args(walproof).args(arguments).output().unwrap()
}

#[test]
fn a_full_disk_costs_the_catalog_and_nothing_else() {
    let place = Place::of("14");
    let (archive, catalog) = (place.archive(), place.catalog());
    let whole = walproof(&["find", text(&archive), "--no-catalog", "--format", "json"]).stdout;
    let mut full = 0;
    for blocks in [0, 1, 8, 30, 60, 90, 150, 300, 1000] {
        let arguments = ["index", text(&archive), "--catalog", text(&catalog), "--rebuild"];
        let output = on_a_full_disk(blocks, &arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{blocks}: {told}");
        if output.status.code() == Some(3) {
            full += 1;
            assert!(told.contains("catalog"), "{blocks}: {told}");
        }
        let arguments = ["find", text(&archive), "--catalog", text(&catalog), "--format", "json"];
        let found = on_a_full_disk(blocks, &arguments);
        assert!(found.stdout == whole, "{blocks}: {}", String::from_utf8_lossy(&found.stderr));
        let (status, document) = index(&archive, &catalog, &[]);
        assert_eq!(status, 0, "{blocks}: {document}");
        let offline = ["find", text(&archive), "--catalog", text(&catalog), "--offline", "--format", "json"];
        assert!(without_age(&walproof(&offline).stdout) == without_age(&whole), "{blocks}");
    }
    assert!(full > 2, "the disk was never full");
}

#[test]
fn several_runs_at_once_agree() {
    let place = Place::of("17");
    let (archive, catalog) = (place.archive(), place.catalog());
    let documents: Vec<(i32, Value)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| index(&archive, &catalog, &[]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (status, document) in &documents {
        assert!(*status <= 1, "{document}");
        assert_eq!(document["commits"], documents[0].1["commits"]);
    }
    let total = segments(&documents[0].1)[0];
    assert_eq!(segments(&index(&archive, &catalog, &[]).1), [total, 0, total, 0]);
}

/// Two catalogs of parts are, merged, what one run over the whole has written.
#[test]
fn parts_merge_into_the_whole() {
    let place = Place::of("12");
    let (_, whole) = index(&place.archive(), &place.catalog(), &[]);
    let parts: Vec<PathBuf> = (0..2).map(|part| place.directory.path().join(format!("part{part}"))).collect();
    for (number, path) in place.segment_files().iter().enumerate() {
        let part = &parts[usize::from(number > 4)];
        fs::create_dir_all(part).unwrap();
        fs::copy(path, part.join(path.file_name().unwrap())).unwrap();
    }
    for entry in fs::read_dir(place.archive()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().contains('.') {
            for part in &parts {
                fs::copy(entry.path(), part.join(entry.file_name())).unwrap();
            }
        }
    }
    std::thread::sleep(Duration::from_millis(30));
    let catalogs: Vec<PathBuf> = parts.iter().map(|part| part.with_extension("catalog")).collect();
    for (part, catalog) in parts.iter().zip(&catalogs) {
        index(part, catalog, &[]);
    }
    let merged = place.directory.path().join("merged");
    let output = walproof(&[
        "index",
        "--merge",
        text(&catalogs[0]),
        text(&catalogs[1]),
        "-o",
        text(&merged),
        "--format",
        "json",
    ]);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    for key in ["commits", "aborts", "restore_points", "checkpoints", "findings"] {
        assert_eq!(document[key], whole[key], "{key}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let place = Place::of("18");
    let catalog = Path::new("/dev/null/catalog");
    let output =
        walproof(&["find", text(&place.archive()), "--kind", "restore-point", "--catalog", text(catalog)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(index(&place.archive(), catalog, &[]).0, 3);
}

/// One pass: what lies in records across the ends of files is found from the facts of both, not from their bytes again.
/// The kernel adds up what a shell's children have read.
#[test]
fn an_index_reads_each_byte_once() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
    let folder = tempfile::tempdir().unwrap();
    let script = r#""$0" index "$1" --catalog "$2" --quiet >&2 && cat "/proc/$$/io""#;
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_walproof"),
        text(&archive),
        text(&folder.path().join("c")),
    ]);
    let output = shell.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let read: u64 = told.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap();
    let stored: u64 =
        fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!((stored..stored + (1 << 20)).contains(&read), "{read} bytes read of {stored}");
}
