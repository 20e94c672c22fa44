//! Azurite, Microsoft's own emulator of Azure's blob service, on loopback. It checks signatures.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::azure::MicrosoftAzureBuilder;
use tempfile::TempDir;

use super::bucket::{Bucket, named};
use super::tools;

/// How long the server may take to answer its first request.
const PATIENCE: Duration = Duration::from_mins(1);

const ACCOUNT: &str = "walprooftest";

/// The account's key: [`SECRET_KEY`](super::bucket::SECRET_KEY), as Azure writes keys.
pub const ACCOUNT_KEY: &str = "czNjcjN0LXMzY3IzdC1zM2NyM3QtczNjcjN0";

/// No client here makes containers, and Azurite has no other way.
const MAKE_CONTAINER: &str = r#"
const [port, account, key] = process.argv.slice(1);
const date = new Date().toUTCString();
const text = "PUT" + "\n".repeat(12) + `x-ms-date:${date}\nx-ms-version:2021-08-06\n`
    + `/${account}/${account}/wal\nrestype:container`;
const signature = require("crypto").createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
const headers = { "x-ms-date": date, "x-ms-version": "2021-08-06", "content-length": 0,
    authorization: `SharedKey ${account}:${signature}` };
const made = require("http").request({ host: "127.0.0.1", port, method: "PUT",
    path: `/${account}/wal?restype=container`, headers }, answer => process.exit(answer.statusCode === 201 ? 0 : 1));
made.end();
"#;

/// Azurite serves blobs on a port of loopback until this is dropped.
pub struct Azure {
    server: Child,
    port: u16,
    _directory: TempDir,
}

impl Azure {
    /// Starts a server with the container `wal`.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("walproof-azure-").tempdir_in("/tmp").unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let server = Command::new("node")
            .arg(tools::azurite())
            .args(["--blobHost", "127.0.0.1", "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .args(["--blobPort", &port.to_string()])
            .arg("--location")
            .arg(directory.path())
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Self { server, port, _directory: directory };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "Azurite does not answer");
            thread::sleep(Duration::from_millis(100));
        }
        tools::run(Command::new("node").args([
            "-e",
            MAKE_CONTAINER,
            &port.to_string(),
            ACCOUNT,
            ACCOUNT_KEY,
        ]));
        started
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Bucket for Azure {
    fn scheme(&self) -> &'static str {
        "azure"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn variables_at(&self, port: u16) -> Vec<(String, String)> {
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};\
             BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        );
        named([("AZURE_STORAGE_CONNECTION_STRING", &connection)])
    }

    fn client(&self) -> Arc<dyn ObjectStore> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = MicrosoftAzureBuilder::new()
            .with_endpoint(format!("http://127.0.0.1:{}/{ACCOUNT}", self.port))
            .with_allow_http(true)
            .with_container_name("wal")
            .with_account(ACCOUNT)
            .with_access_key(ACCOUNT_KEY)
            .build()
            .unwrap();
        Arc::new(client)
    }
}
