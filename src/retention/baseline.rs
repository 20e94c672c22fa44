//! Losses that somebody accepted, so that audits are red for what is new only.
//!
//! An entry names the cluster and, by digests, the very findings that were accepted: worse damage in the same place, the
//! loss of the other copy, or the same name in another cluster is news. A gap is accepted by its first and last name, for
//! it may be filled in part and joined to another. Entries of before have neither cluster nor digests; they hold for what
//! they name: files, codes and positions.

use crate::audit::Audit;
use crate::finding::{Code, Finding, Severity};
use crate::recovery::settings::replace_file;
use crate::wal::SystemId;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// A loss that is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The file in which findings are accepted, by its name in them.
    pub segment: String,
    /// Why.
    pub reason: String,
    /// When it was accepted, ISO 8601.
    pub accepted_at: String,
    /// The last segment of the gap that is accepted, where it was known how far it goes; a gap that goes further is
    /// news.
    #[serde(default)]
    pub through: Option<String>,
    /// Codes of the findings that are accepted; empty: every one in that file.
    #[serde(default)]
    pub codes: Vec<String>,
    /// Where in the WAL they are; empty: anywhere in that file. Damage elsewhere is news.
    #[serde(default)]
    pub lsns: Vec<String>,
    /// The cluster, by its system identifier; `None`: written before that was remembered, and holds for any.
    #[serde(default)]
    pub system_identifier: Option<String>,
    /// What was found, gaps aside: [`digest_of`] each finding. Empty: written before that was remembered, or about a gap
    /// alone.
    #[serde(default)]
    pub digests: Vec<String>,
}

impl Accepted {
    /// Whether a gap that was accepted has the segment of this name: one that was filled from its front is no news.
    fn has_gap_from(&self, segment: &str) -> bool {
        let timeline = |name: &str| name.get(..TIMELINE_DIGITS).map(str::to_owned);
        let range = self.through.as_deref().map(|through| self.segment.as_str()..=through);
        timeline(segment) == timeline(&self.segment) && range.is_some_and(|range| range.contains(&segment))
    }

    /// What is accepted, for people: a file, or a gap from its first segment to its last.
    pub fn named(&self) -> String {
        match self.through.as_ref().filter(|through| **through != self.segment) {
            Some(through) => format!("{} to {through}", self.segment),
            None => self.segment.clone(),
        }
    }
}

/// Hexadecimal digits of the timeline in a segment's name.
const TIMELINE_DIGITS: usize = 8;

/// What was accepted for one archive.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Version of the file's form.
    pub version: u32,
    /// In the order in which they were accepted.
    pub accepted: Vec<Accepted>,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// Reading failed.
    #[error("cannot read the baseline {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a baseline.
    #[error("{} is not a baseline: {detail}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It cannot be kept from being changed by others at the same time.
    #[error("cannot lock the baseline with {}: {source}", path.display())]
    Lock {
        /// The file beside it that is locked.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write the baseline {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The only form so far.
const VERSION: u32 = 1;

impl Baseline {
    /// Reads a baseline; an empty one where there is no such file.
    pub fn load(path: &Path) -> Result<Self, BaselineError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, accepted: Vec::new() });
            }
            Err(source) => return Err(BaselineError::Read { path: path.to_owned(), source }),
        };
        let form = |detail: String| BaselineError::Form { path: path.to_owned(), detail };
        let read: Self = serde_json::from_slice(&bytes).map_err(|error| form(error.to_string()))?;
        if read.version != VERSION {
            return Err(form(format!("its version is {}, known is {VERSION}", read.version)));
        }
        Ok(read)
    }

    /// Reads the baseline at `path`, changes it and writes it, and gives what it is then. Others that do so meanwhile wait:
    /// what one of them accepts, another one keeps.
    pub fn update(path: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, BaselineError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        let failed = |source: io::Error| BaselineError::Lock { path: beside.clone(), source };
        make_folder_of(path).map_err(failed)?;
        // Not the baseline itself, which is another file each time it is written. The lock ends with the open file.
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(&beside).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut baseline = Self::load(path)?;
        change(&mut baseline);
        baseline.save(path)?;
        Ok(baseline)
    }

    /// Writes the baseline: whole, or not at all. What was there is replaced: to add to it, see [`Self::update`].
    pub fn save(&self, path: &Path) -> Result<(), BaselineError> {
        let failed = |source: io::Error| BaselineError::Write { path: path.to_owned(), source };
        make_folder_of(path).map_err(failed)?;
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))? + "\n";
        replace_file(path, text.as_bytes()).map_err(failed)
    }

    /// Adds a loss; one that was accepted before in the same file is replaced.
    pub fn accept(&mut self, accepted: Accepted) {
        let is_same = |old: &Accepted| {
            let cluster = old.system_identifier.as_ref();
            (&old.segment, &old.codes) == (&accepted.segment, &accepted.codes)
                && cluster.is_none_or(|cluster| accepted.system_identifier.as_ref() == Some(cluster))
        };
        // Of two gaps that begin alike, on two paths, the longer one is accepted.
        let longer = self.accepted.iter().filter(|old| is_same(old) && old.reason == accepted.reason);
        let through = longer.map(|old| old.through.clone()).chain([accepted.through.clone()]);
        let through = if accepted.through.is_some() { through.max().flatten() } else { None };
        self.accepted.retain(|old| !is_same(old));
        self.accepted.push(Accepted { through, ..accepted });
    }

    /// Why a finding is accepted, if it is. `cluster`: the newest in the archive.
    pub fn reason_for(&self, finding: &Finding, cluster: Option<SystemId>) -> Option<&str> {
        let segment = finding.segment.as_deref()?;
        let cluster = cluster.map(|cluster| cluster.to_string());
        let is_gap = finding.code == Code::SegmentMissing;
        let fits = |accepted: &&Accepted| {
            let codes = &accepted.codes;
            let in_range = is_gap && accepted.has_gap_from(segment);
            (accepted.segment == segment || in_range)
                && accepted.system_identifier.as_ref().is_none_or(|its| cluster.as_ref() == Some(its))
                && (is_gap || accepted.digests.is_empty() || accepted.digests.contains(&digest_of(finding)))
                && accepted.through.as_deref().is_none_or(|last| last_of(finding) <= Some(last))
                && (codes.is_empty() || codes.iter().any(|code| code == finding.code.name()))
                && (in_range || accepted.lsns.is_empty() || accepted.lsns.contains(&place_of(finding)))
        };
        self.accepted.iter().find(fits).map(|accepted| accepted.reason.as_str())
    }
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

