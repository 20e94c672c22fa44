//! Objects fetched ahead of the reader: a few downloads under way, a bounded number of bytes waiting.
//!
//! The reader says in which order it will read ([`Window::plan`]) and then takes objects. Several threads read at
//! once, each from a place of its own in the plan, so what is begun next is what stands closest behind any of the
//! last places read. An object that is under way is waited for; one that was not begun is left to the reader, who
//! fetches it himself. So a reader who leaves the order only loses the head start, and nothing waits for anything
//! that nobody reads.

use super::service::{Failure, Fetched, Request, Service, fetch};
use object_store::path::Path as Key;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Downloads under way at once: more than four gain nothing on a fast network (measured at 1, 2 and 4: 0.9, 1.28,
/// 1.1 GB/s on loopback), and on a slow one four fill the line.
const IN_FLIGHT: usize = 4;

/// Bytes under way and waiting to be taken, together. One object is fetched however large it is.
const AHEAD_BYTES: u64 = 64 << 20;

/// Larger objects are not fetched ahead, nor whole.
pub(super) const OBJECT_BYTES_MAX: u64 = 32 << 20;

/// The window.
pub(super) struct Window {
    service: Arc<Service>,
    state: Mutex<State>,
    arrived: Condvar,
}

/// Places in the plan that count as being read. More threads than this share them.
const READERS_MAX: usize = 16;

/// How far behind a reader an object may stand to be fetched for his sake.
const REACH: usize = 8;

#[derive(Default)]
struct State {
    /// Counts plans: what was begun under an older one is dropped when it arrives.
    plan: u64,
    order: Vec<Request>,
    index: HashMap<Key, usize>,
    /// By place in `order`: begun here, or fetched by a reader himself.
    begun: Vec<bool>,
    /// Everything before this place was begun.
    floor: usize,
    /// Places last read, one for each reader, the latest last.
    readers: Vec<usize>,
    slots: HashMap<usize, Slot>,
    in_flight: usize,
    held_bytes: u64,
}

impl State {
    fn of(plan: u64, order: Vec<Request>) -> Self {
        let index = order.iter().enumerate().map(|(place, request)| (request.key.clone(), place)).collect();
        Self { plan, begun: vec![false; order.len()], index, order, ..Self::default() }
    }

    /// Notes that a reader came to `place`.
    fn note_reader(&mut self, place: usize) {
        let behind = |reader: &usize| *reader < place && place - *reader <= REACH;
        if let Some(same) = self.readers.iter().position(behind) {
            self.readers.remove(same);
        } else if self.readers.len() == READERS_MAX {
            self.readers.remove(0);
        }
        self.readers.push(place);
    }

    /// The place to fetch next: the closest behind any reader, else the first that is left.
    fn next(&mut self) -> Option<usize> {
        while self.begun.get(self.floor) == Some(&true) {
            self.floor += 1;
        }
        let waiting = |reader: &usize| {
            let reach = self.begun.iter().enumerate().skip(reader + 1).take(REACH);
            reach.filter(|(_, begun)| !**begun).map(|(place, _)| (place - reader, place)).next()
        };
        let closest = self.readers.iter().filter_map(waiting).min().map(|(_, place)| place);
        closest.or((self.floor < self.order.len()).then_some(self.floor))
    }
}

/// An object that was begun.
struct Slot {
    bytes: u64,
    /// `None` while it is under way.
    fetched: Option<Fetched>,
}

impl Window {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service, state: Mutex::default(), arrived: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was planned and fetches `requests` ahead from now on.
    pub(super) fn plan(self: &Arc<Self>, requests: impl Iterator<Item = Request>) {
        let mut state = self.state();
        let order = requests.filter(|request| request.size <= OBJECT_BYTES_MAX).collect();
        *state = State::of(state.plan + 1, order);
        self.arrived.notify_all();
        self.begin_more(&mut state);
    }

    /// The object, if it was begun; `None` if the caller has to fetch it.
    pub(super) fn take(self: &Arc<Self>, key: &Key) -> Option<Fetched> {
        let mut state = self.state();
        let plan = state.plan;
        let place = *state.index.get(key)?;
        state.note_reader(place);
        let is_begun = state.begun.get_mut(place).is_some_and(|begun| std::mem::replace(begun, true));
        while is_begun
            && state.plan == plan
            && state.slots.get(&place).is_some_and(|slot| slot.fetched.is_none())
        {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let slot = if state.plan == plan { state.slots.remove(&place) } else { None };
        state.held_bytes -= slot.as_ref().map_or(0, |slot| slot.bytes);
        self.begin_more(&mut state);
        slot?.fetched
    }

    /// Begins downloads while there is room.
    fn begin_more(self: &Arc<Self>, state: &mut State) {
        while state.in_flight < IN_FLIGHT {
            let Some(place) = state.next() else { return };
            let Some(request) = state.order.get(place).cloned() else { return };
            if state.held_bytes > 0 && state.held_bytes + request.size > AHEAD_BYTES {
                return;
            }
            state.begun[place] = true;
            state.in_flight += 1;
            state.held_bytes += request.size;
            state.slots.insert(place, Slot { bytes: request.size, fetched: None });
            let landing = Landing { window: Arc::clone(self), plan: state.plan, place, has_landed: false };
            let backend = self.service.backend();
            self.service.spawn(async move { landing.land(fetch(backend, request).await) });
        }
    }

    fn arrive(self: &Arc<Self>, plan: u64, place: usize, fetched: Fetched) {
        let mut state = self.state();
        if state.plan != plan {
            return;
        }
        if let Some(slot) = state.slots.get_mut(&place) {
            slot.fetched = Some(fetched);
            state.in_flight -= 1;
        }
        self.arrived.notify_all();
        self.begin_more(&mut state);
    }
}

/// Brings a download home even if it is given up half-way, so that nobody waits for ever.
struct Landing {
    window: Arc<Window>,
    plan: u64,
    place: usize,
    has_landed: bool,
}

impl Landing {
    fn land(mut self, fetched: Fetched) {
        self.has_landed = true;
        self.window.arrive(self.plan, self.place, fetched);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.has_landed {
            return;
        }
        let given_up = io::Error::other("the download was given up");
        self.window.arrive(self.plan, self.place, Err(Failure::Failed(given_up)));
    }
}
