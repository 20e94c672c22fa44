//! pgBackRest's repository.
//!
//! ```text
//! R/archive/STANZA/archive.info  archive.info.copy
//! R/archive/STANZA/VERSION-ID/TIMELINE.history
//! R/archive/STANZA/VERSION-ID/TTTTTTTTHHHHHHHH/SEGMENT[.partial]-SHA1[.gz|.lz4|.zst|.bz2]
//! R/archive/STANZA/VERSION-ID/TTTTTTTTHHHHHHHH/SEGMENT.OFFSET.backup
//! R/backup/STANZA/backup.info  backup.info.copy  LABEL/  latest -> LABEL
//! ```
//!
//! `VERSION-ID` is the archive id: `15-1`. Each `stanza-upgrade` adds one; the same segment names may be in several,
//! of different clusters. SHA-1 is that of the uncompressed, unencrypted bytes.

use super::{
    Descent, Found, Layout, Role, Rules, SUFFIXES, View, file_name, is_hex, is_wal_folder, parts_below,
    wal_name,
};
use crate::archive::inventory::{BACKUP_INFO_COPY, BackupKind};
use crate::archive::store::StoreError;
use crate::wal::WalFileName;
use std::path::{Path, PathBuf};

const ARCHIVE_INFO: &str = "archive.info";

/// A stanza of a repository, or a part of it.
#[derive(Debug)]
pub(super) struct PgBackRest {
    /// The stanza's folder of WAL, below the root.
    archive: String,
    /// The stanza's folder of backups, below the root.
    backup: Option<String>,
    /// The archive id that alone is asked for.
    only: Option<String>,
    archive_info: Option<PathBuf>,
}

impl PgBackRest {
    fn new(root: &str, stanza: &str, only: Option<String>) -> Self {
        let archive = format!("{root}archive/{stanza}");
        let archive_info = Some(Path::new(&archive).join(ARCHIVE_INFO));
        Self { archive, backup: Some(format!("{root}backup/{stanza}")), only, archive_info }
    }

    /// The contents of an archive id, or of a folder in it, copied away from its repository.
    pub(super) fn of_wal_alone() -> Self {
        Self { archive: String::new(), backup: None, only: None, archive_info: None }
    }
}

pub(super) fn detect(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    // The root of the repository.
    let stanzas = stanzas_below(view)?;
    if let Some(stanza) = view.only("stanzas", stanzas)? {
        return Ok(Found::here(PgBackRest::new("", &stanza, None)));
    }
    // R/archive/STANZA, R/archive/STANZA/ID, R/archive/STANZA/ID/TTTTTTTTHHHHHHHH.
    for up in 0..3 {
        let above = "../".repeat(up);
        let level = above.trim_end_matches('/');
        if view.name(up + 1) == "archive" && view.has(level, &[ARCHIVE_INFO])? {
            let only = (up > 0).then(|| view.name(up - 1).to_owned());
            return Ok(Found::up(up + 2, PgBackRest::new("", view.name(up), only)));
        }
    }
    // R/archive, R/backup/STANZA.
    if view.name(0) == "archive" {
        let mut stanzas = Vec::new();
        for stanza in view.folders("")? {
            if view.has(&stanza, &[ARCHIVE_INFO])? {
                stanzas.push(stanza);
            }
        }
        if let Some(stanza) = view.only("stanzas", stanzas)? {
            return Ok(Found::up(1, PgBackRest::new("", &stanza, None)));
        }
    }
    if view.name(1) == "backup" && view.has("", &["backup.info"])? {
        return Ok(Found::up(2, PgBackRest::new("", view.name(0), None)));
    }
    detect_copy(view)
}

