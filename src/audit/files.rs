//! Findings about files as a whole: their size, their copies, what else lies around.

use super::gaps::Hole;
use super::{Plan, Survey};
use crate::archive::Stray;
use crate::archive::store::ObjectKind;
use crate::chain::chains::{Chain, ClusterId, FileRecord, FileState};
use crate::chain::range::CountedRun;
use crate::finding::{Code, Finding};
use crate::scan::FileFault;
use crate::wal::page::LONG_HEADER_BYTES;
use crate::wal::walk::Ending;
use crate::wal::{Lsn, SegmentName, TimelineId, WalFileName};
use std::collections::{BTreeMap, HashSet};

/// Everything wrong with files rather than with the WAL in them.
pub(super) fn findings(
    plan: &Plan,
    survey: &Survey,
    newest: Option<ClusterId>,
    later: &HashSet<usize>,
) -> Vec<Finding> {
    let strays = plan.inventory.strays.iter();
    let mut findings: Vec<Finding> = strays.filter(|stray| stand_in(stray).is_none()).map(stray).collect();
    for (index, file) in survey.chains.files.iter().enumerate() {
        findings.extend(whole_file(file, newest, later.contains(&index)));
        findings.extend(dirty_padding(file, newest));
    }
    let full: HashSet<SegmentName> = survey.chains.files.iter().map(|file| file.name).collect();
    let alone = survey.chains.partials.iter().filter(|(file, _)| !full.contains(&file.name));
    findings.extend(alone.filter_map(|(file, range)| {
        let wound = range.as_ref().and_then(|range| range.wounds.first());
        let good = |counted: &&CountedRun| wound.is_none_or(|wound| counted.run.end <= wound.wound.lsn);
        let runs = range.iter().flat_map(|range| &range.runs);
        let holds = runs.take_while(good).last().map(|last| last.run.end);
        let finding = partial(survey, file, holds, newest)?;
        let damage = wound.map(|placed| format!("; it is damaged: {}", placed.wound.fault.message()));
        Some(Finding { message: finding.message + damage.as_deref().unwrap_or_default(), ..finding })
    }));
    let unread = survey.chains.partials.iter().filter(|(file, _)| {
        full.contains(&file.name) && matches!(file.fault, Some(FileFault::Unread { .. }))
    });
    findings.extend(unread.filter_map(|(file, _)| whole_file(file, newest, false)));
    findings.extend(survey.chains.differing_copies.iter().filter_map(|(a, b)| differing(survey, *a, *b)));
    findings
}

fn stray(stray: &Stray) -> Finding {
    let path = stray.object.path.display().to_string();
    if let (ObjectKind::Special(what), true) = (stray.object.kind, stray.object.is_broken_tar()) {
        return Finding::new(Code::Unreadable, format!("{path} is {what}")).in_segment(path);
    }
    let message = match stray.object.kind {
        ObjectKind::Special(what) if stray.named_like_wal => {
            format!("{path} is {what} where a WAL file should be; it was not read")
        }
        ObjectKind::Special(what) => format!("{path} is {what}, not a WAL file"),
        ObjectKind::Regular if stray.named_like_wal => {
            format!(
                "{path} has a WAL file's name and stands outside the folders of this layout; it was not read"
            )
        }
        ObjectKind::Regular => format!("{path} is not a WAL file"),
    };
    Finding::new(Code::UnknownFile, message).in_segment(path)
}

/// The segment or history file that something which is no regular file has the name of.
pub(super) fn stand_in(stray: &Stray) -> Option<(WalFileName, &'static str)> {
    let ObjectKind::Special(what) = stray.object.kind else { return None };
    let stored = stray.object.path.file_name()?.to_str().filter(|_| stray.named_like_wal)?;
    // What follows the name is a checksum or a suffix.
    let segment = || stored.get(..24).and_then(SegmentName::parse).map(WalFileName::Segment);
    let name = WalFileName::parse(stored).or_else(segment)?;
    matches!(name, WalFileName::Segment(_) | WalFileName::History(_)).then_some((name, what))
}

/// What has a segment's name, is no regular file, and stands where no segment is missing: it was not read.
pub(super) fn unread(plan: &Plan, newest: Option<ClusterId>, holes: &[Hole]) -> Vec<Finding> {
    let size = newest.map(|id| id.segment_size);
    let holes: BTreeMap<_, &Hole> = holes.iter().map(|hole| ((hole.timeline, hole.first), hole)).collect();
    let is_missed = |name: SegmentName| {
        let number = size.and_then(|size| name.number(size));
        // Holes do not overlap.
        number.is_some_and(|number| {
            let before = holes.range(..=(name.timeline, number)).next_back();
            before.is_some_and(|(_, hole)| hole.has(name.timeline, number))
        })
    };
    let stand_ins = plan.inventory.strays.iter().filter_map(|stray| Some((stray, stand_in(stray)?)));
    stand_ins
        .filter_map(|(stray, (name, what))| {
            let WalFileName::Segment(name) = name else { return None };
            let path = stray.object.path.display();
            let finding = Finding::new(
                Code::Unreadable,
                format!("{path} is {what} where a WAL file should be; it was not read"),
            )
            .in_segment(name)
            .on(name.timeline)
            .at(size.and_then(|size| name.start(size)).unwrap_or(Lsn::INVALID), 0)
            .expecting("a regular file", what);
            (!is_missed(name)).then_some(finding)
        })
        .collect()
}

