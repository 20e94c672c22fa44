//! What the program answers about an archive whose baseline is kept beside it, without a catalog.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The document that `command` prints; its baseline is in `state`.
pub fn asked(command: &str, archive: &Path, state: &Path, options: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .arg(command)
        .arg(archive)
        .args(options)
        .args(["--format", "json", "--no-catalog"])
        .env("XDG_STATE_HOME", state)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{command} {options:?}: {said}"))
}

/// What a cleanup that is not refused takes.
pub fn removed(cleanup: &Value) -> Vec<String> {
    assert_eq!(cleanup["refused"], Value::Null, "{cleanup:#}");
    let names = cleanup["remove"].as_array().unwrap().iter();
    names.map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}
