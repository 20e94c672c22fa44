#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

macro_rules! real {
    ($major:literal) => {
        (
            $major,
            include_bytes!(concat!("../../tests/data/backup/pg", $major, "/pg_control")),
            include_str!(concat!("../../tests/data/backup/pg", $major, "/backup_label")),
        )
    };
}

/// The control file of one base backup of every version, and what `pg_controldata` of 15 or the backup's own label says.
const REAL: [(&str, &[u8], &str); 12] = [
    real!("9.5"),
    real!("9.6"),
    real!("10"),
    real!("11"),
    real!("12"),
    real!("13"),
    real!("14"),
    real!("15"),
    real!("16"),
    real!("17"),
    real!("18"),
    real!("19"),
];

#[test]
fn every_version_agrees_with_the_label_of_its_backup() {
    for (major, bytes, label) in REAL {
        let control = ControlFile::parse(bytes).unwrap();
        assert_eq!(control.version.name(), major);
        assert_eq!(control.state, State::InProduction);
        let line = |key: &str| label.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        assert_eq!(line("CHECKPOINT LOCATION: ").parse(), Ok(control.checkpoint));
        let start = line("START WAL LOCATION: ");
        assert_eq!(start.split(' ').next().unwrap().parse(), Ok(control.checkpoint_copy.redo));
        let size = if control.version < Major::V11 { 16 << 20 } else { 2 << 20 };
        assert_eq!((control.segment_size.bytes(), control.wal_block_size), (size, 8192));
        assert_eq!(control.checkpoint_copy.timeline, TimelineId(1));
        assert_eq!((control.min_recovery_point, control.backup_end_required), (Lsn::INVALID, false));
        assert_eq!(control.version.wal_level_name(control.wal_level), Some("logical"), "{major}");
        let next = control.checkpoint_copy.next_xid.0;
        assert!((500..1000).contains(&next), "{major}: {next}");
        // The identifier's high half is the time of initdb, minutes before.
        let made = PgTime::from_unix_seconds(i64::try_from(control.system_identifier.0 >> 32).unwrap());
        let age = control.time.micros_since(made);
        assert!((0..3_600_000_000).contains(&age), "{major}: {age}");
        assert!(control.time.micros_since(control.checkpoint_copy.time) < 60_000_000);
    }
}

/// What `pg_controldata` of PostgreSQL 15 prints of its file.
#[test]
fn pg_controldata_agrees() {
    let control = ControlFile::parse(REAL[7].1).unwrap();
    assert_eq!(control.system_identifier.to_string(), "7710548821045343842");
    assert_eq!((control.control_version, control.catalog_version), (1300, 202_209_061));
    assert_eq!(control.checkpoint_copy.next_xid, FullXid(777));
    assert_eq!(control.checkpoint_copy.oldest_active_xid, Xid(777));
    assert_eq!(control.data_checksum_version, 1);
    let clock = crate::clock::Clock::utc();
    assert_eq!(clock.server(control.time), "2026-11-21 09:07:28+00");
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for (_, bytes, _) in REAL {
        let used = Layout::of(u32::from_le_bytes(*bytes[8..].first_chunk().unwrap())).unwrap().crc + 4;
        for bit in 0..used * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ControlFile::parse(&damaged).is_err(), "bit {bit}");
        }
        assert!(ControlFile::parse(&bytes[..used]).is_ok());
        for cut in 0..used {
            assert!(matches!(ControlFile::parse(&bytes[..cut]), Err(ControlError::Short { .. })));
        }
    }
}

#[test]
fn other_byte_order_and_unknown_versions_are_told_apart() {
    let mut bytes = REAL[7].1.to_vec();
    bytes[8..12].reverse();
    assert_eq!(ControlFile::parse(&bytes), Err(ControlError::ByteOrder { version: 1300 }));
    bytes[8..12].copy_from_slice(&937_u32.to_le_bytes());
    assert_eq!(ControlFile::parse(&bytes), Err(ControlError::Version { version: 937 }));
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), version in 0_usize..8) {
        let versions = [942_u32, 1002, 1100, 1201, 1300, 1700, 1800, 1902];
        if let Some(field) = bytes.get_mut(8..12) {
            field.copy_from_slice(&versions[version].to_le_bytes());
        }
        let _ = ControlFile::parse(&bytes);
    }
}
