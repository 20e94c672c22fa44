//! Every seed of the fuzz targets, and every input that once broke something, as an ordinary test.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

fn replay(folder: &Path, target: targets::Target) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        let input = fs::read(path).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{} does harm", path.display());
    }
    paths.len()
}

#[test]
fn inputs_of_every_target_do_no_harm() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in targets::TARGETS {
        assert!(replay(&fuzz.join("seeds").join(name), target) > 0, "{name} has no seeds");
        replay(&fuzz.join("regressions").join(name), target);
        target(b"");
    }
}
