//! pgBackRest: `backup.info` of a stanza, all its backups.
//!
//! An INI file whose values are JSON, and whose last line is the SHA-1 of the same content as one JSON document: sections
//! and keys in the order of the file, values as written, without the line of the checksum itself.

use super::{CatalogError, Catalogued, text};
use crate::backup::base::{BaseBackup, Source};
use crate::wal::{Lsn, PgTime, SegmentName, SystemId};
use serde::Deserialize;
use sha1::{Digest, Sha1};
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Current {
    backup_archive_start: Option<String>,
    backup_lsn_start: Option<String>,
    backup_lsn_stop: Option<String>,
    backup_timestamp_start: Option<i64>,
    backup_timestamp_stop: Option<i64>,
    backup_error: Option<bool>,
    #[serde(default)]
    backup_reference: Vec<String>,
    backup_prior: Option<String>,
    db_id: Option<u64>,
    #[serde(default)]
    option_archive_copy: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Database {
    db_system_id: u64,
    db_version: String,
}

pub(super) fn read(source: &Source, bytes: &[u8]) -> Result<Catalogued, CatalogError> {
    let lines = lines(text(bytes)?)?;
    check(&lines)?;
    let databases: HashMap<&str, Database> = section_of(&lines, "db:history")
        .map(|line| Ok((line.key, serde_json::from_str(line.value)?)))
        .collect::<Result<_, serde_json::Error>>()?;
    let mut found = Catalogued::default();
    for line in section_of(&lines, "backup:current") {
        let current: Current = serde_json::from_str(line.value)?;
        let database = current.db_id.and_then(|id| databases.get(id.to_string().as_str()));
        match backup(line.key, &current, database, source.clone()) {
            Ok(backup) => found.backups.push(backup),
            Err(Unplaced::Offline) => {
                let reason = "it was taken offline: it has no start position".to_owned();
                found.skipped.push((line.key.to_owned(), reason));
            }
            Err(Unplaced::Unclear(reason)) => found.unclear.push((line.key.to_owned(), reason.to_owned())),
        }
    }
    Ok(found)
}

fn section_of<'a>(lines: &'a [Line<'a>], name: &'a str) -> impl Iterator<Item = &'a Line<'a>> {
    lines.iter().filter(move |line| line.section == name)
}

/// Why a backup has no place in the WAL.
enum Unplaced {
    /// It needs none.
    Offline,
    /// What it needs cannot be told.
    Unclear(&'static str),
}

fn backup(
    label: &str,
    current: &Current,
    database: Option<&Database>,
    source: Source,
) -> Result<BaseBackup, Unplaced> {
    let lsn = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Lsn>().ok());
    if current.backup_lsn_start.is_none() && current.backup_archive_start.is_none() {
        return Err(Unplaced::Offline);
    }
    let start = lsn(&current.backup_lsn_start).ok_or(Unplaced::Unclear("it has no start position"))?;
    let segment = current.backup_archive_start.as_deref().and_then(SegmentName::parse);
    let segment = segment.ok_or(Unplaced::Unclear("it names no start segment"))?;
    let mut cautions = Vec::new();
    if current.backup_error == Some(true) {
        cautions.push("pgBackRest found page checksum errors in it".to_owned());
    }
    if current.option_archive_copy {
        cautions.push("it carries the WAL of the time of the backup in itself".to_owned());
    }
    // References come with every backup that has a prior one; where they are missing the prior one is all that is known.
    let prior = current.backup_prior.iter().filter(|_| current.backup_reference.is_empty());
    Ok(BaseBackup {
        label: label.to_owned(),
        stop_lsn: lsn(&current.backup_lsn_stop),
        version: database.and_then(|database| database.db_version.parse().ok()),
        system_identifier: database.map(|database| SystemId(database.db_system_id)),
        group: database.zip(current.db_id).map(|(database, id)| format!("{}-{id}", database.db_version)),
        started: current.backup_timestamp_start.map(PgTime::from_unix_seconds),
        finished: current.backup_timestamp_stop.map(PgTime::from_unix_seconds),
        depends_on: current.backup_reference.iter().chain(prior).cloned().collect(),
        cautions,
        ..BaseBackup::new(start, segment.timeline, source)
    })
}

/// One `key=value` and the section that it stands in.
struct Line<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, CatalogError> {
    let mut section = "";
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            continue;
        }
        let (key, value) = split(line)
            .ok_or_else(|| CatalogError::Line { line: i + 1, text: line.chars().take(80).collect() })?;
        lines.push(Line { section, key, value });
    }
    Ok(lines)
}

/// Splits at the first `=` that leaves valid JSON: a key may hold one too.
fn split(line: &str) -> Option<(&str, &str)> {
    let pairs = line.match_indices('=').filter_map(|(at, _)| Some((line.get(..at)?, line.get(at + 1..)?)));
    pairs.into_iter().find(|(_, value)| serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok())
}

/// Compares the checksum in the file with that of its content.
fn check(lines: &[Line<'_>]) -> Result<(), CatalogError> {
    let is_checksum = |line: &&Line<'_>| (line.section, line.key) == ("backrest", "backrest-checksum");
    let stored = lines.iter().find(is_checksum).ok_or(CatalogError::Missing("backrest-checksum"))?;
    let mut hash = Sha1::new();
    let mut section = None;
    for line in lines.iter().filter(|line| !is_checksum(line)) {
        let opening = match section {
            None => "{",
            Some(name) if name == line.section => ",",
            Some(_) => "},",
        };
        hash.update(opening);
        if section != Some(line.section) {
            hash.update(format!("{}:{{", serde_json::Value::from(line.section)));
            section = Some(line.section);
        }
        hash.update(format!("{}:{}", serde_json::Value::from(line.key), line.value));
    }
    hash.update("}}");
    let computed = crate::backup::hexadecimal(&hash.finalize());
    let stored = stored.value.trim_matches('"').to_owned();
    if stored == computed { Ok(()) } else { Err(CatalogError::Checksum { stored, computed }) }
}
