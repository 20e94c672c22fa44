//! A real server that speaks S3 (SeaweedFS) on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tempfile::TempDir;

use super::bucket::{Bucket, SECRET_KEY, named, wait};
use super::tools;

/// How long the server may take to answer its first request.
const PATIENCE: Duration = Duration::from_mins(1);

const ACCESS_KEY: &str = "walprooftest";

/// SeaweedFS serves S3 on a port of loopback until this is dropped.
pub struct S3 {
    server: Child,
    /// Master's, volume's, filer's, and the one for S3.
    ports: [u16; 4],
    port: u16,
    _directory: TempDir,
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
        let started = Self { server, ports, port, _directory: directory };
        started.wait_until_ready();
        started
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
        wait(async {
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

impl Bucket for S3 {
    fn scheme(&self) -> &'static str {
        "s3"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn variables_at(&self, port: u16) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{port}");
        named([
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_ENDPOINT", &endpoint),
            ("AWS_S3_FORCE_PATH_STYLE", "true"),
        ])
    }

    fn client(&self) -> Arc<dyn ObjectStore> {
        // The TLS library wants one of its providers named; another test may have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.port))
            .with_allow_http(true)
            .with_bucket_name("wal")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_region("us-east-1")
            .build()
            .unwrap();
        Arc::new(client)
    }
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
