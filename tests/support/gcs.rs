//! A small server of our own that speaks the part of Google Cloud Storage's XML API that object stores are read and
//! cleaned with: no emulator that can be installed speaks it whole.
//!
//! Followed is Google's documentation of the XML API: "List objects" (`list-type=2`, in pages), "Get object" (with
//! `Range`), "Head object", "Put object" (and `x-goog-copy-source`), "Delete object", the error document, and of
//! "Using OAuth 2.0 for server to server applications" the self-signed token, whose signature is checked. Objects are
//! kept in memory. Pages are shorter than Google's, so that a test's handful of objects takes several.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;
use tempfile::TempDir;

use super::bucket::{Bucket, named};
use super::tools;

/// Names on one page of a listing, at most.
const PAGE: usize = 7;

const ACCOUNT: &str = "test@walprooftest.iam.gserviceaccount.com";

/// A bucket `wal`, served for as long as the test runs.
pub struct Gcs {
    port: u16,
    directory: TempDir,
}

struct Stored {
    bytes: Arc<[u8]>,
    generation: u64,
}

struct State {
    public_key: PathBuf,
    /// Tokens whose signature was found good.
    tokens: BTreeSet<String>,
    objects: BTreeMap<String, Stored>,
    generation: u64,
}

/// One answer: status line, headers, body.
struct Answer(&'static str, Vec<(&'static str, String)>, Arc<[u8]>);

struct Request {
    method: String,
    /// The key, escapes undone; empty for the bucket.
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Gcs {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("walproof-gcs-").tempdir_in("/tmp").unwrap();
        let (private, public) = (directory.path().join("private.pem"), directory.path().join("public.pem"));
        let mut make = Command::new("openssl");
        tools::run(make.args(["genpkey", "-quiet", "-algorithm", "RSA", "-out"]).arg(&private));
        let mut publish = Command::new("openssl");
        tools::run(publish.args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
        let account = serde_json::json!({
            "type": "service_account",
            "private_key_id": "1",
            "private_key": fs::read_to_string(&private).unwrap(),
            "client_email": ACCOUNT,
        });
        fs::write(directory.path().join("account.json"), account.to_string()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            public_key: public,
            tokens: BTreeSet::new(),
            objects: BTreeMap::new(),
            generation: 1_700_000_000_000_000,
        };
        let state = Arc::new(Mutex::new(state));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(client, &state));
            }
        });
        Self { port, directory }
    }

    /// The file that `GOOGLE_APPLICATION_CREDENTIALS` names.
    pub fn account_file(&self) -> PathBuf {
        self.directory.path().join("account.json")
    }
}

impl Bucket for Gcs {
    fn scheme(&self) -> &'static str {
        "gs"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn variables_at(&self, port: u16) -> Vec<(String, String)> {
        let base = format!("http://127.0.0.1:{port}");
        let account = self.account_file();
        named([("GOOGLE_BASE_URL", &base), ("GOOGLE_APPLICATION_CREDENTIALS", account.to_str().unwrap())])
    }

    fn client(&self) -> Arc<dyn ObjectStore> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = GoogleCloudStorageBuilder::new()
            .with_base_url(&format!("http://127.0.0.1:{}", self.port))
            .with_bucket_name("wal")
            .with_service_account_path(self.account_file().to_str().unwrap())
            .build()
            .unwrap();
        Arc::new(client)
    }
}

/// Answers one request and closes the connection.
fn serve(mut client: TcpStream, state: &Mutex<State>) {
    let Some(request) = read_request(&mut client) else { return };
    let Answer(status, headers, body) = state.lock().unwrap().answer(&request);
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.extend([name, ": ", &value, "\r\n"]);
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" { &[] } else { &*body };
    let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body));
    let _ = client.shutdown(Shutdown::Write);
}

fn read_request(client: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65536];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&piece[..count]);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), unescaped(&value.replace('+', " ")))).collect();
    let key = unescaped(path.strip_prefix("/wal")?.trim_start_matches('/'));
    Some(Request { method, key, query, headers, body })
}

/// `%xx` stands for a byte.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn refusal(status: &'static str, code: &str, message: &str) -> Answer {
    let text = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Answer(
        status,
        vec![("Content-Type", "application/xml; charset=UTF-8".to_owned())],
        text.into_bytes().into(),
    )
}