/// What tells a finding from every other: all that it says of what is wrong, and where that is stored. What it costs is not
/// in it, for that changes with the WAL around it.
pub fn digest_of(finding: &Finding) -> String {
    let offset = finding.offset.map(|offset| offset.to_string());
    // This one also says how much there is without a history, which grows every night.
    let message = Some(&*finding.message).filter(|_| finding.code != Code::TimelineHistoryMissing);
    let parts = [
        Some(finding.code.name()),
        finding.segment.as_deref(),
        Some(&*place_of(finding)),
        offset.as_deref(),
        finding.expected.as_deref(),
        finding.found.as_deref(),
        message,
    ];
    let mut hash = Sha1::new();
    for part in parts {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    crate::backup::hexadecimal(&hash.finalize())
}

/// The place of a finding, as a baseline has it; empty for one about a file as a whole.
pub fn place_of(finding: &Finding) -> String {
    finding.lsn.map(|lsn| lsn.to_string()).unwrap_or_default()
}

/// The last segment that a finding is about: of a gap, the second name in what was expected.
pub fn last_of(finding: &Finding) -> Option<&str> {
    let expected = finding.expected.as_deref().filter(|_| finding.code == Code::SegmentMissing);
    expected.and_then(|expected| expected.rsplit(' ').next()).or(finding.segment.as_deref())
}

/// Marks what was accepted: it is still told, as something known.
pub fn acknowledge(audit: &mut Audit, baseline: &Baseline) {
    let cluster = audit.system_id;
    for finding in &mut audit.findings {
        if finding.severity == Severity::Info {
            continue;
        }
        if let Some(reason) = baseline.reason_for(finding, cluster) {
            finding.message = format!("{} (accepted: {reason})", finding.message);
            finding.acknowledged = true;
            finding.severity = Severity::Info;
        }
    }
    audit.findings.sort_by_key(|finding| finding.severity);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// An entry that says nothing but which file, and why.
    fn entry(segment: impl Into<String>, reason: &str) -> Accepted {
        Accepted {
            segment: segment.into(),
            reason: reason.to_owned(),
            accepted_at: "2026-01-01T00:00:00Z".to_owned(),
            through: None,
            codes: Vec::new(),
            lsns: Vec::new(),
            system_identifier: None,
            digests: Vec::new(),
        }
    }

    #[test]
    fn what_is_accepted_survives_the_disk_and_covers_its_segment_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/known.json");
        let mut baseline = Baseline::load(&path).unwrap();
        for reason in ["one", "the disk of May"] {
            baseline.accept(entry("000000010000000000000007", reason));
        }
        baseline.save(&path).unwrap();
        let baseline = Baseline::load(&path).unwrap();
        assert_eq!(baseline.accepted.len(), 1);
        let missing = Finding::new(Code::SegmentMissing, "gone");
        let known = missing.clone().in_segment("000000010000000000000007");
        assert_eq!(baseline.reason_for(&known, None), Some("the disk of May"));
        assert_eq!(baseline.reason_for(&missing.clone().in_segment("000000010000000000000008"), None), None);
        assert_eq!(baseline.reason_for(&missing, None), None);
    }

    #[test]
    fn what_many_accept_at_once_is_all_kept() {
        const EACH: u32 = 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/known.json");
        let accept = |number: u32| {
            let accepted = entry(format!("0000000100000000{number:08X}"), "known");
            Baseline::update(&path, |baseline| baseline.accept(accepted)).unwrap();
        };
        std::thread::scope(|scope| {
            for first in (0..6).map(|thread| thread * EACH) {
                scope.spawn(move || (first..first + EACH).for_each(accept));
            }
        });
        assert_eq!(Baseline::load(&path).unwrap().accepted.len(), 120);
    }

    #[test]
    fn a_part_of_a_gap_that_was_accepted_is_accepted() {
        let mut baseline = Baseline::default();
        baseline.accept(Accepted {
            through: Some("000000010000000000000009".to_owned()),
            codes: vec!["segment-missing".to_owned()],
            lsns: vec!["0/E00000".to_owned()],
            ..entry("000000010000000000000007", "known")
        });
        assert_eq!(baseline.accepted[0].named(), "000000010000000000000007 to 000000010000000000000009");
        let gap = |first: u32, last: u32| {
            let name = |number| format!("0000000100000000{number:08X}");
            let finding = Finding::new(Code::SegmentMissing, "gone").in_segment(name(first));
            finding.expecting(format!("{} to {}", name(first), name(last)), "no such file")
        };
        let is_known = |finding: &Finding| baseline.reason_for(finding, None).is_some();
        for (first, last) in [(7, 9), (8, 9), (9, 9), (8, 8), (7, 8)] {
            assert!(is_known(&gap(first, last)), "{first} to {last}");
        }
        for (first, last) in [(6, 9), (8, 10), (10, 10), (6, 6)] {
            assert!(!is_known(&gap(first, last)), "{first} to {last}");
        }
        let damage = Finding::new(Code::PageMagic, "bad").in_segment("000000010000000000000008");
        assert!(!is_known(&damage));
        assert!(!is_known(&gap(8, 8).in_segment("000000020000000000000008")));
    }

    #[test]
    fn more_of_what_was_accepted_is_the_same() {
        let missing = |count: u32| {
            let message = format!("timeline 2 has {count} segments but no history file");
            Finding::new(Code::TimelineHistoryMissing, message).in_segment("00000002.history")
        };
        assert_eq!(digest_of(&missing(5)), digest_of(&missing(6)));
    }

    #[test]
    fn an_entry_is_of_one_cluster_and_of_what_was_found() {
        let finding = Finding::new(Code::PageMagic, "bad").in_segment("000000010000000000000007");
        let entry = |system_identifier: Option<&str>, digests: Vec<String>| Accepted {
            segment: "000000010000000000000007".to_owned(),
            reason: "known".to_owned(),
            accepted_at: "2026-01-01T00:00:00Z".to_owned(),
            through: None,
            codes: vec!["page-magic".to_owned()],
            lsns: vec![String::new()],
            system_identifier: system_identifier.map(ToOwned::to_owned),
            digests,
        };
        let worse = finding.clone().expecting("D113", "FFFF");
        let digests = || vec![digest_of(&finding)];
        for (entry, known, grown, elsewhere) in [
            (entry(Some("7"), digests()), true, false, false),
            (entry(None, digests()), true, false, true),
            // As they were written before.
            (entry(None, Vec::new()), true, true, true),
        ] {
            let mut baseline = Baseline::default();
            baseline.accept(entry);
            let accepts = |finding, id| baseline.reason_for(finding, Some(SystemId(id))).is_some();
            assert_eq!(
                (accepts(&finding, 7), accepts(&worse, 7), accepts(&finding, 8)),
                (known, grown, elsewhere)
            );
        }
    }

    #[test]
    fn a_file_that_is_no_baseline_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.json");
        for text in ["", "{}", "{\"version\":2,\"accepted\":[]}", "{\"version\":1,\"accepted\":[{}]}"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Baseline::load(&path), Err(BaselineError::Form { .. })), "{text:?}");
        }
    }
}
