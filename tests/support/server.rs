//! A real server of a given major version in a temporary directory, gone when it is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};
use tempfile::TempDir;

use super::{account, tools};

/// How long a server may take for anything before the test gives up on it.
const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(20);

/// What to create: see [`Server::create`].
pub struct ServerOptions {
    major: u32,
    segment_mib: u32,
    checksums: bool,
    settings: Vec<(String, String)>,
}

impl ServerOptions {
    /// WAL segment size. The server of version 10 was built with 16 MiB and cannot be told otherwise.
    pub fn segment_mib(mut self, mebibytes: u32) -> Self {
        self.segment_mib = mebibytes;
        self
    }

    /// Data checksums on: hint bits then write full pages to WAL.
    pub fn checksums(mut self) -> Self {
        self.checksums = true;
        self
    }

    /// One line of postgresql.conf.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Runs initdb and starts the server, which archives from its first segment on.
    pub fn start(self) -> Server {
        let directory = account::temporary_directory();
        let archive = directory.path().join("archive");
        account::create_directory(&archive, 0o755);
        let data = directory.path().join("data");
        self.initdb(&data);
        append_settings(&data, &common_settings(directory.path(), Some(&archive)));
        append_settings(&data, &self.settings);
        let mut server = Server::spawn(self.major, directory, data, archive);
        server.wait_until_ready();
        server
    }

    fn initdb(&self, data: &Path) {
        let mut command = account::command(&tools::program(self.major, "initdb"));
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.arg("--pgdata").arg(data);
        if self.checksums {
            command.arg("--data-checksums");
        } else if self.major >= 18 {
            command.arg("--no-data-checksums");
        }
        if self.major >= 11 {
            command.arg(format!("--wal-segsize={}", self.segment_mib));
        } else {
            assert_eq!(self.segment_mib, 16, "version {} has 16 MiB segments", self.major);
        }
        tools::run(&mut command);
    }
}

