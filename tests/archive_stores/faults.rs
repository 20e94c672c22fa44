//! What goes wrong on the way: each fault ends in the right bytes or in an error, never in fewer bytes.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use walproof::archive::fault::{Fault, Faulty};
use walproof::archive::memory::Memory;
use walproof::archive::remote::Remote;
use walproof::archive::store::Descent;
use walproof::archive::{Archive, LayoutChoice, ReadError, Scratch, Secrets, Store};

use crate::fixtures::buckets;
use crate::support::azure::ACCOUNT_KEY;
use crate::support::bucket::{Bucket, SECRET_KEY};
use crate::support::gcs::Gcs;
use crate::support::proxy::{Proxy, Spoil};

fn segment(number: u8) -> Vec<u8> {
    let mut bytes = vec![number; 1 << 20];
    bytes[..4].copy_from_slice(&[0x10, 0xD1, 2, 0]);
    bytes
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Reads every entry; the outcome of each, with its bytes.
fn read_everything(archive: &Archive) -> Vec<(Vec<u8>, Result<(), ReadError>)> {
    let inventory = archive.inventory().unwrap();
    let mut scratch = Scratch::default();
    let read = |entry| {
        let mut bytes = Vec::new();
        let outcome = archive.read(entry, &mut scratch, &mut |piece| {
            bytes.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        (bytes, outcome)
    };
    inventory.entries.iter().map(read).collect()
}

/// The n-th request fails, for n = 1, 2, 3 … until a run has no more requests to fail.
#[test]
fn the_nth_request_fails_and_is_told() {
    let memory = Memory::new();
    for number in 1..=3 {
        let name = format!("00000001000000000000000{number}");
        memory.put(&name, segment(number));
        memory.put(&format!("{name}.gz"), gzip(&segment(number)));
    }
    for fault in [Fault::Refused, Fault::BreaksOff, Fault::Short, Fault::Vanished] {
        for good in 0.. {
            let faulty = Faulty::new(memory.clone(), fault, good);
            let store: Box<dyn Store> = Box::new(faulty.clone());
            let archive = Archive::of_store("memory", store, LayoutChoice::Auto, Secrets::default()).unwrap();
            if good == 0 {
                assert!(archive.inventory().is_err(), "{fault:?}");
                continue;
            }
            let outcomes = read_everything(&archive);
            for (index, (bytes, outcome)) in outcomes.iter().enumerate() {
                let expected = segment(u8::try_from(index / 2 + 1).unwrap());
                if index as u64 + 1 == good {
                    assert!(
                        matches!(outcome, Err(ReadError::Unobtainable(_))),
                        "{fault:?} {good}: {outcome:?}"
                    );
                    assert!(expected.starts_with(bytes));
                } else {
                    assert!(outcome.is_ok() && *bytes == expected, "{fault:?} {good}");
                }
            }
            if !faulty.has_struck() {
                break;
            }
        }
    }
}

#[test]
fn a_service_that_stumbles_is_asked_again() {
    for server in buckets() {
        stumble(server.as_ref());
    }
}

fn stumble(server: &dyn Bucket) {
    let name = server.scheme();
    for number in 1..=6 {
        server.put(&format!("f/00000001000000000000000{number}"), &segment(number));
    }
    let proxy = Proxy::before(server.port());
    let open = || {
        let store = Remote::open(&server.url("f"), server.variables_at(proxy.port())).unwrap();
        Archive::of_store(name, Box::new(store), LayoutChoice::Auto, Secrets::default()).unwrap()
    };
    for spoil in [Spoil::Busy, Spoil::BreakOff, Spoil::HangUp] {
        for ahead in [false, true] {
            proxy.spoil(spoil, 2, 2);
            let archive = open();
            let inventory = archive.inventory().unwrap();
            if ahead {
                archive.prefetch(&inventory.entries);
            }
            let before = proxy.downloads();
            for (index, (bytes, outcome)) in read_everything(&archive).into_iter().enumerate() {
                assert!(outcome.is_ok(), "{name} {spoil:?}: {outcome:?}");
                assert!(bytes == segment(u8::try_from(index + 1).unwrap()), "{name} {spoil:?} {index}");
            }
            if !ahead {
                assert!(proxy.downloads() - before >= 8, "{name} {spoil:?}");
            }
        }
    }
    // One that breaks off for ever is told as such, soon enough, and not as damage.
    proxy.spoil(Spoil::BreakOff, 0, usize::MAX);
    let begun = std::time::Instant::now();
    let (bytes, outcome) = read_everything(&open()).swap_remove(0);
    assert!(bytes.is_empty() && matches!(outcome, Err(ReadError::Unobtainable(_))), "{name} {outcome:?}");
    assert!(begun.elapsed() < Duration::from_mins(5));
}

#[test]
fn a_wrong_secret_is_refused_and_no_secret_is_ever_printed() {
    for server in buckets() {
        server.put("w/000000010000000000000001", &segment(1));
        let good = Remote::open(&server.url("w"), server.variables()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store =
            Remote::open(&server.url("w"), with_a_wrong_secret(server.as_ref(), folder.path())).unwrap();
        let refused = store.list(&|_| Descent::Whole).unwrap_err();
        let child = store.children(Path::new(""), 10).unwrap_err();
        // The account's name is a part of an emulator's URLs.
        let key_id = if server.scheme() == "s3" { "walprooftest" } else { SECRET_KEY };
        let texts = [
            refused.to_string(),
            child.to_string(),
            format!("{refused:?}"),
            format!("{store:?}"),
            format!("{good:?}"),
        ];
        for text in texts {
            for secret in [SECRET_KEY, ACCOUNT_KEY, WRONG_KEY, key_id, "PRIVATE KEY", "Bearer", "eyJ"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        assert!(refused.to_string().contains(&server.url("w")), "{refused}");
        let url = format!("{}://key:SECRET@wal/w", server.scheme());
        let with_secret = Remote::open(&url, server.variables()).unwrap_err().to_string();
        assert!(!with_secret.contains("SECRET"), "{with_secret}");
    }
}

/// A key that is well-formed and nobody's.
const WRONG_KEY: &str = "bm90LXMzY3IzdC1zM2NyM3QtczNjcjN0";

fn with_a_wrong_secret(server: &dyn Bucket, folder: &Path) -> Vec<(String, String)> {
    let other = Gcs::start();
    let wrong = |name: &str, value: String| match name {
        "AWS_SECRET_ACCESS_KEY" => format!("not-{SECRET_KEY}"),
        "AZURE_STORAGE_CONNECTION_STRING" => value.replace(ACCOUNT_KEY, WRONG_KEY),
        "GOOGLE_APPLICATION_CREDENTIALS" => {
            // The same account with a key of its own making.
            let file = folder.join("account.json");
            fs::copy(other.account_file(), &file).unwrap();
            file.to_str().unwrap().to_owned()
        }
        _ => value,
    };
    let variables = server.variables().into_iter();
    variables
        .map(|(name, value)| {
            let value = wrong(&name, value);
            (name, value)
        })
        .collect()
}
