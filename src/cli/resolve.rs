//! `walproof resolve`.

use super::Status;
use super::common::{self, CommandError, CommonArgs, Format};
use super::reading::{Reading, warn_of_foreign};
use crate::backup::BaseBackup;
use crate::clock::{Clock, TimeError};
use crate::recovery::judge::{JudgeError, NAME_BYTES, is_restore_point_name, read_xid};
use crate::recovery::resolve::{Problem, ProblemCode, Resolution, resolve};
use crate::recovery::{
    Action, Conf, Library, RecoverySettings, Request, Target, TargetSetting, Wanted, fetch, settings,
};
use crate::report::json::Document;
use crate::report::printable;
use crate::report::resolve::{
    Context, ResolveAnswer, TargetAnswer, answer, new_timeline, render, unanswerable,
};

use crate::timeline::TimelineTarget;
use crate::wal::{Lsn, Major, SegmentSize, byte_text};
use clap::Args;
use indexmap::IndexMap;
use std::path::PathBuf;

/// What `resolve` takes.
#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Stop just before the target (recovery_target_inclusive = off)
    #[arg(long)]
    exclusive: bool,
    /// latest, current or a timeline id (default: what the server's version defaults to)
    #[arg(long, visible_alias = "target-tli", value_name = "TIMELINE")]
    target_timeline: Option<String>,
    /// For the settings: promote, pause or shutdown (default: what the file of --from-conf says, or promote)
    #[arg(long, value_name = "ACTION", value_parser = action)]
    target_action: Option<Action>,
    /// Use this backup: its label, path or start LSN
    #[arg(long, value_name = "LABEL")]
    backup_label: Option<String>,
    /// The version of the server that will recover (default: that of the WAL)
    #[arg(long, value_name = "MAJOR")]
    postgres: Option<Major>,
    /// Write the recovery settings into this directory
    #[arg(long, value_name = "DIR")]
    settings: Option<PathBuf>,
    /// Overwrite settings that are there
    #[arg(long, requires = "settings")]
    force: bool,
    /// How the server will get a WAL file, for the settings
    #[arg(long, value_name = "CMD")]
    restore_command: Option<String>,
}

/// The target, one at most.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct TargetArgs {
    /// To just before the first commit later than this time
    #[arg(long, value_name = "TIME")]
    target_time: Option<String>,
    /// To just after this transaction
    #[arg(long, value_name = "XID", allow_negative_numbers = true)]
    target_xid: Option<String>,
    /// To the first record that starts at this position or later
    #[arg(long, value_name = "LSN")]
    target_lsn: Option<Lsn>,
    /// To this restore point; a byte of its name that is no text as \xNN
    #[arg(long, value_name = "NAME")]
    target_name: Option<String>,
    /// As early as the backup allows
    #[arg(long)]
    target_immediate: bool,
    /// To the end of the archive (the default)
    #[arg(long)]
    target_latest: bool,
    /// As this recovery.conf or postgresql(.auto).conf says
    #[arg(long, value_name = "FILE")]
    from_conf: Option<PathBuf>,
}

fn action(text: &str) -> Result<Action, String> {
    text.parse().map_err(|()| format!("\"{text}\" is not promote, pause or shutdown"))
}

/// What is asked, read for one version.
struct Question {
    target: Target,
    shown: TargetAnswer,
    inclusive: bool,
    timeline: TimelineTarget,
    timeline_text: String,
    action: Action,
    restore_command: Option<String>,
}

/// Why there is no question to answer.
enum Unasked {
    /// The answer is no, whatever the archive holds.
    No(Box<(TargetAnswer, Problem, Option<String>)>),
    /// The command cannot be run.
    Error(CommandError),
}