fn common_settings(directory: &Path, archive: Option<&Path>) -> Vec<(String, String)> {
    let mut settings = vec![
        ("listen_addresses", String::new()),
        ("unix_socket_directories", directory.display().to_string()),
        ("fsync", "off".into()),
        ("shared_buffers", "32MB".into()),
        ("max_connections", "20".into()),
        ("max_prepared_transactions", "10".into()),
        ("timezone", "UTC".into()),
        ("log_timezone", "UTC".into()),
    ];
    if let Some(archive) = archive {
        let to = archive.display();
        settings.push(("archive_mode", "on".into()));
        settings.push(("archive_command", format!("test ! -f {to}/%f && cp %p {to}/%f")));
    }
    settings.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Appends lines to a data directory's postgresql.conf; the last line on a setting wins.
pub fn append_settings(data: &Path, settings: &[(String, String)]) {
    let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
    for (name, value) in settings {
        writeln!(file, "{name} = '{}'", value.replace('\'', "''")).unwrap();
    }
}

/// A running server. It is stopped, and its files are removed, when this is dropped.
pub struct Server {
    major: u32,
    directory: TempDir,
    data: PathBuf,
    archive: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// A new cluster of version `major`. Segments have 1 MiB (16 MiB up to version 10).
    pub fn create(major: u32) -> ServerOptions {
        let segment_mib = if major >= 11 { 1 } else { 16 };
        ServerOptions { major, segment_mib, checksums: false, settings: Vec::new() }
    }

    /// Starts a server on a data directory that exists, without waiting for it.
    fn spawn(major: u32, directory: TempDir, data: PathBuf, archive: PathBuf) -> Self {
        let log = File::options().append(true).create(true).open(directory.path().join("log")).unwrap();
        let mut command = account::command(&tools::program(major, "postgres"));
        command.arg("-D").arg(&data).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { major, directory, data, archive, process: Some(process) }
    }

    /// Starts a server on the data directory `data` inside `directory`, archiving to `archive` if given.
    pub(super) fn on_existing(
        major: u32,
        directory: TempDir,
        data: PathBuf,
        archive: Option<&Path>,
        settings: &[(String, String)],
    ) -> Self {
        append_settings(&data, &common_settings(directory.path(), archive));
        if archive.is_none() {
            append_settings(&data, &[("archive_mode".into(), "off".into())]);
        }
        append_settings(&data, settings);
        let archive = archive.map_or_else(|| directory.path().join("archive"), Path::to_path_buf);
        Self::spawn(major, directory, data, archive)
    }

    /// Waits until the server takes connections; `false` when it ended instead.
    pub(super) fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some()) {
                self.process = None;
                return false;
            }
            if self.is_ready() {
                return true;
            }
            assert!(Instant::now() < deadline, "the server does not come up:\n{}", self.log());
            sleep(POLL);
        }
    }

    /// Waits until the server, which takes connections, is done with recovery; `false` when it ended instead.
    pub(super) fn gets_promoted(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some()) {
                self.process = None;
                return false;
            }
            let asked = self.config().connect(NoTls);
            let answer = asked.and_then(|mut client| client.query_one("SELECT pg_is_in_recovery()", &[]));
            if answer.is_ok_and(|row| !row.get::<_, bool>(0)) {
                return true;
            }
            assert!(Instant::now() < deadline, "the server is not promoted:\n{}", self.log());
            sleep(POLL);
        }
    }

    /// The eighth line of postmaster.pid says so, without a connection that would show in the log.
    fn is_ready(&self) -> bool {
        let state = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        state.lines().nth(7).is_some_and(|line| line.trim() == "ready")
    }

    fn wait_until_ready(&mut self) {
        assert!(self.comes_up(), "the server did not start:\n{}", self.log());
    }

    fn config(&self) -> postgres::Config {
        let mut config = Client::configure();
        config.host_path(self.directory.path()).user("postgres").dbname("postgres");
        config
    }

    /// A new session in the database `postgres`.
    pub fn client(&self) -> Client {
        self.config().connect(NoTls).unwrap_or_else(|e| panic!("connect: {e}\n{}", self.log()))
    }

    /// A new session in another database.
    pub fn client_of(&self, database: &str) -> Client {
        self.config().dbname(database).connect(NoTls).unwrap_or_else(|e| panic!("connect: {e}"))
    }

    /// Runs statements in a session of their own, several in one implicit transaction as psql -c does.
    pub fn sql(&self, statements: &str) {
        self.client().batch_execute(statements).unwrap_or_else(|e| panic!("{statements}: {e:?}"));
    }

    /// The first column of the first row, as text.
    pub fn value(&self, query: &str) -> String {
        value(&mut self.client(), query)
    }

    /// The insert position: the next record starts here or, on a page's first byte, after its header.
    pub fn insert_lsn(&self) -> String {
        self.value("SELECT pg_current_wal_insert_lsn()")
    }

    /// Switches to a new segment and waits until everything before is archived. Gives the last one's name.
    pub fn archive_everything(&self) -> String {
        let mut client = self.client();
        // A switch does nothing on a segment without records, so write one.
        client.batch_execute("SELECT txid_current()").unwrap();
        let name = value(&mut client, "SELECT pg_walfile_name(pg_switch_wal())");
        self.wait_for_archived(&name);
        name
    }

    /// Waits until the file is in the archive.
    pub fn wait_for_archived(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        let ready = self.data.join("pg_wal/archive_status").join(format!("{name}.ready"));
        while !self.archive.join(name).exists() || ready.exists() {
            assert!(Instant::now() < deadline, "{name} is not archived:\n{}", self.log());
            sleep(POLL);
        }
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Where archive_command puts files.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops the server in an orderly way: a shutdown checkpoint is written and archived.
    pub fn stop(&mut self) {
        self.pg_ctl_stop("fast");
    }

    fn pg_ctl_stop(&mut self, mode: &str) {
        let Some(mut process) = self.process.take() else { return };
        let mut command = account::command(&tools::program(self.major, "pg_ctl"));
        command.arg("stop").arg("-D").arg(&self.data).args(["-w", "-m", mode]);
        let stopped = command.output().is_ok_and(|output| output.status.success());
        if !stopped {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pg_ctl_stop("immediate");
    }
}

/// The first column of the first row, as text.
pub fn value(client: &mut Client, query: &str) -> String {
    let messages = client.simple_query(query).unwrap_or_else(|e| panic!("{query}: {e:?}"));
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.and_then(|row| row.get(0)).unwrap_or_else(|| panic!("{query}: no value")).to_owned()
}
