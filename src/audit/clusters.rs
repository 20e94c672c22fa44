//! Several clusters in one place: told apart, and told what that means.

use super::{Survey, wounds};
use crate::chain::chains::{ClusterId, FileRecord};
use crate::finding::{Code, Finding};
use crate::wal::fault::Fault;
use crate::wal::page::LONG_HEADER_BYTES;
use crate::wal::{Lsn, SegmentNumber};
use std::collections::{HashMap, HashSet};

/// Byte of the system identifier in a segment.
const SYSTEM_ID_OFFSET: u64 = 24;
const _: () = assert!(SYSTEM_ID_OFFSET < LONG_HEADER_BYTES as u64);

/// The files of each cluster, in the order of their names.
pub(super) type FilesOf<'a> = HashMap<ClusterId, Vec<&'a FileRecord>>;

/// Sorts the files out by cluster.
pub(super) fn files_of(survey: &Survey) -> FilesOf<'_> {
    let mut files = FilesOf::new();
    for file in &survey.chains.files {
        if let Some(id) = file.cluster {
            files.entry(id).or_default().push(file);
        }
    }
    files
}

fn of<'a, 'b>(files: &'b FilesOf<'a>, id: ClusterId) -> &'b [&'a FileRecord] {
    files.get(&id).map(Vec::as_slice).unwrap_or_default()
}

/// Clusters that are not clusters: single segments that fill a place in the newest one's chain, so that it is
/// their header that is wrong.
pub(super) fn impostors(
    survey: &Survey,
    files: &FilesOf<'_>,
    newest: Option<ClusterId>,
) -> HashSet<ClusterId> {
    let others = survey.chains.clusters.keys().filter(|id| Some(**id) != newest);
    others.filter(|id| stands_in_chain(survey, of(files, **id), newest, **id)).copied().collect()
}

/// Whether `id` is one file that stands where the newest cluster has none: next to one that it has, if it is of the
/// same version, else between two. An upgrade changes the version together with the identifier, and goes on behind
/// all that was before.
fn stands_in_chain(survey: &Survey, files: &[&FileRecord], newest: Option<ClusterId>, id: ClusterId) -> bool {
    let versions = |id| survey.chains.clusters.get(&id).map(|cluster| &cluster.versions);
    let same_version = newest.and_then(versions).zip(versions(id)).is_some_and(|(ours, its)| ours == its);
    let fits = |file: &&FileRecord| match fills_hole(survey, newest, file) {
        (true, true) => true,
        (before, after) => same_version && (before || after),
    };
    files.len() == 1 && files.iter().all(fits)
}

/// Where the newest cluster lacks exactly this file: whether it has the segment before, and the one behind.
fn fills_hole(survey: &Survey, newest: Option<ClusterId>, file: &FileRecord) -> (bool, bool) {
    const ELSEWHERE: (bool, bool) = (false, false);
    let Some(newest) = newest else { return ELSEWHERE };
    let Some(number) = file.name.number(newest.segment_size) else { return ELSEWHERE };
    let Some(cluster) = survey.chains.clusters.get(&newest) else { return ELSEWHERE };
    let own = cluster.chains.get(&file.name.timeline);
    if own.is_some_and(|chain| chain.present.contains(number)) {
        return ELSEWHERE;
    }
    // A timeline's only file follows its parent's.
    let present = |number: SegmentNumber| cluster.chains.values().any(|chain| chain.present.contains(number));
    let before = number.0.checked_sub(1).map(SegmentNumber);
    (before.is_some_and(present), present(number.next()))
}

/// One finding for each cluster that is not the newest.
pub(super) fn findings(
    survey: &Survey,
    files: &FilesOf<'_>,
    newest: Option<ClusterId>,
    impostors: &HashSet<ClusterId>,
) -> Vec<Finding> {
    let Some(newest) = newest else { return Vec::new() };
    let starts = of(files, newest).iter().filter_map(|file| file.name.start(newest.segment_size));
    let first = starts.min();
    let others = survey.chains.clusters.keys().filter(|id| **id != newest);
    others
        .filter_map(|id| {
            if impostors.contains(id) {
                let no_page = no_first_page(survey, *id);
                return no_page
                    .or_else(|| of(files, *id).first().map(|file| wrong_identity(newest, *id, file)));
            }
            Some(other_cluster(survey, of(files, *id), (newest, first), *id))
        })
        .chain(version_change(survey, files, newest, impostors))
        .collect()
}

