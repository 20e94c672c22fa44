//! What a catalog holds, as text and as JSON.

use super::printable;
use super::text::{self, Palette, counted};
use crate::audit::{Audit, Survey};
use crate::catalog::{Catalog, CatalogError, Tally};
use crate::finding::Finding;
use crate::scan::Event;
use crate::scan::event::What;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// The JSON answer of `index`.
#[derive(Clone, Debug, Serialize)]
pub struct IndexAnswer<'a> {
    catalog: String,
    segments: Segments,
    commits: u64,
    aborts: u64,
    restore_points: u64,
    checkpoints: u64,
    bytes_scanned: u64,
    catalog_bytes: u64,
    seconds: f64,
    findings: &'a [Finding],
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Segments {
    total: u64,
    scanned: u64,
    reused: u64,
    removed: u64,
}

impl<'a> IndexAnswer<'a> {
    /// The answer about `catalog` and the archive of `total` files that it describes.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn new(
        catalog: &Catalog,
        total: u64,
        tally: Tally,
        audit: &'a Audit,
        survey: &Survey,
        took: Duration,
    ) -> Result<Self, CatalogError> {
        let timelines =
            || audit.timelines.iter().chain(audit.others.iter().flat_map(|other| &other.timelines));
        let (mut restore_points, mut checkpoints) = (BTreeSet::new(), BTreeSet::new());
        for (cluster, event) in events(survey) {
            // A copied prefix shows its events twice.
            match event.what {
                What::RestorePoint { .. } => restore_points.insert((cluster, event.owner, event.lsn)),
                What::Checkpoint { .. } => checkpoints.insert((cluster, event.owner, event.lsn)),
                _ => false,
            };
        }
        let Tally { scanned, reused, removed, bytes_scanned } = tally;
        Ok(Self {
            catalog: catalog.path().display().to_string(),
            segments: Segments { total, scanned, reused, removed },
            commits: timelines().map(|report| report.transactions.commits).sum(),
            aborts: timelines().map(|report| report.transactions.aborts).sum(),
            restore_points: restore_points.len() as u64,
            checkpoints: checkpoints.len() as u64,
            bytes_scanned,
            catalog_bytes: catalog.size()?,
            seconds: took.as_secs_f64(),
            findings: &audit.findings,
        })
    }
}

fn events(survey: &Survey) -> impl Iterator<Item = (crate::chain::chains::ClusterId, &Event)> {
    survey.chains.clusters.iter().flat_map(|(id, cluster)| {
        let ranges = cluster.chains.values().flat_map(|chain| &chain.ranges);
        ranges.flat_map(|range| &range.events).map(move |event| (*id, event))
    })
}

/// The answer for people.
pub fn render(answer: &IndexAnswer<'_>, location: &str, palette: Palette) -> String {
    let mut out = String::new();
    let segments = answer.segments;
    let _ = writeln!(out, "{}", palette.heading(&printable(location)));
    let _ = writeln!(
        out,
        "{}: {} read ({}), {} known, {} gone",
        counted(segments.total, "segment"),
        text::number(segments.scanned),
        text::bytes(answer.bytes_scanned),
        text::number(segments.reused),
        text::number(segments.removed),
    );
    let _ = writeln!(
        out,
        "{}, {}, {}, {}",
        counted(answer.commits, "commit"),
        counted(answer.aborts, "abort"),
        counted(answer.restore_points, "restore point"),
        counted(answer.checkpoints, "checkpoint"),
    );
    let _ = writeln!(
        out,
        "{} in {:.1} s: {}",
        text::bytes(answer.catalog_bytes),
        answer.seconds,
        printable(&answer.catalog)
    );
    if !answer.findings.is_empty() {
        let _ = write!(out, "\n{}", text::findings(answer.findings, palette));
    }
    out
}