impl From<CommandError> for Unasked {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

/// Runs the command.
pub(super) fn run(args: &ResolveArgs) -> Result<Status, CommandError> {
    let common = &args.common;
    common.set_up()?;
    let clock = common.clock()?;
    // What can be wrong with the question is said before hours of reading.
    if let Some(major) = args.postgres {
        match question(args, major, &clock) {
            Err(Unasked::Error(error)) => return Err(error),
            Ok(_) | Err(Unasked::No(..)) => {}
        }
    }
    let options = CommonArgs::options(&clock);
    let reading = Reading::open(common, &options)?;
    let backups = reading.backups(common)?;
    let library = reading.library(common, &options)?;
    warn_of_foreign(common, &library, &backups);
    let major = args.postgres.unwrap_or(library.major);
    let mut question = match question(args, major, &clock) {
        Ok(question) => question,
        Err(Unasked::Error(error)) => return Err(error),
        Err(Unasked::No(no)) => {
            let (shown, problem, message) = *no;
            // Which one a file asks for that sets several targets, nobody has looked at.
            let of_version = || requested(None, TimelineTarget::default_for(major));
            let of_version = args.target.from_conf.is_none().then(of_version);
            let timeline = args.target_timeline.clone().or(of_version);
            let context = context(shown, None, major, timeline, &clock);
            let answer = unanswerable(context, &problem, message);
            give(args, &reading, &clock, &answer, None)?;
            if let Some(directory) = &args.settings {
                say_settings(args, directory, None)?;
            }
            return Ok(Status::Bad);
        }
    };
    if question.restore_command.is_none() {
        question.restore_command = restore_command(args, &reading, library.segment_size)?;
    }
    let only = chosen_backup(args, &backups)?;
    let request = Request {
        target: &question.target,
        inclusive: question.inclusive,
        timeline: question.timeline,
        major,
        clock: &clock,
    };
    let resolution = resolve(&library, &backups, only, &request)?;
    let answer = compose(&reading, &library, &backups, &resolution, &question, &request)?;
    give(args, &reading, &clock, &answer, new_timeline(&library, &answer))?;
    if let Some(directory) = &args.settings {
        let files = answer.is_feasible().then(|| write_settings(args, directory, &question, major));
        say_settings(args, directory, files.transpose()?.as_deref())?;
    }
    Ok(if answer.is_feasible() { Status::Good } else { Status::Bad })
}

fn chosen_backup(args: &ResolveArgs, backups: &[BaseBackup]) -> Result<Option<usize>, CommandError> {
    let Some(name) = &args.backup_label else { return Ok(None) };
    let named: Vec<usize> =
        (0..backups.len()).filter(|i| backups.get(*i).is_some_and(|b| b.is_called(name))).collect();
    match named.as_slice() {
        [one] => Ok(Some(*one)),
        [] => {
            let known: Vec<&str> = backups.iter().map(|backup| backup.label.as_str()).collect();
            Err(CommandError::Usage(format!(
                "no backup is called \"{name}\"; known are: {}",
                known.join(", ")
            )))
        }
        several => Err(CommandError::Usage(format!(
            "{} backups are called \"{name}\": give the start LSN of the one you mean",
            several.len()
        ))),
    }
}

fn context<'a>(
    target: TargetAnswer,
    wanted: Option<&'a Target>,
    major: Major,
    timeline: Option<String>,
    clock: &'a Clock,
) -> Context<'a> {
    Context { target, wanted, major, timeline, clock, settings: IndexMap::new(), files: IndexMap::new() }
}

/// Reads the target and the timeline as a server of version `major` would.
fn question(args: &ResolveArgs, major: Major, clock: &Clock) -> Result<Question, Unasked> {
    let given = &args.target;
    if let Some(path) = &given.from_conf {
        return from_conf(args, path, major, clock);
    }
    let usage = |message: String| Unasked::Error(CommandError::Usage(message));
    let text = args.target_timeline.as_deref();
    let timeline = match text {
        Some(text) => TimelineTarget::asked(text, major).map_err(|error| usage(error.to_string()))?,
        None => TimelineTarget::default_for(major),
    };
    let setting = if let Some(time) = &given.target_time {
        Some(TargetSetting::Time(time.clone()))
    } else if let Some(xid) = &given.target_xid {
        let parsed = read_xid(xid, major);
        let bad = || usage(format!("\"{xid}\" is not a transaction id that PostgreSQL {major} takes"));
        Some(TargetSetting::Xid(
            parsed.filter(|_| xid.contains(|c: char| c.is_ascii_digit())).ok_or_else(bad)?,
        ))
    } else if let Some(lsn) = given.target_lsn {
        Some(TargetSetting::Lsn(lsn))
    } else if let Some(name) = &given.target_name {
        let name = &byte_text::shown(&byte_text::bytes(name));
        if !is_restore_point_name(name) {
            return Err(usage(format!(
                "\"{name}\": the name of a restore point has 1 to {} bytes",
                NAME_BYTES - 1
            )));
        }
        Some(TargetSetting::Name(name.clone()))
    } else {
        given.target_immediate.then_some(TargetSetting::Immediate)
    };
    let raw = given.target_time.clone().or_else(|| given.target_xid.clone());
    let (target, shown) = read_target(setting.as_ref(), raw, !args.exclusive, major, clock)?;
    Ok(Question {
        target,
        shown,
        inclusive: !args.exclusive,
        timeline,
        timeline_text: requested(text, timeline),
        action: args.target_action.unwrap_or(Action::Promote),
        restore_command: args.restore_command.clone(),
    })
}