/// Whether all of a cluster's files stand before `newest_start`.
fn is_earlier(files: &[&FileRecord], id: ClusterId, newest_start: Option<Lsn>) -> bool {
    files.iter().filter_map(|file| file.name.start(id.segment_size)).max() < newest_start
}

/// The clusters whose files stand where the newest one's should be, and are told as errors for that.
pub(super) fn mixed_in(
    survey: &Survey,
    files: &FilesOf<'_>,
    newest: Option<ClusterId>,
) -> HashSet<ClusterId> {
    let Some(newest) = newest else { return HashSet::new() };
    let starts = of(files, newest).iter().filter_map(|file| file.name.start(newest.segment_size));
    let first = starts.min();
    let others = survey.chains.clusters.keys().filter(|id| **id != newest);
    others.filter(|id| !is_earlier(of(files, **id), **id, first)).copied().collect()
}

/// An upgrade, by the clusters that it leaves side by side.
fn version_change(
    survey: &Survey,
    files: &FilesOf<'_>,
    newest: ClusterId,
    impostors: &HashSet<ClusterId>,
) -> Option<Finding> {
    let versions = |id: &ClusterId| survey.chains.clusters.get(id)?.versions.last().copied();
    let after = versions(&newest)?;
    let others = survey.chains.clusters.keys().filter(|id| **id != newest && !impostors.contains(id));
    let before =
        others.filter(|id| versions(id).is_some_and(|major| major < after)).max_by_key(|id| versions(id))?;
    let (last, first) = (of(files, *before).last()?, of(files, newest).first()?);
    let major = versions(before)?;
    let place = |file: &FileRecord| (file.name.log, file.name.segment);
    if of(files, newest).iter().any(|file| place(file) <= place(last)) {
        return None;
    }
    Some(
        Finding::new(
            Code::VersionChange,
            format!("PostgreSQL {major} up to {}, {after} from {}", last.name, first.name),
        )
        .in_segment(first.name)
        .on(first.name.timeline)
        .at(first.name.start(newest.segment_size).unwrap_or(Lsn::INVALID), 0)
        .expecting(major, after),
    )
}

/// A first page that is none, as one of zeros: its identity says nothing.
fn no_first_page(survey: &Survey, id: ClusterId) -> Option<Finding> {
    let cluster = survey.chains.clusters.get(&id)?;
    let range = cluster.chains.values().next()?.ranges.first()?;
    let first = range.wounds.first().filter(|placed| placed.wound.lsn == range.start)?;
    matches!(first.wound.fault, Fault::PageMagic { .. }).then(|| wounds::finding(first))
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
///
/// `newest` comes with the begin of its first file.
fn other_cluster(
    survey: &Survey,
    files: &[&FileRecord],
    newest: (ClusterId, Option<Lsn>),
    id: ClusterId,
) -> Finding {
    let (newest, newest_start) = newest;
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
    let earlier = is_earlier(files, id, newest_start);
    let between = match (first, last) {
        (Some(first), Some(last)) if first != last => format!("from {first} to {last}"),
        (Some(first), _) => format!("{first}"),
        _ => String::new(),
    };
    let (stand, are, them) = if files.len() == 1 { ("stands", "is", "it") } else { ("stand", "are", "them") };
    let (code, message) = if earlier {
        (
            Code::EarlierCluster,
            format!("{what} {stand} before this one's, {between}: no recovery leads from {them} to it"),
        )
    } else {
        (
            Code::ForeignCluster,
            format!("{what} {are} mixed in with this one's, {between}: two servers archive to one place"),
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
