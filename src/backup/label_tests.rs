#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

const LABEL: &str = include_str!("../../tests/data/backup/pg15/backup_label");

/// The label and the history file of one backup of every version say the same.
#[test]
fn labels_and_history_files_of_every_version() {
    macro_rules! files {
        ($($major:literal $history:literal)*) => {
            [$((
                include_bytes!(concat!("../../tests/data/backup/pg", $major, "/backup_label")).as_slice(),
                include_bytes!(concat!("../../tests/data/backup/pg", $major, "/", $history)).as_slice(),
            )),*]
        };
    }
    let files = files!(
        "9.5" "000000010000000000000007.00000028.backup"
        "9.6" "000000010000000000000004.00000028.backup"
        "10" "000000010000000000000006.000000D0.backup"
        "11" "00000001000000000000000C.000000D0.backup"
        "12" "00000001000000000000000C.00000028.backup"
        "13" "00000001000000000000000C.00000028.backup"
        "14" "00000001000000000000000C.00000028.backup"
        "15" "00000001000000000000000B.00000028.backup"
        "16" "00000001000000000000000C.00000028.backup"
        "17" "00000001000000000000000B.000000D8.backup"
        "18" "00000001000000000000000B.00000028.backup"
        "19" "00000001000000000000000C.00000028.backup"
    );
    for (i, (label, history)) in files.into_iter().enumerate() {
        let (label, history) = (LabelFile::parse(label).unwrap(), LabelFile::parse(history).unwrap());
        assert_eq!(label.label, "b2");
        assert_eq!(label.start_timeline(), TimelineId(1));
        assert_eq!(label.method, Some(if i == 0 { Method::PgStartBackup } else { Method::Streamed }));
        assert_eq!(label.from_standby, Some(false));
        assert!(label.start_time.is_some() && label.stop.is_none() && label.stop_time.is_none());
        let (stop, segment) = history.stop.unwrap();
        assert!(stop > history.checkpoint_lsn && segment >= history.start_segment);
        assert!(history.stop_time.unwrap() >= history.start_time.unwrap());
        assert_eq!(history.stop_timeline, (i >= 3).then_some(TimelineId(1)));
        let without_stop = LabelFile { stop: None, stop_time: None, stop_timeline: None, ..history };
        assert_eq!(label, without_stop);
    }
}

#[test]
fn an_incremental_backup_names_what_it_builds_on() {
    let text = format!("{LABEL}INCREMENTAL FROM LSN: 0/1400028\nINCREMENTAL FROM TLI: 1\n");
    let label = LabelFile::parse(text.as_bytes()).unwrap();
    assert_eq!(label.incremental_from, Some((Lsn(0x140_0028), TimelineId(1))));
}

#[test]
fn what_the_server_cannot_read_is_refused_with_the_line() {
    let error = |text: &str| LabelFile::parse(text.as_bytes()).unwrap_err();
    assert!(matches!(error(""), LabelError::Line { line: 1, .. }));
    assert!(matches!(error("LABEL: x\n"), LabelError::Line { line: 1, .. }));
    // Line endings of another system: the server's format wants "\n" right after the parenthesis.
    assert!(matches!(error(&LABEL.replace('\n', "\r\n")), LabelError::Line { line: 1, .. }));
    assert!(matches!(error(&LABEL.replace("CHECKPOINT", "CHECK")), LabelError::Line { line: 2, .. }));
    assert_eq!(
        error(&LABEL.replace("TIMELINE: 1", "TIMELINE: 2")),
        LabelError::Timeline { timeline: TimelineId(2), segment: TimelineId(1) }
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = LabelFile::parse(&bytes);
    }

    #[test]
    fn no_changed_byte_panics(at in 0..LABEL.len(), byte: u8) {
        let mut bytes = LABEL.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = LabelFile::parse(&bytes);
    }
}
