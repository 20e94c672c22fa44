//! The facts of one file as five blocks of bytes, and back.
//!
//! | block | what | when it is read |
//! |---|---|---|
//! | facts | identity, runs, fragments, wounds, and the events that are no ends of transactions | always |
//! | ends | one column each for place, length, time, transaction and kind of commits, aborts, prepares | for ends |
//! | extras | what only some of them have: subtransactions, dropped files, names; compressed | for ends |
//! | activity | one column each for the transaction and what it did to rows; files that it made; tables | for events |
//! | names | rows of catalogs that hold names; compressed | for events |

use crate::archive::Entry;
use crate::pack::squeeze::{squeeze, unsqueeze};
use crate::pack::{Pack, Unpacker};
use crate::scan::activity::Activities;
use crate::scan::catalog_rows::Sighting;
use crate::scan::ends::Ends;
use crate::scan::event::Event;
use crate::scan::events::{Events, Folded};
use crate::scan::pack_activity::{pack_activity, unpack_activity};
use crate::scan::segment::name_of;
use crate::scan::store::in_summary;
use crate::scan::{Detail, SegmentFacts};

/// The facts of one file, packed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Blocks {
    pub(super) facts: Vec<u8>,
    pub(super) ends: Vec<u8>,
    pub(super) extras: Vec<u8>,
    pub(super) activity: Vec<u8>,
    pub(super) names: Vec<u8>,
}

impl Blocks {
    /// Bytes in all of them.
    pub(super) const fn bytes(&self) -> usize {
        self.facts.len() + self.ends.len() + self.extras.len() + self.activity.len() + self.names.len()
    }
}

/// Packs facts that were scanned with every detail.
pub(super) fn pack(facts: &SegmentFacts) -> std::io::Result<Blocks> {
    let folded_now;
    let folded = match facts.events.as_folded() {
        Some(folded) => folded,
        None => {
            folded_now = Folded::of(&facts.events)?;
            &folded_now
        }
    };
    let mut light = Vec::new();
    facts.identity.pack(&mut light);
    facts.fault.pack(&mut light);
    facts.bytes.pack(&mut light);
    facts.start.pack(&mut light);
    facts.walked.pack(&mut light);
    facts.transactions.pack(&mut light);
    facts.digests.pack(&mut light);
    folded.others.pack(&mut light);
    let (ends, extras) = folded.ends.bytes();
    Ok(Blocks {
        facts: light,
        ends: ends.to_vec(),
        extras: extras.to_vec(),
        activity: pack_activity(&facts.activity),
        names: pack_names(&facts.sightings)?,
    })
}

/// The facts of the file of `entry`, without the ends of transactions where only a summary is wanted.
/// `None`: the blocks are not what [`pack`] makes.
pub(super) fn unpack(entry: &Entry, blocks: Blocks, detail: Detail) -> Option<SegmentFacts> {
    let (name, partial) = name_of(entry);
    let mut from = Unpacker::new(&blocks.facts);
    let mut facts = SegmentFacts {
        name,
        partial,
        path: entry.object.path.display().to_string(),
        identity: Pack::unpack(&mut from)?,
        fault: Pack::unpack(&mut from)?,
        bytes: Pack::unpack(&mut from)?,
        start: Pack::unpack(&mut from)?,
        walked: Pack::unpack(&mut from)?,
        transactions: Pack::unpack(&mut from)?,
        digests: Pack::unpack(&mut from)?,
        activity: Activities::default(),
        sightings: Vec::new(),
        records: Vec::new(),
        events: Events::default(),
    };
    let mut others: Vec<Event> = Pack::unpack(&mut from)?;
    if !from.is_done() {
        return None;
    }
    if detail == Detail::Summary {
        others.retain(in_summary);
        facts.events = others.into();
        return Some(facts);
    }
    let ends = Ends::checked(blocks.ends, blocks.extras)?;
    if detail == Detail::Ends {
        facts.events = Events::folded(Folded { ends, others });
        return Some(facts);
    }
    facts.events = ends.among(&others)?.into();
    facts.activity = unpack_activity(&blocks.activity)?;
    facts.sightings = unpack_names(&blocks.names)?;
    Some(facts)
}

/// Rows of catalogs are much alike: they are compressed.
fn pack_names(sightings: &Vec<Sighting>) -> std::io::Result<Vec<u8>> {
    if sightings.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    sightings.pack(&mut out);
    squeeze(&out)
}

fn unpack_names(bytes: &[u8]) -> Option<Vec<Sighting>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let decoded = unsqueeze(bytes)?;
    let mut from = Unpacker::new(&decoded);
    Pack::unpack(&mut from).filter(|_| from.is_done())
}
