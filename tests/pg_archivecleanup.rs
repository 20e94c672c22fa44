//! `walproof pg_archivecleanup` beside PostgreSQL 17's own program: the same directory, the same arguments, and
//! the same must be left, said and answered. Directories and arguments are random, from fixed seeds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::tools;
use tempfile::TempDir;
use walproof::cli::pg_archivecleanup;

const PROGRAM: &str = "pg_archivecleanup";

/// Everything that can be seen of a run.
#[derive(PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    left: BTreeMap<PathBuf, &'static str>,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "status {:?}", self.status)?;
        writeln!(f, "stdout {}", self.stdout.escape_ascii())?;
        writeln!(f, "stderr {}", self.stderr.escape_ascii())?;
        write!(f, "left {:#?}", self.left)
    }
}

/// Where a case plays: `archive` in it is what is cleaned, the rest must stay.
struct Stage {
    home: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    fn archive(&self) -> PathBuf {
        self.home.path().join("archive")
    }

    /// Makes everything new, in the order given, so that the directory lists itself in the same order again.
    fn set(&self, entries: &[Entry]) {
        for old in ["archive", "elsewhere"] {
            let _ = fs::remove_dir_all(self.home.path().join(old));
            fs::create_dir(self.home.path().join(old)).unwrap();
        }
        fs::write(self.home.path().join("elsewhere/file"), "kept").unwrap();
        for entry in entries {
            entry.make(&self.archive());
        }
    }

    fn left(&self) -> BTreeMap<PathBuf, &'static str> {
        let mut left = BTreeMap::new();
        for folder in ["archive", "elsewhere"] {
            for entry in fs::read_dir(self.home.path().join(folder)).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                let kind = if kind.is_dir() {
                    "directory"
                } else if kind.is_symlink() {
                    "link"
                } else {
                    "file"
                };
                left.insert(Path::new(folder).join(entry.file_name()), kind);
            }
        }
        left
    }

    fn run(&self, mut command: Command) -> Outcome {
        let output = command.current_dir(self.home.path()).env("LC_ALL", "C").output().unwrap();
        Outcome {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
            left: self.left(),
        }
    }

    fn theirs(&self, entries: &[Entry], args: &[OsString]) -> Outcome {
        self.set(entries);
        let mut command = Command::new(tools::program(17, PROGRAM));
        command.arg0(PROGRAM).args(args);
        self.run(command)
    }

    /// Ours, in this process.
    fn ours(&self, entries: &[Entry], args: &[OsString]) -> Outcome {
        self.set(entries);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let args = std::iter::once(OsString::from(PROGRAM)).chain(args.iter().cloned());
        let status = pg_archivecleanup::main(args, &mut stdout, &mut stderr);
        Outcome { status: Some(status.into()), stdout, stderr, left: self.left() }
    }
}

/// A thing in the directory.
#[derive(Debug, Clone)]
struct Entry {
    name: OsString,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    File,
    Directory,
    DanglingLink,
    LinkToFile,
    LinkToDirectory,
}

impl Entry {
    fn file(name: &str) -> Self {
        Self { name: name.into(), kind: Kind::File }
    }

