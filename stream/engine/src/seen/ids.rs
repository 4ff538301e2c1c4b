//! A set of event ids in one run of memory: open addressing with linear probing.
//!
//! ```text
//! hash of an id ──▶ its first slot ──▶ the next one … until the id or a free slot is found
//! ```
//!
//! The sets of [`hashbrown`] take a power of two of slots, and begin small. These take as many slots
//! as a set of the expected number of ids needs, so they seldom grow, and an id takes 20 to 22 bytes
//! where it took 19 to 39. Nothing is ever removed from them but all at once.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::EventId;

/// The content of a free slot. The id of this value is held apart.
const FREE: EventId = 0;
/// The least number of slots.
const LEAST_SLOTS: usize = 64;

/// A set of ids.
pub struct IdSet {
    hash: RandomState,
    slots: Vec<EventId>,
    taken: usize,
    has_free_id: bool,
}

impl IdSet {
    /// Creates an empty set that does not grow before it holds a tenth more than `ids`.
    pub fn for_about(ids: usize) -> Self {
        Self {
            hash: RandomState::default(),
            slots: vec![FREE; slots_for(ids + ids / 10)],
            taken: 0,
            has_free_id: false,
        }
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.taken + usize::from(self.has_free_id)
    }

    /// Adds an id, and returns whether it is new.
    #[inline]
    pub fn insert(&mut self, id: EventId) -> bool {
        if id == FREE {
            return !std::mem::replace(&mut self.has_free_id, true);
        }

        if slots_for(self.taken + 1) > self.slots.len() {
            self.grow();
        }

        let is_new = self.put(id);
        self.taken += usize::from(is_new);
        is_new
    }

    /// Puts an id into its slot, and returns whether it was not there. There must be a free slot.
    #[inline]
    fn put(&mut self, id: EventId) -> bool {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u128(id);
        let mut at = place(hasher.finish(), self.slots.len());

        loop {
            let slot = &mut self.slots[at];
            if *slot == id {
                return false;
            }
            if *slot == FREE {
                *slot = id;
                return true;
            }

            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    #[cold]
    fn grow(&mut self) {
        let slots = self.slots.len() + self.slots.len() / 2;
        let former = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        for id in former.into_iter().filter(|id| *id != FREE) {
            self.put(id);
        }
    }
}

/// Returns the number of slots of which `ids` take four fifths.
fn slots_for(ids: usize) -> usize {
    (ids + ids / 4).max(LEAST_SLOTS)
}

/// Spreads hashes evenly over slots, without a division (Lemire, "Fast random integer generation in
/// an interval", 2019).
fn place(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Ids that differ in few bits as well as drawn ones, from so few that many come twice.
    fn drawn(rng: &mut StdRng, of: u64) -> EventId {
        let number = EventId::from(rng.random_range(0..of));
        match rng.random_range(0..4) {
            0 => number,
            1 => number << 64,
            2 => number << 122,
            _ => number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834),
        }
    }

    #[test]
    fn an_id_is_new_once_however_many_there_are() {
        let mut rng = StdRng::seed_from_u64(1);
        for (expected, of) in [(0, 5), (0, 1_000), (10, 50_000), (100_000, 50_000)] {
            let mut set = IdSet::for_about(expected);
            let mut known = HashSet::new();
            for _ in 0..100_000 {
                let id = drawn(&mut rng, of);
                assert_eq!(set.insert(id), known.insert(id), "{id}");
            }
            assert_eq!(set.len(), known.len());
        }
    }

    #[test]
    fn a_set_of_the_expected_size_does_not_grow_and_takes_22_bytes_an_id() {
        let mut set = IdSet::for_about(100_000);
        let slots = set.slots.len();
        (1..=110_000).for_each(|id| assert!(set.insert(id)));
        assert_eq!(set.slots.len(), slots);
        assert!(slots * size_of::<EventId>() <= 22 * 100_000);
    }

    #[test]
    fn a_set_that_grows_takes_at_most_30_bytes_an_id() {
        let mut set = IdSet::for_about(0);
        for id in 1..=200_000 {
            assert!(set.insert(id));
            let bytes = set.slots.len() * size_of::<EventId>();
            assert!(bytes <= (30 * set.len()).max(LEAST_SLOTS * 16), "{id}");
        }
    }
}
