//! What goes wrong on the way: each fault ends in the right bytes or in an error, never in fewer bytes.

use std::ops::ControlFlow;
use std::time::Duration;

use walproof::archive::fault::{Fault, Faulty};
use walproof::archive::memory::Memory;
use walproof::archive::remote::Remote;
use walproof::archive::store::Descent;
use walproof::archive::{Archive, LayoutChoice, ReadError, Scratch, Secrets, Store};

use crate::support::s3::{Proxy, S3, SECRET_KEY, Spoil};

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
fn a_real_service_that_stumbles_is_asked_again() {
    let server = S3::start();
    for number in 1..=6 {
        server.put(&format!("f/00000001000000000000000{number}"), &segment(number));
    }
    let proxy = Proxy::start(&server);
    let open = || {
        let store = Remote::open(&S3::url("f"), proxy.variables()).unwrap();
        Archive::of_store("s3", Box::new(store), LayoutChoice::Auto, Secrets::default()).unwrap()
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
                assert!(outcome.is_ok(), "{spoil:?}: {outcome:?}");
                assert!(bytes == segment(u8::try_from(index + 1).unwrap()), "{spoil:?} {index}");
            }
            if !ahead {
                assert!(proxy.downloads() - before >= 8, "{spoil:?}");
            }
        }
    }
    // One that breaks off for ever is told as such, soon enough, and not as damage.
    proxy.spoil(Spoil::BreakOff, 0, usize::MAX);
    let begun = std::time::Instant::now();
    let (bytes, outcome) = read_everything(&open()).swap_remove(0);
    assert!(bytes.is_empty() && matches!(outcome, Err(ReadError::Unobtainable(_))), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_mins(5));
}

#[test]
fn a_wrong_secret_is_refused_and_no_secret_is_ever_printed() {
    let server = S3::start();
    server.put("w/000000010000000000000001", &segment(1));
    let mut variables = server.variables();
    let good = Remote::open(&S3::url("w"), variables.clone()).unwrap();
    for (name, value) in &mut variables {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = format!("not-{SECRET_KEY}");
        }
    }
    let store = Remote::open(&S3::url("w"), variables).unwrap();
    let refused = store.list(&|_| Descent::Whole).unwrap_err();
    for text in [refused.to_string(), format!("{refused:?}"), format!("{store:?}"), format!("{good:?}")] {
        assert!(!text.contains(SECRET_KEY) && !text.contains("walprooftest"), "{text}");
    }
    assert!(refused.to_string().contains("s3://wal/w"), "{refused}");
    let with_secret = Remote::open("s3://key:SECRET@wal/w", server.variables()).unwrap_err().to_string();
    assert!(!with_secret.contains("SECRET"), "{with_secret}");
}
