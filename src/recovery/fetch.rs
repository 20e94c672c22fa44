//! How a server gets a file out of an archive: `restore_command`, where one is known that works.
//!
//! PostgreSQL: a `restore_command` that fails makes the server take the WAL for ended (`RestoreArchivedFile` in
//! `src/backend/access/transam/xlogarchive.c`, 9.5 to 19): a wrong one loses everything without a word, so there is none
//! rather than a guess.

use crate::archive::{Entry, Layout, local_path};
use crate::wal::{SegmentSize, WalFileName};
use std::collections::BTreeSet;
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
    let root = local_path(location).ok()??;
    let root = std::path::absolute(root).ok().filter(|path| !path.is_file())?;
    let segments = || entries.iter().filter(|entry| matches!(entry.name, WalFileName::Segment(_)));
    let first = &segments().next()?.object.path;
    match layout {
        Layout::PgBackRest => {
            let stanza = component(first.strip_prefix("archive").ok()?, 0)?;
            Some(format!("pgbackrest --stanza={stanza} archive-get %f \"%p\""))
        }
        Layout::Barman => {
            let server = barman_server(&root, first)?;
            Some(format!("barman get-wal {server} %f > \"%p\""))
        }
        Layout::Plain | Layout::PgRman => {
            // Without a suffix only what has the size of a segment is one as it stands.
            if segments().any(|entry| suffix(entry) == Some("") && entry.stored_size() != size.bytes()) {
                return None;
            }
            let segments = places(&root, segments())?;
            let is_history = |entry: &&Entry| matches!(entry.name, WalFileName::History(_));
            let histories = places(&root, entries.iter().filter(is_history))?;
            from_places(segments, histories)
        }
        _ => None,
    }
}

/// The name of the server whose first segment is at `first`. A user may point at the directory with all servers, at one
/// server's, at its `wals`, or at a folder in that.
fn barman_server(root: &Path, first: &Path) -> Option<String> {
    if !first.starts_with("wals") {
        return component(first, 0)
            .filter(|_| first.components().nth(1) == Some(Component::Normal("wals".as_ref())));
    }
    let is_wal_folder = |folder: &Path| {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let parent = root.parent().filter(|parent| is_wal_folder(root) && parent.ends_with("wals"));
    let wals = parent.or_else(|| Some(root).filter(|root| root.ends_with("wals")));
    let server = wals.map_or(Some(root), Path::parent)?;
    component(Path::new(server.file_name()?), 0)
}

/// The component of that number, if it needs no quotes.
fn component(path: &Path, number: usize) -> Option<String> {
    let Component::Normal(found) = path.components().nth(number)? else { return None };
    let found = found.to_str()?;
    let plain = found.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    plain.then(|| found.to_owned())
}

/// A folder, and what stands behind the names of files in it: the suffix of a compression, or nothing.
type Place<'e> = (PathBuf, &'e str);

/// Where these files are. `None`: one of them is not called as the server calls it.
fn places<'e>(root: &Path, entries: impl Iterator<Item = &'e Entry>) -> Option<BTreeSet<Place<'e>>> {
    let place = |entry: &'e Entry| {
        let path = root.join(&entry.object.path);
        Some((path.parent()?.to_owned(), suffix(entry)?))
    };
    entries.map(place).collect()
}

/// Out of the folder that all segments are in and the one of all histories, often the same.
fn from_places(segments: BTreeSet<Place<'_>>, histories: BTreeSet<Place<'_>>) -> Option<String> {
    let folders = |places: &BTreeSet<Place<'_>>| -> BTreeSet<PathBuf> {
        places.iter().map(|(folder, _)| folder.clone()).collect()
    };
    let [folder] = Vec::from_iter(folders(&segments)).try_into().ok()?;
    if folders(&histories).len() > 1 {
        return None;
    }
    let mut places = segments;
    places.extend(histories);
    // What comes later, a history above all, may be stored as it is.
    places.insert((folder, ""));
    let plain = |(_, suffix): &&Place<'_>| suffix.is_empty();
    let unpacked = places.iter().filter(|place| !plain(place)).map(unpack_command);
    let copied = places.iter().filter(plain).map(|(folder, _)| Some(copy_command(folder)));
    let commands: Option<Vec<String>> = unpacked.chain(copied).collect();
    Some(commands?.join(" || "))
}

/// In parentheses: to the shell `&&` and `||` are alike, and the first that is not done skips to the next of the other.
fn unpack_command((folder, suffix): &Place<'_>) -> Option<String> {
    let file = format!("{}/%f.{suffix}", quoted(folder));
    Some(format!("(test -f {file} && {} < {file} > \"%p\")", unpacker(suffix)?))
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
    fn a_barman_server_is_found_from_wherever_a_user_points() {
        let below = Path::new("wals/0000000100000000/000000010000000000000003");
        for root in ["/b/main", "/b/main/wals", "/b/main/wals/0000000100000000", "/b/wals/main"] {
            assert_eq!(barman_server(Path::new(root), below).as_deref(), Some("main"), "{root}");
        }
        assert_eq!(barman_server(Path::new("/b"), &Path::new("main").join(below)).as_deref(), Some("main"));
        assert_eq!(barman_server(Path::new("/b/my main"), below), None);
    }

    #[test]
    fn the_copy_command_is_safe_for_the_shell_and_the_server() {
        assert_eq!(copy_command(Path::new("/arch/it's 100%/")), r#"cp '/arch/it'\''s 100%%'/%f "%p""#);
    }
}
