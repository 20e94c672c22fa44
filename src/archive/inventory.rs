//! One listing sorted out: which object is which file of PostgreSQL's.

use super::layout::{Role, Rules, wal_name};
use super::store::{A_DATA_DIRECTORY, Object, ObjectKind};
use crate::wal::WalFileName;
use std::collections::HashMap;
use std::path::Path;

pub use super::layout::Layout;

/// An object that holds a WAL file.
///
/// Several entries of one name are several stored copies of the same file (plain and compressed; with two
/// checksums in pgBackRest's names; in two backups of pg_rman's).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file's name as PostgreSQL knows it.
    pub name: WalFileName,
    /// Which of [`Inventory::groups`] it belongs to.
    pub group: u16,
    /// Where it is kept.
    pub object: Object,
}

impl Entry {
    /// The name of the stored file, with checksum and suffix: for messages.
    pub fn stored_name(&self) -> String {
        self.object.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Bytes as stored: those of the WAL itself, unless it is compressed.
    pub fn stored_size(&self) -> u64 {
        self.object.identity.size
    }
}

/// The name of the second copy that pgBackRest keeps of its `backup.info`.
pub(crate) const BACKUP_INFO_COPY: &str = "backup.info.copy";

/// An object that is no WAL file, and what it is taken for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// The object.
    pub object: Object,
    /// Whether its name is that of a WAL file (but it is no regular file, or stands where the layout keeps no WAL).
    pub named_like_wal: bool,
}

/// What an object says about base backups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BackupKind {
    /// WAL-G's `…_backup_stop_sentinel.json`: one backup.
    WalGSentinel,
    /// pgBackRest's `backup.info`: every backup of the stanza.
    PgBackRestInfo,
    /// Barman's `backup.info`: one backup.
    BarmanInfo,
    /// pg_probackup's `backup.control`: one backup.
    PgProbackupControl,
    /// pg_rman's `backup.ini`: one backup.
    PgRmanIni,
    /// `backup_manifest` of pg_basebackup.
    Manifest,
    /// A `backup_label` that stands alone.
    Label,
    /// `base.tar` of `pg_basebackup -Ft`, compressed or not.
    BaseTar,
    /// A data directory; the object is the directory, and cannot be read.
    DataDirectory,
}

/// An object that describes one base backup or more, by the layout's own rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupObject {
    /// What it is.
    pub kind: BackupKind,
    /// The backup's label or folder where the path tells it, else empty.
    pub label: String,
    /// The object with the description.
    pub object: Object,
    /// What else belongs to that backup and was listed: Barman's `keep`, pgBackRest's `backup.info.copy`, WAL-G's
    /// `metadata.json`.
    pub beside: Vec<Object>,
}

/// Everything in an archive, sorted by name and then by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// How the archive is laid out.
    pub layout: Layout,
    /// Segments, partial segments, histories and backup history files.
    pub entries: Vec<Entry>,
    /// What else was found and is not part of any layout.
    pub strays: Vec<Stray>,
    /// What describes base backups, sorted by path.
    pub backups: Vec<BackupObject>,
    /// The parts that a layout divides an archive into, oldest first, each with WAL of its own cluster:
    /// pgBackRest's archive ids (`15-1`). Elsewhere one part with an empty name. The entries are those of one.
    pub groups: Vec<String>,
    /// The place is a server's own pg_wal (or a copy): it has an `archive_status` directory or such a name.
    pub is_pg_wal: bool,
}

impl Inventory {
    /// Sorts out a listing by the rules of a layout, and keeps the entries of `part`, or of the newest part.
    pub(crate) fn sort_out(objects: Vec<Object>, rules: &dyn Rules, part: Option<&str>) -> Self {
        let mut sorter = Sorter::new(rules);
        for object in objects {
            sorter.take(object, rules);
        }
        let mut inventory = sorter.finish();
        let wanted = match part {
            Some(part) => inventory.groups.iter().position(|group| group == part),
            None => inventory.groups.len().checked_sub(1),
        };
        if inventory.groups.len() > 1 || part.is_some() {
            inventory.entries.retain(|entry| Some(usize::from(entry.group)) == wanted);
        }
        inventory
    }
}

/// pgBackRest's copy of the `backup.info` that is missing: pgBackRest goes by it too.
fn info_copy(object: &Object) -> Option<BackupObject> {
    let is_copy = object.path.file_name().is_some_and(|name| name == BACKUP_INFO_COPY);
    let (kind, label, beside) = (BackupKind::PgBackRestInfo, String::new(), Vec::new());
    is_copy.then(|| BackupObject { kind, label, object: object.clone(), beside })
}

/// Whether what a tool keeps beside a backup counts whatever it is: that it cannot be read must come out where it is needed.
fn is_needed(object: &Object, rules: &dyn Rules) -> bool {
    rules.layout() != Layout::Plain && !object.is_directory()
}

