//! Recovery settings as files that a server of each version accepts.
//!
//! Up to 11 that is `recovery.conf`. From 12 it is lines for `postgresql.auto.conf`, and an empty `recovery.signal`.
//! Whatever is in a restore point's name, a path or a command comes out of the server's parser as it went in.
//!
//! PostgreSQL: `src/backend/utils/misc/guc-file.l` (the quoting), `src/backend/access/transam/xlog.c`
//! (`RECOVERY_COMMAND_FILE`), `src/include/access/xlog.h` (`RECOVERY_SIGNAL_FILE`).

use super::conf::Conf;
use super::judge::{Action, TargetSetting};
use crate::timeline::TimelineTarget;
use crate::wal::{Major, byte_text};
use indexmap::IndexMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is to be recovered, to be written as settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted<'a> {
    /// Where to stop; `None`: at the end of WAL. A time must carry its offset.
    pub target: Option<&'a TargetSetting>,
    /// Stop after the target rather than before it.
    pub inclusive: bool,
    /// Which timeline to follow.
    pub timeline: TimelineTarget,
    /// What to do at the target.
    pub action: Action,
    /// How the server gets a WAL file.
    pub restore_command: Option<&'a str>,
}

/// The settings cannot be written for a version, or not at all.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A target that the version does not have.
    #[error("PostgreSQL {major} has no recovery_target_lsn: it came with 10")]
    NoLsnTarget {
        /// The version.
        major: Major,
    },
    /// A zero byte cannot stand in any setting.
    #[error("{name} holds a zero byte")]
    ZeroByte {
        /// The setting.
        name: String,
    },
    /// A file is there already, and in a postgresql.auto.conf recovery settings are.
    #[error("{} exists and tells of a recovery: it is not changed without --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The settings by name, in the order in which they are written.
pub fn settings(wanted: &Wanted<'_>, major: Major) -> Result<IndexMap<String, String>, SettingsError> {
    let mut map = IndexMap::new();
    let mut set = |name: &str, value: String| {
        if value.contains('\0') {
            return Err(SettingsError::ZeroByte { name: name.to_owned() });
        }
        map.insert(name.to_owned(), value);
        Ok(())
    };
    if let Some(command) = wanted.restore_command {
        set("restore_command", command.to_owned())?;
    }
    match wanted.target {
        None => {}
        Some(TargetSetting::Time(time)) => set("recovery_target_time", time.clone())?,
        Some(TargetSetting::Xid(xid)) => set("recovery_target_xid", xid.to_string())?,
        Some(TargetSetting::Lsn(_)) if major < Major::V10 => {
            return Err(SettingsError::NoLsnTarget { major });
        }
        Some(TargetSetting::Lsn(lsn)) => set("recovery_target_lsn", lsn.to_string())?,
        Some(TargetSetting::Name(name)) => set("recovery_target_name", name.clone())?,
        Some(TargetSetting::Immediate) => set("recovery_target", "immediate".to_owned())?,
    }
    let counts_inclusive =
        matches!(wanted.target, Some(TargetSetting::Time(_) | TargetSetting::Xid(_) | TargetSetting::Lsn(_)));
    if counts_inclusive {
        set("recovery_target_inclusive", if wanted.inclusive { "on" } else { "off" }.to_owned())?;
    }
    match wanted.timeline {
        TimelineTarget::Latest => set("recovery_target_timeline", "latest".to_owned())?,
        // Up to 11 the word would be read as zero, which means the latest: there the default says it.
        TimelineTarget::Current if major < Major::V12 => {}
        TimelineTarget::Current => set("recovery_target_timeline", "current".to_owned())?,
        TimelineTarget::Number(id) => set("recovery_target_timeline", id.to_string())?,
    }
    if wanted.target.is_some() {
        set("recovery_target_action", wanted.action.name().to_owned())?;
    }
    Ok(map)
}

/// What sets a target: a server takes one of them.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
];

/// The files that hold the settings, by name.
///
/// From 12 on the backup's own configuration may still have the target of a recovery that its server went through: what
/// is not asked for is set to nothing, in front of what is (`assign_recovery_target` in `xlogrecovery.c` counts a target
/// when it is set).
pub fn files(settings: &IndexMap<String, String>, major: Major) -> IndexMap<String, String> {
    let left_over = TARGETS.iter().filter(|name| major >= Major::V12 && !settings.contains_key(**name));
    let unset = left_over.map(|name| ((*name).to_owned(), String::new()));
    let own = settings.iter().map(|(name, value)| (name.clone(), value.clone()));
    let lines = unset
        .chain(own)
        .fold(String::new(), |lines, (name, value)| lines + &name + " = " + &quoted(&name, &value) + "\n");
    let mut files = IndexMap::new();
    if major < Major::V12 {
        files.insert("recovery.conf".to_owned(), lines);
    } else {
        files.insert(AUTO_CONF.to_owned(), lines);
        files.insert("recovery.signal".to_owned(), String::new());
    }
    files
}

