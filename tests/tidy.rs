//! The house style that no compiler knows: what must not stand in a file, and how files are kept.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not ours to judge: build output, version control, recorded bytes.
const SKIPPED: [&str; 8] = [
    ".git",
    "target",
    "corpus",
    "fuzz/artifacts",
    "fuzz/corpus",
    "fuzz/regressions",
    "fuzz/seeds",
    "fuzz/target",
];

/// What no text file may contain, in two halves so that this list does not find itself.
const BANNED: [(&str, &str, &str); 11] = [
    ("/wo", "rk/", "a path of one machine"),
    ("/tmp/ora", "cle", "a path of one machine"),
    ("/ro", "ot/.", "a path of one machine"),
    ("registry.npm", "js.org", "a registry's host: use its ordinary client"),
    ("pythonhos", "ted.org", "a registry's host: use its ordinary client"),
    ("static.crates", ".io", "a registry's host: use its ordinary client"),
    ("TO", "DO", "an unfinished thought: finish it or write an issue"),
    ("FIX", "ME", "an unfinished thought: finish it or write an issue"),
    ("todo", "!(", "a stub"),
    ("dbg", "!(", "left over from debugging"),
    ("#[ign", "ore", "a test that does not run"),
];

/// A source file longer than this does more than one job.
const MAX_LINES: usize = 500;

fn files_below(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap();
        if SKIPPED.iter().any(|skipped| name == Path::new(skipped)) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files_below(root, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every text file of the project with its path from the root, in order.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files_below(root, root, &mut found);
    found.sort();
    found
        .into_iter()
        .filter_map(|path| {
            let text = String::from_utf8(fs::read(&path).unwrap()).ok()?;
            Some((path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text))
        })
        .collect()
}

fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn nothing_banned() {
    let mut complaints = Vec::new();
    for (name, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for (head, tail, why) in BANNED {
                if line.contains(&format!("{head}{tail}")) {
                    complaints.push(format!("{name}:{}: `{head}{tail}` is {why}", number + 1));
                }
            }
        }
    }
    complain(&complaints);
}

#[test]
fn text_is_clean() {
    let mut complaints = Vec::new();
    for (name, text) in texts() {
        // Snapshots hold a program's output as it is.
        if name.contains("/snapshots/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            if line.ends_with([' ', '\t', '\r']) {
                complaints.push(format!("{place}: white space at the end"));
            }
            if line.contains(|c: char| c.is_control() && c != '\t') {
                complaints.push(format!("{place}: a control character"));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            complaints.push(format!("{name}: no newline at the end"));
        }
    }
    complain(&complaints);
}

#[test]
fn sources_say_what_they_are_and_stay_small() {
    let mut complaints = Vec::new();
    for (name, text) in texts() {
        // A module's tests may live beside it, under the name of their module.
        let source = Path::new(&name).extension().is_some_and(|extension| extension == "rs");
        if !name.starts_with("src/") || !source || name.ends_with("tests.rs") {
            continue;
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{name}: does not open with what it is (`//!`)"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            complaints.push(format!("{name}: {lines} lines; at most {MAX_LINES}"));
        }
    }
    complain(&complaints);
}
