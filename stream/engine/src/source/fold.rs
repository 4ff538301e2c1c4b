//! Aggregation before the exchange: the records that a source has merged until their pane closes.
//!
//! Records of a key in a pane are merged as they are read. So the data that crosses threads and
//! machines grows with the number of distinct keys in a pane, not with the number of records.

mod table;

use std::vec::Drain;

use crate::aggregate::{Aggregate, Key};
use crate::flow::Entry;
use crate::pane::EventTimeMs;
use table::KeyTable;

/// The open panes of one source.
pub struct Fold<K, A> {
    groups: Vec<Group<K, A>>,
    /// The number of keys of the last pane that left. The next one has room for as many, so that its
    /// table seldom grows.
    usual: usize,
    /// The empty table of a pane that has left. New memory would cost more than filling it: the system
    /// clears each page.
    spare: Option<KeyTable<K, A>>,
}

/// The keys of one pane that travel at the same pane.
pub struct Group<K, A> {
    arrival: EventTimeMs,
    pane: EventTimeMs,
    aggregates: KeyTable<K, A>,
}

/// A table with room for this many times the usual number of keys is not kept.
const MOST_SPARE: usize = 4;
/// The room of a pane beyond the usual number of keys, as a share of that.
const ROOM_SHARE: usize = 16;

impl<K, A> Default for Fold<K, A> {
    /// Returns a fold without panes.
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            usual: 0,
            spare: None,
        }
    }
}

impl<K: Key, A: Aggregate> Fold<K, A> {
    /// Merges an event into the group of its panes.
    #[inline]
    pub fn add(&mut self, arrival: EventTimeMs, pane: EventTimeMs, key: K, aggregate: A) {
        let group = self.group(arrival, pane);
        group.aggregates.add(key, aggregate);
    }

    /// Merges events into the group of their panes.
    pub fn add_all(&mut self, arrival: EventTimeMs, pane: EventTimeMs, values: Drain<'_, (K, A)>) {
        // A pane without entries would count as open.
        if values.len() > 0 {
            self.group(arrival, pane).aggregates.add_all(values);
        }
    }

    /// Takes out the groups that travel before `boundary`, in order.
    pub fn take_before(&mut self, boundary: EventTimeMs) -> Vec<Group<K, A>> {
        let mut taken: Vec<_> = self
            .groups
            .extract_if(.., |group| group.arrival < boundary)
            .collect();
        taken.sort_by_key(|group| (group.arrival, group.pane));

        if let Some(newest) = taken.last() {
            self.usual = newest.aggregates.len();
            let most = self.most_spare();
            self.spare.take_if(|spare| spare.capacity() > most);
        }

        taken
    }

    /// Takes back an emptied group, whose memory the next pane uses.
    pub fn reuse(&mut self, group: Group<K, A>) {
        let room = group.aggregates.capacity();
        let kept = self.spare.as_ref().map_or(0, KeyTable::capacity);
        if room > kept && room <= self.most_spare() && group.aggregates.len() == 0 {
            self.spare = Some(group.aggregates);
        }
    }

    fn most_spare(&self) -> usize {
        self.usual.saturating_mul(MOST_SPARE)
    }

    /// Returns the panes at which the entries will travel; a pane may occur more than once.
    pub fn arrivals(&self) -> impl Iterator<Item = EventTimeMs> {
        self.groups.iter().map(|group| group.arrival)
    }

    /// Returns the number of entries, over all panes.
    pub fn entries(&self) -> usize {
        self.groups.iter().map(|group| group.aggregates.len()).sum()
    }

    /// Returns the group of a pane. There are few groups, and the one used last is at the front,
    /// because most records are of the newest panes.
    #[inline]
    fn group(&mut self, arrival: EventTimeMs, pane: EventTimeMs) -> &mut Group<K, A> {
        let last = self.groups.first();
        if !last.is_some_and(|group| group.is_of(arrival, pane)) {
            self.bring_to_front(arrival, pane);
        }
        &mut self.groups[0]
    }

    #[inline(never)]
    fn bring_to_front(&mut self, arrival: EventTimeMs, pane: EventTimeMs) {
        let mut groups = self.groups.iter();
        match groups.position(|group| group.is_of(arrival, pane)) {
            Some(found) => self.groups.swap(0, found),
            None => {
                let aggregates = self.empty(arrival == pane);
                self.groups.push(Group {
                    arrival,
                    pane,
                    aggregates,
                });

                let newest = self.groups.len() - 1;
                self.groups.swap(0, newest);
            }
        }
    }

