//! The kept content of a closed pane: its on-time entries, shared or packed, and the late ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::packed::Packed;
use super::partials::Piece;
use crate::aggregate::{Aggregate, Key};
use crate::flow::{Entry, SharedPane};
use crate::pane::EventTimeMs;

/// The entries of one pane.
pub struct PaneState<K, A> {
    pub on_time: OnTime<K, A>,
    /// The late entries by key: the pane of arrival and the aggregate.
    pub late: BTreeMap<K, Vec<(EventTimeMs, A)>>,
}

/// The on-time entries of a pane.
pub enum OnTime<K, A> {
    None,
    /// The pane as it closed; only its on-time entries belong here.
    Shared(SharedPane<K, A>),
    Packed(Packed<K, A>),
}

/// An entry of one key: the pane to which it belongs, the one at which it arrived, and the aggregate.
pub struct Arrived<'a, A: Clone> {
    pub pane: EventTimeMs,
    pub arrival: EventTimeMs,
    pub aggregate: Cow<'a, A>,
}

impl<K: Key, A: Aggregate> PaneState<K, A> {
    /// Returns the on-time entries that are not packed.
    pub fn on_time(&self) -> &[Entry<K, A>] {
        match &self.on_time {
            OnTime::Shared(closed) => closed.on_time(),
            OnTime::None | OnTime::Packed(_) => &[],
        }
    }

    /// Returns all entries: those on time, which are given, and the late ones.
    pub fn pieces<'a>(
        &'a self,
        pane: EventTimeMs,
        on_time: &'a [Entry<K, A>],
    ) -> impl DoubleEndedIterator<Item = Piece<'a, K, A>> {
        let late = self.late.iter().flat_map(move |(key, late)| {
            late.iter().map(move |(_, aggregate)| Piece {
                pane,
                key,
                aggregate,
            })
        });

        on_time.iter().map(Piece::from).chain(late)
    }

    /// Returns the entries of a key.
    pub fn of_key(&self, pane: EventTimeMs, key: &K) -> impl Iterator<Item = Arrived<'_, A>> {
        let on_time = match &self.on_time {
            OnTime::None => None,
            OnTime::Shared(closed) => {
                let entries = closed.on_time();
                let found = entries.binary_search_by(|entry| entry.key.cmp(key)).ok();
                found.map(|index| Cow::Borrowed(&entries[index].aggregate))
            }
            OnTime::Packed(packed) => packed.find(key).map(Cow::Owned),
        };
        let on_time = on_time.map(|aggregate| Arrived::new(pane, pane, aggregate));

        let late = self.late.get(key).into_iter().flatten();
        let late = late.map(move |(arrival, aggregate)| {
            Arrived::new(pane, *arrival, Cow::Borrowed(aggregate))
        });
        on_time.into_iter().chain(late)
    }

    pub fn entries(&self) -> usize {
        let on_time = match &self.on_time {
            OnTime::None => 0,
            OnTime::Shared(closed) => closed.on_time().len(),
            OnTime::Packed(packed) => packed.len(),
        };
        on_time + self.late.values().map(Vec::len).sum::<usize>()
    }
}

impl<'a, A: Clone> Arrived<'a, A> {
    fn new(pane: EventTimeMs, arrival: EventTimeMs, aggregate: Cow<'a, A>) -> Self {
        Self {
            pane,
            arrival,
            aggregate,
        }
    }
}

impl<'a, A: Clone> From<&'a Arrived<'_, A>> for Piece<'a, (), A> {
    fn from(arrived: &'a Arrived<'_, A>) -> Self {
        Self {
            pane: arrived.pane,
            key: &(),
            aggregate: &arrived.aggregate,
        }
    }
}
