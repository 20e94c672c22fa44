//! Archives that were cut, written over or made to do harm: what is there is read, what is not is a finding, and
//! neither memory nor time is given away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::recorded::Recording;

fn verify(archive: &Path) -> (i32, Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
        .args(["verify", archive.to_str().unwrap(), "--format", "json"])
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Code and message of each finding.
fn findings(document: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let all = document["findings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|finding| (text(finding, "code"), text(finding, "message"))).collect()
}

fn segments() -> Vec<PathBuf> {
    let listed = fs::read_dir(Recording::of("16").archive()).unwrap();
    let mut files: Vec<PathBuf> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().len() == 24)
        .collect();
    files.sort();
    files
}

fn tar_of_segments() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in segments().iter().take(3) {
        builder.append_path_with_name(file, file.file_name().unwrap()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_cut_tar_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tar_of_segments();
    let plain = folder.path().join("pg_wal.tar");
    fs::write(&plain, &whole).unwrap();
    let (status, document, errors) = verify(&plain);
    assert_eq!(status, 0, "{errors} {document}");
    let total = document["segments"].clone();

    // Inside the last member, and where its bytes end so that only the end is missing.
    let size = usize::try_from(fs::metadata(&segments()[2]).unwrap().len()).unwrap();
    let end = 3 * (512 + size);
    for cut in [end - size / 2, end] {
        fs::write(&plain, &whole[..cut]).unwrap();
        let (status, document, errors) = verify(&plain);
        let found = findings(&document);
        assert_eq!(status, 1, "{cut} {errors}");
        let of_tar = |(code, message): &(String, String)| {
            code == "unreadable" && message.contains("pg_wal.tar is a tar that ends early")
        };
        assert!(found.iter().any(of_tar), "{found:?}");
        assert_eq!(found.iter().any(|(code, _)| code == "segment-truncated"), cut != end, "{found:?}");
        assert_eq!(document["segments"].is_object(), total.is_object());
    }

    let packed = folder.path().join("pg_wal.tar.gz");
    let compressed = gzip(&whole);
    fs::write(&packed, &compressed[..compressed.len() - compressed.len() / 8]).unwrap();
    let (status, document, errors) = verify(&packed);
    let found = findings(&document);
    assert_eq!(status, 1, "{errors}");
    assert!(
        found.iter().any(|(_, message)| message.contains("cannot be decompressed to its end")),
        "{found:?}"
    );

    let mut damaged = whole.clone();
    damaged[512 + size + 20] ^= 1;
    fs::write(&plain, &damaged).unwrap();
    let (status, document, _) = verify(&plain);
    let found = findings(&document);
    assert_eq!(status, 1);
    assert!(found.iter().any(|(_, message)| message.contains("damaged header")), "{found:?}");
}

#[test]
fn one_segment_is_no_archive() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("segment.gz");
    fs::write(&packed, gzip(&fs::read(&segments()[1]).unwrap())).unwrap();
    for path in [&segments()[1], &packed] {
        let (status, _, errors) = verify(path);
        assert_eq!(status, 3);
        assert!(errors.contains("one segment of WAL, not an archive"), "{errors}");
    }
}

#[test]
fn the_name_of_a_member_takes_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pg_wal.tar.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_path("././@LongLink").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    let piece = vec![b'a'; 1 << 20];
    for _ in 0..1 << 10 {
        encoder.write_all(&piece).unwrap();
    }
    encoder.write_all(&tar_of_segments()).unwrap();
    encoder.finish().unwrap();
    // So much address space is enough for everything but the name.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 786432; exec \"$0\" verify \"$1\" --jobs 1 --format json"])
        .arg(env!("CARGO_BIN_EXE_walproof"))
        .arg(&path)
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        findings(&document).iter().any(|(_, message)| message.contains("excessive length")),
        "{document}"
    );
}

/// An archive with one segment's header changed at `offset`, in the file itself or in a compressed one.
fn with_header_changed(offset: usize, change: fn(&mut u8), packed: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    for (index, file) in segments().iter().take(3).enumerate() {
        let mut bytes = fs::read(file).unwrap();
        // The third is full: of one with a single page nothing tells the size of pages but its header.
        if index == 2 {
            change(&mut bytes[offset]);
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        let (name, bytes) =
            if packed { (format!("{name}.gz"), gzip(&bytes)) } else { (name.to_owned(), bytes) };
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (status, document, errors) = verify(folder.path());
    assert_eq!(status, 1, "{errors}");
    document
}

#[test]
fn a_damaged_size_in_the_first_header_is_one_finding_of_its_own() {
    let page = with_header_changed(37, |byte| *byte = 0x40, false);
    let codes: Vec<String> = findings(&page).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["page-header", "leading-fragment"], "{page}");
    let codes = |document: &Value| findings(document).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    let plain = with_header_changed(32, |byte| *byte |= 4, false);
    let packed = with_header_changed(32, |byte| *byte |= 4, true);
    assert_eq!(codes(&packed), codes(&plain), "{packed}");
}