fn requested(text: Option<&str>, timeline: TimelineTarget) -> String {
    match (text, timeline) {
        (Some(text), _) => text.to_owned(),
        (None, TimelineTarget::Latest) => "latest".to_owned(),
        (None, TimelineTarget::Current) => "current".to_owned(),
        (None, TimelineTarget::Number(id)) => id.to_string(),
    }
}

/// The target that a server would go for, and how it was read.
fn read_target(
    setting: Option<&TargetSetting>,
    raw: Option<String>,
    inclusive: bool,
    major: Major,
    clock: &Clock,
) -> Result<(Target, TargetAnswer), Unasked> {
    let shown = |kind, value: Option<String>, read_as| TargetAnswer { kind, value, inclusive, read_as };
    Ok(match setting {
        None => (Target::Latest, shown("latest", None, None)),
        Some(TargetSetting::Immediate) => (Target::Immediate, shown("immediate", None, None)),
        Some(TargetSetting::Name(name)) => {
            (Target::Name(name.clone()), shown("name", Some(name.clone()), None))
        }
        Some(TargetSetting::Lsn(_)) if major < Major::V10 => {
            let message = format!("PostgreSQL {major} has no recovery_target_lsn: it came with 10");
            return Err(Unasked::Error(CommandError::Usage(message)));
        }
        Some(TargetSetting::Lsn(lsn)) => (Target::Lsn(*lsn), shown("lsn", Some(lsn.to_string()), None)),
        Some(TargetSetting::Xid(xid)) => {
            let raw = raw.unwrap_or_else(|| xid.to_string());
            let read_as = (raw != xid.to_string())
                .then(|| format!("read as transaction {xid}, as PostgreSQL {major} reads it"));
            (Target::Xid(*xid), shown("xid", Some(raw), read_as))
        }
        Some(TargetSetting::Time(text)) => match clock.read(text) {
            Ok(reading) => {
                (Target::Time(reading.time), shown("time", Some(text.clone()), Some(reading.read_as)))
            }
            Err(error) => return Err(bad_time(shown("time", Some(text.clone()), None), &error)),
        },
    })
}

fn bad_time(shown: TargetAnswer, error: &TimeError) -> Unasked {
    if error.is_ambiguous() {
        let problem = Problem { code: ProblemCode::AmbiguousTime, message: error.to_string() };
        return Unasked::No(Box::new((shown, problem, None)));
    }
    Unasked::Error(CommandError::Usage(error.to_string()))
}

