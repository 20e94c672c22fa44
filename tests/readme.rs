//! What the README and the pages in `docs/` show is what the program says, and what they explain is all that it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use walproof::finding::{Code, Severity};
use walproof::recovery::resolve::ProblemCode;

/// Keys of these are names out of the archive, or of parameters and files.
const MAPS: [&str; 3] = ["keep_from", "settings", "files"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Commands and the lines that they are shown to print; "…" stands for whatever follows.
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

/// What the program prints, with caches and state of its own.
fn said(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args(arguments)
        .current_dir(root())
        .env("XDG_CACHE_HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// How many lines of a page's transcripts were compared.
fn compared(name: &str) -> usize {
    let mut compared = 0;
    for (command, shown) in transcripts(&page(name)) {
        let Some(arguments) = command.strip_prefix("walproof ") else { continue };
        let said = said(&arguments.split_whitespace().collect::<Vec<_>>());
        let mut said = said.lines();
        for line in shown.iter().take_while(|line| line.trim() != "…") {
            let found = said.next().unwrap_or_default();
            // The last line of a transcript is empty where another follows.
            assert!(
                settled(found) == settled(line) || line.is_empty(),
                "{name}: {command}\nshown: {line}\nsaid:  {found}"
            );
            compared += usize::from(!line.is_empty());
        }
    }
    compared
}

#[test]
fn the_pages_show_what_the_program_says() {
    for (name, at_least) in [("README.md", 12), ("docs/output.md", 15)] {
        let compared = compared(name);
        assert!(compared >= at_least, "{name}: only {compared} lines");
    }
}

/// The part of a page under the heading `## title`.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let heading = format!("\n## {title}\n");
    let begin = text.find(&heading).unwrap_or_else(|| panic!("there is no section {title}"));
    let rest = &text[begin + heading.len()..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

/// The code in the heading of an entry, if there is something below it.
fn explained_by(entry: &str) -> Option<&str> {
    let (code, text) = entry.strip_prefix('`')?.split_once("`\n")?;
    (!text.trim().is_empty()).then_some(code)
}

/// The codes that a section explains, each under a heading of its own.
fn explained(section: &str) -> Vec<&str> {
    let entries = section.split("### ").skip(1);
    entries.map(|entry| explained_by(entry).unwrap_or_else(|| panic!("### {entry}"))).collect()
}

#[test]
fn every_code_of_findings_and_problems_is_explained() {
    let text = page("docs/findings.md");
    for (title, severity) in
        [("Errors", Severity::Error), ("Warnings", Severity::Warning), ("Info", Severity::Info)]
    {
        let codes = Code::ALL.iter().filter(|code| code.severity() == severity);
        let codes: Vec<&str> = codes.map(|code| code.name()).collect();
        assert_eq!(explained(section(&text, title)), codes, "{title}");
    }
    let problems: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(explained(section(&text, "Problems of resolve")), problems);
}

/// Every key of a document, those of lists' entries too.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                if !MAPS.contains(&key.as_str()) {
                    keys(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_explained() {
    let text = page("docs/output.md");
    let common = [section(&text, "Common keys"), section(&text, "Findings")].concat();
    // What a command shares with another is explained there.
    let asked: [(&str, &[&str], &[&str]); 8] = [
        ("verify", &[], &[]),
        ("timelines", &[], &["verify"]),
        ("find", &["--kind", "drop"], &[]),
        ("resolve", &["--target-xid", "99999"], &[]),
        ("resolve", &["--target-xid", "3139", "--target-timeline", "1"], &[]),
        ("index", &[], &[]),
        ("cleanup", &["--keep-backups", "1"], &["timelines"]),
        ("dump", &["--limit", "1"], &[]),
    ];
    for (command, options, elsewhere) in asked {
        let document = said(&[&[command, "corpus/demo", "--format", "json"][..], options].concat());
        let mut found = BTreeSet::new();
        keys(&serde_json::from_str(&document).unwrap(), &mut found);
        assert!(found.len() > 10, "{command}: {found:?}");
        let own = section(&text, command);
        let places =
            [own, common.as_str()].into_iter().chain(elsewhere.iter().map(|other| section(&text, other)));
        let places: Vec<&str> = places.collect();
        let unexplained = |key: &&String| !places.iter().any(|place| place.contains(&format!("`{key}`")));
        let unexplained: Vec<&String> = found.iter().filter(unexplained).collect();
        assert!(unexplained.is_empty(), "{command}: {unexplained:?}");
    }
}

/// The figures that the README takes from the page on performance are there.
#[test]
fn figures_of_the_readme_are_those_measured() {
    let (readme, measured) = (page("README.md"), page("docs/performance.md"));
    let (_, rest) = readme.split_once("(docs/performance.md)").unwrap();
    let item = rest.split("\n- ").next().unwrap();
    let is_figure = |word: &&str| word.contains('.') && word.parse::<f64>().is_ok();
    let figures: Vec<&str> = item.split([' ', '\n', ',']).filter(is_figure).collect();
    assert!(figures.len() >= 4, "{figures:?}");
    for figure in figures {
        assert!(measured.contains(&format!("| {figure} |")), "{figure} is not in docs/performance.md");
    }
}
