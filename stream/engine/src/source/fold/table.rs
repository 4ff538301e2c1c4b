//! Aggregates by key, one behind the other in the order in which the keys came.
//!
//! ```text
//! hash of the key ──▶ slots     8 bytes each: part of the hash, and a place; free slots are 0
//!                       │
//! entries               ▼
//! (key, aggregate) (key, aggregate) …      none is free
//! ```
//!
//! Many events bring a key that is new in its pane. In a table whose slots hold the entries, each of
//! them would be written to a random place, for which the processor waits. Here it is written behind
//! the last one. A free slot takes 8 bytes, and not the size of an entry.
//!
//! Events are added in runs. The slots of all keys of a run are read before the first of their entries, and the entries
//! before the first event is merged. None of these reads depends on a branch that is hard to predict, so the processor
//! waits for many of them at once. In a table that finds one key after the other it waits for each.
//!
//! Invariants: keys are never removed one by one, so a key whose first slot is free is not in the table, and an entry
//! stays at its place.

use std::hash::BuildHasher;
use std::vec::Drain;

use foldhash::fast::RandomState;

use crate::aggregate::{Aggregate, Key};

/// Aggregates by key.
pub struct KeyTable<K, A> {
    entries: Vec<(K, A)>,
    /// Open addressing with linear probing.
    slots: Vec<Slot>,
    /// The greatest number of entries for these slots.
    most: usize,
    hash: RandomState,
    /// The keys of a run; empty between runs.
    sought: Vec<Sought>,
}

/// The lower half of a hash, with a bit that is always set, above a place in the entries. 0 if the slot is free.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Slot(u64);

/// A key of a run.
struct Sought {
    hash: u64,
    /// The place in its first slot; then the place of its entry, or [`NOWHERE`] if it was not found there.
    place: u32,
}

/// A place that no entry has.
const NOWHERE: u32 = u32::MAX;
/// The least number of slots.
const LEAST_SLOTS: usize = 16;

impl<K, A> Default for KeyTable<K, A> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            slots: Vec::new(),
            most: 0,
            hash: RandomState::default(),
            sought: Vec::new(),
        }
    }
}

impl<K: Key, A: Aggregate> KeyTable<K, A> {
    /// Merges an aggregate into that of its key.
    ///
    /// # Panics
    /// If there are 2³² keys, which take hundreds of gigabytes.
    pub fn add(&mut self, key: K, aggregate: A) {
        self.make_room(1);
        self.find_and_add(self.hash.hash_one(&key), key, aggregate);
    }

    /// Merges each of these aggregates into that of its key.
    ///
    /// # Panics
    /// If there are 2³² keys, which take hundreds of gigabytes.
    pub fn add_all(&mut self, values: Drain<'_, (K, A)>) {
        self.make_room(values.len());
        let mut sought = std::mem::take(&mut self.sought);
        sought.extend(values.as_slice().iter().map(|(key, _)| self.seek(key)));

        let keys = values.as_slice().iter().map(|(key, _)| key);
        for (sought, key) in sought.iter_mut().zip(keys) {
            let found = self.entries.get(sought.place as usize);
            let is_same = found.is_some_and(|(known, _)| known == key);
            // All bits are set where the key differs. A branch could not be predicted.
            sought.place |= u32::from(is_same).wrapping_sub(1);
        }

        for ((key, aggregate), sought) in values.zip(sought.drain(..)) {
            match self.entries.get_mut(sought.place as usize) {
                Some((_, known)) => known.merge(&aggregate),
                None => self.find_and_add(sought.hash, key, aggregate),
            }
        }

        self.sought = sought;
    }

    /// Reads the first slot of a key. There must be slots.
    #[inline]
    fn seek(&self, key: &K) -> Sought {
        let hash = self.hash.hash_one(key);
        Sought {
            hash,
            place: self.slots[first_of(hash, self.slots.len())].place(),
        }
    }

    /// Merges an aggregate into that of its key, which is looked for from its first slot on. There must be a free slot.
    fn find_and_add(&mut self, hash: u64, key: K, aggregate: A) {
        let wanted = Slot::of(hash, 0);
        let mut at = first_of(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == Slot::FREE {
                break;
            }
            if slot.is_of_hash(wanted)
                && let (known, sum) = &mut self.entries[slot.place() as usize]
                && *known == key
            {
                return sum.merge(&aggregate);
            }
            at = next_of(at, self.slots.len());
        }

        self.slots[at] = Slot::of(hash, self.entries.len());
        self.entries.push((key, aggregate));
    }

    /// Makes room for so many keys, if there are none.
    pub fn reserve(&mut self, keys: usize) {
        self.entries.reserve_exact(keys);
        self.make_room(keys);
    }

