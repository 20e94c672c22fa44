//! Barman: on its own server, and its cloud form, which CloudNativePG uses.
//!
//! ```text
//! S/wals/TTTTTTTTHHHHHHHH/NAME            local: compressed or not, never a suffix
//! S/wals/TTTTTTTTHHHHHHHH/NAME[.gz|…]     cloud: suffix says how
//! S/wals/TIMELINE.history   S/wals/xlog.db
//! S/base/ID/backup.info   or   S/meta/ID-backup.info (3.13.2 and later)
//! S/base/ID/annotations/keep   or   S/meta/ID-keep
//! S/incoming  S/streaming  S/errors  S/identity.json
//! ```
//!
//! xlog.db may be stale or absent: the folders are believed, not the list.

use super::{
    Descent, Found, Layout, Parts, Role, Rules, View, file_name, has_suffix, is_wal_folder, parts_below,
    wal_or_unknown,
};
use crate::archive::inventory::BackupKind;
use crate::archive::store::StoreError;
use std::path::Path;

/// One server's directory.
#[derive(Debug)]
pub(super) struct Barman {
    layout: Layout,
    /// The server's folder below the root, with a slash at its end, or empty.
    server: String,
    /// Whether the root is a folder of WAL and nothing else.
    wal_alone: bool,
}

impl Barman {
    /// The contents of `wals` with nothing around it.
    pub(super) fn of_wal_alone(layout: Layout) -> Self {
        Self { layout, server: String::new(), wal_alone: true }
    }

    /// The parts of `path` below the server's folder.
    fn below<'a>(&self, path: &'a Path) -> Option<Parts<'a>> {
        parts_below(path, self.server.trim_end_matches('/'))
    }
}

pub(super) fn detect(view: &View<'_>, layout: Layout) -> Result<Option<Found>, StoreError> {
    let server_here = |server: String| Barman { layout, server, wal_alone: false };
    if is_server(view, "", layout)? {
        return Ok(Found::here(server_here(String::new())));
    }
    if view.name(0) == "wals" && is_server(view, "..", layout)? {
        return Ok(Found::up(1, server_here(String::new())));
    }
    if is_wal_folder(view.name(0)) && view.name(1) == "wals" && is_server(view, "../..", layout)? {
        return Ok(Found::up(2, server_here(String::new())));
    }
    let mut servers = Vec::new();
    for folder in view.folders("")? {
        if !is_wal_folder(&folder) && is_server(view, &folder, layout)? {
            servers.push(folder);
        }
    }
    Ok(view.only("servers", servers)?.and_then(|server| Found::here(server_here(server + "/"))))
}

/// Whether `folder` is a server's, of the form that `layout` says.
fn is_server(view: &View<'_>, folder: &str, layout: Layout) -> Result<bool, StoreError> {
    let children = view.children(folder)?;
    let has = |name: &str| children.iter().any(|child| child.is_folder && child.name == name);
    let is_local = ["incoming", "streaming", "errors", "meta"].into_iter().any(has)
        || children.iter().any(|child| child.name == "identity.json");
    let wals = if folder.is_empty() { "wals".to_owned() } else { format!("{folder}/wals") };
    Ok(has("wals")
        && match layout {
            Layout::Barman => is_local || view.has(&wals, &["xlog.db"])?,
            _ => has("base") || view.folders(&wals)?.iter().any(|name| is_wal_folder(name)),
        })
}

impl Rules for Barman {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn descend(&self, folder: &Path) -> Descent {
        if self.wal_alone {
            return Descent::Whole;
        }
        let Some(parts) = self.below(folder) else {
            return if folder.as_os_str().is_empty() { Descent::Level } else { Descent::Skip };
        };
        match &*parts {
            ["wals"] => Descent::Whole,
            // In a bucket a backup is a few tars; on disk it is the whole cluster, in `data`.
            ["base"] if self.layout == Layout::BarmanCloud => Descent::Whole,
            [] | ["base" | "meta"] | ["base", _] | ["base", _, "annotations"] => Descent::Level,
            _ => Descent::Skip,
        }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        let Some(file) = file_name(path) else { return Role::Unknown };
        if self.wal_alone {
            return wal_role(file);
        }
        match self.below(path).as_deref() {
            Some(["wals", ..]) => wal_role(file),
            Some(["base", id, "backup.info"]) => Role::Backup(BackupKind::BarmanInfo, (*id).to_owned()),
            Some(["base", id, "annotations", "keep"]) => Role::BesideBackup((*id).to_owned()),
            Some(["meta", file]) => match (file.strip_suffix("-backup.info"), file.strip_suffix("-keep")) {
                (Some(id), _) => Role::Backup(BackupKind::BarmanInfo, id.to_owned()),
                (_, Some(id)) => Role::BesideBackup(id.to_owned()),
                _ => Role::Known,
            },
            _ => Role::Known,
        }
    }
}

fn wal_role(file: &str) -> Role<'_> {
    // The list itself, its lock and its copies while it is written.
    let is_list = file.starts_with("xlog.db") || file.starts_with(".xlog");
    if is_list || has_suffix(file, "tmp") { Role::Known } else { wal_or_unknown(file) }
}