/// Whether `path` has a segment's name and stands in the archive's root: the one place outside a layout's folders
/// where somebody who archived with `cp` before may have left WAL that is still needed.
fn is_wal_at_root(path: &Path) -> bool {
    let file = path.to_str().filter(|text| !text.contains('/'));
    matches!(file.and_then(wal_name), Some(WalFileName::Segment(_) | WalFileName::Partial(_)))
}

/// The number that counts a group's age: the database id of `15-2`.
fn group_number(name: &str) -> Option<u32> {
    name.rsplit_once('-').and_then(|(_, id)| id.parse().ok())
}

/// An inventory in the making.
struct Sorter {
    inventory: Inventory,
    group_ids: HashMap<String, u16>,
    beside: Vec<(String, Object)>,
}

impl Sorter {
    fn new(rules: &dyn Rules) -> Self {
        let inventory =
            Inventory { layout: rules.layout(), is_pg_wal: rules.is_pg_wal(), ..Inventory::default() };
        Self { inventory, group_ids: HashMap::new(), beside: Vec::new() }
    }

    fn take(&mut self, object: Object, rules: &dyn Rules) {
        let status = object.path.as_os_str().as_encoded_bytes().strip_prefix(b"archive_status");
        self.inventory.is_pg_wal |= matches!(status, Some([] | [b'/', ..]));
        if object.is_broken_tar() {
            self.inventory.strays.push(Stray { object, named_like_wal: false });
            return;
        }
        let role = rules.role(&object.path);
        match (role, object.kind) {
            (Role::Wal(name, group), ObjectKind::Regular) => {
                let group = self.group(group);
                self.inventory.entries.push(Entry { name, group, object });
            }
            (Role::Backup(kind, label), ObjectKind::Regular) => {
                self.inventory.backups.push(BackupObject { kind, label, object, beside: Vec::new() });
            }
            (Role::BesideBackup(label), kind) if kind == ObjectKind::Regular || is_needed(&object, rules) => {
                self.beside.push((label, object));
            }
            (_, ObjectKind::Special(A_DATA_DIRECTORY)) => {
                let label = object.path.to_string_lossy().into_owned();
                let kind = BackupKind::DataDirectory;
                self.inventory.backups.push(BackupObject { kind, label, object, beside: Vec::new() });
            }
            (Role::Known, ObjectKind::Regular) if is_wal_at_root(&object.path) => {
                self.inventory.strays.push(Stray { object, named_like_wal: true });
            }
            (Role::Known, _) => {}
            (Role::Wal(..), _) => self.inventory.strays.push(Stray { object, named_like_wal: true }),
            (Role::Unknown | Role::Backup(..) | Role::BesideBackup(_), _) => {
                if !object.is_directory() {
                    self.inventory.strays.push(Stray { object, named_like_wal: false });
                }
            }
        }
    }

    /// The number of the group called `name`, in the order of first sight.
    fn group(&mut self, name: &str) -> u16 {
        if let Some(known) = self.group_ids.get(name) {
            return *known;
        }
        let next = u16::try_from(self.group_ids.len()).unwrap_or(u16::MAX);
        self.group_ids.insert(name.to_owned(), next);
        next
    }

    fn finish(mut self) -> Inventory {
        self.number_groups();
        let mut inventory = self.inventory;
        inventory.entries.sort_unstable_by(|a, b| (a.name, &a.object.path).cmp(&(b.name, &b.object.path)));
        inventory.strays.sort_by(|a, b| a.object.path.cmp(&b.object.path));
        inventory.backups.sort_by(|a, b| a.object.path.cmp(&b.object.path));
        self.beside.sort_by(|a, b| (&a.0, &a.1.path).cmp(&(&b.0, &b.1.path)));
        let is_info = |backup: &BackupObject| backup.kind == BackupKind::PgBackRestInfo;
        if !inventory.backups.iter().any(is_info) {
            inventory.backups.extend(self.beside.iter().filter_map(|(_, copy)| info_copy(copy)));
        }
        for backup in &mut inventory.backups {
            let from = self.beside.partition_point(|(label, _)| *label < backup.label);
            let of_backup = self.beside[from..].iter().take_while(|(label, _)| *label == backup.label);
            backup.beside.extend(of_backup.map(|(_, object)| object.clone()));
        }
        inventory
    }

    /// Numbers the groups in the order of their names, whatever order the listing came in.
    fn number_groups(&mut self) {
        let mut names: Vec<(String, u16)> = self.group_ids.drain().collect();
        names.sort_by(|(a, _), (b, _)| (group_number(a), a).cmp(&(group_number(b), b)));
        let mut renumbered = vec![0; names.len()];
        for (new, (_, old)) in names.iter().enumerate() {
            if let Some(slot) = renumbered.get_mut(usize::from(*old)) {
                *slot = u16::try_from(new).unwrap_or(u16::MAX);
            }
        }
        for entry in &mut self.inventory.entries {
            entry.group = renumbered.get(usize::from(entry.group)).copied().unwrap_or(entry.group);
        }
        self.inventory.groups = names.into_iter().map(|(name, _)| name).collect();
    }
}
