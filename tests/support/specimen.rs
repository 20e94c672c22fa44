//! An archive on the bench: each file is scanned once, and then the verdict is asked for with one file changed,
//! without copying the archive and without reading the other files again.

use std::fs;
use std::path::{Path, PathBuf};

use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{Audit, Options, Plan, Survey, judge, plan};
use walproof::chain::chains::Chains;
use walproof::scan::segment::Scan;
use walproof::scan::{Detail, Expectation, SegmentFacts};
use walproof::wal::{SegmentName, WalFileName};

/// Bytes handed to a scan at a time, like a store does.
const PIECE_BYTES: usize = 1 << 20;

/// An archive, scanned.
pub struct Specimen {
    pub directory: PathBuf,
    pub plan: Plan,
    options: Options,
    facts: Vec<SegmentFacts>,
}

impl Specimen {
    /// Reads every file of the plain archive in `directory`.
    pub fn of(directory: &Path) -> Self {
        let options = Options::default();
        let archive = Archive::open(directory.to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let plan = plan(&archive, &options).unwrap();
        let mut specimen = Self { directory: directory.to_owned(), plan, options, facts: Vec::new() };
        for entry in specimen.plan.entries.clone() {
            let (name, partial) = match entry.name {
                WalFileName::Segment(name) => (name, false),
                WalFileName::Partial(name) => (name, true),
                other => panic!("{other} is no segment"),
            };
            let bytes = fs::read(directory.join(&entry.object.path)).unwrap();
            let mut facts = specimen.scan(name, &bytes);
            facts.partial = partial;
            specimen.facts.push(facts);
        }
        specimen
    }

    /// The names of its segments, in order.
    pub fn segments(&self) -> Vec<SegmentName> {
        self.facts.iter().filter(|facts| !facts.partial).map(|facts| facts.name).collect()
    }

    /// The bytes of a segment.
    pub fn bytes(&self, name: SegmentName) -> Vec<u8> {
        fs::read(self.directory.join(name.to_string())).unwrap()
    }

    /// What a scan of `bytes` under the name `name` says.
    pub fn scan(&self, name: SegmentName, bytes: &[u8]) -> SegmentFacts {
        let expectation = Expectation {
            owners: self.plan.owners(name.timeline),
            digests: self.plan.forks(name.timeline).into_iter().collect(),
            digest_all: false,
            records_from: None,
            detail: Detail::Summary,
        };
        let mut scan = Scan::new(name, &expectation, Some(bytes.len() as u64));
        for piece in bytes.chunks(PIECE_BYTES) {
            if scan.feed(piece).is_break() {
                break;
            }
        }
        let mut facts = scan.finish();
        facts.path = name.to_string();
        facts
    }

    /// The verdict on the archive as it is.
    pub fn audit(&self) -> Audit {
        self.judge(self.facts.iter().cloned())
    }

    /// The verdict if the segment `name` held `bytes`.
    pub fn audit_with(&self, name: SegmentName, bytes: &[u8]) -> Audit {
        let changed = self.scan(name, bytes);
        self.judge(
            self.facts.iter().map(|facts| {
                if facts.name == name && !facts.partial { changed.clone() } else { facts.clone() }
            }),
        )
    }

    fn judge(&self, facts: impl Iterator<Item = SegmentFacts>) -> Audit {
        let mut survey = Survey::default();
        for facts in facts {
            let timeline = facts.name.timeline;
            survey.bytes += facts.bytes;
            survey.chains.push(facts, &self.plan.owners(timeline), &self.plan.forks(timeline));
        }
        judge(&self.plan, &survey, &self.options)
    }
}
