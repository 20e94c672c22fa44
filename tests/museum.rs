//! The museum of damage: a recorded archive with one wound each, and the report that is expected of it, as text and as
//! JSON. `corpus/museum/README.md` is its catalogue.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test --test museum`, and read the difference.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use support::replica::Replica;
use support::wounds::WOUNDS;

fn museum() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/museum"))
}

#[test]
fn each_report_is_as_expected() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(museum());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for wound in WOUNDS {
        let archive = Replica::of("14");
        (wound.inflict)(&archive);
        let mut json = archive.verify(&[]).json;
        json["seconds"] = 0.into();
        settings.set_description(wound.what);
        let _guard = settings.bind_to_scope();
        insta::assert_snapshot!(format!("{}.text", wound.name), archive.report());
        insta::assert_snapshot!(format!("{}.json", wound.name), serde_json::to_string_pretty(&json).unwrap());
    }
}

/// The catalogue lists every exhibit, and nothing else.
#[test]
fn the_catalogue_is_complete() {
    let text = std::fs::read_to_string(museum().join("README.md")).unwrap();
    let mut list = String::new();
    for wound in WOUNDS {
        let told: Vec<&str> = wound.errors.iter().chain(wound.warnings).copied().collect();
        let codes: Vec<&str> = told.iter().filter_map(|told| told.split(' ').next()).collect();
        let codes = if codes.is_empty() { "ok".to_owned() } else { codes.join(", ") };
        writeln!(list, "| `{}` | {} | {codes} |", wound.name, wound.what).unwrap();
    }
    assert!(text.contains(&list), "corpus/museum/README.md should list:\n{list}");
    let mut expected: Vec<String> = WOUNDS
        .iter()
        .flat_map(|wound| ["json", "text"].map(|kind| format!("{}.{kind}.snap", wound.name)))
        .collect();
    expected.push("README.md".to_owned());
    expected.sort();
    let entries = std::fs::read_dir(museum()).unwrap();
    let mut found: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.retain(|name| !name.ends_with(".snap.new"));
    found.sort();
    assert_eq!(found, expected);
}
