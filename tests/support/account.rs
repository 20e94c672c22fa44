//! PostgreSQL refuses to run as root. Tests run by root hand servers to the user `postgres`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    effective_uid() == 0
}

fn effective_uid() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a Uid line");
    line.split_whitespace().nth(1).expect("an effective uid").parse().expect("a number")
}

/// The account that servers run under: none when it is the tests' own.
fn account() -> Option<Account> {
    static ACCOUNT: OnceLock<Option<Account>> = OnceLock::new();
    *ACCOUNT.get_or_init(|| {
        if !is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
        let line = passwd.lines().find(|line| line.starts_with("postgres:"));
        let mut fields = line.expect("no user postgres: run tests/setup").split(':').skip(2);
        let mut next =
            || fields.next().and_then(|field| field.parse().ok()).expect("a number in /etc/passwd");
        Some(Account { uid: next(), gid: next() })
    })
}

/// A command that runs as the servers' account, in the C locale and without `PG*` variables.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    if let Some(Account { uid, gid }) = account() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Gives one file or directory to the servers' account.
pub fn give(path: &Path) {
    if let Some(Account { uid, gid }) = account() {
        chown(path, Some(uid), Some(gid)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
    }
}

/// A temporary directory that servers can use. The path is short: a socket's name has 107 bytes at most.
pub fn temporary_directory() -> TempDir {
    let directory =
        tempfile::Builder::new().prefix("walproof-").tempdir_in("/tmp").expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("own directory");
    give(directory.path());
    directory
}

/// Makes a directory that belongs to the servers' account.
pub fn create_directory(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own directory");
    give(path);
}
