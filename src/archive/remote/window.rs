//! Objects fetched ahead of the reader: a few downloads under way, a bounded number of bytes waiting.
//!
//! The reader says in which order it will read ([`Window::plan`]) and then takes objects. One that is under way
//! is waited for; one that was not begun is left to the reader, who fetches it himself, and is forgotten here. So a
//! reader who leaves the order only loses the head start, and nothing waits for anything that nobody reads.

use super::service::{Failure, Fetched, Request, Service, fetch};
use object_store::path::Path as Key;
use std::collections::{HashMap, HashSet, VecDeque};
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

#[derive(Default)]
struct State {
    /// Counts plans: what was begun under an older one is dropped when it arrives.
    plan: u64,
    queue: VecDeque<Request>,
    /// Taken before they were begun.
    passed: HashSet<Key>,
    slots: HashMap<Key, Slot>,
    in_flight: usize,
    held_bytes: u64,
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
        *state = State {
            plan: state.plan + 1,
            queue: requests.filter(|request| request.size <= OBJECT_BYTES_MAX).collect(),
            ..State::default()
        };
        self.arrived.notify_all();
        self.begin_more(&mut state);
    }

    /// The object, if it was begun; `None` if the caller has to fetch it.
    pub(super) fn take(self: &Arc<Self>, key: &Key) -> Option<Fetched> {
        let mut state = self.state();
        loop {
            match state.slots.get(key) {
                None => {
                    if !state.queue.is_empty() {
                        state.passed.insert(key.clone());
                    }
                    return None;
                }
                Some(Slot { fetched: None, .. }) => {
                    state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Slot { fetched: Some(_), .. }) => break,
            }
        }
        let slot = state.slots.remove(key)?;
        state.held_bytes -= slot.bytes;
        self.begin_more(&mut state);
        slot.fetched
    }

    /// Begins downloads while there is room.
    fn begin_more(self: &Arc<Self>, state: &mut State) {
        while state.in_flight < IN_FLIGHT {
            let Some(next) = state.queue.front() else { return };
            if state.held_bytes > 0 && state.held_bytes + next.size > AHEAD_BYTES {
                return;
            }
            let Some(request) = state.queue.pop_front() else { return };
            if state.passed.remove(&request.key) || state.slots.contains_key(&request.key) {
                continue;
            }
            state.in_flight += 1;
            state.held_bytes += request.size;
            state.slots.insert(request.key.clone(), Slot { bytes: request.size, fetched: None });
            let (window, plan, key) = (Arc::clone(self), state.plan, request.key.clone());
            let landing = Landing { window, plan, key, has_landed: false };
            let backend = self.service.backend();
            self.service.spawn(async move { landing.land(fetch(backend, request).await) });
        }
    }

    fn arrive(self: &Arc<Self>, plan: u64, key: &Key, fetched: Fetched) {
        let mut state = self.state();
        if state.plan != plan {
            return;
        }
        if let Some(slot) = state.slots.get_mut(key)
            && slot.fetched.is_none()
        {
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
    key: Key,
    has_landed: bool,
}

impl Landing {
    fn land(mut self, fetched: Fetched) {
        self.has_landed = true;
        self.window.arrive(self.plan, &self.key, fetched);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.has_landed {
            return;
        }
        let given_up = io::Error::other("the download was given up");
        self.window.arrive(self.plan, &self.key, Err(Failure::Failed(given_up)));
    }
}
