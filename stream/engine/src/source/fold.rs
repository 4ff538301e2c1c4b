//! Aggregation before the exchange: the records that a source has merged until their pane closes.
//!
//! Records of a key in a pane are merged as they are read. So the data that crosses threads and
//! machines grows with the number of distinct keys in a pane, not with the number of records.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;

use crate::aggregate::{Aggregate, Key};
use crate::flow::Entry;
use crate::pane::EventTimeMs;

/// The open panes of one source.
pub struct Fold<K, A> {
    groups: Vec<Group<K, A>>,
    /// The number of keys of the last pane that left. The next one has room for as many, so that its
    /// map seldom grows.
    usual: usize,
}

/// The keys of one pane that travel at the same pane.
struct Group<K, A> {
    arrival: EventTimeMs,
    pane: EventTimeMs,
    aggregates: HashMap<K, A, RandomState>,
}

impl<K, A> Default for Fold<K, A> {
    /// Returns a fold without panes.
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            usual: 0,
        }
    }
}

impl<K: Key, A: Aggregate> Fold<K, A> {
    /// Merges an event in.
    pub fn add(&mut self, arrival: EventTimeMs, pane: EventTimeMs, key: K, aggregate: A) {
        match self.group(arrival, pane).aggregates.entry(key) {
            Slot::Occupied(mut known) => known.get_mut().merge(&aggregate),
            Slot::Vacant(free) => {
                free.insert(aggregate);
            }
        }
    }

    /// Takes out the entries that travel before `boundary`, in order.
    pub fn take_before(&mut self, boundary: EventTimeMs) -> Vec<(EventTimeMs, Vec<Entry<K, A>>)> {
        let mut taken: Vec<_> = self
            .groups
            .extract_if(.., |group| group.arrival < boundary)
            .collect();
        taken.sort_by_key(|group| (group.arrival, group.pane));
        if let Some(newest) = taken.last() {
            self.usual = newest.aggregates.len();
        }

        let entries = |group: Group<K, A>| {
            let entry = |(key, aggregate)| Entry {
                pane: group.pane,
                key,
                aggregate,
            };
            (
                group.arrival,
                group.aggregates.into_iter().map(entry).collect(),
            )
        };

        taken.into_iter().map(entries).collect()
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
    fn group(&mut self, arrival: EventTimeMs, pane: EventTimeMs) -> &mut Group<K, A> {
        match self
            .groups
            .iter()
            .position(|group| group.arrival == arrival && group.pane == pane)
        {
            Some(0) => {}
            Some(found) => self.groups.swap(0, found),
            None => {
                // Late records are few.
                let room = if arrival == pane { self.usual } else { 0 };
                self.groups.push(Group {
                    arrival,
                    pane,
                    aggregates: HashMap::with_capacity_and_hasher(room, RandomState::default()),
                });

                let newest = self.groups.len() - 1;
                self.groups.swap(0, newest);
            }
        }
        &mut self.groups[0]
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

        let (arrival, mut entries) = taken.into_iter().next().unwrap();
        entries.sort_by_key(|entry| entry.key);
        let counts: Vec<_> = entries
            .iter()
            .map(|entry| (entry.pane, entry.key, entry.aggregate.0))
            .collect();
        assert_eq!((arrival, counts), (10, vec![(10, 1, 2), (10, 2, 1)]));

        let later: Vec<_> = fold
            .take_before(30)
            .into_iter()
            .map(|(arrival, entries)| (arrival, entries[0].pane))
            .collect();
        assert_eq!(later, [(20, 10), (20, 20)]);
    }
}
