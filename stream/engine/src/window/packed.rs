//! The entries of a closed pane in little memory. They are read again only for late events.
//!
//! ```text
//! blocks   (first key, place) (first key, place) …      of 32 entries each
//!            │                  │
//! bytes    key aggregate key aggregate … │ key aggregate …     (postcard, as in a part)
//! ```
//!
//! An entry in memory has the size of its key, aggregate and pane, most bytes of which are zeros. Packed,
//! a count of a few orders takes a quarter of it.
//!
//! Invariant: the entries come out as they were put in, in the same order.

use std::marker::PhantomData;

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::encoded::append;

/// The number of entries in a block: a search decodes half of one in the mean.
const BLOCK_ENTRIES: usize = 32;

/// Keys in order, and an aggregate for each.
pub struct Packed<K, A> {
    /// The first key of each block, and the place of the block.
    blocks: Vec<(K, usize)>,
    bytes: Vec<u8>,
    entries: usize,
    aggregates: PhantomData<A>,
}

impl<K: Key, A: Aggregate> Packed<K, A> {
    /// Packs entries whose keys are in order, without duplicates.
    pub fn of<'a>(entries: impl ExactSizeIterator<Item = (&'a K, &'a A)>) -> Self
    where
        K: 'a,
        A: 'a,
    {
        let count = entries.len();
        let mut blocks = Vec::with_capacity(count.div_ceil(BLOCK_ENTRIES));
        let mut bytes = Vec::new();
        for (place, (key, aggregate)) in entries.enumerate() {
            if place % BLOCK_ENTRIES == 0 {
                blocks.push((key.clone(), bytes.len()));
            }
            append(&(key, aggregate), &mut bytes);
        }

        bytes.shrink_to_fit();
        Self {
            blocks,
            bytes,
            entries: count,
            aggregates: PhantomData,
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Returns the aggregate of a key.
    pub fn find(&self, key: &K) -> Option<A> {
        let behind = self.blocks.partition_point(|(first, _)| first <= key);
        let block = behind.checked_sub(1)?;
        let end = self.blocks.get(behind);
        let end = end.map_or(self.bytes.len(), |(_, place)| *place);

        let entries = Entries::<K, A>::new(&self.bytes[self.blocks[block].1..end]);
        entries
            .take_while(|(found, _)| found <= key)
            .find_map(|(found, aggregate)| (found == *key).then_some(aggregate))
    }

    /// Returns all entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, A)> {
        Entries::new(&self.bytes)
    }
}

/// Entries that are unpacked one after the other.
struct Entries<'a, K, A> {
    rest: &'a [u8],
    entries: PhantomData<(K, A)>,
}

impl<'a, K, A> Entries<'a, K, A> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            entries: PhantomData,
        }
    }
}

impl<K: Key, A: Aggregate> Iterator for Entries<'_, K, A> {
    type Item = (K, A);

    fn next(&mut self) -> Option<(K, A)> {
        if self.rest.is_empty() {
            return None;
        }
        let (entry, rest) = postcard::take_from_bytes(self.rest)
            .expect("entries that were encoded here are decoded");
        self.rest = rest;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Count, Sum};

    fn packed(keys: impl ExactSizeIterator<Item = u64>) -> Packed<u64, (Count, Sum)> {
        let entries: Vec<_> = keys.map(|key| (key, of(key))).collect();
        Packed::of(entries.iter().map(|(key, aggregate)| (key, aggregate)))
    }

    fn of(key: u64) -> (Count, Sum) {
        (Count(key % 5 + 1), Sum(key * 1_000_003))
    }

    #[test]
    fn entries_come_out_as_they_were_put_in() {
        for count in [0_u32, 1, 31, 32, 33, 64, 1_000] {
            let packed = packed((0..count).map(|number| u64::from(number) * 7 + 3));
            assert_eq!(packed.len(), count as usize);
            let keys = (0..count).map(|number| u64::from(number) * 7 + 3);
            assert!(packed.iter().eq(keys.map(|key| (key, of(key)))));
        }
    }

    #[test]
    fn a_key_is_found_exactly_if_it_is_there() {
        let packed = packed((0_u32..500).map(|number| u64::from(number) * 3 + 1));
        for key in 0..1_510 {
            let is_there = key % 3 == 1 && key < 1_500;
            assert_eq!(packed.find(&key), is_there.then(|| of(key)), "{key}");
        }
        assert_eq!(packed.find(&u64::MAX), None);
    }

    #[test]
    fn an_entry_with_a_small_number_takes_a_quarter_of_its_size() {
        let entries: Vec<_> = (0..10_000_u64)
            .map(|key| (key, (Count(1), Sum(3_998))))
            .collect();
        let packed = Packed::of(entries.iter().map(|(key, aggregate)| (key, aggregate)));
        let size_bytes = packed.bytes.capacity() + size_of_val(&*packed.blocks);
        assert!(size_bytes < entries.len() * 8, "{size_bytes}");
    }
}
