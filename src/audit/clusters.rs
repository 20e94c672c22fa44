//! Several clusters in one place: told apart, and told what that means.

use super::Survey;
use crate::chain::chains::{Chain, ClusterId, FileRecord};
use crate::finding::{Code, Finding};
use crate::wal::page::LONG_HEADER_BYTES;
use crate::wal::{Lsn, SegmentNumber};

/// Byte of the system identifier in a segment.
const SYSTEM_ID_OFFSET: u64 = 24;
const _: () = assert!(SYSTEM_ID_OFFSET < LONG_HEADER_BYTES as u64);

/// Clusters that are not clusters: single segments that fill a place in the newest one's chain, so that it is
/// their header that is wrong.
pub(super) fn impostors(survey: &Survey, newest: Option<ClusterId>) -> Vec<ClusterId> {
    let others = survey.chains.clusters.keys().filter(|id| Some(**id) != newest);
    others.filter(|id| stands_in_chain(survey, newest, **id)).copied().collect()
}

/// Whether every file of `id` stands where the newest cluster has none, between two that it has.
fn stands_in_chain(survey: &Survey, newest: Option<ClusterId>, id: ClusterId) -> bool {
    let files: Vec<&FileRecord> = files_of(survey, id).collect();
    files.len() == 1 && files.iter().all(|file| fills_hole(survey, newest, file))
}

fn files_of(survey: &Survey, id: ClusterId) -> impl Iterator<Item = &FileRecord> {
    survey.chains.files.iter().filter(move |file| file.cluster == Some(id))
}

/// Whether the newest cluster lacks exactly this file.
fn fills_hole(survey: &Survey, newest: Option<ClusterId>, file: &FileRecord) -> bool {
    let Some(newest) = newest else { return false };
    let Some(number) = file.name.number(newest.segment_size) else { return false };
    let Some(cluster) = survey.chains.clusters.get(&newest) else { return false };
    let Some(chain) = cluster.chains.get(&file.name.timeline) else { return false };
    let neighbour = |n: Option<u64>| n.is_some_and(|n| holds(chain, SegmentNumber(n)));
    !holds(chain, number) && (neighbour(number.0.checked_sub(1)) || neighbour(number.0.checked_add(1)))
}

fn holds(chain: &Chain, number: SegmentNumber) -> bool {
    let contains = |range: &&crate::chain::range::Range| {
        let size = range.format.segment_size;
        (range.start.segment(size)..=range.end.segment_of_end(size)).contains(&number)
    };
    chain.ranges.iter().any(|range| contains(&range))
}

/// One finding for each cluster that is not the newest.
pub(super) fn findings(survey: &Survey, newest: Option<ClusterId>) -> Vec<Finding> {
    let Some(newest) = newest else { return Vec::new() };
    let impostors = impostors(survey, Some(newest));
    let others = survey.chains.clusters.keys().filter(|id| **id != newest);
    others
        .filter_map(|id| {
            if impostors.contains(id) {
                return files_of(survey, *id).next().map(|file| wrong_identity(newest, *id, file));
            }
            Some(other_cluster(survey, newest, *id))
        })
        .collect()
}

/// One segment inside a chain says that it is another cluster's (or of another size).
fn wrong_identity(newest: ClusterId, id: ClusterId, file: &FileRecord) -> Finding {
    let start = file.name.start(newest.segment_size).unwrap_or(Lsn::INVALID);
    if id.system_id == newest.system_id {
        return Finding::new(
            Code::SegmentSize,
            format!(
                "segment {} has {} segments, its neighbours have {}",
                file.name, id.segment_size, newest.segment_size
            ),
        )
        .in_segment(file.name)
        .on(file.name.timeline)
        .at(start, 32)
        .expecting(newest.segment_size.bytes(), id.segment_size.bytes());
    }
    Finding::new(
        Code::SystemIdentifier,
        format!(
            "WAL file is from different database system: segment {} has system identifier {}, its neighbours have {}",
            file.name, id.system_id, newest.system_id
        ),
    )
    .in_segment(file.name)
    .on(file.name.timeline)
    .at(start, SYSTEM_ID_OFFSET)
    .expecting(newest.system_id, id.system_id)
}

/// Another cluster's files: an earlier one, complete, or mixed in with this one's.
fn other_cluster(survey: &Survey, newest: ClusterId, id: ClusterId) -> Finding {
    let files: Vec<&FileRecord> = files_of(survey, id).collect();
    let first = files.iter().map(|file| file.name).min_by_key(|name| (name.log, name.segment));
    let last = files.iter().map(|file| file.name).max_by_key(|name| (name.log, name.segment));
    let versions: Vec<&str> = survey
        .chains
        .clusters
        .get(&id)
        .map(|cluster| cluster.versions.iter().map(|major| major.name()).collect())
        .unwrap_or_default();
    let what = format!(
        "{} segment{} of another cluster (system identifier {}, PostgreSQL {}, {} segments)",
        files.len(),
        if files.len() == 1 { "" } else { "s" },
        id.system_id,
        versions.join(", "),
        id.segment_size,
    );
    let begin = |id: ClusterId, pick: fn(&mut dyn Iterator<Item = Lsn>) -> Option<Lsn>| {
        pick(&mut files_of(survey, id).filter_map(|file| file.name.start(id.segment_size)))
    };
    let earlier = begin(id, |all| all.max()) < begin(newest, |all| all.min());
    let between = match (first, last) {
        (Some(first), Some(last)) if first != last => format!("from {first} to {last}"),
        (Some(first), _) => format!("{first}"),
        _ => String::new(),
    };
    let (code, message) = if earlier {
        (
            Code::EarlierCluster,
            format!("{what} stand before this one's, {between}: no recovery leads from them to it"),
        )
    } else {
        (
            Code::ForeignCluster,
            format!("{what} are mixed in with this one's, {between}: two servers archive to one place"),
        )
    };
    let mut finding = Finding::new(code, message).expecting(newest.system_id, id.system_id);
    if let Some(first) = first {
        finding = finding.in_segment(first).on(first.timeline);
        if let Some(start) = first.start(id.segment_size) {
            finding = finding.at(start, SYSTEM_ID_OFFSET);
        }
    }
    finding
}