    /// Makes slots for so many further keys.
    #[inline]
    fn make_room(&mut self, keys: usize) {
        if self.entries.len() + keys > self.most {
            self.grow(self.entries.len() + keys);
        }
    }

    #[cold]
    fn grow(&mut self, keys: usize) {
        let slots = slots_for(keys).max(self.slots.len() / 2 * 3);
        self.most = most_of(slots);
        self.slots.clear();
        self.slots.resize(slots, Slot::FREE);

        for (place, (key, _)) in self.entries.iter().enumerate() {
            let hash = self.hash.hash_one(key);
            let mut at = first_of(hash, slots);
            while self.slots[at] != Slot::FREE {
                at = next_of(at, slots);
            }
            self.slots[at] = Slot::of(hash, place);
        }
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
        self.slots.fill(Slot::FREE);
        self.entries.drain(..)
    }
}

impl Slot {
    const FREE: Self = Self(0);

    #[inline]
    fn of(hash: u64, place: usize) -> Self {
        let place = u32::try_from(place).ok().filter(|place| *place != NOWHERE);
        let place = place.expect("memory ends far earlier");
        Self(((hash | 1) << 32) | u64::from(place))
    }

    #[inline]
    fn place(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn is_of_hash(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 32 == 0
    }
}

/// Returns the first slot of a hash, without a division (Lemire, "Fast random integer generation in an interval", 2019).
/// It depends on the upper bits of the hash.
#[inline]
fn first_of(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

/// Returns the slot behind one, which is the first behind the last.
#[inline]
fn next_of(slot: usize, slots: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

/// Returns the greatest number of keys for which `slots` slots are enough: three quarters.
fn most_of(slots: usize) -> usize {
    slots - slots.div_ceil(4)
}

/// Returns the number of slots that so many keys need.
fn slots_for(keys: usize) -> usize {
    (keys + keys.div_ceil(3) + 1).max(LEAST_SLOTS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::{Hash, Hasher};

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use serde::{Deserialize, Serialize};

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

    /// Runs of any length, with keys that come several times in one run, and keys that were there before it.
    #[test]
    fn a_run_of_events_has_the_sums_and_the_order_of_single_ones() {
        let mut rng = StdRng::seed_from_u64(2);
        for of in [1, 20, 300, 5_000, 1_000_000] {
            let mut single = KeyTable::default();
            let mut runs = KeyTable::default();
            for length in [0, 1, 64, 3, 500, 64, 1_000, 0, 7] {
                let key = |_| rng.random_range(0..of);
                let mut run: Vec<(u64, Count)> = (0..length)
                    .map(key)
                    .map(|key| (key, Count(key + 1)))
                    .collect();
                for (key, count) in &run {
                    single.add(*key, *count);
                }
                runs.add_all(run.drain(..));
            }

            assert!(of == 1 || single.len() > 10, "{}", single.len());
            assert!(single.drain().eq(runs.drain()), "of {of}");
        }
    }

    /// Keys whose first slots are next to each other, around the end of the table.
    #[test]
    fn keys_whose_slots_are_taken_are_found_behind_them() {
        let mut table: KeyTable<u64, Count> = KeyTable::default();
        table.reserve(60);
        let slots = table.slots.len();
        let is_crowded = |key: &u64| {
            let first = first_of(table.hash.hash_one(key), slots);
            first < 4 || first + 4 >= slots
        };
        let keys: Vec<u64> = (0_u64..).filter(is_crowded).take(30).collect();

        for _ in 0..2 {
            table.add_all(
                keys.iter()
                    .map(|key| (*key, Count(1)))
                    .collect::<Vec<_>>()
                    .drain(..),
            );
        }
        assert_eq!(table.slots.len(), slots);
        assert!(
            table
                .drain()
                .eq(keys.into_iter().map(|key| (key, Count(2))))
        );
    }

    /// A key whose hash is that of all others.
    #[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
    struct Alike(u64);

    impl Hash for Alike {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }

    impl Key for Alike {
        fn stable_hash(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn keys_with_the_same_hash_are_different_keys() {
        let mut table = KeyTable::default();
        let run = || (0..100).map(|key| (Alike(key % 50), Count(1)));
        table.add_all(run().collect::<Vec<_>>().drain(..));
        run().for_each(|(key, count)| table.add(key, count));

        let expected = (0..50).map(|key| (Alike(key), Count(4)));
        assert!(table.drain().eq(expected));
    }

    #[test]
    fn slots_are_enough_for_the_keys_that_they_are_made_for() {
        for keys in 0..1_000 {
            assert!(most_of(slots_for(keys)) >= keys, "{keys}");
            assert!(most_of(slots_for(keys)) < slots_for(keys), "one stays free");
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