    fn make(&self, archive: &Path) {
        let path = archive.join(&self.name);
        match self.kind {
            Kind::File => fs::write(path, "wal").unwrap(),
            Kind::Directory => fs::create_dir(path).unwrap(),
            Kind::DanglingLink => symlink("nowhere", path).unwrap(),
            Kind::LinkToFile => symlink("../elsewhere/file", path).unwrap(),
            Kind::LinkToDirectory => symlink("../elsewhere", path).unwrap(),
        }
    }
}

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A name near what PostgreSQL writes: close to one another, so that boundaries matter.
    fn name(&mut self) -> OsString {
        if self.one_in(12) {
            let odd = ["RECOVERYXLOG", "0000000A.history", "archive_status", ".gz", "x", ".partial", "~"];
            return self.pick(&odd).into();
        }
        let timeline = self.pick(&["00000001", "00000002", "0000000A", "FFFFFFFF"]);
        let log = self.pick(&["00000000", "00000000", "00000001", "FFFFFFFF"]);
        let segment = self.pick(&["0000000E", "0000000F", "00000010", "00000011", "000000FF"]);
        let mut name = format!("{timeline}{log}{segment}").into_bytes();
        if self.one_in(8) {
            self.disfigure(&mut name);
        }
        while self.one_in(2) {
            name.extend_from_slice(
                self.pick(&[
                    ".partial",
                    ".gz",
                    ".backup",
                    ".00000028.backup",
                    ".x.backup",
                    "-1.backup",
                    ". 1.backup",
                    ".+.backup",
                    ".-0x.backup",
                    ".\t\nF.backup",
                    ".zst",
                    ".history",
                    ".tmp",
                    ".done",
                    "0",
                    "gz",
                    ".0x28.backup",
                    "._.backup",
                    ".backup.partial",
                    "\u{e9}.backup",
                ])
                .as_bytes(),
            );
        }
        OsString::from_vec(name)
    }

    fn disfigure(&mut self, name: &mut Vec<u8>) {
        let place = self.below(name.len());
        match self.below(6) {
            0 => name.make_ascii_lowercase(),
            1 => name.truncate(place.max(1)),
            2 => name.insert(place, b'7'),
            3 => name[place] = b'G',
            4 => name[place] = 0xFF,
            _ => name.insert(0, b'.'),
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        // A directory in the way stops the run: rare, or nothing else would be seen.
        let obstructed = self.one_in(10);
        for _ in 0..self.below(25) {
            let name = self.name();
            if entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            let kind = match self.below(12) {
                0 => Kind::DanglingLink,
                1 => Kind::LinkToFile,
                2 => Kind::LinkToDirectory,
                3 if obstructed => Kind::Directory,
                _ => Kind::File,
            };
            entries.push(Entry { name, kind });
        }
        entries
    }

    fn extension(&mut self) -> OsString {
        let usual =
            [".gz", ".gz", "gz", ".partial", ".backup", "", ".zst", "0", "00000010", "-d", "--", "=", "z"];
        if self.one_in(10) { self.name() } else { self.pick(&usual).into() }
    }

    fn options(&mut self) -> Vec<OsString> {
        let mut options = Vec::new();
        while !self.one_in(3) {
            let option = self.pick(&[
                "-b",
                "-d",
                "-n",
                "-bd",
                "-dn",
                "-nb",
                "-bdn",
                "-dd",
                "--debug",
                "--dry-run",
                "--de",
                "--dr",
                "--clean-backup-history",
                "--c",
                "-x",
                "-x",
                "-dx",
                "--strip-extension",
                "--strip=",
                "--s=",
                "-x=",
            ]);
            match option {
                "-x" | "-dx" if self.one_in(2) => options.push(joined(option, &self.extension())),
                "-x" | "-dx" | "--strip-extension" => options.extend([option.into(), self.extension()]),
                "--strip=" | "--s=" => options.push(joined(option, &self.extension())),
                option => options.push(option.into()),
            }
        }
        if self.one_in(25) {
            let wrong = [
                "-h",
                "-?",
                "--help",
                "--version",
                "-V",
                "--d",
                "--",
                "-",
                "--=",
                "--=x",
                "--debug=1",
                "-dz",
                "-:",
                "--cleanbackup",
                "--x",
                "-bé",
                "--é",
                "---",
                "--dry-runs",
                "-W",
                "-W debug",
                "-;",
                "--strip-extension",
                "--c=",
                "--d=x",
                "--no=x=y",
            ];
            options.push(self.pick(&wrong).into());
        }
        options
    }

    /// A command line: mostly right, in any order.
    fn arguments(&mut self, archive: &Path) -> Vec<OsString> {
        let location = match self.below(30) {
            0 => archive.join("missing").into_os_string(),
            1 => joined(archive.to_str().unwrap(), OsStr::new("//")),
            2 => archive.parent().unwrap().join("elsewhere/file").into_os_string(),
            3 => OsString::new(),
            _ => archive.as_os_str().to_owned(),
        };
        let oldest = if self.one_in(3) { self.name() } else { self.boundary() };
        let mut arguments = vec![location, oldest];
        match self.below(20) {
            0 => arguments.truncate(self.below(2)),
            1 => arguments.push(self.name()),
            _ => {}
        }
        for option in self.options() {
            let place = self.below(arguments.len() + 1);
            arguments.insert(if self.one_in(4) { place } else { 0 }, option);
        }
        // What asks for help answers in other words.
        let first = arguments.first().map_or(b"".as_slice(), |first| first.as_bytes());
        if [b"--help".as_slice(), b"-?", b"--version", b"-V"].contains(&first) {
            arguments.remove(0);
        }
        arguments
    }

    fn boundary(&mut self) -> OsString {
        let suffix = self.pick(&["", "", "", ".partial", ".00000028.backup", ".gz", ".partial.gz"]);
        format!("00000001000000000000001{}{suffix}", self.below(2)).into()
    }
}