const AUTO_CONF: &str = "postgresql.auto.conf";

/// A setting's value in quotes.
fn quoted(name: &str, value: &str) -> String {
    let bytes = if name == "recovery_target_name" { byte_text::bytes(value) } else { value.into() };
    quote_bytes(&bytes)
}

/// The same of bytes: those that are no text become escapes.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("'");
    for chunk in bytes.utf8_chunks() {
        quoted += &escaped(chunk.valid());
        quoted.extend(chunk.invalid().iter().map(|byte| octal(u32::from(*byte))));
    }
    quoted + "'"
}

/// A value in quotes that the server's parser resolves to the same bytes.
pub fn quote(value: &str) -> String {
    format!("'{}'", escaped(value))
}

/// Text as it stands between quotes.
fn escaped(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => {
                quoted += &octal(u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// A byte as the three octal digits of an escape.
fn octal(byte: u32) -> String {
    format!("\\{byte:03o}")
}

/// Writes the files into a directory, which is made if need be. A postgresql.auto.conf, which every data directory has,
/// keeps what people set by ALTER SYSTEM. A file that is there otherwise, and one that has recovery settings, is an error,
/// and nothing is written at all, unless `force` is set: then recovery.conf is replaced, and in a postgresql.auto.conf
/// what concerns recovery; a standby.signal, with which a server would stay a standby, is removed.
pub fn write(
    directory: &Path,
    files: &IndexMap<String, String>,
    force: bool,
) -> Result<Vec<PathBuf>, SettingsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let paths: Vec<PathBuf> = files.keys().map(|name| directory.join(name)).collect();
    // It counts more than recovery.signal.
    let standby = directory.join("standby.signal");
    let stays_standby = files.contains_key("recovery.signal") && standby.symlink_metadata().is_ok();
    if stays_standby && !force {
        return Err(SettingsError::Exists { path: standby });
    }
    let mut contents = Vec::new();
    for (path, (name, content)) in paths.iter().zip(files) {
        let is_there = path.symlink_metadata().is_ok();
        let there =
            if is_there && name == AUTO_CONF { fs::read(path).map_err(failed(path))? } else { Vec::new() };
        let kept = other_lines(&there);
        let is_kept_whole = name == AUTO_CONF && kept.trim_ascii_end() == there.trim_ascii_end();
        if is_there && !force && !is_kept_whole {
            return Err(SettingsError::Exists { path: path.clone() });
        }
        contents.push((path, [kept.as_slice(), content.as_bytes()].concat(), is_there));
    }
    for (path, whole, replace) in contents {
        write_file(path, &whole, replace).map_err(failed(path))?;
    }
    if stays_standby {
        fs::remove_file(&standby).map_err(failed(&standby))?;
    }
    Ok(paths)
}

/// The lines of a postgresql.auto.conf that do not concern recovery. A line that cannot be read is kept: the server has
/// to say what it thinks of it.
fn other_lines(bytes: &[u8]) -> Vec<u8> {
    let concerns_recovery = |line: &[u8]| {
        let parsed = Conf::parse(line).ok().and_then(|conf| conf.settings.into_iter().next());
        parsed.is_some_and(|setting| {
            setting.name == "restore_command" || setting.name.starts_with("recovery_target")
        })
    };
    let mut kept: Vec<u8> = Vec::with_capacity(bytes.len() + 1);
    for line in bytes.split_inclusive(|b| *b == b'\n').filter(|line| !concerns_recovery(line)) {
        kept.extend_from_slice(line);
    }
    if kept.last().is_some_and(|last| *last != b'\n') {
        kept.push(b'\n');
    }
    kept
}

/// Writes a file whole. One that is there already is an error, unless it is to be replaced.
fn write_file(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    if !replace {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        return file.sync_all();
    }
    replace_file(path, bytes)
}

/// Writes a file whole, in the place of what is there: in one step, or not at all.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // What is left of a failed attempt helps nobody; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