/// A stanza's folder or an archive id that stands somewhere on its own.
fn detect_copy(view: &View<'_>) -> Result<Option<Found>, StoreError> {
    let children = view.children("")?;
    if children.iter().any(|child| child.name == ARCHIVE_INFO) {
        let archive_info = Some(PathBuf::from(ARCHIVE_INFO));
        return Ok(Found::here(PgBackRest { archive_info, ..PgBackRest::of_wal_alone() }));
    }
    let folder = children.iter().find(|child| child.is_folder && is_wal_folder(&child.name));
    let inner = match folder {
        Some(folder) => view.children(&folder.name)?,
        None => children,
    };
    let is_ours = inner.iter().any(|child| !child.is_folder && split_sha1(&child.name).is_some());
    Ok(if is_ours { Found::here(PgBackRest::of_wal_alone()) } else { None })
}

fn stanzas_below(view: &View<'_>) -> Result<Vec<String>, StoreError> {
    let mut stanzas = Vec::new();
    if !view.has("", &["archive"])? {
        return Ok(stanzas);
    }
    for stanza in view.folders("archive")? {
        if view.has(&format!("archive/{stanza}"), &[ARCHIVE_INFO])? {
            stanzas.push(stanza);
        }
    }
    Ok(stanzas)
}

impl Rules for PgBackRest {
    fn layout(&self) -> Layout {
        Layout::PgBackRest
    }

    fn descend(&self, folder: &Path) -> Descent {
        let Some(text) = folder.to_str() else { return Descent::Skip };
        if let Some(parts) = parts_below(folder, &self.archive) {
            return match (&*parts, &self.only) {
                ([], Some(_)) => Descent::Level,
                ([id], Some(only)) if id != only => Descent::Skip,
                _ => Descent::Whole,
            };
        }
        // The backups' own folders hold a copy of the cluster each.
        let is_backup = self.backup.as_deref() == Some(text);
        let leads = |target: &str| text.is_empty() || target.starts_with(&format!("{text}/"));
        let leads_on = leads(&self.archive) || self.backup.as_deref().is_some_and(leads);
        if is_backup || leads_on { Descent::Level } else { Descent::Skip }
    }

    fn role<'a>(&self, path: &'a Path) -> Role<'a> {
        if let Some(backup) = &self.backup
            && let Some(parts) = parts_below(path, backup)
        {
            return match &*parts {
                ["backup.info"] => Role::Backup(BackupKind::PgBackRestInfo, String::new()),
                [BACKUP_INFO_COPY] => Role::BesideBackup(String::new()),
                _ => Role::Known,
            };
        }
        let Some(parts) = parts_below(path, &self.archive) else { return Role::Known };
        let Some(file) = file_name(path) else { return Role::Unknown };
        if [ARCHIVE_INFO, "archive.info.copy"].contains(&file) || file.ends_with(".pgbackrest.tmp") {
            return Role::Known;
        }
        let group = match parts.first() {
            Some(id) if parts.len() > 1 && is_archive_id(id) => *id,
            _ => "",
        };
        match split_sha1(file) {
            Some((stem, _)) => WalFileName::parse(stem).map_or(Role::Unknown, |name| Role::Wal(name, group)),
            None => wal_name(file).map_or(Role::Unknown, |name| Role::Wal(name, group)),
        }
    }

    fn promised_sha1<'a>(&self, path: &'a Path) -> Option<&'a str> {
        split_sha1(file_name(path)?).map(|(_, sha1)| sha1)
    }

    fn archive_info(&self) -> Option<&Path> {
        self.archive_info.as_deref()
    }
}

/// `SEGMENT[.partial]-SHA1[.EXT]` taken apart.
fn split_sha1(file: &str) -> Option<(&str, &str)> {
    let (stem, rest) = file.split_once('-')?;
    let sha1 = rest.get(..40)?;
    let suffix = rest.get(40..)?;
    let suffix_known = suffix.is_empty() || suffix.strip_prefix('.').is_some_and(|s| SUFFIXES.contains(&s));
    (is_hex(sha1, 40) && suffix_known && WalFileName::parse(stem).is_some()).then_some((stem, sha1))
}

/// `15-1`, `9.6-2`.
fn is_archive_id(folder: &str) -> bool {
    folder.split_once('-').is_some_and(|(version, id)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        version.split('.').all(digits) && digits(id)
    })
}
