//! Where recovery will stop, as text and as JSON.

use super::json;
use super::printable;
use super::text::{self, Palette, counted};
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::recovery::model::next_timeline;
use crate::recovery::resolve::{Assessment, Near, Problem, ProblemCode, Resolution, needed};
use crate::recovery::{Library, Position, Target, words};
use crate::wal::{Lsn, Major, SegmentName, TimelineId, Xid};
use indexmap::IndexMap;
use serde::Serialize;
use std::fmt::Write as _;

/// What was asked.
#[derive(Clone, Debug, Serialize)]
pub struct TargetAnswer {
    /// "time", "xid", …
    pub kind: &'static str,
    /// As given.
    pub value: Option<String>,
    /// `recovery_target_inclusive`.
    pub inclusive: bool,
    /// How it was read.
    pub read_as: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TimelineAnswer {
    requested: Option<String>,
    resolved: Option<TimelineId>,
    path: Vec<TimelineId>,
}

#[derive(Clone, Debug, Serialize)]
struct BackupAnswer {
    label: String,
    timeline: TimelineId,
    #[serde(serialize_with = "json::text")]
    start_lsn: Lsn,
    #[serde(serialize_with = "json::optional_text")]
    checkpoint_lsn: Option<Lsn>,
    #[serde(serialize_with = "json::optional_text")]
    stop_lsn: Option<Lsn>,
    source: Option<String>,
    cautions: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct RejectedAnswer {
    label: String,
    #[serde(serialize_with = "json::text")]
    start_lsn: Lsn,
    reason: String,
}

#[derive(Clone, Debug, Serialize)]
struct StopAnswer {
    position: &'static str,
    record: Option<&'static str>,
    #[serde(serialize_with = "json::text")]
    record_lsn: Lsn,
    xid: Option<Xid>,
    time: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct LastTransactionAnswer {
    xid: Xid,
    time: String,
    #[serde(serialize_with = "json::text")]
    lsn: Lsn,
}

#[derive(Clone, Debug, Default, Serialize)]
struct LostAnswer {
    commits: Option<u64>,
    first_time: Option<String>,
    last_time: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct HistoryAnswer {
    parent: TimelineId,
    #[serde(serialize_with = "json::text")]
    lsn: Lsn,
    reason: String,
}

#[derive(Clone, Debug, Serialize)]
struct ServerAnswer {
    outcome: &'static str,
    message: Option<String>,
    stopping: Option<String>,
    history: Option<HistoryAnswer>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct SegmentsAnswer {
    needed: Vec<String>,
    missing: Vec<String>,
    damaged: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct ReplayAnswer {
    segments: u64,
    bytes: u64,
    /// Not known where the archive cannot be read.
    records: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct ViolationAnswer {
    segment: String,
    read_timeline: TimelineId,
    owner: TimelineId,
    #[serde(serialize_with = "json::text")]
    from_lsn: Lsn,
    #[serde(serialize_with = "json::text")]
    to_lsn: Lsn,
}

#[derive(Clone, Debug, Serialize)]
struct PreparedAnswer {
    xid: Xid,
    gid: Option<String>,
    prepared_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct ProblemAnswer {
    code: &'static str,
    message: String,
}

#[derive(Clone, Debug, Serialize)]
struct NearAnswer {
    kind: &'static str,
    value: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct NearestAnswer {
    before: Option<NearAnswer>,
    after: Option<NearAnswer>,
}

/// The answer of `resolve`.
#[derive(Clone, Debug, Serialize)]
pub struct ResolveAnswer {
    feasible: bool,
    target: TargetAnswer,
    postgres: &'static str,
    timeline: TimelineAnswer,
    backup: Option<BackupAnswer>,
    rejected_backups: Vec<RejectedAnswer>,
    #[serde(serialize_with = "json::optional_text")]
    consistent_lsn: Option<Lsn>,
    stop: Option<StopAnswer>,
    #[serde(serialize_with = "json::optional_text")]
    end_lsn: Option<Lsn>,
    last_transaction: Option<LastTransactionAnswer>,
    lost: LostAnswer,
    server: ServerAnswer,
    segments: SegmentsAnswer,
    replay: ReplayAnswer,
    owner_violations: Vec<ViolationAnswer>,
    prepared: Vec<PreparedAnswer>,
    problems: Vec<ProblemAnswer>,
    nearest: NearestAnswer,
    settings: IndexMap<String, String>,
    files: IndexMap<String, String>,
}

/// What stands around a resolution.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What was asked.
    pub target: TargetAnswer,
    /// The target itself; `None` where it could not be read.
    pub wanted: Option<&'a Target>,
    /// The version asked about.
    pub major: Major,
    /// The timeline as asked for, where that is known.
    pub timeline: Option<String>,
    /// For times.
    pub clock: &'a Clock,
    /// Recovery settings.
    pub settings: IndexMap<String, String>,
    /// Recovery files.
    pub files: IndexMap<String, String>,
}

/// The answer where the question itself cannot be answered: the server's last words, if it would say any.
pub fn unanswerable(context: Context<'_>, problem: &Problem, message: Option<String>) -> ResolveAnswer {
    ResolveAnswer {
        feasible: false,
        target: context.target,
        postgres: context.major.name(),
        timeline: TimelineAnswer { requested: context.timeline, resolved: None, path: Vec::new() },
        backup: None,
        rejected_backups: Vec::new(),
        consistent_lsn: None,
        stop: None,
        end_lsn: None,
        last_transaction: None,
        lost: LostAnswer::default(),
        server: ServerAnswer { outcome: "fatal", message, stopping: None, history: None },
        segments: SegmentsAnswer::default(),
        replay: ReplayAnswer::default(),
        owner_violations: Vec::new(),
        prepared: Vec::new(),
        problems: vec![ProblemAnswer { code: problem.code.name(), message: problem.message.clone() }],
        nearest: NearestAnswer::default(),
        settings: context.settings,
        files: context.files,
    }
}

/// The answer. `records` is how many records are replayed, where that is known.
pub fn answer(
    backups: &[BaseBackup],
    resolution: &Resolution<'_>,
    context: Context<'_>,
    records: Option<u64>,
) -> ResolveAnswer {
    let none = Problem { code: ProblemCode::NoUsableBackup, message: String::new() };
    let first = resolution.problems.first().unwrap_or(&none);
    let (major, wanted, clock) = (context.major, context.wanted, context.clock);
    let mut answer = unanswerable(context, first, None);
    answer.feasible = resolution.is_feasible();
    answer.problems = resolution
        .problems
        .iter()
        .map(|problem| ProblemAnswer { code: problem.code.name(), message: problem.message.clone() })
        .collect();
    answer.rejected_backups = resolution
        .rejected
        .iter()
        .filter_map(|rejected| {
            let backup = backups.get(rejected.index)?;
            Some(RejectedAnswer {
                label: backup.label.clone(),
                start_lsn: backup.start_lsn,
                reason: rejected.reason.clone(),
            })
        })
        .collect();
    let (Some((index, assessment)), Some(wanted)) = (&resolution.chosen, wanted) else { return answer };
    let prediction = &assessment.prediction;
    answer.backup = backups.get(*index).map(|backup| BackupAnswer {
        label: backup.label.clone(),
        timeline: backup.timeline,
        start_lsn: backup.start_lsn,
        checkpoint_lsn: backup.checkpoint_lsn,
        stop_lsn: backup.stop_lsn,
        source: backup.source().map(|source| source.path.display().to_string()),
        cautions: backup.cautions.iter().chain(&assessment.cautions).cloned().collect(),
    });
    if let Some(history) = &prediction.history {
        answer.timeline.resolved = Some(history.timeline);
        answer.timeline.path = history.path();
    }
    answer.consistent_lsn = prediction.consistent;
    answer.stop = prediction.stop.as_ref().map(|stop| StopAnswer {
        position: stop.position.name(),
        record: stop.record.map(crate::recovery::RecordKind::name),
        record_lsn: stop.lsn,
        xid: stop.xid,
        time: stop.time.map(|time| clock.iso(time)),
    });
    answer.end_lsn = prediction.switch_point();
    answer.last_transaction = prediction.last_transaction.map(|last| LastTransactionAnswer {
        xid: last.xid,
        time: clock.iso(last.time),
        lsn: last.lsn,
    });
    let lost_times = resolution.lost.and_then(|lost| lost.times);
    answer.lost = LostAnswer {
        commits: resolution.lost.map(|lost| lost.commits),
        first_time: lost_times.map(|(first, _)| clock.iso(first)),
        last_time: lost_times.map(|(_, last)| clock.iso(last)),
    };
    let reached = prediction.stop.as_ref().filter(|_| prediction.reached_target());
    answer.server = ServerAnswer {
        outcome: if prediction.fatal.is_none() { "promotes" } else { "fatal" },
        message: prediction.fatal.clone(),
        stopping: reached.and_then(|stop| words::stopping(stop, wanted, major, clock)),
        history: prediction.switch_point().zip(prediction.history.as_ref()).map(|(lsn, history)| {
            HistoryAnswer {
                parent: history.timeline,
                lsn,
                reason: words::reason(reached, wanted, major, clock),
            }
        }),
    };
    add_route(&mut answer, assessment, records);
    answer.prepared = resolution
        .prepared
        .iter()
        .map(|p| PreparedAnswer { xid: p.xid, gid: p.gid.clone(), prepared_at: p.at.map(|at| clock.iso(at)) })
        .collect();
    let near = |near: &Option<Near>| {
        near.as_ref().map(|near| match near {
            Near::Latest => NearAnswer { kind: "latest", value: None },
            Near::Immediate => NearAnswer { kind: "immediate", value: None },
            Near::Xid(xid) => NearAnswer { kind: "xid", value: Some(xid.to_string()) },
        })
    };
    answer.nearest =
        NearestAnswer { before: near(&resolution.nearest.0), after: near(&resolution.nearest.1) };
    answer
}

/// What is read on the way, and what of it is not as it should be.
fn add_route(answer: &mut ResolveAnswer, assessment: &Assessment<'_>, records: Option<u64>) {
    let prediction = &assessment.prediction;
    let names = |names: &[SegmentName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let needed = needed(prediction);
    answer.replay = ReplayAnswer {
        segments: needed.len() as u64,
        bytes: prediction.applied_to.bytes_since(prediction.redo),
        records,
    };
    answer.segments = SegmentsAnswer {
        needed: names(&needed),
        missing: names(&assessment.missing),
        damaged: names(&assessment.damaged),
    };
    answer.owner_violations = prediction
        .violations
        .iter()
        .map(|violation| ViolationAnswer {
            segment: violation.segment.to_string(),
            read_timeline: violation.read,
            owner: violation.owner,
            from_lsn: violation.from,
            to_lsn: violation.to,
        })
        .collect();
}

/// The report for people. `new_timeline` is the one that a promoted server would begin.
pub fn render(
    answer: &ResolveAnswer,
    location: &str,
    new_timeline: Option<TimelineId>,
    palette: Palette,
) -> String {
    let mut text = String::new();
    let target = match &answer.target.value {
        Some(value) => format!("{} {}", answer.target.kind, printable(value)),
        None => answer.target.kind.to_owned(),
    };
    let verdict = if answer.feasible { palette.good("FEASIBLE") } else { palette.bad("NOT FEASIBLE") };
    let _ = writeln!(text, "{verdict}  {}: recovery to {target}", printable(location));
    if let Some(read_as) = &answer.target.read_as {
        let _ = writeln!(text, "  {}", palette.faint(&printable(read_as)));
    }
    for problem in &answer.problems {
        let _ = writeln!(text, "  {}  {}", palette.caution(problem.code), printable(&problem.message));
    }
    let nearest = [("before", &answer.nearest.before), ("after", &answer.nearest.after)];
    for (side, near) in nearest.iter().filter_map(|(side, near)| near.as_ref().map(|near| (side, near))) {
        let value = near.value.as_deref().map_or_else(String::new, |value| format!("={value}"));
        let _ = writeln!(text, "  nearest {side}: --target-{}{value}", near.kind);
    }
    let _ = writeln!(text);
    let rows = rows(answer, new_timeline);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &rows {
        let _ = writeln!(text, "  {}  {}", palette.heading(&format!("{name:width$}")), printable(value));
    }
    let files = answer.files.iter().filter(|_| answer.feasible);
    for (name, content) in files {
        let _ = writeln!(text, "\n{}", palette.heading(name));
        for line in content.lines() {
            let _ = writeln!(text, "  {}", printable(line));
        }
    }
    text
}

fn rows(answer: &ResolveAnswer, new_timeline: Option<TimelineId>) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    rows.push(("PostgreSQL", answer.postgres.to_owned()));
    if let Some(backup) = &answer.backup {
        let source = backup.source.as_deref().map_or_else(String::new, |source| format!(" ({source})"));
        rows.push((
            "from backup",
            format!("{}{source}, start {} on timeline {}", backup.label, backup.start_lsn, backup.timeline),
        ));
        rows.extend(backup.cautions.iter().map(|caution| ("mind", caution.clone())));
    }
    if let Some(resolved) = answer.timeline.resolved {
        let path: Vec<String> = answer.timeline.path.iter().map(ToString::to_string).collect();
        rows.push((
            "timeline",
            format!(
                "{resolved} (asked for {}; path {})",
                answer.timeline.requested.as_deref().unwrap_or("none"),
                path.join(" → ")
            ),
        ));
    }
    if let Some(lsn) = answer.consistent_lsn {
        rows.push(("consistent at", lsn.to_string()));
    }
    if let Some(stop) = &answer.stop {
        rows.push(("stops", describe_stop(stop)));
    }
    if let Some(last) = &answer.last_transaction {
        rows.push(("last transaction", format!("{} of {} at {}", last.xid, last.time, last.lsn)));
    }
    match (&answer.server.message, &answer.server.history) {
        (Some(message), _) => rows.push(("the server", format!("dies: FATAL:  {message}"))),
        (None, Some(history)) => rows.push((
            "the server",
            format!(
                "promotes{}: timeline {} left at {}, {}",
                new_timeline.map_or_else(String::new, |new| format!(" to timeline {new}")),
                history.parent,
                history.lsn,
                history.reason
            ),
        )),
        (None, None) => {}
    }
    if answer.backup.is_some() {
        rows.push((
            "replay",
            format!(
                "{}, {}{}",
                counted(answer.replay.segments, "segment"),
                text::bytes(answer.replay.bytes),
                answer.replay.records.map_or_else(String::new, |n| format!(", {}", counted(n, "record")))
            ),
        ));
        rows.push(("lost", describe_lost(answer)));
    }
    for prepared in &answer.prepared {
        let gid = prepared.gid.as_deref().map_or_else(|| "one of unknown name".to_owned(), text::quoted);
        rows.push(("left prepared", format!("{gid} of transaction {}", prepared.xid)));
    }
    for (what, names) in [("missing", &answer.segments.missing), ("damaged", &answer.segments.damaged)] {
        if !names.is_empty() {
            rows.push((what, names.join(", ")));
        }
    }
    for rejected in &answer.rejected_backups {
        rows.push((
            "not from",
            format!("{} (start {}): {}", rejected.label, rejected.start_lsn, rejected.reason),
        ));
    }
    rows
}

fn describe_stop(stop: &StopAnswer) -> String {
    let what = match stop.record {
        None | Some("other") => "record",
        Some("restore-point") => "restore point",
        Some(kind) => kind,
    };
    let of = stop.xid.map_or_else(String::new, |xid| format!(" of transaction {xid}"));
    let time = stop.time.as_deref().map_or_else(String::new, |time| format!(", {time}"));
    let lsn = stop.record_lsn;
    if stop.position == Position::EndOfWal.name() {
        return format!("at the end of the WAL: last record at {lsn}");
    }
    if stop.position == Position::Consistency.name() {
        return format!("as soon as the backup is consistent, at the record at {lsn}");
    }
    format!("{} the {what}{of} at {lsn}{time}", stop.position)
}

fn describe_lost(answer: &ResolveAnswer) -> String {
    let lost = &answer.lost;
    match (lost.commits, &lost.first_time, &lost.last_time) {
        (None, ..) => "unknown: there is no stop".to_owned(),
        (Some(commits), Some(first), Some(last)) => {
            format!("{} from {first} to {last}", counted(commits, "commit"))
        }
        _ => "nothing: the archive holds no commit beyond it".to_owned(),
    }
}

/// The timeline that a server promoted from this answer begins.
pub fn new_timeline(library: &Library<'_>, answer: &ResolveAnswer) -> Option<TimelineId> {
    answer.server.history.as_ref().map(|history| next_timeline(library, history.parent))
}

impl ResolveAnswer {
    /// Whether the target can be recovered to.
    pub fn is_feasible(&self) -> bool {
        self.feasible
    }
}
