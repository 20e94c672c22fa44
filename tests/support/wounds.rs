//! Wounds, by name: each is one thing that happens to archives, done to a recorded one.
//!
//! The archive recorded with 14 has segments of 2 MiB: timeline 1 from ..05 to ..11; timeline 2 from ..07 to ..0A,
//! left timeline 1 at 0/E3C4B0; timeline 3 from ..0E to ..0F, left timeline 1 at 0/1C2FCD0; timeline 4 with ..0A,
//! left timeline 2 at 0/1403030. Segments ..08 to ..0A of timeline 1 hold one record longer than a segment.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::replica::{Replica, forge, gzip, records_within};

/// A wound and what `verify` must say of it.
pub struct Wound {
    pub name: &'static str,
    /// One sentence for the list in `corpus/museum`.
    pub what: &'static str,
    /// Errors, as `code segment`.
    pub errors: &'static [&'static str],
    /// Warnings, likewise.
    pub warnings: &'static [&'static str],
    pub inflict: fn(&Replica),
}

const fn wound(
    name: &'static str,
    what: &'static str,
    errors: &'static [&'static str],
    warnings: &'static [&'static str],
    inflict: fn(&Replica),
) -> Wound {
    Wound { name, what, errors, warnings, inflict }
}

const S05: &str = "000000010000000000000005";
/// In the middle of timeline 1: 1,531 records, then a segment switch.
const SEGMENT: &str = "00000001000000000000000B";
const S09: &str = "000000010000000000000009";
const S11: &str = "000000010000000000000011";
const S12: &str = "000000010000000000000012";
/// Where timeline 2 leaves timeline 1, in the segment ..07.
const FORK: usize = 0x3C4B0;
/// A page in the middle of what was written to [`SEGMENT`].
const MIDDLE: usize = 0x20000;
const SEGMENT_BYTES: usize = 2 << 20;

/// Makes a FIFO.
fn fifo(archive: &Replica, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(archive.path(name)).status().unwrap();
    assert!(made.success());
}

/// Writes over the first bytes of a file.
fn put(archive: &Replica, name: &str, at: usize, new: &[u8]) {
    archive.edit(name, |bytes| bytes[at..at + new.len()].copy_from_slice(new));
}

/// Forges the first whole record of `name` from `from` to `to`.
fn forge_in(archive: &Replica, name: &str, from: usize, to: usize) {
    archive.edit(name, |bytes| {
        let at = *records_within(bytes, from, to).first().unwrap();
        forge(bytes, at);
    });
}

/// A single bit of the last byte of that record.
fn flip_in(archive: &Replica, name: &str, from: usize, to: usize) {
    archive.edit(name, |bytes| {
        let at = *records_within(bytes, from, to).first().unwrap();
        bytes[at + 24] ^= 0x10;
    });
}

