//! A real server that speaks S3 (SeaweedFS) on loopback, and a proxy before it that can spoil answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tempfile::TempDir;

use super::tools;

/// How long the server may take to answer its first request.
const PATIENCE: Duration = Duration::from_mins(1);

const ACCESS_KEY: &str = "walprooftest";

/// The secret of the one account; looked for in everything that is printed.
pub const SECRET_KEY: &str = "s3cr3t-s3cr3t-s3cr3t-s3cr3t";

/// SeaweedFS serves S3 on a port of loopback until this is dropped.
pub struct S3 {
    server: Child,
    /// Master's, volume's, filer's, and the one for S3.
    ports: [u16; 4],
    port: u16,
    _directory: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl S3 {
    /// Starts a server, which makes the bucket `wal` at the first upload.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("walproof-s3-").tempdir_in("/tmp").unwrap();
        let accounts = directory.path().join("accounts.json");
        let text = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        fs::write(&accounts, text).unwrap();
        let ports = free_ports();
        let [_, _, _, port] = ports;
        let server = serve(directory.path(), &accounts, ports);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let started = Self { server, ports, port, _directory: directory, runtime };
        started.wait_until_ready();
        started
    }

    /// `s3://wal/PREFIX`.
    pub fn url(prefix: &str) -> String {
        format!("s3://wal/{prefix}")
    }

    /// The environment that reaches the server itself.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(self.port)
    }

    /// Stores an object.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let payload = PutPayload::from(bytes.to_vec());
        self.runtime.block_on(self.client().put(&Key::from(key), payload)).unwrap();
    }

    /// Makes the bucket keep the old versions of its objects from now on.
    pub fn keep_versions(&self) {
        let enabled = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                       <Status>Enabled</Status></VersioningConfiguration>";
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
            "--request",
            "PUT",
        ])
        .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--data", enabled])
        .args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")])
        .arg(format!("http://127.0.0.1:{}/wal?versioning=", self.port));
        tools::run(&mut curl);
    }

    /// The keys below `prefix`, sorted.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let client = self.client();
        let listed = async { client.list_with_delimiter(Some(&Key::from(prefix))).await };
        let listed = self.runtime.block_on(listed).unwrap().objects;
        let mut keys: Vec<String> =
            listed.into_iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect();
        keys.sort();
        keys
    }

    /// Deletes an object.
    pub fn delete(&self, key: &str) {
        self.runtime.block_on(self.client().delete(&Key::from(key))).unwrap();
    }

    /// Stores every file below `folder` under `prefix`.
    pub fn put_folder(&self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                self.put_folder(&path, &name);
            } else {
                self.put(&name, &fs::read(&path).unwrap());
            }
        }
    }

    fn client(&self) -> AmazonS3 {
        // The TLS library wants one of its providers named; another test may have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.port))
            .with_allow_http(true)
            .with_bucket_name("wal")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_region("us-east-1")
            .build()
            .unwrap()
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < PATIENCE, "SeaweedFS does not answer");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn answers(&self) -> bool {
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return false;
        }
        let client = self.client();
        let key = Key::from("is-it-there");
        self.runtime.block_on(async {
            client.put(&key, PutPayload::from_static(b"yes")).await.is_ok()
                && client.delete(&key).await.is_ok()
        })
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // Asked to stop it would take half a minute, and nothing of it is kept.
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        for (service, port) in ["master", "volume", "filer", "s3"].iter().zip(self.ports) {
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{service}-grpc-{}.sock", port + 10_000));
        }
    }
}

