#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::recovery::judge::RecoverySettings;
use crate::wal::{Lsn, TimelineId, Xid};
use proptest::prelude::*;

fn wanted(target: Option<&TargetSetting>, timeline: TimelineTarget) -> Wanted<'_> {
    Wanted {
        target,
        inclusive: false,
        timeline,
        action: Action::Promote,
        restore_command: Some("cp '/a b'/%f \"%p\""),
    }
}

/// What is written is read back by the server's grammar and rules as what was wanted.
#[test]
fn every_version_reads_what_is_written() {
    let majors = ["9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"];
    for major in majors.map(|name| name.parse::<Major>().unwrap()) {
        for target in [
            TargetSetting::Time("2026-11-21 09:07:28.348392+00".to_owned()),
            TargetSetting::Xid(Xid(755)),
            TargetSetting::Lsn(Lsn(0x16_B374_D848)),
            TargetSetting::Name("it's \\ a 'name'\n# with %f = \t\u{1}é".to_owned()),
            TargetSetting::Immediate,
        ] {
            for timeline in
                [TimelineTarget::Latest, TimelineTarget::Current, TimelineTarget::Number(TimelineId(8))]
            {
                let wanted = wanted(Some(&target), timeline);
                let map = match settings(&wanted, major) {
                    Err(SettingsError::NoLsnTarget { .. }) if major < Major::V10 => continue,
                    map => map.unwrap(),
                };
                let files = files(&map, major);
                assert_eq!(files.contains_key("recovery.conf"), major < Major::V12);
                assert_eq!(files.contains_key("recovery.signal"), major >= Major::V12);
                let conf = Conf::parse(files[0].as_bytes()).unwrap();
                let read = RecoverySettings::judge(&conf, major).unwrap();
                assert_eq!((read.target.as_ref(), read.timeline), (Some(&target), timeline), "{major}");
                assert_eq!(read.restore_command.as_deref(), wanted.restore_command);
                assert_eq!(read.action, Action::Promote);
                let has_inclusive = !matches!(target, TargetSetting::Name(_) | TargetSetting::Immediate);
                assert_eq!(read.inclusive, !has_inclusive);
            }
        }
    }
}

#[test]
fn nothing_is_overwritten_unless_forced_and_then_only_what_concerns_recovery() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let target = TargetSetting::Xid(Xid(755));
    let map = settings(&wanted(Some(&target), TimelineTarget::Latest), Major::V15).unwrap();
    let files = files(&map, Major::V15);
    let written = write(&path, &files, false).unwrap();
    assert_eq!(written, [path.join("postgresql.auto.conf"), path.join("recovery.signal")]);
    assert!(matches!(write(&path, &files, false), Err(SettingsError::Exists { .. })));

    let old =
        "# made by ALTER SYSTEM\nwork_mem = '64MB'\nRECOVERY_target_time = 'x'\nbroken line here\nport = 1";
    fs::write(path.join("postgresql.auto.conf"), old).unwrap();
    write(&path, &files, true).unwrap();
    let text = fs::read_to_string(path.join("postgresql.auto.conf")).unwrap();
    let kept = "# made by ALTER SYSTEM\nwork_mem = '64MB'\nbroken line here\nport = 1\n";
    assert_eq!(text, format!("{kept}{}", files[0]));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
}

#[test]
fn a_zero_byte_is_refused() {
    let target = TargetSetting::Name("a\0b".to_owned());
    let result = settings(&wanted(Some(&target), TimelineTarget::Latest), Major::V15);
    assert!(matches!(result, Err(SettingsError::ZeroByte { .. })));
}

proptest! {
    #[test]
    fn any_text_survives_the_quotes(text in "[^\0]*") {
        let conf = Conf::parse(format!("a = {}\n", quote(&text)).as_bytes()).unwrap();
        prop_assert_eq!(conf.last("a").map(|s| s.value.as_str()), Some(text.as_str()));
    }
}
