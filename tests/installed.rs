//! What is installed beside the program: completions and manual pages.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

const COMMANDS: [&str; 8] =
    ["verify", "find", "dump", "timelines", "index", "resolve", "cleanup", "pg_archivecleanup"];

#[test]
fn each_command_is_completed_and_has_a_page() {
    let run =
        |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_walproof")).args(arguments).output().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && COMMANDS.iter().all(|name| script.contains(name)), "{shell}");
    }
    assert_eq!(run(&["completions", "no-shell"]).status.code(), Some(2));
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    assert_eq!(run(&["man", place]).status.code(), Some(0));
    for name in COMMANDS {
        let page = fs::read_to_string(directory.path().join(format!("walproof-{name}.1"))).unwrap();
        assert!(page.contains("SYNOPSIS"), "{name}");
    }
    assert_eq!(run(&["man", "/no/such/directory"]).status.code(), Some(3));
}
