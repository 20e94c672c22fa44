#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;
use std::io::Write;

const LABEL: &[u8] = include_bytes!("../../tests/data/backup/pg15/backup_label");
const CONTROL: &[u8] = include_bytes!("../../tests/data/backup/pg15/pg_control");

/// A base.tar in the order of the server's, with WAL as `-X fetch` adds it.
fn base_tar(prefix: &str) -> Vec<u8> {
    let data = vec![7_u8; 100_000];
    let files: [(&str, &[u8]); 6] = [
        ("backup_label", LABEL),
        ("base/1/1259", &data),
        ("PG_VERSION", b"15\n"),
        ("global/pg_control", CONTROL),
        ("pg_wal/00000001000000000000000B", &data),
        ("pg_wal/00000002.history", b"1\t0/1\tx\n"),
    ];
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, format!("{prefix}{name}"), bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn read_bytes(bytes: &[u8]) -> TarContents {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read(file.path()).unwrap()
}

fn gzip_members(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in [&[][..], &bytes[..512], &bytes[512..9_000], &bytes[9_000..]] {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(piece).unwrap();
        all.extend(member.finish().unwrap());
    }
    all
}

#[test]
fn every_compression_gives_the_same() {
    let plain = base_tar("");
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&plain).unwrap();
    let forms = [
        plain.clone(),
        base_tar("./"),
        gzip_members(&plain),
        lz4.finish().unwrap(),
        zstd::stream::encode_all(plain.as_slice(), 3).unwrap(),
    ];
    for bytes in forms {
        let contents = read_bytes(&bytes);
        assert_eq!(contents.cut, None);
        assert_eq!(contents.files["backup_label"], LABEL);
        assert_eq!(contents.files["global/pg_control"], CONTROL);
        assert_eq!(contents.files["PG_VERSION"], b"15\n");
        assert_eq!(contents.wal.len(), 1);
        assert_eq!(contents.wal[0].to_string(), "00000001000000000000000B");
    }
}

#[test]
fn a_tar_that_breaks_off_tells_so_and_keeps_what_came_before() {
    let plain = base_tar("");
    for bytes in [plain.clone(), gzip_members(&plain)] {
        let contents = read_bytes(&bytes[..bytes.len() / 2]);
        assert_eq!(contents.files["backup_label"], LABEL);
        assert!(contents.cut.is_some() && !contents.files.contains_key("global/pg_control"));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, magic in 0_usize..6) {
        let magics: [&[u8]; 6] =
            [b"", b"\x1F\x8B\x08", b"\x28\xB5\x2F\xFD", b"\x04\x22\x4D\x18", b"BZh9", b"\xFD7zXZ\0"];
        let _ = read_bytes(&[magics[magic], &bytes].concat());
    }

    #[test]
    fn no_changed_byte_panics(at in 0..2048_usize, byte: u8) {
        let mut bytes = base_tar("");
        bytes[at] = byte;
        let _ = read_bytes(&bytes);
    }
}
