//! What walproof answers about an archive, without what differs between two places and two runs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The backup that every answer is about. Some layouts tell of others, which the plain directory knows nothing of.
pub const BACKUP: &str = "the one";

/// Keys that speak of the place, of the run, or of other backups.
const OF_THE_PLACE: [&str; 9] = [
    "archive",
    "seconds",
    "settings",
    "files",
    "rejected_backups",
    "catalog",
    "catalog_bytes",
    "catalog_updated",
    "message",
];

fn ask(command: &str, location: &str, arguments: &[&str], variables: &[(String, String)]) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
    program.arg(command).arg(location).args(["--format", "json"]).args(arguments);
    let output = program.envs(variables.iter().cloned()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{command} {location} {arguments:?}: {told}");
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = answer.as_object_mut().unwrap();
    for key in OF_THE_PLACE {
        keys.remove(key);
    }
    if let Some(windows) = keys.get_mut("windows").and_then(Value::as_array_mut) {
        windows.retain(|window| window["backup"] == BACKUP);
        assert!(!windows.is_empty(), "{command} {location}");
    }
    if let Some(backup) = keys.get_mut("backup").and_then(Value::as_object_mut) {
        backup.remove("source");
    }
    answer
}

/// The answers of every command that reads an archive, in a fixed order.
pub fn answers(location: &str, backup: &Path, variables: &[(String, String)]) -> Vec<Value> {
    let backup = backup.to_str().unwrap();
    let catalog = tempfile::tempdir().unwrap();
    let catalog = catalog.path().join("catalog").display().to_string();
    let mut answers = vec![
        ask("verify", location, &[], variables),
        ask("timelines", location, &["--backup", backup, "--no-catalog"], variables),
        ask("index", location, &["--catalog", &catalog], variables),
        ask("find", location, &["--catalog", &catalog, "--offline"], variables),
    ];
    let commits = answers[3]["events"].as_array().unwrap().clone();
    let commits: Vec<&Value> = commits.iter().filter(|event| event["kind"] == "commit").collect();
    assert!(commits.len() > 100, "{location}: {} commits", commits.len());
    let about = commits[commits.len() / 2];
    let (xid, lsn) = (about["xid"].to_string(), about["lsn"].as_str().unwrap());
    let time = about["time"].as_str().unwrap();
    for target in [
        vec!["--target-latest"],
        vec!["--target-xid", &xid, "--exclusive"],
        vec!["--target-time", time],
        vec!["--target-lsn", lsn],
        vec!["--target-immediate"],
        vec!["--target-xid", "4000000000"],
    ] {
        let about = ["--backup", backup, "--backup-label", BACKUP, "--no-catalog"];
        answers.push(ask("resolve", location, &[&about[..], &target].concat(), variables));
    }
    assert_eq!(answers[4]["feasible"], true, "{:#}", answers[4]);
    answers
}