fn start_of(file: &FileRecord, newest: Option<ClusterId>) -> Lsn {
    let size = file.cluster.or(newest).map(|id| id.segment_size);
    size.and_then(|size| file.name.start(size)).unwrap_or(Lsn::INVALID)
}

/// What is wrong with a file's size or content as a whole.
fn whole_file(file: &FileRecord, newest: Option<ClusterId>, for_later: bool) -> Option<Finding> {
    if file.state == FileState::Duplicate {
        return None;
    }
    let start = start_of(file, newest);
    let place = |code, message: String| {
        Finding::new(code, message).in_segment(file.name).on(file.name.timeline).at(start, 0)
    };
    if file.state == FileState::Recycled {
        return Some(recycled(file, for_later, start));
    }
    Some(match file.fault.as_ref()? {
        FileFault::Empty => place(Code::SegmentTruncated, format!("{} is empty", file.path))
            .expecting(newest.map_or(0, |id| id.segment_size.bytes()), 0),
        FileFault::Truncated { expected } => place(
            Code::SegmentTruncated,
            format!("archive file \"{}\" has wrong size: {} instead of {expected}", file.path, file.bytes),
        )
        .at(start.plus(file.bytes), file.bytes)
        .expecting(expected, file.bytes),
        FileFault::TooLong { expected } => place(
            Code::SegmentSize,
            format!("archive file \"{}\" has more than the {expected} bytes of a segment", file.path),
        )
        .expecting(expected, format!("at least {}", file.bytes)),
        FileFault::NotWal { .. } if file.bytes < LONG_HEADER_BYTES as u64 => {
            place(Code::SegmentTruncated, format!("{} has only {} bytes", file.path, file.bytes))
                .expecting(newest.map_or(0, |id| id.segment_size.bytes()), file.bytes)
        }
        FileFault::NotWal { magic } => place(
            Code::PageMagic,
            format!("{} is not WAL of any known version: invalid magic number {magic:04X}", file.path),
        )
        .expecting("the page magic of a version from 9.5 to 19", format!("{magic:04X}")),
        FileFault::Zero => return None,
        FileFault::Undecodable { detail } => {
            place(Code::Unreadable, format!("{} cannot be decoded: {detail}", file.path))
                .expecting("a segment", detail)
        }
        FileFault::Unread { detail } => {
            let finding =
                place(Code::Unreadable, detail.clone()).expecting("a segment", "nothing: it was left unread");
            Finding {
                impact: Some(format!("nobody knows whether a replay can pass {}", file.name)),
                ..finding
            }
        }
    })
}

/// A file that holds old WAL or zeros: at the end of a pg_wal that is how it should be.
fn recycled(file: &FileRecord, for_later: bool, start: Lsn) -> Finding {
    let zero = file.fault == Some(FileFault::Zero);
    if for_later {
        let holds = if zero { "nothing yet" } else { "old WAL" };
        return Finding::new(
            Code::Recycled,
            format!("{} is kept for later use and holds {holds}", file.name),
        )
        .in_segment(file.name)
        .on(file.name.timeline);
    }
    let (code, message) = if zero {
        (Code::PageMagic, format!("{} holds nothing but zeros", file.name))
    } else {
        (
            Code::PageAddress,
            format!(
                "{} holds an older segment's WAL: it was stored under a wrong name, or before it was written",
                file.name
            ),
        )
    };
    let finding = Finding::new(code, message).in_segment(file.name).on(file.name.timeline).at(start, 0);
    if zero {
        finding.expecting("the page magic of a version", "0000")
    } else {
        finding.expecting(start, "another position")
    }
}