/// Every wound, done to the archive of version 14.
pub const WOUNDS: &[Wound] = &[
    wound("first-segment-missing", "The oldest segment was cleaned up: no wound at all.", &[], &[], |a| {
        a.remove(S05);
    }),
    wound(
        "last-segment-missing",
        "The newest segment never came: nothing in the archive can know.",
        &[],
        &[],
        |a| a.remove(S11),
    ),
    wound(
        "newest-segments-lost",
        "The WAL ends before the end of a backup whose history file is there.",
        &["segment-missing 000000010000000000000009"],
        &[],
        |a| a.keep(|name| name < S09 || name == "00000001000000000000000C.00000028.backup"),
    ),
    wound(
        "middle-segment-missing",
        "One segment in the middle of timeline 1 is gone.",
        &["segment-missing 000000010000000000000009"],
        &[],
        |a| a.remove(S09),
    ),
    wound(
        "two-segments-missing",
        "Two segments in a row are gone: one gap.",
        &["segment-missing 000000010000000000000008"],
        &[],
        |a| {
            a.remove("000000010000000000000008");
            a.remove(S09);
        },
    ),
    wound(
        "segment-before-fork-missing",
        "A segment is gone that three timelines need: one gap.",
        &["segment-missing 000000010000000000000006"],
        &[],
        |a| a.remove("000000010000000000000006"),
    ),
    wound(
        "child-segment-missing",
        "Timeline 2 lacks a segment of which timeline 1 has the same number.",
        &["segment-missing 000000020000000000000008"],
        &[],
        |a| a.remove("000000020000000000000008"),
    ),
    wound(
        "fork-segment-missing",
        "Timeline 2 lacks the segment with which it begins; timeline 1 has the same number.",
        &["segment-missing 000000020000000000000007"],
        &[],
        |a| a.remove("000000020000000000000007"),
    ),
    wound(
        "page-zeroed",
        "A page in the middle of a segment is zeros, as a lost write leaves it.",
        &["page-magic 00000001000000000000000B"],
        &[],
        |a| put(a, SEGMENT, MIDDLE, &[0; 8192]),
    ),
    wound(
        "first-page-zeroed",
        "The first page of a segment is zeros.",
        &["page-magic 00000001000000000000000B"],
        &[],
        |a| put(a, SEGMENT, 0, &[0; 8192]),
    ),
    wound(
        "segment-zeroed",
        "A whole segment is zeros, as a crash leaves a file that was never flushed.",
        &["page-magic 00000001000000000000000B"],
        &[],
        |a| a.write(SEGMENT, &vec![0; SEGMENT_BYTES]),
    ),
    wound(
        "tail-zeroed",
        "From the middle on a segment is zeros, and the next one exists.",
        &["segment-ends-early 00000001000000000000000B"],
        &[],
        |a| a.edit(SEGMENT, |bytes| bytes[MIDDLE..].fill(0)),
    ),
    wound(
        "segments-swapped",
        "Two segments have each other's names.",
        &["page-address 000000010000000000000009", "page-address 00000001000000000000000B"],
        &[],
        |a| {
            let (one, nine) = (a.read(SEGMENT), a.read(S09));
            a.write(SEGMENT, &nine);
            a.write(S09, &one);
        },
    ),
    wound(
        "segment-misnamed",
        "A second copy of a segment stands under the name of the next one to come.",
        &["page-address 000000010000000000000012"],
        &[],
        |a| a.copy(S05, S12),
    ),
    wound(
        "segment-truncated",
        "A segment ends at half its size, as a broken copy leaves it.",
        &["segment-truncated 00000001000000000000000B"],
        &[],
        |a| a.edit(SEGMENT, |bytes| bytes.truncate(MIDDLE + 100)),
    ),
    wound(
        "last-segment-truncated",
        "The newest segment is cut: the server refuses it whole.",
        &["segment-truncated 000000010000000000000011"],
        &[],
        |a| a.edit(S11, |bytes| bytes.truncate(MIDDLE)),
    ),
    wound(
        "segment-empty",
        "A segment has no bytes.",
        &["segment-truncated 00000001000000000000000B"],
        &[],
        |a| a.write(SEGMENT, b""),
    ),
    wound(
        "segment-too-long",
        "A segment has bytes behind its end.",
        &["segment-size 00000001000000000000000B"],
        &[],
        |a| a.edit(SEGMENT, |bytes| bytes.extend_from_slice(&[0; 512])),
    ),
    wound(
        "segment-size-differs",
        "The first page of a segment says another segment size.",
        &["segment-size 00000001000000000000000B"],
        &[],
        |a| put(a, SEGMENT, 32, &(16_u32 << 20).to_le_bytes()),
    ),
    wound(
        "bit-flipped",
        "One bit of a record is flipped.",
        &["record-crc 00000001000000000000000B"],
        &[],
        |a| flip_in(a, SEGMENT, MIDDLE, SEGMENT_BYTES),
    ),
    wound(
        "hostile-length",
        "A record says that it is 4 GiB long.",
        &["record-header 00000001000000000000000B"],
        &[],
        |a| {
            a.edit(SEGMENT, |bytes| {
                let at = *records_within(bytes, MIDDLE, SEGMENT_BYTES).first().unwrap();
                bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            });
        },
    ),
    wound(
        "page-of-another-timeline",
        "A page of timeline 1 says that it is timeline 9's.",
        &["page-timeline 00000001000000000000000B"],
        &[],
        |a| put(a, SEGMENT, MIDDLE + 4, &9_u32.to_le_bytes()),
    ),
    wound(
        "system-identifier-differs",
        "The first page of a segment has another system identifier.",
        &["system-identifier 00000001000000000000000B"],
        &[],
        |a| put(a, SEGMENT, 24, &1_u64.to_le_bytes()),
    ),
    wound(
        "foreign-segment",
        "A segment was replaced by the one of that name of another cluster, of another version.",
        &["system-identifier 00000001000000000000000B"],
        &[],
        |a| a.take_from("17", |name| name == SEGMENT),
    ),
    wound(
        "foreign-segments",
        "Three segments of another cluster are mixed in.",
        &["foreign-cluster 00000001000000000000000B"],
        &[],
        |a| {
            a.take_from("13", |name| {
                ["00000001000000000000000B", "00000001000000000000000C", "00000001000000000000000D"]
                    .contains(&name)
            });
        },
    ),
    wound(
        "earlier-cluster",
        "The segments before ..07 are those of the cluster that pg_upgrade replaced.",
        &[],
        &["earlier-cluster 000000010000000000000005"],
        |a| {
            a.take_from("13", |name| {
                ["000000010000000000000005", "000000010000000000000006"].contains(&name)
            });
        },
    ),
    wound(
        "history-missing",
        "The history of timeline 2 is gone.",
        &["timeline-history-missing 00000002.history"],
        &[],
        |a| a.remove("00000002.history"),
    ),
    wound(
        "history-of-leaf-missing",
        "The history of timeline 4 is gone.",
        &["timeline-history-missing 00000004.history"],
        &[],
        |a| a.remove("00000004.history"),
    ),
    wound(
        "history-malformed",
        "The history of timeline 2 is not one.",
        &["timeline-history-invalid 00000002.history"],
        &[],
        |a| a.write("00000002.history", b"once upon a time\n"),
    ),
    wound(
        "history-empty",
        "The history of timeline 2 is empty: it would have no parent.",
        &["timeline-history-invalid 00000002.history"],
        &[],
        |a| a.write("00000002.history", b""),
    ),
    wound(
        "history-cyclic",
        "Timelines 2 and 4 each say that they left the other.",
        &["timeline-history-invalid 00000002.history"],
        &[],
        |a| a.write("00000002.history", b"4\t0/E3C4B0\tround and round\n"),
    ),
    wound(
        "history-contradicts-wal",
        "The history of timeline 2 says that it left timeline 1 two segments earlier.",
        &["timeline-history-invalid 00000002.history"],
        &[],
        |a| a.write("00000002.history", b"1\t0/A3C4B0\tafter transaction 766\n"),
    ),
    wound(
        "history-contradicts-wal-nearby",
        "The history of timeline 2 says that it left timeline 1 some records later.",
        &["timeline-history-invalid 00000002.history"],
        &[],
        |a| a.write("00000002.history", b"1\t0/E40000\tafter transaction 766\n"),
    ),
    wound(
        "history-contradicts-history",
        "The history of timeline 4 has timeline 2 leave timeline 1 elsewhere than that of timeline 2.",
        &["timeline-history-invalid 00000004.history"],
        &[],
        |a| a.write("00000004.history", b"1\t0/E00028\tafter transaction 766\n\n2\t0/1403030\tbefore\n"),
    ),
    wound(
        "copied-prefix-differs",
        "What timeline 2 copied of timeline 1 is other WAL, whole in itself.",
        &["timeline-diverges 000000020000000000000007"],
        &[],
        |a| forge_in(a, "000000020000000000000007", 8192, FORK),
    ),
    wound(
        "copied-prefix-damaged",
        "A bit of what timeline 2 copied of timeline 1 is flipped.",
        &["record-crc 000000020000000000000007"],
        &[],
        |a| flip_in(a, "000000020000000000000007", 8192, FORK),
    ),
    wound(
        "parent-damaged-before-fork",
        "A bit of timeline 1 is flipped; timeline 2 has an undamaged copy.",
        &["record-crc 000000010000000000000007"],
        &[],
        |a| flip_in(a, "000000010000000000000007", 8192, FORK),
    ),
    wound("duplicate-same", "A segment is there twice, plain and compressed: no wound.", &[], &[], |a| {
        a.write(&format!("{SEGMENT}.gz"), &gzip(&a.read(SEGMENT)));
    }),
    wound(
        "duplicate-differs",
        "A segment is there twice, plain and compressed, with different WAL.",
        &["duplicate-differs 00000001000000000000000B"],
        &[],
        |a| {
            let mut other = a.read(SEGMENT);
            let at = *records_within(&other, MIDDLE, SEGMENT_BYTES).first().unwrap();
            forge(&mut other, at);
            a.write(&format!("{SEGMENT}.gz"), &gzip(&other));
        },
    ),
    wound(
        "duplicate-damaged",
        "Of two copies of a segment the compressed one has a flipped bit.",
        &["duplicate-differs 00000001000000000000000B"],
        &[],
        |a| {
            let mut other = a.read(SEGMENT);
            let at = *records_within(&other, MIDDLE, SEGMENT_BYTES).first().unwrap();
            other[at + 24] ^= 1;
            a.write(&format!("{SEGMENT}.gz"), &gzip(&other));
        },
    ),
    wound(
        "duplicate-unreadable",
        "Of two copies of a segment the compressed one cannot be decoded.",
        &["unreadable 00000001000000000000000B"],
        &[],
        |a| {
            let mut other = gzip(&a.read(SEGMENT));
            other.truncate(other.len() / 2);
            a.write(&format!("{SEGMENT}.gz"), &other);
        },
    ),
    wound(
        "compressed-cut",
        "A compressed segment is cut, and there is no other copy.",
        &["unreadable 00000001000000000000000B"],
        &[],
        |a| {
            let mut other = gzip(&a.read(SEGMENT));
            other.truncate(other.len() / 2);
            a.remove(SEGMENT);
            a.write(&format!("{SEGMENT}.gz"), &other);
        },
    ),
    wound(
        "partial-only",
        "The newest segment is only there as .partial.",
        &[],
        &["partial-only 000000010000000000000011.partial"],
        |a| a.rename(S11, "000000010000000000000011.partial"),
    ),
    wound("partial-beside-whole", "A .partial stands beside the whole segment: no wound.", &[], &[], |a| {
        a.copy(S11, "000000010000000000000011.partial");
    }),
    wound(
        "partial-holds-more",
        "After a failover the old primary's last segment, a .partial, holds WAL beyond the fork.",
        &[],
        &["partial-only 000000010000000000000007.partial", "timeline-history-missing 00000003.history"],
        |a| {
            a.rename("000000010000000000000007", "000000010000000000000007.partial");
            a.keep(|name| {
                name <= "000000010000000000000007.partial"
                    || name.starts_with("00000002")
                    || name.starts_with("00000004")
            });
        },
    ),
    wound("pg-wal-recycled", "A pg_wal with two files kept for later use: no wound.", &[], &[], |a| {
        // Where a server writes, its newest segment is not full.
        a.edit(S11, |bytes| {
            let at = *records_within(bytes, 0, SEGMENT_BYTES).first().unwrap();
            bytes[at..].fill(0);
        });
        a.keep(|name| name.starts_with("00000001"));
        std::fs::create_dir(a.path("archive_status")).unwrap();
        a.copy(S05, S12);
        a.copy("000000010000000000000006", "000000010000000000000013");
    }),
    wound(
        "fifo",
        "A FIFO stands where a segment should be.",
        &["segment-missing 00000001000000000000000B"],
        &[],
        |a| {
            a.remove(SEGMENT);
            fifo(a, SEGMENT);
        },
    ),
    wound(
        "socket",
        "A socket stands where a segment should be.",
        &["segment-missing 00000001000000000000000B"],
        &[],
        |a| {
            a.remove(SEGMENT);
            drop(UnixListener::bind(a.path(SEGMENT)).unwrap());
        },
    ),
    wound(
        "directory",
        "A directory stands where a segment should be.",
        &["segment-missing 00000001000000000000000B"],
        &[],
        |a| {
            a.remove(SEGMENT);
            std::fs::create_dir(a.path(SEGMENT)).unwrap();
        },
    ),
    wound(
        "symlink-loop",
        "A symbolic link that leads to itself stands where a segment should be.",
        &["segment-missing 00000001000000000000000B"],
        &[],
        |a| {
            a.remove(SEGMENT);
            symlink(SEGMENT, a.path(SEGMENT)).unwrap();
        },
    ),
    wound(
        "fifo-behind-the-end",
        "A FIFO has the name of the next segment to come: what it would give was not read.",
        &["unreadable 000000010000000000000012"],
        &[],
        |a| fifo(a, S12),
    ),
    wound("unknown-file", "Somebody left a note.", &[], &["unknown-file README"], |a| {
        a.write("README", b"do not delete\n");
    }),
    wound(
        "control-characters-in-name",
        "A file's name would colour a terminal.",
        &[],
        &["unknown-file \u{1b}[31mred\n"],
        |a| a.write("\u{1b}[31mred\n", b""),
    ),
    wound(
        "padding-not-zero",
        "A byte of padding in a page header is not zero.",
        &[],
        &["padding-not-zero 00000001000000000000000B"],
        |a| put(a, SEGMENT, MIDDLE + 20, &[1]),
    ),
];
