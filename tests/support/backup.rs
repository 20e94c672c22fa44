//! A base backup through the low-level interface, which every version has.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use postgres::SimpleQueryMessage;
use tempfile::TempDir;

use super::{Server, account};

/// Directories of which only the directory itself belongs into a backup.
const EMPTIED: [&str; 8] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

const LEFT_OUT: [&str; 3] = ["postmaster.pid", "postmaster.opts", "backup_label.old"];

/// A base backup: a data directory with its `backup_label`. Its files go when it is dropped.
pub struct Backup {
    directory: TempDir,
    major: u32,
    label: String,
    stop_lsn: String,
}

impl Backup {
    /// The copied data directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The label given to it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The LSN that stopping the backup returned.
    pub fn stop_lsn(&self) -> &str {
        &self.stop_lsn
    }

    /// `START WAL LOCATION` of the label file.
    pub fn start_lsn(&self) -> String {
        let text = fs::read_to_string(self.path().join("backup_label")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: ")).expect("a start");
        line.split(' ').next().expect("an LSN").to_owned()
    }
}

impl Server {
    /// Takes a base backup and waits until the WAL that it needs is archived.
    pub fn backup(&self, label: &str) -> Backup {
        let mut client = self.client();
        let (start, stop) = if self.major() >= 15 {
            (format!("SELECT pg_backup_start('{label}', true)"), "SELECT * FROM pg_backup_stop(true)")
        } else {
            // Not exclusive: the label comes back as text and never lies in the running server's directory.
            (
                format!("SELECT pg_start_backup('{label}', true, false)"),
                "SELECT * FROM pg_stop_backup(false, true)",
            )
        };
        client.batch_execute(&start).unwrap();
        let directory = account::temporary_directory();
        let data = directory.path().join("data");
        copy_tree(self.data(), &data, true);
        let messages = client.simple_query(stop).unwrap();
        let Some(SimpleQueryMessage::Row(row)) =
            messages.iter().find(|message| matches!(message, SimpleQueryMessage::Row(_)))
        else {
            panic!("{stop}: no row")
        };
        let stop_lsn = row.get(0).expect("a stop LSN").to_owned();
        write(&data.join("backup_label"), row.get(1).expect("a label"));
        move_tablespaces(&data, &directory.path().join("tablespaces"));
        Backup { directory, major: self.major(), label: label.into(), stop_lsn }
    }
}

/// Tablespaces of the copy become copies as well; two servers must not share one.
fn move_tablespaces(data: &Path, to: &Path) {
    for entry in fs::read_dir(data.join("pg_tblspc")).unwrap() {
        let link = entry.unwrap().path();
        if !to.exists() {
            account::create_directory(to, 0o700);
        }
        let copy = to.join(link.file_name().unwrap());
        copy_tree(&fs::read_link(&link).unwrap(), &copy, false);
        fs::remove_file(&link).unwrap();
        symlink(&copy, &link).unwrap();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    account::give(path);
}

/// Copies a directory of a server that may be running: a file that vanishes meanwhile is no loss.
pub fn copy_tree(from: &Path, to: &Path, is_data: bool) {
    account::create_directory(to, 0o700);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        if is_data && LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else if kind.is_dir() && is_data && EMPTIED.contains(&name.as_str()) {
            account::create_directory(&target, 0o700);
        } else if kind.is_dir() {
            copy_tree(&source, &target, false);
        } else if kind.is_file() {
            match fs::copy(&source, &target) {
                Ok(_) => account::give(&target),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => panic!("copy {}: {e}", source.display()),
            }
        }
    }
}
