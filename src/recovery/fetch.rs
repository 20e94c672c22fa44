//! How a server gets a file out of an archive: `restore_command`, where one is known that works.
//!
//! PostgreSQL: a `restore_command` that fails makes the server take the WAL for ended (`RestoreArchivedFile` in
//! `src/backend/access/transam/xlogarchive.c`, 9.5 to 19): a wrong one loses everything without a word, so there is none
//! rather than a guess.

use crate::archive::{Entry, Layout};
use crate::wal::{SegmentSize, WalFileName};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// The command for the files `entries` of an archive at `location`; `None` if nothing that is sure to work is known.
pub fn restore_command(
    layout: Layout,
    location: &str,
    entries: &[Entry],
    size: SegmentSize,
) -> Option<String> {
    if layout == Layout::WalG {
        return Some("wal-g wal-fetch %f %p".to_owned());
    }
    let root = local(location)?;
    let whole = |entry: &Entry| root.join(&entry.object.path);
    let segments: Vec<&Entry> =
        entries.iter().filter(|entry| matches!(entry.name, WalFileName::Segment(_))).collect();
    let first = whole(segments.first()?);
    match layout {
        Layout::PgBackRest => {
            let stanza = beside(&first, "archive", 1)?;
            Some(format!("pgbackrest --stanza={stanza} archive-get %f \"%p\""))
        }
        Layout::Barman => {
            let server = beside(&first, "wals", -1)?;
            Some(format!("barman get-wal {server} %f > \"%p\""))
        }
        Layout::Plain | Layout::PgRman => {
            let folders: BTreeSet<PathBuf> =
                segments.iter().filter_map(|entry| whole(entry).parent().map(Path::to_owned)).collect();
            let [folder] = Vec::from_iter(folders).try_into().ok()?;
            from_folder(&folder, &segments, size)
        }
        _ => None,
    }
}

/// Where the archive is on this machine, unless it is in a store or a tar.
fn local(location: &str) -> Option<PathBuf> {
    let path = location.strip_prefix("file://").unwrap_or(location);
    let path = std::path::absolute(path).ok()?;
    (!location.contains("://") || location.starts_with("file://"))
        .then_some(path)
        .filter(|path| !path.is_file())
}

/// The component that stands `steps` behind the last one called `name`, if it needs no quotes.
fn beside(path: &Path, name: &str, steps: isize) -> Option<String> {
    let parts: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect();
    let at = parts.iter().rposition(|part| *part == name)?;
    let found = parts.get(at.checked_add_signed(steps)?)?.to_str()?;
    let plain = found.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    plain.then(|| found.to_owned())
}

/// Out of one folder, whose files end in nothing or in the suffix of a compression.
fn from_folder(folder: &Path, segments: &[&Entry], size: SegmentSize) -> Option<String> {
    let suffixes: Option<BTreeSet<&str>> = segments.iter().map(|entry| suffix(entry)).collect();
    let suffixes = suffixes?;
    // Without a suffix only what has the size of a segment is one as it stands.
    let is_plain = |entry: &&&Entry| suffix(entry) == Some("");
    if segments.iter().filter(is_plain).any(|entry| entry.stored_size() != size.bytes()) {
        return None;
    }
    let place = quoted(folder);
    let commands: Option<Vec<String>> = suffixes
        .iter()
        .map(|suffix| match suffix {
            &"" => Some(copy_command(folder)),
            suffix => {
                let file = format!("{place}/%f.{suffix}");
                Some(format!("test -f {file} && {} < {file} > \"%p\"", unpacker(suffix)?))
            }
        })
        .collect();
    let mut commands = commands?;
    // Histories are often stored as they are.
    if !suffixes.contains("") {
        commands.push(copy_command(folder));
    }
    Some(commands.join(" || "))
}

/// What follows a segment's name and a dot in the name of its file, if anything; `None`: it is not called so at all.
fn suffix(entry: &Entry) -> Option<&str> {
    let stored = entry.object.path.file_name()?.to_str()?;
    let rest = stored.strip_prefix(&entry.name.to_string())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// The program that unpacks from standard input to standard output.
fn unpacker(suffix: &str) -> Option<&'static str> {
    Some(match suffix {
        "gz" => "gzip -dc",
        "zst" => "zstd -dcq",
        "lz4" => "lz4 -dcq",
        "bz2" => "bzip2 -dc",
        "xz" => "xz -dc",
        "lzma" => "xz --format=lzma -dc",
        "br" => "brotli -dc",
        _ => return None,
    })
}

/// Copies plain files out of a directory.
pub fn copy_command(folder: &Path) -> String {
    format!("cp {}/%f \"%p\"", quoted(folder))
}

/// Quoted for the shell, with the per cent signs doubled that the server would take for its own.
fn quoted(folder: &Path) -> String {
    let path = folder.to_string_lossy().replace('%', "%%").replace('\'', r"'\''");
    format!("'{}'", path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_command_is_safe_for_the_shell_and_the_server() {
        assert_eq!(copy_command(Path::new("/arch/it's 100%/")), r#"cp '/arch/it'\''s 100%%'/%f "%p""#);
    }
}
