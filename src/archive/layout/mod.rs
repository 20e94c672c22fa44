//! How the tools that keep WAL lay out their archives: one file for each.
//!
//! A layout is recognised from folder names, with a few small listings and without opening a file. The user may
//! point at the archive's root, or one level above or below it (at WAL-G's `wal_005`, at a pgBackRest archive
//! id, at Barman's server directory or its `wals`); the archive is then looked at from its own root, so that the
//! base backups beside the WAL are found.

mod barman;
mod pg_probackup;
mod pg_rman;
mod pgbackrest;
mod plain;
mod tars;
mod wal_g;

pub(super) use tars::backup_beside;

use super::inventory::BackupKind;
use super::store::{Child, Descent, Store, StoreError};
use crate::wal::{SegmentName, WalFileName};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Which tool's way of laying out an archive is followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Layout {
    /// Files under PostgreSQL's own names, as `archive_command = 'cp …'` leaves them, or a pg_wal.
    #[default]
    Plain,
    /// WAL-G (and WAL-E): `wal_005`, `basebackups_005`.
    WalG,
    /// pgBackRest: a repository, or a stanza or archive id in it.
    PgBackRest,
    /// Barman on its own server.
    Barman,
    /// `barman-cloud-wal-archive`, CloudNativePG: in an object store, names with compression suffixes.
    BarmanCloud,
    /// A pg_probackup catalog, or an instance's WAL in it.
    PgProbackup,
    /// A pg_rman catalog.
    PgRman,
    /// The tar files of `pg_basebackup -Ft`.
    Tar,
}

impl Layout {
    /// Every layout, in the order in which they are tried.
    pub const ALL: [Self; 8] = [
        Self::WalG,
        Self::PgBackRest,
        Self::Barman,
        Self::BarmanCloud,
        Self::PgProbackup,
        Self::PgRman,
        Self::Tar,
        Self::Plain,
    ];

    /// The name that `--layout` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::WalG => "wal-g",
            Self::PgBackRest => "pgbackrest",
            Self::Barman => "barman",
            Self::BarmanCloud => "barman-cloud",
            Self::PgProbackup => "pg_probackup",
            Self::PgRman => "pg_rman",
            Self::Tar => "tar",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user says of the layout: `--layout`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LayoutChoice {
    /// Find out.
    #[default]
    Auto,
    /// It is this one.
    Given(Layout),
}

impl fmt::Display for LayoutChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Given(layout) => layout.fmt(f),
        }
    }
}

/// The text names no layout.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not a layout: auto, plain, wal-g, pgbackrest, barman, barman-cloud, pg_probackup, pg_rman or tar"
)]
pub struct ParseLayoutError(pub String);

impl FromStr for LayoutChoice {
    type Err = ParseLayoutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let named = Layout::ALL.into_iter().find(|layout| layout.name() == text);
        named.map(Self::Given).ok_or_else(|| ParseLayoutError(text.to_owned()))
    }
}

/// What an object is to the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Role<'a> {
    /// A WAL file, in the group of files named (an archive id of pgBackRest's; else empty).
    Wal(WalFileName, &'a str),
    /// A description of base backups: what kind, and the label of the backup where the path tells it.
    Backup(BackupKind, String),
    /// Something that belongs to the backup labelled so.
    BesideBackup(String),
    /// Part of the layout, and of no use here.
    Known,
    /// Nothing that the layout knows.
    Unknown,
}

/// One way of laying out an archive, with the folders of this archive filled in. Paths are relative to the
/// root of the store that [`recognise`] gives with it.
pub(crate) trait Rules: Send + Sync + fmt::Debug {
    /// Which layout it is.
    fn layout(&self) -> Layout;

    /// Whether a listing enters `folder`.
    fn descend(&self, folder: &Path) -> Descent;

    /// What the object at `path` is.
    fn role<'a>(&self, path: &'a Path) -> Role<'a>;

    /// The SHA-1 that the name of the object promises for its plain bytes, in hexadecimal.
    fn promised_sha1<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let _ = path;
        None
    }

    /// Where the passphrase of encrypted WAL is found: pgBackRest's archive.info.
    fn archive_info(&self) -> Option<&Path> {
        None
    }

    /// Whether the place is a server's own pg_wal.
    fn is_pg_wal(&self) -> bool {
        false
    }
}

/// Names that a detection looks at in one folder: layouts have few there, and a plain archive has as many as
/// it likes.
const CHILDREN_LOOKED_AT: usize = 1000;

/// A store seen through the questions that detection asks.
pub(crate) struct View<'a> {
    store: &'a dyn Store,
    names: Vec<String>,
    /// Folders looked into so far: every layout asks about the same few.
    known: RefCell<HashMap<String, Vec<Child>>>,
}

impl<'a> View<'a> {
    fn new(store: &'a dyn Store) -> Self {
        Self { store, names: store.names(), known: RefCell::default() }
    }

