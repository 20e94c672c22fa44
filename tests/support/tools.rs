//! Where `tests/setup` put the servers and tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::account;

/// The major versions that can be started here; archives of 9.5, 9.6 and 19 are recorded ones.
pub const STARTABLE: [u32; 9] = [10, 11, 12, 13, 14, 15, 16, 17, 18];

/// The major versions whose `pg_waldump` and other tools are here.
pub const WITH_TOOLS: [u32; 3] = [15, 16, 17];

/// The directory of the tools, by the rule that `tests/setup` follows too.
pub fn directory() -> PathBuf {
    if let Some(set) = std::env::var_os("WALPROOF_TOOLS").filter(|set| !set.is_empty()) {
        return set.into();
    }
    if account::is_root() {
        return "/var/cache/walproof/tools".into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|set| !set.is_empty()).map_or_else(
        || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    cache.join("walproof/tools")
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

/// A program of PostgreSQL's major version `major`, for example `postgres` or `pg_waldump`.
pub fn program(major: u32, name: &str) -> PathBuf {
    existing(directory().join(format!("pg/{major}/bin/{name}")))
}

/// SeaweedFS, which serves S3.
pub fn weed() -> PathBuf {
    existing(directory().join("s3/weed"))
}

/// Azurite's blob service, a program for Node.
pub fn azurite() -> PathBuf {
    existing(directory().join("azure/node_modules/azurite/dist/src/blob/main.js"))
}

/// Perl modules of PostgreSQL's own test suites.
pub fn tap_modules() -> PathBuf {
    existing(directory().join("tap/perl"))
}

/// Runs a command to its end; a failure shows what it said.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
