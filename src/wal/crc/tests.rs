#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use super::{
    Crc32c, INIT, Place, Portable, Streams, Walk, checksum, combine, finish, record_checksum, shift,
    with_best,
};
use proptest::prelude::*;

/// Bytes without a pattern that a table error could hide in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32).to_le_bytes()[0]
        })
        .collect()
}

/// The oracle: the crate `crc32c`, whose `append` takes and gives inverted states.
fn oracle(state: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!state, bytes)
}

struct Check<'a>(u32, &'a [u8]);

impl Walk for Check<'_> {
    type Out = (u32, u32);

    #[expect(clippy::inline_always, reason = "see Walk")]
    #[inline(always)]
    fn walk<C: Crc32c>(self, crc: C) -> (u32, u32) {
        (crc.update(self.0, self.1), crc.update(0, self.1))
    }
}

#[test]
fn the_check_value_of_the_catalogue() {
    assert_eq!(checksum(b"123456789"), 0xE306_9283);
    assert_eq!(finish(Portable.update(INIT, b"123456789")), 0xE306_9283);
}

#[test]
fn every_length_at_every_alignment_equals_the_oracle() {
    let bytes = noise(1024 + 16);
    for length in 0..=1024 {
        for start in 0..16 {
            let piece = &bytes[start..start + length];
            let state = oracle(0x1234_5678, &bytes[..start]);
            let expected = (oracle(state, piece), oracle(0, piece));
            assert_eq!(with_best(Check(state, piece)), expected, "length {length} at {start}");
            assert_eq!(Check(state, piece).walk(Portable), expected, "portable, length {length} at {start}");
        }
    }
}

#[test]
fn long_pieces_equal_the_oracle() {
    let bytes = noise(100_000);
    for length in (1000..=100_000).step_by(97).chain(8100..8300).chain(24_500..24_800) {
        let piece = &bytes[bytes.len() - length..];
        assert_eq!(checksum(piece), crc32c::crc32c(piece), "length {length}");
    }
    assert_eq!(finish(Portable.update(INIT, &bytes)), crc32c::crc32c(&bytes));
}

#[test]
fn a_record_counts_its_payload_first_and_not_its_checksum() {
    for length in 24..600 {
        let record = noise(length);
        let expected = crc32c::crc32c_append(crc32c::crc32c(&record[24..]), &record[..20]);
        assert_eq!(record_checksum(Portable, &record), Some(expected));
    }
    assert_eq!(record_checksum(Portable, &[0; 23]), None);
}

#[test]
fn shifting_is_appending_zeros() {
    let zeros = vec![0; 3000];
    for count in 0..3000_usize {
        assert_eq!(shift(0xDEAD_BEEF, count as u64), oracle(0xDEAD_BEEF, &zeros[..count]));
    }
    // x has order 2³¹ − 1 modulo the polynomial's primitive factor, and x + 1 is the other one.
    assert_eq!(shift(0xDEAD_BEEF, (1 << 31) - 1), 0xDEAD_BEEF);
    assert_eq!(shift(shift(7, u64::MAX), 1), shift(shift(7, 1), u64::MAX));
}

proptest! {
    #[test]
    fn any_split_combines(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        state in any::<u32>(),
        from_the_right in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut parts: Vec<(u32, u64)> = cuts
            .windows(2)
            .map(|cut| (super::update(0, &bytes[cut[0]..cut[1]]), (cut[1] - cut[0]) as u64))
            .collect();
        parts.insert(0, (state, 0));
        let join = |a: (u32, u64), b: (u32, u64)| (combine(a.0, b.0, b.1), a.1 + b.1);
        let joined = if from_the_right {
            parts.into_iter().rev().reduce(|after, before| join(before, after))
        } else {
            parts.into_iter().reduce(join)
        };
        prop_assert_eq!(joined.unwrap().0, oracle(state, &bytes));
    }

    #[test]
    fn hardware_equals_its_portable_twin(bytes in prop::collection::vec(any::<u8>(), 0..20_000), state in any::<u32>()) {
        let expected = Check(state, &bytes).walk(Portable);
        prop_assert_eq!(with_best(Check(state, &bytes)), expected);
        prop_assert_eq!(oracle(state, &bytes), expected.0);
    }
}

/// Records that follow one another from `from` on in a page of noise, each with its checksum, padding zeroed.
fn page_of_records(from: usize, lengths: &[usize]) -> (Vec<u8>, Vec<Place>) {
    let mut page = noise(8192);
    let mut places = Vec::new();
    let mut start = from;
    for length in lengths {
        let end = start + length.next_multiple_of(8);
        if end > page.len() {
            break;
        }
        page[start + length..end].fill(0);
        let checksum = record_checksum(Portable, &page[start..start + length]).unwrap();
        page[start + 20..start + 24].copy_from_slice(&checksum.to_le_bytes());
        places.push(Place { start: start.try_into().unwrap(), total: (*length).try_into().unwrap() });
        start = end;
    }
    (page, places)
}

/// How many records at the beginning are good, by the streams of the best implementation.
struct Good<'a>(&'a [u8], &'a [Place]);

impl Walk for Good<'_> {
    type Out = usize;

    #[expect(clippy::inline_always, reason = "see Walk")]
    #[inline(always)]
    fn walk<C: Crc32c>(self, crc: C) -> usize {
        let mut streams = Streams::default();
        let cuts = streams.lay(self.0.len() / 8, self.1).expect("a page is not too long");
        crc.run_streams(self.0, &mut streams);
        let mut good = 0;
        for (stream, part) in cuts.windows(2).enumerate() {
            good += crc.good_records(self.0, &self.1[part[0]..part[1]], &streams, stream);
            if good < part[1] {
                break;
            }
        }
        good
    }
}

proptest! {
    #[test]
    fn streams_find_the_first_wrong_record(
        from in 3_usize..600,
        lengths in proptest::collection::vec(prop_oneof![24_usize..200, 24_usize..=1024], 1..120),
        flip in proptest::option::of((0_usize..8192, 0_u8..8)),
    ) {
        let (mut page, places) = page_of_records(8 * from, &lengths);
        prop_assume!(!places.is_empty());
        let mut expected = places.len();
        if let Some((at, bit)) = flip {
            page[at] ^= 1 << bit;
            let hit = |place: &Place| {
                let start = place.start as usize;
                (start..start + (place.total as usize).next_multiple_of(8)).contains(&at)
            };
            expected = places.iter().position(hit).unwrap_or(expected);
        }
        prop_assert_eq!(with_best(Good(&page, &places)), expected);
        prop_assert_eq!(Good(&page, &places).walk(Portable), expected);
    }
}
