//! What a backup holds already when its replay begins, and how much of that the archive shows.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn ask(arguments: &[&str], archive: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
    command.args(arguments).arg(archive).args(["--format", "json", "--no-catalog"]).env("TZ", "UTC");
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

fn at(time: &str, archive: &Path) -> (bool, Vec<String>) {
    let answer = ask(&["resolve", "--target-timeline", "1", "--target-time", time], archive);
    let problems = answer["problems"].as_array().unwrap().iter();
    let codes = problems.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect();
    (answer["feasible"].as_bool().unwrap(), codes)
}

/// The backup's checkpoint is of 12:01:04, to the second; the last commit in front of it is of 12:01:04.809989.
#[test]
fn the_second_of_a_checkpoint_is_in_doubt_where_the_wal_in_front_of_it_is_gone() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
    let folder = tempfile::tempdir().unwrap();
    let earliest = |archive: &Path| ask(&["timelines"], archive)["windows"][0]["earliest_time"].clone();
    let too_early = (false, vec!["target-before-backup".to_owned()]);
    let fine = (true, Vec::new());

    assert_eq!(earliest(&demo), "2026-11-21T12:01:04.809989+00:00");
    assert_eq!(at("2026-11-21 12:01:04.3", &demo), too_early, "the backup holds commits of .57 and later");
    assert_eq!(at("2026-11-21 12:01:04.809989", &demo), fine);

    for entry in fs::read_dir(&demo).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("000000010000000000000005") {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let cut = folder.path();
    assert_eq!(earliest(cut), "2026-11-21T12:01:05.000000+00:00");
    assert_eq!(at("2026-11-21 12:01:04.3", cut), too_early, "nothing shows that nothing was committed");
    assert_eq!(at("2026-11-21 12:01:04.9", cut), too_early, "nor here, although nothing was");
    assert_eq!(at("2026-11-21 12:01:05", cut), fine);
}
