//! What the model says against what real servers did: every recorded answer of every version.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::recorded::{Recording, VERSIONS};
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Options, plan};
use walproof::clock::Clock;
use walproof::recovery::judge::read_xid;
use walproof::recovery::{Library, Prediction, Request, Target, predict, words};
use walproof::scan::Detail;
use walproof::timeline::TimelineTarget;
use walproof::wal::Major;

/// The archive that an answer is about: whole, or damaged as the recording says.
fn damaged_copy(recording: &Recording, kind: &str) -> PathBuf {
    if kind == "archive" {
        return recording.archive();
    }
    let copy = tempfile::tempdir().unwrap().keep();
    for entry in std::fs::read_dir(recording.archive()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    for damage in recording.oracle["damage"].as_array().unwrap() {
        let how = damage["how"].as_str().unwrap();
        if kind != format!("archive_{how}") {
            continue;
        }
        let path = copy.join(damage["segment"].as_str().unwrap());
        if how == "missing" {
            std::fs::remove_file(path).unwrap();
        } else {
            let mut bytes = std::fs::read(&path).unwrap();
            let offset = usize::try_from(damage["offset"].as_u64().unwrap()).unwrap();
            bytes[offset] ^= 1 << damage["bit"].as_u64().unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    copy
}

fn target(answer: &Value, major: Major) -> Target {
    let value = &answer["target"]["value"];
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    match answer["target"]["kind"].as_str().unwrap() {
        "time" => Target::Time(Clock::utc().read(&text).unwrap().time),
        "xid" => Target::Xid(read_xid(&text, major).unwrap()),
        "lsn" => Target::Lsn(text.parse().unwrap()),
        "name" => Target::Name(text),
        "immediate" => Target::Immediate,
        _ => Target::Latest,
    }
}

/// What differs between prediction and reality, in words.
fn differences(prediction: &Prediction<'_>, answer: &Value, request: &Request<'_>) -> Vec<String> {
    let result = &answer["result"];
    let text = |key: &str| result[key].as_str().map(ToOwned::to_owned);
    let fatal = text("fatal").map(|text| text.trim_start_matches("FATAL:  ").to_owned());
    let clock = Clock::utc();
    let stopping = prediction
        .stop
        .as_ref()
        .and_then(|stop| words::stopping(stop, request.target, request.major, &clock));
    let lsn = |key: &str| text(key).map(|text| text.parse::<walproof::wal::Lsn>().unwrap().to_string());
    let reached = prediction.stop.as_ref().filter(|_| prediction.reached_target());
    let mut pairs = vec![
        ("fatal", prediction.fatal.clone(), fatal),
        ("stopping", stopping, text("stopping")),
        ("consistent", prediction.consistent.map(|lsn| lsn.to_string()), lsn("consistent")),
        (
            "last_xact",
            prediction.last_transaction.map(|last| clock.server(last.time)),
            text("last_xact").map(|t| clock.server(clock.read(&t).unwrap().time)),
        ),
        ("end_lsn", prediction.switch_point().map(|lsn| lsn.to_string()), lsn("end_lsn")),
    ];
    if prediction.fatal.is_none() {
        pairs.push((
            "reason",
            Some(words::reason(reached, request.target, request.major, &clock)),
            text("reason"),
        ));
    }
    pairs
        .into_iter()
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(what, ours, theirs)| format!("{what}: predicted {ours:?}, was {theirs:?}"))
        .collect()
}

/// What servers did, in all recordings: `README.md` names the number.
const RECORDED: usize = 904;

/// With every event in a list, or with those of transactions folded up until they are asked for.
fn disagreements(version: &str, detail: Detail) -> (usize, Vec<String>) {
    let recording = Recording::of(version);
    let answers = recording.oracle["answers"].as_array().unwrap();
    let mut wrong = Vec::new();
    for kind in ["archive", "archive_missing", "archive_bitflip"] {
        let directory = damaged_copy(&recording, kind);
        let archive = Archive::open(directory.to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let options = Options { detail, ..Options::default() };
        let plan = plan(&archive, &options).unwrap();
        let library = Library::read(&archive, &plan, &options, &|_| {}).unwrap().unwrap();
        for answer in answers.iter().filter(|answer| answer["archive"] == kind) {
            let backup =
                walproof::backup::load(&recording.backup(answer["backup"].as_str().unwrap())).unwrap();
            let target = target(answer, library.major);
            let asked = answer["target"]["timeline"].as_str();
            let timeline = asked.map_or_else(
                || TimelineTarget::default_for(library.major),
                |text| TimelineTarget::parse(text, library.major).unwrap(),
            );
            let inclusive = answer["target"]["inclusive"].as_bool().unwrap_or(true);
            let clock = Clock::utc();
            let request =
                Request { target: &target, inclusive, timeline, major: library.major, clock: &clock };
            let prediction = predict(&library, &backup[0], &request).unwrap();
            for difference in differences(&prediction, answer, &request) {
                wrong.push(format!(
                    "{version} {kind} {} {}: {difference}",
                    answer["backup"], answer["target"]
                ));
            }
        }
        if directory != recording.archive() {
            let _: &Path = &directory;
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }
    (answers.len(), wrong)
}

#[test]
fn every_recorded_answer_is_predicted() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (version, detail) in VERSIONS.iter().flat_map(|v| [(v, Detail::Ends), (v, Detail::Events)]) {
        let (count, differing) = disagreements(version, detail);
        asked += count;
        wrong.extend(differing);
    }
    assert_eq!(asked, 2 * RECORDED, "answers that were recorded, each asked twice");
    assert!(wrong.is_empty(), "{} of {asked} answers:\n{}", wrong.len(), wrong.join("\n"));
}
