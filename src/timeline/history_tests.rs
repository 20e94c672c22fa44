#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn parse(timeline: u32, text: &str) -> Result<History, HistoryError> {
    History::parse(TimelineId(timeline), text.as_bytes())
}

/// What real servers wrote: both forms of a position, a blank line after a time.
#[test]
fn files_that_servers_wrote() {
    for (text, switch) in [
        (
            "1\t0/E1CB88\tafter transaction 755\n\n2\t0/1601710\tbefore 2026-11-21 09:07:33.122681+00\n\n",
            0x160_1710,
        ),
        (
            "1\t0/01016CB0\tafter transaction 720\n\n2\t0/0180F428\tbefore 2026-11-21 10:02:00.78313+00\n\n",
            0x180_F428,
        ),
    ] {
        let history = parse(4, text).unwrap();
        assert_eq!(history.path(), [1, 2, 4].map(TimelineId));
        let parent = history.parent().unwrap();
        assert_eq!((parent.parent, parent.switch), (TimelineId(2), Lsn(switch)));
        assert!(parent.reason.starts_with("before 2026-11-21 "));
        assert_eq!(history.owner(Lsn(switch - 1)), TimelineId(2));
        assert_eq!(history.owner(Lsn(switch)), TimelineId(4));
        assert_eq!(history.owner(Lsn(1)), TimelineId(1));
        assert_eq!(history.switch_point(TimelineId(2)), Some((Lsn(switch), TimelineId(4))));
        assert_eq!(history.switch_point(TimelineId(4)), None);
        assert_eq!(history.switch_point(TimelineId(3)), None);
    }
}

/// Seen on 18.4: recovery with target timeline 2 to a point before 2 forked off.
#[test]
fn positions_may_decrease_and_an_overtaken_timeline_owns_nothing() {
    let history = parse(3, "1\t0/A00220\tno recovery target specified\n\n2\t0/A001F8\tbefore 1\n").unwrap();
    assert_eq!(history.owner(Lsn(0xA0_01F7)), TimelineId(1));
    assert_eq!(history.owner(Lsn(0xA0_01F8)), TimelineId(3));
    assert_eq!(history.owner(Lsn(0xA0_0220)), TimelineId(3));
}

#[test]
fn separators_comments_and_tails_are_as_free_as_sscanf_leaves_them() {
    let text = " # old\n\r\n\x0b\n1 0/100\n  2   0x0/0x200   two words  \n 3\t0/ 300\n";
    let history = parse(9, text).unwrap();
    assert_eq!(history.path(), [1, 2, 3, 9].map(TimelineId));
    assert_eq!(history.entries[1].reason, "two words");
    assert_eq!(history.entries[2].switch, Lsn(0x300));
    // No white space at all: %u stops at the first letter.
    assert_eq!(parse(9, "1A/100").unwrap().entries[0].switch, Lsn(0xA_0000_0100));
    assert_eq!(parse(9, "").unwrap(), History::without_parents(TimelineId(9)));
}

#[test]
fn what_the_server_refuses_is_refused_in_its_words() {
    let error = |text| parse(3, text).unwrap_err();
    for (text, message, hint, line) in [
        ("x\t0/1\n", "syntax error in history file: x\t0/1", "Expected a numeric timeline ID.", Some(1)),
        (
            "\n1\n",
            "syntax error in history file: 1",
            "Expected a write-ahead log switchpoint location.",
            Some(2),
        ),
        (
            "1\t0 /1\n",
            "syntax error in history file: 1\t0 /1",
            "Expected a write-ahead log switchpoint location.",
            Some(1),
        ),
        (
            "2\t0/1\n2\t0/2\n",
            "invalid data in history file: 2\t0/2",
            "Timeline IDs must be in increasing sequence.",
            Some(2),
        ),
        (
            "3\t0/1\n",
            "invalid data in history file \"00000003.history\"",
            "Timeline IDs must be less than child timeline's ID.",
            None,
        ),
    ] {
        let error = error(text);
        assert_eq!((error.to_string().as_str(), error.hint(Major::V18), error.line()), (message, hint, line));
    }
    assert_eq!(error("1").hint(Major::V9_6), "Expected a transaction log switchpoint location.");
    // A line break in a restore point's name breaks the file for the server too.
    assert!(parse(2, "1\t0/1\tat restore point \"a\nb\"\n").is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(timeline: u32, bytes: Vec<u8>) {
        let _ = History::parse(TimelineId(timeline), &bytes);
    }

    #[test]
    fn lines_like_those_of_a_server_never_panic(
        timeline in 1_u32..9, text in "([0-9]{1,3}[ \t]?[0-9A-Fx/]{0,9}[ \t#]?[a-z\n]{0,3}){0,9}", lsn: u64
    ) {
        if let Ok(history) = History::parse(TimelineId(timeline), text.as_bytes()) {
            // The quick search agrees with the definition: first range, newest first, that holds the position.
            let found = history.ancestry().into_iter().find(|range| range.contains(Lsn(lsn % 0x1000)));
            if let Some(range) = found {
                prop_assert_eq!(history.owner(Lsn(lsn % 0x1000)), range.timeline);
            }
        }
    }
}