/// The target of a configuration file, judged as the version does.
fn from_conf(
    args: &ResolveArgs,
    path: &std::path::Path,
    major: Major,
    clock: &Clock,
) -> Result<Question, Unasked> {
    let failed = |message: String| Unasked::Error(CommandError::Failed(message));
    let usage =
        |message: String| Unasked::Error(CommandError::Usage(format!("{}: {message}", path.display())));
    let bytes =
        std::fs::read(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
    let conf = Conf::parse(&bytes).map_err(|error| usage(error.to_string()))?;
    // The target may stand in a file that is included: without it the answer would be one to another question.
    let sets_target = conf.settings.iter().any(|setting| setting.name.starts_with("recovery_target"));
    match conf.includes.first() {
        Some(include) if !sets_target => {
            return Err(usage(format!(
                "line {} includes \"{}\", which is not read: name the file that sets the target",
                include.line, include.value
            )));
        }
        Some(include) => tracing::warn!("{} is included by {} and not read", include.value, path.display()),
        None => {}
    }
    let judged = match RecoverySettings::judge(&conf, major) {
        Ok(judged) => judged,
        Err(error) => {
            let JudgeError::MultipleTargets { first, second } = &error else {
                return Err(usage(error.to_string()));
            };
            let shown = TargetAnswer { kind: "latest", value: None, inclusive: true, read_as: None };
            let message = format!(
                "{} sets {first} and {second}: PostgreSQL {major} takes one target only",
                path.display()
            );
            let problem = Problem { code: ProblemCode::MultipleTargets, message };
            return Err(Unasked::No(Box::new((shown, problem, Some(error.to_string())))));
        }
    };
    let zone =
        judged.timezone.as_deref().map(Clock::new).transpose().map_err(|error| usage(error.to_string()))?;
    let clock = zone.as_ref().unwrap_or(clock);
    let inclusive = judged.inclusive && !args.exclusive;
    let (target, shown) = read_target(judged.target.as_ref(), None, inclusive, major, clock)?;
    // What is said on the command line counts more than the file.
    let (timeline, text) = match &args.target_timeline {
        Some(text) => (
            TimelineTarget::asked(text, major).map_err(|error| usage(error.to_string()))?,
            Some(text.clone()),
        ),
        None => (judged.timeline, judged.timeline_text),
    };
    Ok(Question {
        target,
        shown,
        inclusive,
        timeline,
        timeline_text: requested(text.as_deref(), timeline),
        action: args.target_action.or(judged.action).unwrap_or(Action::Promote),
        restore_command: args.restore_command.clone().or(judged.restore_command),
    })
}

/// The settings that tell a server to do this.
fn recovery_settings(question: &Question, major: Major) -> Result<IndexMap<String, String>, CommandError> {
    let target = match &question.target {
        Target::Latest => None,
        Target::Immediate => Some(TargetSetting::Immediate),
        Target::Name(name) => Some(TargetSetting::Name(name.clone())),
        Target::Lsn(lsn) => Some(TargetSetting::Lsn(*lsn)),
        Target::Xid(xid) => Some(TargetSetting::Xid(*xid)),
        // With its offset: the server's own zone must not matter.
        Target::Time(time) => Some(TargetSetting::Time(Clock::utc().server(*time))),
    };
    let wanted = Wanted {
        target: target.as_ref(),
        inclusive: question.inclusive,
        timeline: question.timeline,
        action: question.action,
        restore_command: question.restore_command.as_deref(),
    };
    settings::settings(&wanted, major).map_err(|error| CommandError::Usage(error.to_string()))
}

/// How a server gets a file out of this archive, where that is known.
fn restore_command(
    args: &ResolveArgs,
    reading: &Reading,
    size: SegmentSize,
) -> Result<Option<String>, CommandError> {
    let archive = &reading.archive;
    let command = fetch::restore_command(archive.layout(), archive.location(), &reading.plan.entries, size);
    let unknown = "no restore_command is known that is sure to work for this archive: give --restore-command";
    match command {
        None if args.settings.is_some() => Err(CommandError::Usage(unknown.to_owned())),
        None => {
            tracing::warn!("{unknown}");
            Ok(None)
        }
        known => Ok(known),
    }
}

fn compose(
    reading: &Reading,
    library: &Library<'_>,
    backups: &[BaseBackup],
    resolution: &Resolution<'_>,
    question: &Question,
    request: &Request<'_>,
) -> Result<ResolveAnswer, CommandError> {
    let mut context = context(
        question.shown.clone(),
        Some(&question.target),
        request.major,
        Some(question.timeline_text.clone()),
        request.clock,
    );
    context.settings = recovery_settings(question, request.major)?;
    context.files = settings::files(&context.settings, request.major);
    let records = match &resolution.chosen {
        Some((_, assessment)) => match &assessment.prediction.route {
            // The catalog does not know where each record lies.
            Some(_) if reading.is_offline() => None,
            Some(route) => Some(route.count_records(library, assessment.prediction.applied_to)?),
            None => Some(0),
        },
        None => Some(0),
    };
    Ok(answer(backups, resolution, context, records))
}

fn give(
    args: &ResolveArgs,
    reading: &Reading,
    clock: &Clock,
    answer: &ResolveAnswer,
    new_timeline: Option<crate::wal::TimelineId>,
) -> Result<(), CommandError> {
    let location = reading.archive.location();
    match args.common.format {
        Format::Text => {
            let text = render(answer, location, new_timeline, args.common.palette());
            common::answer(&(text + &reading.as_of_line(clock)))
        }
        Format::Json => {
            common::document(&Document::new("resolve", location, answer).as_of(reading.as_of(clock)))
        }
    }
}

fn write_settings(
    args: &ResolveArgs,
    directory: &std::path::Path,
    question: &Question,
    major: Major,
) -> Result<Vec<PathBuf>, CommandError> {
    let files = settings::files(&recovery_settings(question, major)?, major);
    settings::write(directory, &files, args.force).map_err(|error| CommandError::Failed(error.to_string()))
}

/// Says under the answer for people what became of the settings: `None` where the target cannot be recovered to.
fn say_settings(
    args: &ResolveArgs,
    directory: &std::path::Path,
    written: Option<&[PathBuf]>,
) -> Result<(), CommandError> {
    let line = match written {
        Some(paths) => {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("settings written: {}", paths.join(", "))
        }
        None => format!("no settings written to {}: the target is not feasible", directory.display()),
    };
    if args.common.format == Format::Text {
        common::answer(&format!("\n{}\n", printable(&line)))?;
    }
    Ok(())
}
