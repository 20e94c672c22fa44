//! The states of a CRC over a stretch of WAL after each of its words, three streams side by side.
//!
//! The checksum of every record that lies in a stream follows from two of these states, so that no time depends
//! on where records begin and end: the work over the bytes is one even loop, and what is left for each record is
//! a few instructions without a branch. (One record after the other, its last word cannot be foreseen: a
//! processor that guessed wrong throws away what it had begun of the records behind it.)

/// Words of eight bytes that one stream has at most. A page of 8 KiB cut in three between records of at most
/// [`LONGEST_RECORD`] is within it.
pub const STREAM_WORDS: usize = 511;

/// Bytes that a record in a stream has at most; a longer one is checked by itself just as fast.
pub const LONGEST_RECORD: u32 = 1024;

/// Where a record lies in a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The byte with which it begins, a multiple of 8.
    pub start: u32,
    /// Its length in bytes, from 24 to [`LONGEST_RECORD`], without padding.
    pub total: u32,
}

/// Three streams over one page, and the states in them.
#[derive(Clone)]
pub struct Streams {
    /// The word of the page with which each begins.
    pub(super) begins: [usize; 3],
    /// How many words each has.
    pub(super) words: usize,
    /// `states[s][i]` is the raw state after `i` words of stream `s`, begun from 0.
    pub(super) states: Box<[[u32; STREAM_WORDS + 1]; 3]>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams")
            .field("begins", &self.begins)
            .field("words", &self.words)
            .finish_non_exhaustive()
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self { begins: [0; 3], words: 0, states: Box::new([[0; STREAM_WORDS + 1]; 3]) }
    }
}

impl Streams {
    /// Lays the streams over a page of `page_words` words with records at `places`, which follow one another.
    /// Gives the first record of each stream, and their number at last; `None` where the records are too many.
    pub fn lay(&mut self, page_words: usize, places: &[Place]) -> Option<[usize; 4]> {
        let (first, last) = (places.first()?, places.last()?);
        let begin = first.start as usize / 8;
        let end = (last.start as usize + last.total as usize).div_ceil(8);
        let (span, count) = (end.checked_sub(begin)?, places.len());
        let cut = |part: usize| {
            let wanted = begin + span * part / 3;
            places.partition_point(|place| (place.start as usize) / 8 < wanted)
        };
        let cuts = [0, cut(1), cut(2), count];
        let word = |index: usize| places.get(index).map_or(end, |place| place.start as usize / 8);
        let (second, third) = (word(cuts[1]), word(cuts[2]));
        // All get the length of the longest, and begin earlier where the page's end is too near.
        let words = (second - begin).max(third - second).max(end - third);
        let latest = page_words.checked_sub(words).filter(|_| words <= STREAM_WORDS && end <= page_words)?;
        self.words = words;
        self.begins = [begin.min(latest), second.min(latest), third.min(latest)];
        Some(cuts)
    }
}