fn joined(head: &str, tail: &OsStr) -> OsString {
    let mut joined = OsString::from(head);
    joined.push(tail);
    joined
}

fn compare(seeds: std::ops::Range<u64>) {
    let stage = Stage::new();
    let mut removals = 0;
    let mut statuses = BTreeMap::new();
    for seed in seeds {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (seed + 1).wrapping_mul(0x2545_F491_4F6C_DD1D));
        let entries = random.entries();
        let arguments = random.arguments(&stage.archive());
        let theirs = stage.theirs(&entries, &arguments);
        let ours = stage.ours(&entries, &arguments);
        assert_eq!(ours, theirs, "seed {seed}: {arguments:?} in {entries:#?}");
        removals += usize::from(theirs.left.len() <= entries.len());
        *statuses.entry(theirs.status).or_insert(0) += 1;
    }
    // The comparison is worth something only if every kind of answer came up.
    assert!(removals > 100, "files were removed in {removals} cases only");
    assert!([0, 1, 2].iter().all(|status| statuses.contains_key(&Some(*status))), "{statuses:?}");
}

#[test]
fn random_directories_and_arguments_first_half() {
    compare(0..1500);
}

#[test]
fn random_directories_and_arguments_second_half() {
    compare(1500..3000);
}

/// The binary by its command and by the program's name, with what only the environment can say.
#[test]
fn the_binary_under_both_names_and_the_environment() {
    let stage = Stage::new();
    let link = stage.home.path().join(PROGRAM);
    symlink(env!("CARGO_BIN_EXE_walproof"), &link).unwrap();
    let entries = [
        Entry::file("00000001000000000000000F"),
        Entry::file("00000001000000000000000F.gz"),
        Entry::file("000000010000000000000010"),
        Entry { name: "00000001000000000000000E".into(), kind: Kind::Directory },
    ];
    let environments: [&[(&str, &str)]; 6] = [
        &[],
        &[("POSIXLY_CORRECT", "")],
        &[("PG_COLOR", "always")],
        &[("PG_COLOR", "auto")],
        &[("PG_COLOR", "always"), ("PG_COLORS", "error=1:locus=:note=32")],
        &[("PG_COLOR", "always"), ("PG_COLORS", "nothing")],
    ];
    let lines = [
        "-dn archive 000000010000000000000010",
        "archive 000000010000000000000010 -d -n",
        "-d -- archive 000000010000000000000010.backup",
        "-x .gz archive 00000001000000000000000F.gz",
        "archive",
        "-x",
        "--d archive",
    ];
    for environment in environments {
        for line in lines {
            let run = |program: &Path, first: Option<&str>, name: &str| {
                stage.set(&entries);
                let mut command = Command::new(program);
                command.arg0(name).args(first).args(line.split(' ')).envs(environment.iter().copied());
                stage.run(command)
            };
            let theirs = run(&tools::program(17, PROGRAM), None, PROGRAM);
            let ours = Path::new(env!("CARGO_BIN_EXE_walproof"));
            assert_eq!(run(ours, Some(PROGRAM), "walproof"), theirs, "{environment:?} {line}");
            assert_eq!(run(&link, None, PROGRAM), theirs, "{environment:?} {line}");
            let by_path = run(&tools::program(17, PROGRAM), None, "./pg_archivecleanup");
            assert_eq!(run(&link, None, "./pg_archivecleanup"), by_path, "{environment:?} {line}");
        }
    }
}