/// The environment that reaches a server on `port`.
fn variables(port: u16) -> Vec<(String, String)> {
    let endpoint = format!("http://127.0.0.1:{port}");
    [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_ENDPOINT", &endpoint),
        ("AWS_S3_FORCE_PATH_STYLE", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Four ports that are free, each with the one 10000 above it, where SeaweedFS listens too.
fn free_ports() -> [u16; 4] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let start = u16::try_from(std::process::id() % 10_000).unwrap() + 20_000;
    let skipped = u16::try_from(NEXT.fetch_add(1, Ordering::Relaxed) * 100).unwrap();
    let candidates = (start + skipped..42_000)
        .chain(20_000..start)
        .filter(|port| is_free(*port) && is_free(port + 10_000));
    let found: Vec<u16> = candidates.take(4).collect();
    found.try_into().expect("four free ports")
}

fn serve(directory: &Path, accounts: &Path, [master, volume, filer, port]: [u16; 4]) -> Child {
    let data = directory.join("data");
    fs::create_dir(&data).unwrap();
    let log = fs::File::create(directory.join("log")).unwrap();
    Command::new(tools::weed())
        .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-master.telemetry=false"])
        .args(["-master.volumeSizeLimitMB=64", "-volume.max=50", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg(format!("-dir={}", data.display()))
        .arg(format!("-master.port={master}"))
        .arg(format!("-volume.port={volume}"))
        .arg(format!("-filer.port={filer}"))
        .arg(format!("-s3.port={port}"))
        .arg(format!("-s3.config={}", accounts.display()))
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// What the proxy does to the answer of a download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoil {
    /// 503, and the connection is closed.
    Busy,
    /// The connection breaks after half of the body.
    BreakOff,
    /// The connection is closed without an answer.
    HangUp,
}

/// Passes requests on to the server and spoils some downloads, or some removals.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<Orders>>,
    downloads: Arc<AtomicUsize>,
    removals: Arc<AtomicUsize>,
}

struct Orders {
    spoil: Spoil,
    good: usize,
    bad: usize,
    /// Removals of many objects at once are spoilt, instead of downloads.
    removals: bool,
}

impl Proxy {
    /// A proxy before `s3` that spoils nothing yet.
    pub fn start(s3: &S3) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let orders = Orders { spoil: Spoil::Busy, good: 0, bad: 0, removals: false };
        let state = Arc::new(Mutex::new(orders));
        let (downloads, removals) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (orders, counters, behind) =
            (Arc::clone(&state), [Arc::clone(&downloads), Arc::clone(&removals)], s3.port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (orders, counters) = (Arc::clone(&orders), counters.clone());
                thread::spawn(move || pass_on(client, behind, &orders, &counters));
            }
        });
        Self { port, state, downloads, removals }
    }

    /// Lets `good` downloads pass and spoils the `bad` ones after them.
    pub fn spoil(&self, spoil: Spoil, good: usize, bad: usize) {
        *self.state.lock().unwrap() = Orders { spoil, good, bad, removals: false };
    }

    /// Lets `good` removals of many objects pass and spoils the `bad` ones after them.
    pub fn spoil_removals(&self, spoil: Spoil, good: usize, bad: usize) {
        *self.state.lock().unwrap() = Orders { spoil, good, bad, removals: true };
    }

    /// Removals of many objects asked for so far.
    pub fn removals(&self) -> usize {
        self.removals.load(Ordering::Relaxed)
    }

    /// Downloads asked for so far.
    pub fn downloads(&self) -> usize {
        self.downloads.load(Ordering::Relaxed)
    }

    /// The environment that reaches the server through the proxy.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(self.port)
    }
}

/// One request and its answer: the server is told to close the connection after it.
fn pass_on(mut client: TcpStream, behind: u16, orders: &Mutex<Orders>, counters: &[Arc<AtomicUsize>; 2]) {
    let Some((head, rest)) = read_head(&mut client) else { return };
    let line = head.lines().next().unwrap_or_default();
    let is_removal = line.starts_with("POST ") && line.contains("?delete");
    let is_download = line.starts_with("GET ") && !line.contains('?');
    let spoil = if is_download || is_removal {
        counters[usize::from(is_removal)].fetch_add(1, Ordering::Relaxed);
        let mut orders = orders.lock().unwrap();
        if orders.removals == is_removal { next_order(&mut orders) } else { None }
    } else {
        None
    };
    match spoil {
        Some(Spoil::HangUp) => return,
        Some(Spoil::Busy) => {
            let _ =
                client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        Some(Spoil::BreakOff) | None => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
    let request = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(request.as_bytes()).unwrap();
    server.write_all(&rest).unwrap();
    let (mut upstream, mut body) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut body, &mut upstream));
    let mut answer = Vec::new();
    let _ = server.read_to_end(&mut answer);
    let given = if spoil.is_some() { answer.len() / 2 } else { answer.len() };
    let _ = client.write_all(&answer[..given]);
    let _ = client.shutdown(Shutdown::Both);
}

fn next_order(orders: &mut Orders) -> Option<Spoil> {
    if orders.good > 0 {
        orders.good -= 1;
        return None;
    }
    if orders.bad == 0 {
        return None;
    }
    orders.bad -= 1;
    Some(orders.spoil)
}

/// The head of a request, and what came of its body with it.
fn read_head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
    }
}