    /// Returns a table for a new pane, with room for the usual number of keys if it is on time. Late
    /// records are few.
    fn empty(&mut self, is_on_time: bool) -> KeyTable<K, A> {
        if !is_on_time {
            return KeyTable::default();
        }

        let mut aggregates = self.spare.take().unwrap_or_default();
        if aggregates.capacity() < self.usual {
            aggregates.reserve(self.usual + self.usual / ROOM_SHARE);
        }
        aggregates
    }
}

impl<K: Key, A: Aggregate> Group<K, A> {
    #[inline]
    fn is_of(&self, arrival: EventTimeMs, pane: EventTimeMs) -> bool {
        self.arrival == arrival && self.pane == pane
    }

    /// The pane at which the entries travel.
    pub fn arrival(&self) -> EventTimeMs {
        self.arrival
    }

    /// Takes out the entries.
    pub fn drain(&mut self) -> impl Iterator<Item = Entry<K, A>> {
        let pane = self.pane;
        let entry = move |(key, aggregate)| Entry {
            pane,
            key,
            aggregate,
        };
        self.aggregates.drain().map(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Count;

    #[test]
    fn records_of_a_key_in_a_pane_become_one_entry() {
        let mut fold = Fold::default();
        for (arrival, pane, key) in [
            (10, 10, 1_u64),
            (20, 20, 1),
            (10, 10, 1),
            (20, 10, 1),
            (10, 10, 2),
        ] {
            fold.add(arrival, pane, key, Count(1));
        }

        assert_eq!(fold.entries(), 4);
        let taken = fold.take_before(20);
        assert_eq!(taken.len(), 1);

        let mut group = taken.into_iter().next().unwrap();
        let mut entries: Vec<_> = group.drain().collect();
        entries.sort_by_key(|entry| entry.key);
        let counts: Vec<_> = entries
            .iter()
            .map(|entry| (entry.pane, entry.key, entry.aggregate.0))
            .collect();
        assert_eq!(
            (group.arrival(), counts),
            (10, vec![(10, 1, 2), (10, 2, 1)])
        );

        let later: Vec<_> = fold
            .take_before(30)
            .into_iter()
            .map(|mut group| (group.arrival(), group.drain().next().unwrap().pane))
            .collect();
        assert_eq!(later, [(20, 10), (20, 20)]);
    }

    /// Adds an event of each of these keys to a pane, and returns the pane's group.
    fn group_of(
        fold: &mut Fold<u64, Count>,
        pane: EventTimeMs,
        keys: std::ops::Range<u64>,
    ) -> Group<u64, Count> {
        keys.for_each(|key| fold.add(pane, pane, key, Count(1)));
        let mut taken = fold.take_before(pane + 10);
        assert_eq!(taken.len(), 1);
        taken.remove(0)
    }

    #[test]
    fn a_pane_uses_the_memory_of_the_last_one_and_none_of_its_entries() {
        let mut fold = Fold::default();
        let mut first = group_of(&mut fold, 10, 0..1_000);
        let room = first.aggregates.capacity();
        assert_eq!(first.drain().count(), 1_000);
        fold.reuse(first);

        let mut second = group_of(&mut fold, 20, 500..700);
        assert_eq!(second.aggregates.capacity(), room);
        let mut keys: Vec<u64> = second.drain().map(|entry| entry.key).collect();
        keys.sort_unstable();
        assert!(keys.into_iter().eq(500..700));
    }

    #[test]
    fn memory_of_a_pane_with_far_more_keys_than_usual_is_not_kept() {
        let mut fold = Fold::default();
        let mut great = group_of(&mut fold, 10, 0..10_000);
        drop(great.drain());
        fold.reuse(great);
        assert!(fold.spare.is_some());

        let mut small = group_of(&mut fold, 20, 0..10);
        drop(small.drain());
        fold.reuse(small);
        assert!(fold.spare.is_none(), "it was in use");

        drop(group_of(&mut fold, 30, 0..10));
        let full = group_of(&mut fold, 40, 0..10);
        fold.reuse(full);
        assert!(fold.spare.is_none(), "its entries were not taken");
    }
}
