//! Many ways through the same files: where two of them come together, they are one from there on.
//!
//! A window is asked for of each backup, and each way goes through all files behind its backup. What is behind a file does
//! not depend on where a way began, if a record ends in that file: only what it begins with is gone through again.

use super::library::Library;
use super::route::{End, Follower, Leg, Route};
use crate::timeline::History;
use crate::wal::{Lsn, SegmentNumber, TimelineId};
use std::cell::RefCell;
use std::collections::HashMap;

/// The ways through one library, as far as they are known.
#[derive(Debug)]
pub struct Routes<'a> {
    /// Whose files they go through.
    pub library: &'a Library<'a>,
    known: RefCell<Known<'a>>,
}

/// The timeline that is followed, and a file by its own timeline and its number.
type Place = (TimelineId, TimelineId, SegmentNumber);

#[derive(Debug, Default)]
struct Known<'a> {
    steps: Vec<Step<'a>>,
    /// The step in a file behind which a way goes on, whatever it came from.
    places: HashMap<Place, usize>,
}

#[derive(Debug)]
struct Step<'a> {
    leg: Leg<'a>,
    behind: Behind,
}

/// What is behind a step.
#[derive(Clone, Debug)]
enum Behind {
    /// The step of this number.
    Step(usize),
    Nothing(End),
}

impl<'a> Routes<'a> {
    /// None is known yet.
    pub fn new(library: &'a Library<'a>) -> Self {
        Self { library, known: RefCell::default() }
    }

    /// Follows the WAL from the record at `start`, as [`Route::from`] does.
    pub fn from(&self, history: &History, start: Lsn) -> Route<'a> {
        let mut follower = Follower::new(self.library, history, start);
        let mut known = self.known.borrow_mut();
        let behind = loop {
            if let Err(end) = follower.step() {
                break Behind::Nothing(end);
            }
            if let Some(leg) = follower.legs.last_mut()
                && let Some(step) = known.step(place(history, leg))
            {
                // Where a record ends that goes on behind the file is found behind it.
                leg.crossing.clone_from(&step.leg.crossing);
                break step.behind.clone();
            }
        };
        let mut legs = follower.legs;
        known.add(history, &legs, follower.number, &behind);
        let end = known.go_on(behind, start, &mut legs);
        Route { legs, end }
    }
}

impl<'a> Known<'a> {
    fn step(&self, place: Place) -> Option<&Step<'a>> {
        self.steps.get(*self.places.get(&place)?)
    }

    /// Adds a way of which no part but the last leg is known, and what is behind it. It goes on in front of the segment
    /// `until`.
    fn add(&mut self, history: &History, legs: &[Leg<'a>], until: SegmentNumber, behind: &Behind) {
        if let [leg] = legs
            && self.places.contains_key(&place(history, leg))
        {
            return;
        }
        let mut behind = behind.clone();
        for leg in legs.iter().rev() {
            let number = self.steps.len();
            self.steps.push(Step { leg: leg.clone(), behind });
            behind = Behind::Step(number);
            // Where no record ends, what comes next goes on from what was in front.
            if leg.number < until && !leg.facts.walked.runs.is_empty() {
                self.places.entry(place(history, leg)).or_insert(number);
            }
        }
    }

    /// Adds to the legs of a way from `start` all that is behind them, and says why it ends.
    fn go_on(&self, behind: Behind, start: Lsn, legs: &mut Vec<Leg<'a>>) -> End {
        let mut behind = &behind;
        loop {
            match behind {
                Behind::Nothing(end) => return end.clone(),
                Behind::Step(number) => {
                    let Some(step) = self.steps.get(*number) else {
                        unreachable!("a step is added after those behind it, and none is removed")
                    };
                    legs.push(Leg { from: start.max(step.leg.facts.start), ..step.leg.clone() });
                    behind = &step.behind;
                }
            }
        }
    }
}

fn place(history: &History, leg: &Leg<'_>) -> Place {
    (history.timeline, leg.timeline, leg.number)
}
