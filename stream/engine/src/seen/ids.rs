//! A set of event ids in one run of memory: open addressing with linear probing.
//!
//! ```text
//! id ──▶ its fingerprint, 96 bits ──▶ hash ──▶ its first slot ──▶ the next one … until it or a free slot is found
//! ```
//!
//! The sets of [`hashbrown`] take a power of two of slots, and begin small. These take as many slots
//! as a set of the expected number of ids needs, so they seldom grow. An id takes 15 to 17 bytes, and
//! less than 9 once the set is [sealed]. Ids are only removed all at once.
//!
//! An id of 128 bits is held by a fingerprint of 95: the upper bits of its product with a random odd
//! number. Whatever form the ids have, two of them have the same fingerprint with a probability of at
//! most 2⁻⁹⁴ (Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair problem",
//! 1997). A set has fewer than 2²² ids, so an event is mistaken for a duplicate with a probability
//! below 2⁻⁷². That is less than the one at which two UUIDs of version 7 are the same. The 96th bit marks a slot as
//! taken. A sealed set keeps fewer bits; late events alone are looked up in it.

mod sealed;

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::EventId;
use sealed::Sealed;

/// The upper 95 bits of a product, and a bit that is always set, which is the lowest one.
type Fingerprint = [u32; 3];

/// The content of a free slot, which no fingerprint is.
const FREE: Fingerprint = [0; 3];
/// The least number of slots.
const LEAST_SLOTS: usize = 64;

/// A set of ids.
pub struct IdSet {
    hash: RandomState,
    factor: u128,
    slots: Vec<Fingerprint>,
    taken: usize,
    /// The greatest number of slots that may be taken.
    most: usize,
    sealed: Sealed,
}

impl IdSet {
    /// Creates an empty set that does not grow before it holds a tenth more than `ids`.
    pub fn for_about(ids: usize) -> Self {
        let hash = RandomState::default();
        let slots = slots_for(ids + ids / 10);
        Self {
            factor: (u128::from(hash.hash_one(1)) << 64) | u128::from(hash.hash_one(2)) | 1,
            hash,
            slots: vec![FREE; slots],
            taken: 0,
            most: most_of(slots),
            sealed: Sealed::default(),
        }
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.taken + self.sealed.len()
    }

    /// Moves the ids into less memory, if they are many and were not moved before. Further ids may
    /// be added, but should be few.
    pub fn seal(&mut self) {
        if self.taken < Sealed::LEAST || self.sealed.len() > 0 {
            return;
        }

        let taken = self.slots.iter().filter(|slot| is_taken(slot));
        self.sealed = Sealed::of(self.taken, taken);
        self.slots = vec![FREE; LEAST_SLOTS];
        self.taken = 0;
        self.most = most_of(LEAST_SLOTS);
    }

    /// Adds an id, and returns whether it is new.
    #[inline]
    pub fn insert(&mut self, id: EventId) -> bool {
        let fingerprint = fingerprint(id.wrapping_mul(self.factor));
        if self.sealed.len() > 0 && self.sealed.contains(&fingerprint) {
            return false;
        }

        if self.taken == self.most {
            self.grow();
        }

        let is_new = self.put(fingerprint);
        self.taken += usize::from(is_new);
        is_new
    }

    /// Reads the first slots of ids, so that they are in the processor's cache. No read depends on another one, so the
    /// processor waits for many of them at once.
    #[inline]
    pub fn approach(&self, ids: impl Iterator<Item = EventId>) {
        let slot =
            |id: EventId| &self.slots[self.first_slot(fingerprint(id.wrapping_mul(self.factor)))];
        // The compiler would leave out reads without a result.
        std::hint::black_box(ids.fold(0, |all, id| all ^ slot(id)[0]));
    }

    /// Returns the slot at which a fingerprint is looked for first.
    #[inline]
    fn first_slot(&self, [low, middle, high]: Fingerprint) -> usize {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u64((u64::from(high) << 32) | u64::from(middle));
        hasher.write_u32(low);
        place(hasher.finish(), self.slots.len())
    }

    /// Puts a fingerprint into its slot, and returns whether it was not there. There must be a free
    /// slot.
    #[inline]
    fn put(&mut self, fingerprint: Fingerprint) -> bool {
        let [low, ..] = fingerprint;
        let mut at = self.first_slot(fingerprint);

        loop {
            // The first number of a slot nearly always decides.
            let slot = &mut self.slots[at];
            if slot[0] == low && *slot == fingerprint {
                return false;
            }
            if !is_taken(slot) {
                *slot = fingerprint;
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
        self.most = most_of(slots);
        let former = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        for fingerprint in former.into_iter().filter(is_taken) {
            self.put(fingerprint);
        }
    }
}

/// Returns whether a slot holds a fingerprint.
#[inline]
fn is_taken(slot: &Fingerprint) -> bool {
    slot[0] != FREE[0]
}

/// Returns the fingerprint of an id, given its product.
#[inline]
fn fingerprint(product: u128) -> Fingerprint {
    [
        (product >> 32) as u32 | 1,
        (product >> 64) as u32,
        (product >> 96) as u32,
    ]
}

/// Returns the greatest number of ids for which `slots` slots are enough.
fn most_of(slots: usize) -> usize {
    slots - (slots + 1) / 5
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

    /// Sealing a set, early or late, does not change which ids are new.
    #[test]
    fn a_sealed_set_knows_its_ids_and_takes_further_ones() {
        let mut rng = StdRng::seed_from_u64(3);
        for sealed_at in [[1_000, 100_000], [4_500, 9_000], [40_000, 40_001]] {
            let mut set = IdSet::for_about(1_000);
            let mut known = HashSet::new();
            for number in 0..120_000 {
                if sealed_at.contains(&number) {
                    set.seal();
                    assert_eq!(set.len(), known.len());
                }
                let id = drawn(&mut rng, 30_000);
                assert_eq!(set.insert(id), known.insert(id), "{id} {number}");
            }

            assert_eq!(set.len(), known.len());
            assert!(set.sealed.len() > 4_000, "{}", set.sealed.len());
        }
    }

    /// Ids whose upper or lower bits are the same: of one host and minute, or counted up.
    #[test]
    fn ids_that_differ_in_few_bits_anywhere_are_all_new() {
        let mut set = IdSet::for_about(0);
        let of_host = 0x1d19_dad6_ba7b_11d1_80b4_00c0_4fd4_30c8_u128;
        for shift in [0, 17, 32, 64, 96] {
            for number in 1..=20_000 {
                assert!(
                    set.insert(of_host ^ (number << shift)),
                    "{number} << {shift}"
                );
            }
        }
    }

    #[test]
    fn a_set_of_the_expected_size_does_not_grow_and_takes_17_bytes_an_id() {
        let mut set = IdSet::for_about(100_000);
        let slots = set.slots.len();
        (1..=110_000).for_each(|id| assert!(set.insert(id)));
        assert_eq!(set.slots.len(), slots);
        assert!(slots * size_of::<Fingerprint>() <= 17 * 100_000);
    }

    #[test]
    fn a_set_that_grows_takes_at_most_23_bytes_an_id() {
        let mut set = IdSet::for_about(0);
        for id in 1..=200_000 {
            assert!(set.insert(id));
            assert!(slots_for(set.len()) <= set.slots.len(), "{id}");
            let bytes = set.slots.len() * size_of::<Fingerprint>();
            assert!(bytes <= (23 * set.len()).max(LEAST_SLOTS * 12), "{id}");
        }
    }
}
