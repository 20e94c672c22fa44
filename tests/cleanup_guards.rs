//! What a cleanup must not take: the only way to the timeline in use, the histories by which it is found, and the WAL of
//! backups that are there on behalf of such as only left a file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::asked::{asked, removed};
use support::recorded::Recording;
use walproof::archive::{Archive, LayoutChoice};
use walproof::audit::{self, Options};
use walproof::backup;
use walproof::recovery::Library;
use walproof::recovery::windows::windows;
use walproof::retention::prove::{Proof, windows_after};
use walproof::retention::{Policy, choose, plan};
use walproof::scan::Detail;
use walproof::wal::{TimelineId, WalFileName};

/// A copy of the recorded archive of 15. In it timeline 2 leaves 1 at 0/E1CB88, before backup b2 (segment B) and behind b1
/// (segment 6); 3 leaves 1, and 4 leaves 2, on which b_tl2 begins (segment A).
struct Yard {
    folder: tempfile::TempDir,
    recording: Recording,
    wal: &'static str,
}

impl Yard {
    /// Without the files that begin with one of `without`, in the folder `wal`.
    fn new(wal: &'static str, without: &[&str]) -> Self {
        let yard = Self { folder: tempfile::tempdir().unwrap(), recording: Recording::of("15"), wal };
        fs::create_dir_all(yard.place("")).unwrap();
        for entry in fs::read_dir(yard.recording.archive()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !without.iter().any(|start| name.starts_with(start)) {
                fs::copy(&path, yard.place(name)).unwrap();
            }
        }
        yard
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn place(&self, name: &str) -> PathBuf {
        self.root().join(self.wal).join(name)
    }

    /// A backup of the recording, as an option.
    fn backup(&self, name: &str) -> String {
        format!("--backup={}", self.recording.backup(name).display())
    }

    fn run(&self, command: &str, options: &[&str]) -> Value {
        asked(command, &self.root(), &self.folder.path().join("state"), options)
    }

    /// What goes.
    fn gone(&self, options: &[&str]) -> Vec<String> {
        removed(&self.run("cleanup", options))
    }

    fn refusal(&self, options: &[&str]) -> String {
        let answer = self.run("cleanup", options);
        assert!(answer["remove"].as_array().unwrap().is_empty());
        answer["refused"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
    }

    fn reason(&self, options: &[&str], name: &str) -> String {
        let answer = self.run("cleanup", options);
        let kept = answer["keep"].as_array().unwrap();
        let file = kept.iter().find(|file| file["name"] == name).unwrap_or_else(|| panic!("{answer:#}"));
        file["reason"].as_str().unwrap().to_owned()
    }
}

const BEFORE_B1: [&str; 2] = ["000000010000000000000004", "000000010000000000000005"];
const TL2_BACKUP: &str = "00000002000000000000000A.00000028";

#[test]
fn pruning_leaves_the_histories_by_which_the_newest_timeline_is_found() {
    let yard = Yard::new("", &["00000004", TL2_BACKUP]);
    let latest = || {
        let answer = yard.run("resolve", &["--target-latest"]);
        (answer["timeline"]["resolved"].clone(), answer["feasible"].clone())
    };
    assert_eq!(latest(), (3.into(), true.into()));
    let options = ["--keep-backups", "1", "--prune-timelines"];
    let reason = yard.reason(&options, "00000002.history");
    assert!(reason.contains("newest timeline"), "{reason}");
    let gone = yard.gone(&[&options[..], &["--execute"]].concat());
    assert!(gone.contains(&"00000002000000000000000B".to_owned()), "{gone:?}");
    assert!(!gone.iter().any(|name| name.ends_with("history")), "{gone:?}");
    assert_eq!(latest(), (3.into(), true.into()));
}

#[test]
fn a_plan_that_hides_the_newest_timeline_is_objected_to() {
    let yard = Yard::new("", &["00000004", TL2_BACKUP]);
    let archive = Archive::open(yard.root().to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let options = Options { detail: Detail::Ends, ..Options::default() };
    let listing = audit::plan(&archive, &options).unwrap();
    let backups = backup::discover(&archive, &listing.inventory).backups;
    let library = Library::read(&archive, &listing, &options, &|_| {}).unwrap().unwrap();
    let policy = Policy { keep_backups: Some(1), prune_timelines: true, ..Policy::default() };
    let before = windows(&library, &backups, library.major).unwrap();
    let chosen = choose(&library, &backups, &before, &policy, &options.clock).unwrap();
    let mut cleanup = plan(&library, &backups, &chosen, &policy);
    for hidden in [false, true] {
        if hidden {
            let history = WalFileName::History(TimelineId(2));
            let index = cleanup.keep.iter().position(|ruled| ruled.entry.name == history).unwrap();
            let ruled = cleanup.keep.remove(index);
            cleanup.remove.push(ruled);
        }
        let after = windows_after(&library, &backups, &cleanup).unwrap();
        let proof = Proof {
            library: &library,
            backups: &backups,
            chosen: &chosen,
            cleanup: &cleanup,
            before: &before,
            after: &after,
            findings: &[],
        };
        let objection = proof.objection();
        let told = "recovery from timeline 1 finds timeline 3 as the newest, and would find timeline 1";
        assert_eq!(objection.as_deref(), hidden.then_some(told));
    }
}

#[test]
fn a_number_of_backups_keeps_the_way_to_the_timeline_in_use() {
    let yard = Yard::new("", &["00000003", "00000004", TL2_BACKUP]);
    assert_eq!(yard.gone(&["--keep-backups", "1"]), BEFORE_B1);
    let reason = yard.reason(&["--keep-backups", "1"], "000000020000000000000007");
    assert!(reason.contains("on timeline 2") && reason.contains("b1"), "{reason}");
    // Two of them lead there.
    let reason = yard.reason(&["--keep-backups", "2"], "000000020000000000000007");
    assert!(reason.contains("of the last 2 backups, the first is b1"), "{reason}");
}

#[test]
fn an_oldest_file_behind_the_way_to_the_timeline_in_use_is_refused() {
    let yard = Yard::new("", &["00000003", "00000004", TL2_BACKUP]);
    let behind = ["--oldest-kept", "00000001000000000000000B"];
    let reason = yard.refusal(&behind);
    assert!(reason.contains("on timeline 2") && reason.contains("b1, start 0/C00028, does"), "{reason}");
    assert_eq!(yard.gone(&["--oldest-kept", "000000010000000000000006"]).len(), 2);
    // Where nothing leads to it, nothing is lost.
    fs::remove_file(yard.place("000000010000000000000006.00000028.backup")).unwrap();
    assert!(yard.gone(&behind).len() > 2);
}

#[test]
fn where_clock_and_place_disagree_about_the_newest_backup_both_are_kept() {
    let yard = Yard::new("", &[]);
    let path = yard.place(&format!("{TL2_BACKUP}.backup"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("TIME: 2026-11-21 09:07:3", "TIME: 2026-11-21 09:07:2")).unwrap();
    let options = ["--keep-backups", "1"];
    let reason = yard.reason(&options, "00000002000000000000000A");
    assert!(reason.contains("b_tl2"), "{reason}");
    let reason = yard.reason(&options, "00000001000000000000000C");
    assert!(reason.contains("by timeline and start, the first is b_tl2"), "{reason}");
}

#[test]
fn a_history_file_alone_pushes_out_no_backup_that_is_there() {
    let yard = Yard::new("", &["00000002", "00000003", "00000004"]);
    let b1 = yard.backup("b1");
    for policy in [["--keep-backups", "1"], ["--keep-since", "2026-11-21 09:07:30"], ["--keep-backups", "3"]]
    {
        let options = [policy[0], policy[1], &b1];
        assert_eq!(yard.gone(&options), BEFORE_B1, "{policy:?}");
    }
    // Where such files are all there is, they count.
    assert_eq!(yard.gone(&["--keep-backups", "1"]).len(), 7);
    // What is named keeps its own WAL, even where others are the last.
    let both = yard.gone(&["--keep-backups", "1", &b1, &yard.backup("b2")]);
    assert_eq!(both.len(), 6);
    assert!(!both.contains(&"000000010000000000000006".to_owned()), "{both:?}");
    // Until it is too old for that.
    let aged = |days| {
        let options = ["--keep-backups", "1", &b1, &yard.backup("b2"), "--now", "2026-11-25", days];
        yard.gone(&options)
    };
    assert_eq!(aged("--backup-days=5"), both);
    assert_eq!(aged("--backup-days=2").len(), 7);
}

/// To tell of a backup that was known already takes nothing from another.
#[test]
fn fewer_backups_than_are_to_be_kept_do_not_push_out_what_history_files_tell_of() {
    let yard = Yard::new("", &["00000002", "00000003", "00000004"]);
    let keep = ["--keep-backups", "2"];
    assert_eq!(yard.gone(&keep), BEFORE_B1);
    assert_eq!(yard.gone(&[keep[0], keep[1], &yard.backup("b2")]), BEFORE_B1);
    assert_eq!(yard.gone(&[keep[0], keep[1], &yard.backup("b1")]), BEFORE_B1);
    let label = fs::read(yard.recording.backup("b2").join("backup_label")).unwrap();
    fs::create_dir(yard.place("base")).unwrap();
    fs::write(yard.place("base/backup_label"), label).unwrap();
    assert_eq!(yard.gone(&keep), BEFORE_B1);
}

#[test]
fn a_tool_s_catalog_counts_and_files_that_replicas_left_do_not() {
    let yard = Yard::new("wal_005", &["00000002", "00000003", "00000004"]);
    let sentinels = yard.root().join("basebackups_005");
    fs::create_dir(&sentinels).unwrap();
    let name = "base_000000010000000000000006_backup_stop_sentinel.json";
    let text = r#"{"LSN":12582952,"PgVersion":150000,"FinishLSN":12583168,"StartTime":"2026-11-21T09:07:26Z","FinishTime":"2026-11-21T09:07:26Z"}"#;
    fs::write(sentinels.join(name), text).unwrap();
    for options in [["--keep-backups", "1"], ["--keep-since", "2026-11-21 09:07:30"]] {
        assert_eq!(yard.gone(&options).len(), 2, "{options:?}");
        let reason = yard.reason(&options, "000000010000000000000007");
        assert!(reason.contains("base_000000010000000000000006"), "{reason}");
    }
    let refused = yard.refusal(&["--oldest-kept", "00000001000000000000000B"]);
    assert!(refused.contains("base_000000010000000000000006"), "{refused}");
}

/// A record of timeline 3, which leaves 1 behind b1: the last abort, and the last restore point.
const TL3: &str = "00000003000000000000000D";
const LAST_ABORT: usize = 0x3_BCA8;
const LAST_RESTORE_POINT: usize = 0x3_85A0;

/// Makes a commit or abort earlier, as a clock that is set back does.
fn make_earlier(file: &Path, at: usize, micros: i64) {
    let mut wal = fs::read(file).unwrap();
    let length = u32::from_le_bytes(wal[at..at + 4].try_into().unwrap()) as usize;
    let record = &mut wal[at..at + length];
    // Header, the short form of main data's length, the time.
    assert_eq!(record[24], 255);
    let time = i64::from_le_bytes(record[26..34].try_into().unwrap()) - micros;
    record[26..34].copy_from_slice(&time.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&record[24..]), &record[..20]);
    record[20..24].copy_from_slice(&checksum.to_le_bytes());
    fs::write(file, wal).unwrap();
}

#[test]
fn a_branch_is_of_the_window_for_its_latest_target_not_its_last() {
    let since = ["--keep-since", "2026-11-21 09:07:34+00"];
    let yard = Yard::new("", &["00000001000000000000000B.00000028"]);
    assert_eq!(yard.gone(&since), BEFORE_B1);
    make_earlier(&yard.place(TL3), LAST_ABORT, 2_000_000);
    assert_eq!(yard.gone(&since), BEFORE_B1);
    // A restore point is a target too, and the last thing that happened here.
    let yard = Yard::new("", &["00000001000000000000000B.00000028"]);
    let mut wal = fs::read(yard.place(TL3)).unwrap();
    let length = u32::from_le_bytes(wal[LAST_RESTORE_POINT..][..4].try_into().unwrap()) as usize;
    wal[(LAST_RESTORE_POINT + length).next_multiple_of(8)..].fill(0);
    fs::write(yard.place(TL3), wal).unwrap();
    assert_eq!(yard.gone(&["--keep-since", "2026-11-21 09:07:34.1+00"]), BEFORE_B1);
}

#[test]
fn backups_with_one_label_are_told_apart() {
    let yard = Yard::new("", &[]);
    for entry in fs::read_dir(yard.root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "backup") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| if line.starts_with("LABEL") { "LABEL: same" } else { line });
            fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args(["cleanup", "--keep-backups", "1", "--no-catalog"])
        .arg(yard.root())
        .env("XDG_STATE_HOME", yard.folder.path().join("state"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n  no more: same (start 0/C00028) on timeline 1: "), "{text}");
    assert!(text.contains("\n  same (start 0/1600028) on timeline 1: "), "{text}");
    let windows = yard.run("timelines", &[]);
    assert_eq!(windows["windows"][0]["start_lsn"], "0/C00028");
}

#[test]
fn a_backup_of_another_cluster_is_no_guard() {
    let yard = Yard::new("", &[]);
    let foreign = format!("--backup={}", Recording::of("14").backup("b1").display());
    for options in [["--keep-backups", "1"], ["--oldest-kept", "00000001000000000000000A"]] {
        let refused = yard.refusal(&[options[0], options[1], &foreign]);
        assert!(refused.contains("is of another cluster"), "{refused}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args(["timelines", &foreign, "--no-catalog"])
        .arg(yard.root())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(0) && told.contains("is of another cluster"), "{told}");
}