    /// What the root itself is called, or the folder `levels` above it; empty if nobody knows.
    fn name(&self, levels: usize) -> &str {
        self.names.iter().rev().nth(levels).map_or("", String::as_str)
    }

    fn children(&self, folder: &str) -> Result<Vec<Child>, StoreError> {
        if let Some(children) = self.known.borrow().get(folder) {
            return Ok(children.clone());
        }
        let children = self.store.children(Path::new(folder), CHILDREN_LOOKED_AT)?;
        self.known.borrow_mut().insert(folder.to_owned(), children.clone());
        Ok(children)
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        Ok(self
            .children(folder)?
            .into_iter()
            .filter(|child| child.is_folder)
            .map(|child| child.name)
            .collect())
    }

    fn has(&self, folder: &str, names: &[&str]) -> Result<bool, StoreError> {
        Ok(self.children(folder)?.iter().any(|child| names.contains(&child.name.as_str())))
    }

    /// The only one of `candidates`; none is `None`, several are an error that names them.
    fn only(&self, what: &str, mut candidates: Vec<String>) -> Result<Option<String>, StoreError> {
        candidates.sort();
        match candidates.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            many => Err(StoreError::Location {
                location: self.names.join("/"),
                detail: format!("holds several {what} ({}): name the directory of one", many.join(", ")),
            }),
        }
    }
}

/// A layout that was recognised: how far up the root of the archive is, and its rules from there.
pub(crate) struct Found {
    levels_up: usize,
    rules: Box<dyn Rules>,
}

impl Found {
    fn here(rules: impl Rules + 'static) -> Option<Self> {
        Self::up(0, rules)
    }

    #[expect(clippy::unnecessary_wraps, reason = "every caller answers \"is it this layout\" with an Option")]
    fn up(levels_up: usize, rules: impl Rules + 'static) -> Option<Self> {
        Some(Self { levels_up, rules: Box::new(rules) })
    }
}

/// A store from the root of its archive, and the archive's rules.
pub(crate) type Recognised = (Box<dyn Store>, Box<dyn Rules>);

/// Finds out how the archive in `store` is laid out, or takes the user's word, and gives the store from the
/// archive's own root.
///
/// Where symbolic links lead to the place, each of the paths to it may have the tool's catalog around it.
pub(crate) fn recognise(store: Box<dyn Store>, choice: LayoutChoice) -> Result<Recognised, StoreError> {
    let others = store.other_ways()?;
    let mut found: Vec<(Box<dyn Store>, Found)> = Vec::new();
    let mut known = HashMap::new();
    for way in std::iter::once(store).chain(others) {
        let view = View { known: RefCell::new(known), ..View::new(way.as_ref()) };
        let here = look(&view, choice)?.unwrap_or_else(|| Found { levels_up: 0, rules: assumed(choice) });
        known = view.known.into_inner();
        known.retain(|folder, _| !folder.starts_with(".."));
        let store = if here.levels_up == 0 { way } else { way.raised(here.levels_up)? };
        found.push((store, here));
    }
    agree(&found)?;
    let rank = |(_, found): &(Box<dyn Store>, Found)| {
        let is_tool = found.rules.layout() != Layout::Plain;
        // A catalog around the place, a tool's WAL alone, a server's own WAL, any other.
        (!(is_tool && found.levels_up > 0), !is_tool, !found.rules.is_pg_wal())
    };
    let best = found.into_iter().min_by_key(rank);
    best.map(|(store, found)| (store, found.rules)).ok_or_else(|| StoreError::Location {
        location: "the archive".to_owned(),
        detail: "no path leads there".to_owned(),
    })
}

/// That the paths to a place do not lead to two archives: nobody could say whose backups count.
fn agree(found: &[(Box<dyn Store>, Found)]) -> Result<(), StoreError> {
    let tools = || found.iter().filter(|(_, found)| found.rules.layout() != Layout::Plain);
    let root = |store: &dyn Store| store.local_root().and_then(|root| root.canonicalize().ok());
    let Some((best, first)) = tools().find(|(_, found)| found.levels_up > 0).or_else(|| tools().next())
    else {
        return Ok(());
    };
    let differs = |(store, other): &&(Box<dyn Store>, Found)| {
        let is_above = other.levels_up > 0 && root(store.as_ref()) != root(best.as_ref());
        other.rules.layout() != first.rules.layout() || is_above
    };
    let Some((store, other)) = tools().find(differs) else { return Ok(()) };
    Err(StoreError::Location {
        location: format!("/{}", best.names().join("/")),
        detail: format!(
            "is taken for an archive of {}, and by another path to the same place there is one of {} at /{}: name the \
             archive's own directory",
            first.rules.layout(),
            other.rules.layout(),
            store.names().join("/")
        ),
    })
}