/// The files, by their place among all, that hold old WAL or zeros and stand where a server keeps such files: behind all
/// its WAL. Only the newest cluster has a server that may be writing.
pub(super) fn kept_for_later(plan: &Plan, survey: &Survey) -> HashSet<usize> {
    let newest = survey.chains.newest().and_then(|id| survey.chains.clusters.get(&id));
    let chain = |timeline| newest.and_then(|cluster| cluster.chains.get(&timeline));
    let first_end = |timeline: TimelineId| chain(timeline).and_then(unfinished_end);
    let mut kept = HashSet::new();
    // Files stand in the order of their names, which begin with the timeline.
    let mut behind_all = None;
    for (index, file) in survey.chains.files.iter().enumerate().rev() {
        let timeline = file.name.timeline;
        let is_behind_all = behind_all.is_none_or(|(of, behind)| of != timeline || behind);
        let is_kept = is_behind_all && file.state == FileState::Recycled;
        behind_all = Some((timeline, is_kept));
        let is_ended = || first_end(timeline).is_some_and(|end| end < file.name);
        if is_kept && (plan.inventory.is_pg_wal || is_ended()) {
            kept.insert(index);
        }
    }
    kept
}

/// The last file of a chain whose WAL ends in mid-segment, as it does where a server is still writing.
fn unfinished_end(chain: &Chain) -> Option<SegmentName> {
    let last = chain.ranges.last()?;
    matches!(last.ending, Ending::Zero { .. } | Ending::Stale { .. }).then_some(last.last)
}

fn dirty_padding(file: &FileRecord, newest: Option<ClusterId>) -> Option<Finding> {
    let (offset, count) = file.dirty_padding?;
    let at = start_of(file, newest).plus(offset);
    Some(
        Finding::new(
            Code::PaddingNotZero,
            format!("{count} byte{} of padding in {} {} not zero, the first at offset {offset}: no checksum covers them and no server reads them",
                if count == 1 { "" } else { "s" }, file.name, if count == 1 { "is" } else { "are" }),
        )
        .in_segment(file.name)
        .on(file.name.timeline)
        .at(at, offset)
        .expecting("zeros", format!("{count} other bytes")),
    )
}

/// A `.partial` file that nothing replaces, or that holds more than what does.
fn partial(
    survey: &Survey,
    file: &FileRecord,
    holds: Option<Lsn>,
    newest: Option<ClusterId>,
) -> Option<Finding> {
    let id = file.cluster.or(newest);
    let number = id.and_then(|id| file.name.number(id.segment_size));
    let chains = id.and_then(|id| survey.chains.clusters.get(&id)).map(|cluster| &cluster.chains);
    // After a promotion the new timeline's first file has the same place and begins with a copy.
    let copied = chains
        .into_iter()
        .flatten()
        .filter(|(timeline, chain)| {
            **timeline > file.name.timeline && number.is_some_and(|number| chain.present.contains(number))
        })
        .filter_map(|(_, chain)| chain.ranges.first())
        .flat_map(|range| &range.runs)
        .filter(|counted| counted.run.owner == file.name.timeline)
        .map(|counted| counted.run.end)
        .max();
    if copied.is_some() && copied >= holds {
        return None;
    }
    let name = WalFileName::Partial(file.name);
    let message = match (copied, holds) {
        (_, None) => format!("{name} holds no complete record, and there is no {}", file.name),
        (Some(copied), Some(holds)) => format!(
            "{name} holds WAL of timeline {} up to {holds}, beyond the fork at {copied}; recovery never asks for it",
            file.name.timeline
        ),
        (None, Some(holds)) => {
            format!(
                "there is no {}, only {name} with WAL up to {holds}; recovery never asks for it",
                file.name
            )
        }
    };
    let at = start_of(file, newest);
    Some(
        Finding::new(Code::PartialOnly, message)
            .in_segment(name)
            .on(file.name.timeline)
            .at(at, 0)
            .expecting(file.name, name),
    )
}

fn differing(survey: &Survey, a: usize, b: usize) -> Option<Finding> {
    let (first, second) = (survey.chains.files.get(a)?, survey.chains.files.get(b)?);
    let nothing_of_it = match &second.fault {
        Some(FileFault::Undecodable { detail }) => Some(("cannot be decoded", detail)),
        Some(FileFault::Unread { detail }) => Some(("was left unread", detail)),
        _ => None,
    };
    if let Some((what, detail)) = nothing_of_it {
        let message = format!("{}, another copy of {}, {what}: {detail}", second.path, first.path);
        let finding = Finding::new(Code::Unreadable, message).in_segment(first.name);
        let at = start_of(first, None);
        let finding = finding.on(first.name.timeline).at(at, 0).expecting("a segment", detail);
        let impact = format!("a replay fails at {} if restore_command delivers {}", first.name, second.path);
        return Some(Finding { impact: Some(impact), ..finding });
    }
    Some(
        Finding::new(
            Code::DuplicateDiffers,
            format!(
                "two stored copies of segment {} hold different WAL: {} and {}",
                first.name, first.path, second.path
            ),
        )
        .in_segment(first.name)
        .on(first.name.timeline)
        .at(start_of(first, None), 0)
        .expecting(&first.path, &second.path),
    )
}
