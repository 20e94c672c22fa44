//! What was accepted by `ack` is what was found then, and nothing that came later in the same place.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::asked::asked;
use support::recorded::Recording;

const LOST: &str = "000000010000000000000007";

struct Yard(tempfile::TempDir);

impl Yard {
    fn of(version: &str) -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        yard.fill(version);
        yard
    }

    fn fill(&self, version: &str) {
        fs::create_dir_all(self.root()).unwrap();
        for entry in fs::read_dir(Recording::of(version).archive()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, self.root().join(path.file_name().unwrap())).unwrap();
        }
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("archive")
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.root().join(name), bytes).unwrap();
    }

    fn ack(&self, segment: &str) {
        asked("ack", &self.root(), &self.state(), &["--segment", segment, "--reason", "known"]);
    }

    /// Codes of the errors that nobody accepted, and of what was.
    fn told(&self) -> (Vec<String>, Vec<String>) {
        let answer = asked("verify", &self.root(), &self.state(), &[]);
        let findings = answer["findings"].as_array().unwrap();
        let codes = |wanted: &dyn Fn(&Value) -> bool| {
            let codes = findings.iter().filter(|finding| wanted(finding)).map(|finding| &finding["code"]);
            codes.map(|code| code.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        (codes(&|finding| finding["severity"] == "error"), codes(&|finding| finding["acknowledged"] == true))
    }
}

fn segment(version: &str, name: &str) -> Vec<u8> {
    fs::read(Recording::of(version).archive().join(name)).unwrap()
}

fn baseline(state: &Path) -> PathBuf {
    let mut files = fs::read_dir(state.join("walproof")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_str().unwrap().ends_with("baseline.json")).unwrap()
}

#[test]
fn a_broken_copy_beside_a_good_one_is_not_the_loss_of_the_good_one() {
    let yard = Yard::of("16");
    yard.put(&format!("{LOST}.gz"), b"\x1F\x8B\x08\x00 no gzip");
    assert_eq!(yard.told().0, ["unreadable"]);
    yard.ack(LOST);
    assert_eq!(yard.told(), (vec![], vec!["unreadable".to_owned()]));
    fs::remove_file(yard.root().join(LOST)).unwrap();
    assert!(yard.told().0.contains(&"unreadable".to_owned()), "{:?}", yard.told());
}

#[test]
fn more_of_another_cluster_s_segments_is_news() {
    let yard = Yard::of("16");
    for name in [LOST, "000000010000000000000009"] {
        yard.put(name, &segment("15", name));
    }
    let foreign = "foreign-cluster".to_owned();
    assert!(yard.told().0.contains(&foreign), "{:?}", yard.told());
    yard.ack(LOST);
    assert!(yard.told().1.contains(&foreign), "{:?}", yard.told());
    let more = "00000001000000000000000B";
    yard.put(more, &segment("15", more));
    assert!(yard.told().0.contains(&foreign), "{:?}", yard.told());
}

#[test]
fn another_cluster_in_the_same_place_has_losses_of_its_own() {
    let yard = Yard::of("16");
    fs::remove_file(yard.root().join(LOST)).unwrap();
    yard.ack(LOST);
    assert_eq!(yard.told(), (vec![], vec!["segment-missing".to_owned()]));
    fs::remove_dir_all(yard.root()).unwrap();
    yard.fill("15");
    fs::remove_file(yard.root().join(LOST)).unwrap();
    assert_eq!(yard.told(), (vec!["segment-missing".to_owned()], vec![]));
    // Each has its own.
    yard.ack(LOST);
    assert_eq!(yard.told().0, Vec::<String>::new());
    fs::remove_dir_all(yard.root()).unwrap();
    yard.fill("16");
    fs::remove_file(yard.root().join(LOST)).unwrap();
    assert_eq!(yard.told().0, Vec::<String>::new());
}

#[test]
fn a_wrong_magic_is_not_a_file_of_noise() {
    let yard = Yard::of("16");
    let mut bytes = segment("16", LOST);
    bytes[..2].copy_from_slice(&[0, 0]);
    yard.put(LOST, &bytes);
    assert_eq!(yard.told().0, ["page-magic"]);
    yard.ack(LOST);
    assert_eq!(yard.told().0, Vec::<String>::new());
    let mut state = 1_u32;
    for byte in &mut bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    yard.put(LOST, &bytes);
    assert!(!yard.told().0.is_empty());
}

/// Written before clusters and findings were remembered, it holds for what it names.
#[test]
fn an_older_baseline_still_holds() {
    let yard = Yard::of("16");
    fs::remove_file(yard.root().join(LOST)).unwrap();
    yard.ack(LOST);
    let path = baseline(&yard.state());
    let mut known: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entry = known["accepted"][0].as_object_mut().unwrap();
    assert!(entry.remove("system_identifier").is_some());
    entry.remove("digests");
    fs::write(&path, known.to_string()).unwrap();
    assert_eq!(yard.told().0, Vec::<String>::new());
    fs::remove_file(yard.root().join("000000010000000000000008")).unwrap();
    assert_eq!(yard.told().0, ["segment-missing"], "a longer gap");
}
