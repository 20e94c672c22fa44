//! What the README shows is what the program says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// Commands of the README and the lines that they are shown to print; "…" stands for whatever follows.
fn transcripts(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut in_console = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) {
            found.push((command.to_owned(), Vec::new()));
        } else if in_console {
            found.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    found
}

/// Without what differs from run to run: the time it took.
fn settled(line: &str) -> &str {
    line.rsplit_once(" in ").filter(|(_, rest)| rest.ends_with(" s")).map_or(line, |(before, _)| before)
}

#[test]
fn the_readme_shows_what_the_program_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (command, shown) in transcripts(&text) {
        let arguments = command.strip_prefix("walproof ").or(command.strip_prefix("cargo run --release -- "));
        let Some(arguments) = arguments else { continue };
        let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
            .args(arguments.split_whitespace())
            .current_dir(root)
            .env("XDG_CACHE_HOME", cache.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut said = said.lines();
        for line in shown.iter().take_while(|line| line.trim() != "…") {
            let found = said.next().unwrap_or_default();
            // The last line of a transcript is empty where another follows.
            assert!(
                settled(found) == settled(line) || line.is_empty(),
                "{command}\nshown: {line}\nsaid:  {found}"
            );
            compared += usize::from(!line.is_empty());
        }
    }
    assert!(compared > 10, "only {compared} lines");
}
