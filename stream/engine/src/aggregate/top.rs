//! The greatest values, and the most frequent ones.
//!
//! Sketches that find frequent values in bounded space (Misra-Gries, space-saving) merge to results
//! that depend on the order of merging: another number of workers, or a restart, would change
//! results. So this module does not contain them. [`Top`] is bounded and exact because the rank of
//! a value never changes. [`Tally`] is exact because it keeps every distinct value.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Value, name_of};

/// The exact `N` greatest distinct values. To rank values by a number, begin them with it: the
/// largest orders are `Top<(u64, u64), 3>` of totals and order ids.
///
/// ```
/// use stream::{Aggregate, Top};
///
/// let mut largest: Top<u64, 2> = Top::of(5);
/// largest.merge(&Top::of(9));
/// largest.merge(&Top::of(7));
/// assert_eq!(largest.values(), [9, 7]);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(bound = "V: Value")]
pub struct Top<V, const N: usize>(Vec<V>);

impl<V: Value, const N: usize> Top<V, N> {
    /// Creates the aggregate of a single value.
    pub fn of(value: V) -> Self {
        const { assert!(N > 0, "a top keeps at least one value") };
        Self(vec![value])
    }

    /// Returns the values, the greatest first.
    pub fn values(&self) -> &[V] {
        &self.0
    }
}

impl<V: Value, const N: usize> Aggregate for Top<V, N> {
    fn merge(&mut self, other: &Self) {
        for value in &other.0 {
            let place = self.0.partition_point(|own| own > value);
            if place < N && self.0.get(place) != Some(value) {
                self.0.insert(place, value.clone());
                self.0.truncate(N);
            }
        }
    }

    fn signature() -> String {
        format!("top {N} {}", name_of::<V>())
    }
}

/// The exact number of occurrences of each value, with memory for each distinct value. Meant for
/// the most frequent values of a set that is known to be small. For the most frequent *keys* of a
/// job, use [`summarize`](crate::Pipeline::summarize).
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(bound = "V: Value")]
pub struct Tally<V>(pub BTreeMap<V, u64>);

impl<V: Value> Tally<V> {
    /// Creates the tally of a value that occurred `times` times.
    pub fn of(value: V, times: u64) -> Self {
        Self(BTreeMap::from([(value, times)]))
    }

    /// Returns the `count` values that occurred most often, the most frequent first. Of equally
    /// frequent values, the lesser comes first.
    pub fn most_frequent(&self, count: usize) -> Vec<(&V, u64)> {
        let mut all: Vec<(&V, u64)> = self
            .0
            .iter()
            .map(|(value, times)| (value, *times))
            .collect();
        all.sort_by_key(|(_, times)| Reverse(*times));
        all.truncate(count);

        all
    }
}

impl<V: Value> Aggregate for Tally<V> {
    fn merge(&mut self, other: &Self) {
        for (value, times) in &other.0 {
            let own = self.0.entry(value.clone()).or_default();
            *own = own.saturating_add(*times);
        }
    }

    fn signature() -> String {
        format!("tally of {}", name_of::<V>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_came_twice_is_among_the_greatest_once() {
        let mut top: Top<u64, 3> = Top::of(4);
        for value in [4, 1, 9, 9, 2] {
            top.merge(&Top::of(value));
        }
        assert_eq!(top.values(), [9, 4, 2]);
    }

    #[test]
    fn values_rank_by_how_often_they_came_and_then_by_themselves() {
        let mut tally = Tally::of('b', 2);
        for (letter, times) in [('a', 2), ('c', 1), ('d', 1), ('d', 4)] {
            tally.merge(&Tally::of(letter, times));
        }
        assert_eq!(tally.most_frequent(3), [(&'d', 5), (&'a', 2), (&'b', 2)]);
    }
}
