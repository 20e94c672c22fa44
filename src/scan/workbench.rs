//! What a worker takes from one file to the next: memory that need not be asked for again.

use super::activity::{Activities, Activity};
use super::event::Event;
use crate::archive::Scratch;

/// Buffers of one worker.
#[derive(Debug, Default)]
pub struct Workbench {
    /// For reading and decompressing.
    pub scratch: Scratch,
    /// For what is found.
    pub(super) room: Room,
}

/// Lists without content, as long as those of earlier files were. They grow by moving, and the kernel clears each page
/// of them.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) events: Vec<Event>,
    pub(super) activities: Vec<Activity>,
}

impl Room {
    /// Takes back a list of events that nobody needs any more.
    pub(super) fn take_events(&mut self, mut events: Vec<Event>) {
        events.clear();
        self.events = events;
    }

    /// The same of activities.
    pub(super) fn take_activities(&mut self, activities: Activities) {
        self.activities = activities.of_transactions;
        self.activities.clear();
    }
}
