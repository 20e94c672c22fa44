#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn judge(text: &str, major: Major) -> Result<RecoverySettings, JudgeError> {
    RecoverySettings::judge(&Conf::parse(text.as_bytes()).unwrap(), major)
}

#[test]
fn several_targets_are_judged_as_the_version_does() {
    let text = "recovery_target_xid = '755'\nrecovery_target_time = '2026-11-21 09:00:00+00'\n\
                recovery_target_name = 'x'\n";
    assert_eq!(judge(text, Major::V11).unwrap().target, Some(TargetSetting::Name("x".to_owned())));
    let error = judge(text, Major::V12).unwrap_err();
    assert_eq!(error.to_string(), "multiple recovery targets specified");
}

#[test]
fn an_empty_value_takes_back_only_its_own_target() {
    let cleared_later =
        "recovery_target_xid = '755'\nrecovery_target_xid = ''\nrecovery_target_lsn = '0/1'\n";
    assert_eq!(judge(cleared_later, Major::V15).unwrap().target, Some(TargetSetting::Lsn(Lsn(1))));
    let before = "recovery_target_xid = ''\nrecovery_target_name = 'x'\n";
    assert_eq!(judge(before, Major::V15).unwrap().target, Some(TargetSetting::Name("x".to_owned())));
    let after = "recovery_target_name = 'x'\nrecovery_target_xid = ''\n";
    assert!(matches!(judge(after, Major::V15), Err(JudgeError::MultipleTargets { .. })));
}

#[test]
fn defaults_and_the_rest() {
    let settings = judge("", Major::V11).unwrap();
    assert_eq!((settings.target, settings.inclusive), (None, true));
    assert_eq!((settings.timeline, settings.action), (TimelineTarget::Current, None));
    let text = "Recovery_Target_Inclusive = OFF\nrecovery_target_timeline = '0x2'\nrecovery_target_action = 'Promote'\n\
                restore_command = 'cp /a/%f %p'\nTimeZone = 'Europe/Berlin'\nshared_buffers = 1GB\n";
    let settings = judge(text, Major::V16).unwrap();
    assert_eq!((settings.inclusive, settings.action), (false, Some(Action::Promote)));
    assert_eq!(settings.timeline_text.as_deref(), Some("0x2"));
    assert_eq!(settings.restore_command.as_deref(), Some("cp /a/%f %p"));
    assert_eq!(settings.timezone.as_deref(), Some("Europe/Berlin"));
}

#[test]
fn what_old_servers_refuse() {
    let error = |text, major| judge(text, major).unwrap_err().to_string();
    assert_eq!(
        error("Restore_Command = 'x'", Major::V9_6),
        "unrecognized recovery parameter \"Restore_Command\""
    );
    assert_eq!(
        error("recovery_target_lsn = '0/1'", Major::V9_6),
        "unrecognized recovery parameter \"recovery_target_lsn\""
    );
    assert_eq!(
        error("recovery_target_action = 'stop'", Major::V10),
        "invalid value for recovery parameter \"recovery_target_action\": \"stop\""
    );
    assert_eq!(
        error("recovery_target_time = 'infinity'", Major::V11),
        "recovery_target_time is not a valid timestamp: \"infinity\""
    );
    assert_eq!(
        error("recovery_target_time = 'now'", Major::V12),
        "invalid value for parameter \"recovery_target_time\": \"now\""
    );
    let long = format!("recovery_target_name = '{}'", "x".repeat(64));
    assert!(error(&long, Major::V11).contains("maximum 63"));
    assert!(judge(&long, Major::V18).is_err());
}

/// Seen on 18.4 and 19.
#[test]
fn transaction_ids() {
    for (text, to_18, in_19) in [
        ("755", Some(755), Some(755)),
        ("0755", Some(493), Some(493)),
        ("0x2f3", Some(755), Some(755)),
        ("755abc", Some(755), None),
        ("4294968051", Some(755), Some(755)),
        ("2", Some(2), None),
        ("-1", Some(u32::MAX), None),
        ("abc", Some(0), None),
        ("99999999999999999999", None, None),
    ] {
        assert_eq!(read_xid(text, Major::V18), to_18.map(Xid), "{text}");
        assert_eq!(read_xid(text, Major::V19), in_19.map(Xid), "{text}");
    }
}

#[test]
fn booleans() {
    let read =
        ["on", "ON", "t", "tr", "yes", "1", "off", "of", "o", "f", "n", "0", "", "maybe"].map(read_bool);
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(read, [yes, yes, yes, yes, yes, yes, no, no, None, no, no, no, None, None]);
}