/// A directory that may be entered and not listed, or not written to; root may do both, and then both clean.
#[test]
fn permissions() {
    for mode in [0o000, 0o300, 0o500, 0o600] {
        let stage = Stage::new();
        let entries = [Entry::file("00000001000000000000000F")];
        let run = |mut command: Command| {
            stage.set(&entries);
            fs::set_permissions(stage.archive(), fs::Permissions::from_mode(mode)).unwrap();
            let output = command.arg0(PROGRAM).current_dir(stage.home.path()).output().unwrap();
            fs::set_permissions(stage.archive(), fs::Permissions::from_mode(0o700)).unwrap();
            (output.status.code(), output.stdout, output.stderr, stage.left())
        };
        let with_arguments = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["-d", "archive", "000000010000000000000010"]);
            command
        };
        let theirs = run(with_arguments(&tools::program(17, PROGRAM)));
        let ours = run(with_arguments(Path::new(env!("CARGO_BIN_EXE_walproof"))));
        assert_eq!(ours, theirs, "{mode:o}");
    }
}

/// A path longer than the program's buffer is cut off there; what is then found is not the file.
#[test]
fn an_overlong_location_is_cut_off_alike() {
    let stage = Stage::new();
    let entries = [Entry::file("00000001000000000000000F")];
    for length in [1000, 2010, 2022, 2023, 2030, 2046, 2047, 2048, 3000] {
        let mut location = stage.archive().into_os_string();
        while location.len() < length {
            location.push("/");
        }
        let arguments = [location, OsString::from("000000010000000000000010")];
        let theirs = stage.theirs(&entries, &arguments);
        assert_eq!(stage.ours(&entries, &arguments), theirs, "{length}");
    }
}

#[test]
fn a_closed_pipe_ends_a_dry_run_quietly() {
    let stage = Stage::new();
    // More output than a pipe holds, so that the program is still writing when the reader goes away.
    let entries: Vec<Entry> =
        (0..3000).map(|n| Entry::file(&format!("0000000100000{n:03X}000000FF"))).collect();
    stage.set(&entries);
    let before = stage.left();
    let mut child = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args([PROGRAM, "-n"])
        .arg(stage.archive())
        .arg("0000000100000FFF00000000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
    assert_eq!(stage.left(), before);
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (argument, start) in [
        ("--help", "pg_archivecleanup removes"),
        ("-?", "pg_archivecleanup removes"),
        ("--version", "pg_archivecleanup (PostgreSQL) 17"),
        ("-V", "pg_archivecleanup (PostgreSQL) 17"),
    ] {
        let output =
            tools::run(Command::new(env!("CARGO_BIN_EXE_walproof")).args([PROGRAM, argument, "--bogus"]));
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(start), "{argument}");
        assert!(output.stderr.is_empty());
    }
}

/// PostgreSQL's own test modules drive the program as its suite does.
#[test]
fn tap_suite() {
    let home = TempDir::new().unwrap();
    symlink(env!("CARGO_BIN_EXE_walproof"), home.path().join(PROGRAM)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut search = vec![home.path().to_owned()];
    search.extend(std::env::split_paths(&path));
    let output = tools::run(
        Command::new("perl")
            .arg("-I")
            .arg(tools::tap_modules())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tap/pg_archivecleanup.pl"))
            .current_dir(home.path())
            .env("PATH", std::env::join_paths(search).unwrap())
            .env("TESTDATADIR", home.path().join("data"))
            .env("TESTLOGDIR", home.path().join("log"))
            .env("TESTDIR", home.path()),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 40, "{said}");
}
