//! Real recoveries: a copy of a backup, an archive, a target, and what the server made of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::backup::copy_tree;
use super::{Backup, Server, account};

/// A recovery to run: see [`Recovery::of`].
pub struct Recovery {
    major: u32,
    backup: PathBuf,
    archive: PathBuf,
    archive_on: bool,
    hot_standby: bool,
    settings: Vec<(String, String)>,
}

/// What became of a recovery.
pub struct Recovered {
    /// The promoted server; `None` when it gave up.
    pub server: Option<Server>,
    /// All that the server logged.
    pub log: String,
}

impl Recovered {
    /// The promoted server; a test ends here when it gave up.
    pub fn promoted(self) -> Server {
        self.server.unwrap_or_else(|| panic!("recovery failed:\n{}", self.log))
    }

    /// The text after the first line's `marker`, for example `recovery stopping `.
    pub fn logged(&self, marker: &str) -> Option<&str> {
        self.log.lines().find_map(|line| line.split_once(marker)).map(|(_, rest)| rest)
    }

    /// The server's last words, without `FATAL:  `.
    pub fn fatal(&self) -> Option<&str> {
        self.logged("FATAL:  ")
    }
}

impl Recovery {
    /// A recovery of the backup from the archive, which the recovered server leaves alone.
    pub fn of(backup: &Backup, archive: &Path) -> Self {
        Self::of_directory(backup.major(), &backup.path(), archive)
    }

    /// The same for a data directory that no [`Backup`] stands for.
    pub fn of_directory(major: u32, backup: &Path, archive: &Path) -> Self {
        Self {
            major,
            backup: backup.into(),
            archive: archive.into(),
            archive_on: false,
            hot_standby: false,
            settings: vec![("recovery_target_action".into(), "promote".into())],
        }
    }

    /// One recovery setting; it goes into the file that this version reads.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Lets the recovered server archive into the archive that it came from: a fork.
    pub fn keep_archiving(mut self) -> Self {
        self.archive_on = true;
        self
    }

    /// With `hot_standby`, as servers have it from 10 on if nobody says otherwise. Without it a server answers only once
    /// recovery is over.
    pub fn hot_standby(mut self) -> Self {
        self.hot_standby = true;
        self
    }

    /// Runs the recovery to its end: a promoted server, or one that gave up.
    pub fn run(mut self) -> Recovered {
        let directory = account::temporary_directory();
        let data = directory.path().join("data");
        copy_tree(&self.backup, &data, true);
        for name in ["recovery.conf", "recovery.signal", "recovery.done"] {
            let _ = fs::remove_file(data.join(name));
        }
        if self.settings.iter().all(|(name, _)| name != "restore_command") {
            let command = format!("cp {}/%f %p", self.archive.display());
            self.settings.push(("restore_command".into(), command));
        }
        forget_settings(&data);
        let in_configuration = self.place_settings(&data);
        let archive = self.archive_on.then_some(self.archive.as_path());
        let mut server = Server::on_existing(self.major, directory, data, archive, &in_configuration);
        let up = server.comes_up() && server.gets_promoted();
        let log = server.log();
        Recovered { server: up.then_some(server), log }
    }

    /// Up to version 11 recovery has a file of its own; later its settings are the server's.
    fn place_settings(&self, data: &Path) -> Vec<(String, String)> {
        let hot_standby = if self.hot_standby { "on" } else { "off" };
        let mut settings = vec![("hot_standby".to_owned(), hot_standby.to_owned())];
        let file = if self.major >= 12 { "recovery.signal" } else { "recovery.conf" };
        let mut lines = Vec::new();
        if self.major >= 12 {
            settings.extend(self.settings.iter().cloned());
        } else {
            let line =
                |(name, value): &(String, String)| format!("{name} = '{}'\n", value.replace('\'', "''"));
            lines.extend(self.settings.iter().map(line));
        }
        fs::write(data.join(file), lines.concat()).unwrap();
        account::give(&data.join(file));
        settings
    }
}

/// The backup may come from a server that was recovered itself.
fn forget_settings(data: &Path) {
    let path = data.join("postgresql.conf");
    let text = fs::read_to_string(&path).unwrap();
    let ours = |line: &&str| !line.starts_with("recovery_target") && !line.starts_with("restore_command");
    fs::write(&path, text.lines().filter(ours).collect::<Vec<_>>().join("\n") + "\n").unwrap();
}
