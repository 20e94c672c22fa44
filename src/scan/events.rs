//! The events of one file, where nearly all of them are ends of transactions that nobody will look at.

use super::ends::Ends;
use super::event::Event;
use crate::wal::Xid;
use std::ops::Deref;
use std::sync::OnceLock;

/// Events in LSN order: a list that can be read as a slice. Where it was folded up (`fold`) the ends of
/// transactions take a few bytes each until somebody reads it; what can be told without that is told by methods.
#[derive(Default)]
pub struct Events {
    list: OnceLock<Vec<Event>>,
    folded: Option<Folded>,
}

/// Ends of transactions, packed, and the other events.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    pub(crate) ends: Ends,
    pub(crate) others: Vec<Event>,
}

impl Folded {
    /// Packs a list.
    ///
    /// # Errors
    /// It cannot be compressed.
    pub(crate) fn of(events: &[Event]) -> std::io::Result<Self> {
        let (ends, others) = Ends::split(events)?;
        Ok(Self { ends, others })
    }

    fn list(&self) -> Vec<Event> {
        // To go on with fewer events than there are would be a wrong answer. Where packing gives what cannot be unpacked,
        // `of` refuses, and a list stays a list.
        self.ends.among(&self.others).unwrap_or_else(|| unreachable!("ends are checked before they are kept"))
    }
}

impl Events {
    /// Events as they were kept.
    pub(crate) fn folded(folded: Folded) -> Self {
        Self { list: OnceLock::new(), folded: Some(folded) }
    }

    /// How they are kept, if they were folded up.
    pub(crate) const fn as_folded(&self) -> Option<&Folded> {
        self.folded.as_ref()
    }

    /// Packs them, and keeps the list besides until [`Self::take_list`]. Where they cannot be packed, they stay a list.
    pub(crate) fn fold(&mut self) {
        if self.folded.is_none() {
            self.folded = Folded::of(self).ok();
        }
    }

    /// A list and nothing else.
    pub(crate) fn unfold(&mut self) {
        self.as_slice();
        self.folded = None;
    }

    /// The list, if it is not the only thing that there is.
    pub(crate) fn take_list(&mut self) -> Option<Vec<Event>> {
        if self.folded.is_some() { self.list.take() } else { None }
    }

    /// The list.
    pub fn into_list(mut self) -> Vec<Event> {
        let list = self.list.take();
        list.unwrap_or_else(|| self.folded.as_ref().map_or_else(Vec::new, Folded::list))
    }

    /// Goes over all of them, and keeps no list of them that was not there.
    pub fn visit(&self, mut look: impl FnMut(&Event)) {
        match (&self.folded, self.list.get()) {
            (Some(folded), None) => folded.list().iter().for_each(&mut look),
            _ => self.iter().for_each(look),
        }
    }

    /// Those that neither end a transaction nor prepare one.
    pub fn others(&self) -> impl DoubleEndedIterator<Item = &Event> {
        let kept = match &self.folded {
            Some(folded) => &folded.others,
            None => self.as_slice(),
        };
        kept.iter().filter(|event| !event.what.is_of_transaction())
    }

    /// Whether one may end the transaction `xid`, or prepare it.
    pub fn may_have_xid(&self, xid: Xid) -> bool {
        self.may(|folded| folded.ends.have_xid(xid), |event| event.xid == xid)
    }

    /// Whether one may be of a transaction that was prepared.
    pub fn may_have_prepared(&self) -> bool {
        self.may(|folded| folded.ends.have_prepared(), |event| event.what.is_of_transaction())
    }

    /// Whether one may have subtransactions.
    pub fn may_have_subtransactions(&self) -> bool {
        self.may(|folded| folded.ends.have_details(), |event| event.what.is_of_transaction())
    }

    /// Whether the packed ones say so, or one of those that are not; a list may hold anything.
    fn may(&self, packed: impl Fn(&Folded) -> bool, other: impl Fn(&Event) -> bool) -> bool {
        self.folded.as_ref().is_none_or(|folded| packed(folded) || folded.others.iter().any(other))
    }

    fn as_slice(&self) -> &[Event] {
        self.list.get_or_init(|| self.folded.as_ref().map_or_else(Vec::new, Folded::list))
    }
}

impl From<Vec<Event>> for Events {
    fn from(list: Vec<Event>) -> Self {
        Self { list: OnceLock::from(list), folded: None }
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        events.into_iter().collect::<Vec<Event>>().into()
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        self.as_slice()
    }
}

impl<'e> IntoIterator for &'e Events {
    type Item = &'e Event;
    type IntoIter = std::slice::Iter<'e, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Clone for Events {
    fn clone(&self) -> Self {
        Self { list: self.list.clone(), folded: self.folded.clone() }
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Events {}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}
