//! An archive in several parts, each with a cluster of its own: what pgBackRest keeps after an upgrade.
//!
//! Names mean nothing across parts, so each is audited by itself. The newest is what the answer is about; an
//! earlier one is counted, its damage told, and its cluster listed beside.

use super::{Audit, OtherCluster};
use crate::finding::{Code, Finding};

/// Adds the audit of an earlier part, called `group`, to that of the newest.
pub(super) fn absorb(audit: &mut Audit, earlier: Audit, group: &str) {
    if earlier.system_id != audit.system_id {
        audit.findings.extend(earlier_cluster(audit, &earlier, group));
    }
    let counts = earlier.segments;
    audit.segments.total += counts.total;
    audit.segments.verified += counts.verified;
    audit.segments.damaged += counts.damaged;
    audit.segments.missing += counts.missing;
    audit.segments.partial += counts.partial;
    audit.segments.foreign += counts.total;
    audit.bytes += earlier.bytes;
    audit.records += earlier.records;
    audit.versions.extend(earlier.versions.iter().copied());
    audit.versions.sort_unstable();
    audit.versions.dedup();
    if let (Some(system_id), Some(segment_size)) = (earlier.system_id, earlier.segment_size) {
        audit.others.push(OtherCluster {
            system_id,
            segment_size,
            versions: earlier.versions,
            segments: counts.total - counts.foreign.min(counts.total),
            timelines: earlier.timelines,
        });
    }
    audit.others.extend(earlier.others);
    audit.unread.extend(earlier.unread);
    // Both listings saw the whole archive, and told the same of what is no WAL.
    let of_listing = |finding: &Finding| finding.code == Code::UnknownFile;
    audit.findings.extend(earlier.findings.into_iter().filter(|finding| !of_listing(finding)));
}

fn earlier_cluster(audit: &Audit, earlier: &Audit, group: &str) -> Option<Finding> {
    let (newest, system_id) = (audit.system_id?, earlier.system_id?);
    let versions: Vec<&str> = earlier.versions.iter().map(|major| major.name()).collect();
    let message = format!(
        "{} of an earlier cluster (system identifier {system_id}, PostgreSQL {}) in {group}: no recovery leads from there \
         to this one's",
        if earlier.segments.total == 1 {
            "1 segment".to_owned()
        } else {
            format!("{} segments", earlier.segments.total)
        },
        versions.join(", "),
    );
    Some(Finding::new(Code::EarlierCluster, message).expecting(newest, system_id))
}