/// The first layout, of those that `choice` leaves, that is recognised.
fn look(view: &View<'_>, choice: LayoutChoice) -> Result<Option<Found>, StoreError> {
    for layout in Layout::ALL {
        if choice == LayoutChoice::Auto || choice == LayoutChoice::Given(layout) {
            let found = detect(layout, view)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

fn detect(layout: Layout, view: &View<'_>) -> Result<Option<Found>, StoreError> {
    match layout {
        Layout::WalG => wal_g::detect(view),
        Layout::PgBackRest => pgbackrest::detect(view),
        Layout::Barman => barman::detect(view, Layout::Barman),
        Layout::BarmanCloud => barman::detect(view, Layout::BarmanCloud),
        Layout::PgProbackup => pg_probackup::detect(view),
        Layout::PgRman => pg_rman::detect(view),
        Layout::Tar => tars::detect(view),
        Layout::Plain => plain::detect(view),
    }
}

/// The rules where the user names a layout and its folders are not there: the WAL is taken to be right here.
fn assumed(choice: LayoutChoice) -> Box<dyn Rules> {
    let LayoutChoice::Given(layout) = choice else { return Box::new(plain::Plain::default()) };
    match layout {
        Layout::WalG => Box::new(wal_g::WalG::of_wal_alone()),
        Layout::PgBackRest => Box::new(pgbackrest::PgBackRest::of_wal_alone()),
        Layout::Barman | Layout::BarmanCloud => Box::new(barman::Barman::of_wal_alone(layout)),
        Layout::PgProbackup => Box::new(pg_probackup::PgProbackup::of_wal_alone()),
        Layout::PgRman => Box::new(pg_rman::PgRman),
        Layout::Tar => Box::new(tars::Tars),
        Layout::Plain => Box::new(plain::Plain::default()),
    }
}

/// Suffixes that compressors and archive commands give to files. What a file really holds is told by its content.
pub(crate) const SUFFIXES: [&str; 16] = [
    "gz", "lz4", "zst", "zstd", "bz2", "xz", "lzma", "br", "snappy", "sz", "lzo", "gpg", "pgp", "asc", "age",
    "enc",
];

/// The WAL file that a stored file's name stands for, compression suffixes taken away.
///
/// `pg_receivewal --compress` names a segment in progress `NAME.gz.partial`, WAL-G names one `NAME.partial.lz4`.
pub(crate) fn wal_name(file: &str) -> Option<WalFileName> {
    let mut stem = file;
    let mut partial = false;
    loop {
        if let Some(name) = WalFileName::parse(stem) {
            return match name {
                WalFileName::Segment(segment) if partial => Some(WalFileName::Partial(segment)),
                other => (!partial).then_some(other),
            };
        }
        let (rest, suffix) = stem.rsplit_once('.')?;
        if suffix == "partial" && !partial && stem.len() == file.len() {
            partial = true;
        } else if !SUFFIXES.contains(&suffix) {
            return None;
        }
        stem = rest;
    }
}

/// The last part of a path, if it is text.
fn file_name(path: &Path) -> Option<&str> {
    path.to_str()?.rsplit('/').next()
}

/// Parts that a path may have to be looked at: no layout is deeper.
const PARTS_MAX: usize = 12;

/// A path taken apart, without a buffer of its own on the heap: an archive has a million of them.
struct Parts<'a> {
    parts: [&'a str; PARTS_MAX],
    count: usize,
}

impl<'a> std::ops::Deref for Parts<'a> {
    type Target = [&'a str];

    fn deref(&self) -> &[&'a str] {
        self.parts.get(..self.count).unwrap_or_default()
    }
}

/// The parts of `path` below `folder`, if it is below, all text and not too deep.
fn parts_below<'a>(path: &'a Path, folder: &str) -> Option<Parts<'a>> {
    let text = path.to_str()?;
    let below = if folder.is_empty() { text } else { text.strip_prefix(folder)? };
    let below = match below.strip_prefix('/') {
        Some(below) if !folder.is_empty() => below,
        _ if folder.is_empty() || below.is_empty() => below,
        _ => return None,
    };
    let mut taken = Parts { parts: [""; PARTS_MAX], count: 0 };
    for part in below.split('/').filter(|part| !part.is_empty()) {
        *taken.parts.get_mut(taken.count)? = part;
        taken.count += 1;
    }
    Some(taken)
}

/// The role of a file in a folder of WAL: its name, or nothing known.
fn wal_or_unknown(file: &str) -> Role<'_> {
    wal_name(file).map_or(Role::Unknown, |name| Role::Wal(name, ""))
}

/// Whether `file` ends in a dot and `suffix`.
fn has_suffix(file: &str, suffix: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, last)| last == suffix)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether `text` is the part of a segment's name that many tools use for sub-directories.
fn is_wal_folder(text: &str) -> bool {
    is_hex(text, 16)
}

/// Whether `text` begins with a segment's name.
fn begins_with_segment(text: &str) -> bool {
    text.get(..24).is_some_and(|name| SegmentName::parse(name).is_some())
}

#[cfg(test)]
mod tests;