fn nothing_there() -> Answer {
    refusal("404 Not Found", "NoSuchKey", "The specified key does not exist.")
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let token = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.is_good(token)) {
            return refusal("401 Unauthorized", "AuthenticationRequired", "Authentication required.");
        }
        let copied = request.headers.get("x-goog-copy-source");
        match (request.method.as_str(), request.key.as_str(), copied) {
            ("GET", "", _) => self.list(&request.query),
            ("GET" | "HEAD", key, _) => self.get(key, request.headers.get("range")),
            ("PUT", key, None) => self.put(key, request.body.clone().into()),
            ("PUT", key, Some(from)) => {
                let from = unescaped(from);
                match self.objects.get(from.trim_start_matches('/').strip_prefix("wal/").unwrap()) {
                    Some(stored) => self.put(key, Arc::clone(&stored.bytes)),
                    None => nothing_there(),
                }
            }
            ("DELETE", key, _) => match self.objects.remove(key) {
                Some(_) => Answer("204 No Content", Vec::new(), Arc::new([])),
                None => nothing_there(),
            },
            _ => refusal("405 Method Not Allowed", "MethodNotAllowed", "Not spoken here."),
        }
    }

    /// Whether a token was signed by the account's key.
    fn is_good(&mut self, token: &str) -> bool {
        if self.tokens.contains(token) {
            return true;
        }
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signature");
        fs::write(&file, from_base64url(signature)).unwrap();
        let claims = signed.split_once('.').map(|(_, claims)| from_base64url(claims)).unwrap_or_default();
        let is_ours =
            serde_json::from_slice::<serde_json::Value>(&claims).is_ok_and(|claims| claims["iss"] == ACCOUNT);
        let is_good = is_ours && verifies(&self.public_key, &file, signed.as_bytes());
        if is_good {
            self.tokens.insert(token.to_owned());
        }
        is_good
    }

    fn put(&mut self, key: &str, bytes: Arc<[u8]>) -> Answer {
        self.generation += 1;
        let stored = Stored { bytes, generation: self.generation };
        let headers = headers_of(&stored);
        self.objects.insert(key.to_owned(), stored);
        Answer("200 OK", headers, Arc::new([]))
    }

    fn get(&self, key: &str, range: Option<&String>) -> Answer {
        let Some(stored) = self.objects.get(key) else { return nothing_there() };
        let mut headers = headers_of(stored);
        let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        else {
            return Answer("200 OK", headers, Arc::clone(&stored.bytes));
        };
        let length = stored.bytes.len();
        let first: usize = first.parse().unwrap();
        let end = last.parse::<usize>().map_or(length, |last| length.min(last + 1));
        if first >= end {
            return refusal(
                "416 Requested Range Not Satisfiable",
                "InvalidRange",
                "The range cannot be satisfied.",
            );
        }
        headers.push(("Content-Range", format!("bytes {first}-{}/{length}", end - 1)));
        Answer("206 Partial Content", headers, stored.bytes[first..end].into())
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let value = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (value("prefix"), value("delimiter"));
        let wanted = value("max-keys").parse().unwrap_or(PAGE).min(PAGE);
        let behind = value("continuation-token").max(value("start-after"));
        let (mut text, mut count, mut last, mut truncated) = (String::new(), 0, String::new(), false);
        for (key, stored) in self.objects.range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let folder = rest.find(delimiter).filter(|_| !delimiter.is_empty());
            let shown = folder.map_or(key.as_str(), |at| &key[..prefix.len() + at + delimiter.len()]);
            if shown <= behind || shown == last {
                continue;
            }
            if count == wanted {
                truncated = true;
                break;
            }
            count += 1;
            shown.clone_into(&mut last);
            let item = match folder {
                Some(_) => format!("<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>"),
                None => format!(
                    "<Contents><Key>{shown}</Key><Generation>{}</Generation><MetaGeneration>1</MetaGeneration>\
                     <LastModified>2026-01-01T00:00:00.123Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                    stored.generation,
                    etag(stored),
                    stored.bytes.len()
                ),
            };
            text.push_str(&item);
        }
        let next = if truncated {
            format!("<NextContinuationToken>{last}</NextContinuationToken>")
        } else {
            String::new()
        };
        let document = format!(
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>\
             <Name>wal</Name><Prefix>{prefix}</Prefix><IsTruncated>{truncated}</IsTruncated>{next}{text}\
             </ListBucketResult>"
        );
        Answer("200 OK", Vec::new(), document.into_bytes().into())
    }
}

fn etag(stored: &Stored) -> String {
    format!("\"{:032x}\"", stored.generation)
}

fn headers_of(stored: &Stored) -> Vec<(&'static str, String)> {
    vec![
        ("ETag", etag(stored)),
        ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        ("x-goog-generation", stored.generation.to_string()),
        ("x-goog-stored-content-length", stored.bytes.len().to_string()),
    ]
}

/// Whether OpenSSL finds `signature` good for `text`.
fn verifies(public_key: &Path, signature: &Path, text: &[u8]) -> bool {
    let signed = signature.with_extension("text");
    fs::write(&signed, text).unwrap();
    let mut verify = Command::new("openssl");
    verify.args(["dgst", "-sha256", "-verify"]).arg(public_key).arg("-signature").arg(signature).arg(signed);
    verify.output().unwrap().status.success()
}

fn from_base64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).unwrap());
        }
    }
    bytes
}
