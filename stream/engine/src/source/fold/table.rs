//! Aggregates by key, one behind the other in the order in which the keys came.
//!
//! ```text
//! hash of the key ──▶ places   5 bytes for each slot: part of the hash, and a place
//!                       │
//! entries               ▼
//! (key, aggregate) (key, aggregate) …      none is free
//! ```
//!
//! Many events bring a key that is new in its pane. In a table whose slots hold the entries, each of
//! them would be written to a random place, for which the processor waits. Here it is written behind
//! the last one. A free slot takes 5 bytes, and not the size of an entry.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use crate::aggregate::{Aggregate, Key};

/// Aggregates by key.
pub struct KeyTable<K, A> {
    entries: Vec<(K, A)>,
    /// The places of the keys in `entries`.
    places: HashTable<u32>,
    hash: RandomState,
}

impl<K, A> Default for KeyTable<K, A> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: HashTable::new(),
            hash: RandomState::default(),
        }
    }
}

impl<K: Key, A: Aggregate> KeyTable<K, A> {
    /// Merges an aggregate into that of its key.
    ///
    /// # Panics
    /// If there are 2³² keys, which take hundreds of gigabytes.
    #[inline]
    pub fn add(&mut self, key: K, aggregate: A) {
        let Self {
            entries,
            places,
            hash,
        } = self;
        let is_key = |place: &u32| entries[*place as usize].0 == key;
        let hash_at = |place: &u32| hash.hash_one(&entries[*place as usize].0);

        match places.entry(hash.hash_one(&key), is_key, hash_at) {
            Slot::Occupied(known) => entries[*known.get() as usize].1.merge(&aggregate),
            Slot::Vacant(free) => {
                let place = u32::try_from(entries.len()).expect("memory ends far earlier");
                free.insert(place);
                entries.push((key, aggregate));
            }
        }
    }

    /// Makes room for so many keys, if there are none.
    pub fn reserve(&mut self, keys: usize) {
        self.entries.reserve_exact(keys);
        let Self {
            entries,
            places,
            hash,
        } = self;
        places.reserve(keys, |place| hash.hash_one(&entries[*place as usize].0));
    }
}

impl<K, A> KeyTable<K, A> {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of keys that there is memory for.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Takes out the keys and aggregates, in the order in which the keys came.
    pub fn drain(&mut self) -> impl Iterator<Item = (K, A)> {
        self.places.clear();
        self.entries.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::aggregate::Count;

    #[test]
    fn each_key_has_the_sum_of_its_events_also_in_a_table_that_is_used_again() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut table = KeyTable::default();
        for (events, of) in [
            (10, 3),
            (5_000, 700),
            (0, 1),
            (20_000, 1_000_000),
            (300, 50),
        ] {
            let mut expected = BTreeMap::new();
            let mut order = Vec::new();
            for _ in 0..events {
                let key = rng.random_range(0..of);
                if !expected.contains_key(&key) {
                    order.push(key);
                }
                *expected.entry(key).or_insert(0) += key + 1;
                table.add(key, Count(key + 1));
            }

            assert_eq!(table.len(), expected.len());
            let found: Vec<(u64, Count)> = table.drain().collect();
            assert!(found.iter().map(|(key, _)| *key).eq(order));
            for (key, count) in found {
                assert_eq!(expected.remove(&key), Some(count.0));
            }
            assert_eq!((table.len(), expected.len()), (0, 0));
        }
    }

    #[test]
    fn keys_of_any_kind_are_told_apart() {
        let mut table = KeyTable::default();
        for text in ["", "a", "b", "ab", "a", ""] {
            table.add(text.to_owned(), Count(1));
        }
        let found: Vec<(String, Count)> = table.drain().collect();
        let counts = found.iter().map(|(key, count)| (key.as_str(), count.0));
        assert!(counts.eq([("", 2), ("a", 2), ("b", 1), ("ab", 1)]));
    }

    #[test]
    fn a_table_with_room_for_its_keys_does_not_grow() {
        let mut table = KeyTable::default();
        table.reserve(1_000);
        let room = table.capacity();
        assert!((1_000..1_100).contains(&room));
        (0..1_000_u64).for_each(|key| table.add(key, Count(1)));
        assert_eq!(table.capacity(), room);
    }
}
