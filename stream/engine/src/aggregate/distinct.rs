//! The number of distinct values: exact for small sets, approximate in bounded space for sets of
//! any size.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Key, Value, name_of};

/// The approximate number of distinct values, in at most 4 KiB.
///
/// Up to [`Distinct::EXACT`] values are distinguished by their hashes and counted exactly. Beyond
/// that, it is a HyperLogLog of precision 12 (Flajolet et al., "HyperLogLog", AofA 2007) with a
/// standard error of 1.6 %. Its estimator is that of Ertl, "New cardinality estimation algorithms
/// for HyperLogLog sketches", 2017, which needs no correction tables.
///
/// The sketch is a function of the set of hashes alone: the same set gives the same sketch, bit by
/// bit, in any order and grouping of the values. (No crate was found that guarantees this.
/// If the representation depends on an instance's history, sketches cannot be compared, nor
/// checkpointed reproducibly.)
///
/// ```
/// use stream::{Aggregate, Distinct};
///
/// let mut visitors = Distinct::of(&7_u64);
/// visitors.merge(&Distinct::of(&8_u64));
/// visitors.merge(&Distinct::of(&7_u64));
/// assert_eq!(visitors.estimate(), 2);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Distinct(Sketch);

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Sketch {
    /// The hashes themselves, in order; at most [`Distinct::EXACT`].
    Hashes(Vec<u64>),
    /// For each prefix of [`PRECISION`] bits, the greatest rank among the hashes that begin with
    /// it.
    Registers(Vec<u8>),
}

/// The number of a hash's bits that select its register.
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// The greatest rank: that of a hash whose other bits are all zero.
const GREATEST_RANK: u8 = 64 - 12 + 1;

impl Distinct {
    /// The number of values that are counted exactly.
    pub const EXACT: usize = 256;

    /// Creates the set of a single value.
    pub fn of<V: Key>(value: &V) -> Self {
        Self(Sketch::Hashes(vec![value.stable_hash()]))
    }

    /// Returns the number of distinct values, estimated beyond [`Distinct::EXACT`].
    pub fn estimate(&self) -> u64 {
        match &self.0 {
            Sketch::Hashes(hashes) => hashes.len() as u64,
            Sketch::Registers(registers) => estimate(registers),
        }
    }
}

impl Aggregate for Distinct {
    fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Sketch::Hashes(own), Sketch::Hashes(others)) => {
                for hash in others {
                    if let Err(place) = own.binary_search(hash) {
                        own.insert(place, *hash);
                    }
                }
                if own.len() > Self::EXACT {
                    self.0 = Sketch::Registers(registers_of(own));
                }
            }
            (Sketch::Registers(own), Sketch::Hashes(hashes)) => {
                hashes.iter().for_each(|hash| enter(own, *hash));
            }
            (Sketch::Registers(own), Sketch::Registers(others)) => raise(own, others),
            (Sketch::Hashes(hashes), Sketch::Registers(others)) => {
                let mut registers = registers_of(hashes);
                raise(&mut registers, others);
                self.0 = Sketch::Registers(registers);
            }
        }
    }

    fn signature() -> String {
        "distinct".to_owned()
    }
}

fn registers_of(hashes: &[u64]) -> Vec<u8> {
    let mut registers = vec![0; REGISTERS];
    hashes.iter().for_each(|hash| enter(&mut registers, *hash));
    registers
}

fn enter(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> (64 - PRECISION)) as usize];
    let rank = (hash << PRECISION).leading_zeros().min(64 - PRECISION) + 1;
    *register = (*register).max(u8::try_from(rank).expect("a rank is at most 53"));
}

fn raise(registers: &mut [u8], others: &[u8]) {
    registers
        .iter_mut()
        .zip(others)
        .for_each(|(own, other)| *own = (*own).max(*other));
}

/// Estimates the number of distinct values by Ertl's algorithm 6.
fn estimate(registers: &[u8]) -> u64 {
    let size = REGISTERS as f64;
    let mut with_rank = [0_u32; GREATEST_RANK as usize + 1];
    registers
        .iter()
        .for_each(|rank| with_rank[usize::from((*rank).min(GREATEST_RANK))] += 1);

    let [none, ranks @ .., greatest] = &with_rank;
    let mut sum = size * tau(1.0 - f64::from(*greatest) / size);
    for count in ranks.iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += size * sigma(f64::from(*none) / size);

    (size * size / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
}

/// The contribution of the registers that no hash selected.
fn sigma(mut share: f64) -> f64 {
    let mut power = 1.0;
    let mut sum = share;
    loop {
        share *= share;
        let before = sum;
        sum += share * power;
        power += power;

        if sum == before || !sum.is_finite() {
            return sum;
        }
    }
}

/// The contribution of the registers that have the greatest rank.
fn tau(mut share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }

    let mut power = 1.0;
    let mut sum = 1.0 - share;
    loop {
        share = share.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - share).powi(2) * power;

        if sum == before {
            return sum / 3.0;
        }
    }
}

/// The distinct values themselves: exact, with memory for each value. Meant for sets that are known
/// to be small.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(bound = "V: Value")]
pub struct DistinctExact<V>(pub BTreeSet<V>);

impl<V: Value> DistinctExact<V> {
    /// Creates the set of a single value.
    pub fn of(value: V) -> Self {
        Self(BTreeSet::from([value]))
    }
}

impl<V: Value> Aggregate for DistinctExact<V> {
    fn merge(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    fn signature() -> String {
        format!("distinct {}", name_of::<V>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Distinct {
        let mut sketches = values.into_iter().map(|value| Distinct::of(&value));
        let mut all = sketches.next().unwrap();
        sketches.for_each(|sketch| all.merge(&sketch));
        all
    }

    #[test]
    fn few_values_are_counted_exactly() {
        assert_eq!(of((0..256).chain(0..256)).estimate(), 256);
        assert!(matches!(of(0..256).0, Sketch::Hashes(_)));
        assert!(matches!(of(0..257).0, Sketch::Registers(_)));
    }

    #[test]
    fn the_standard_error_is_the_stated_one_at_every_size() {
        for size in [257, 1_000, 5_000, 20_000, 200_000_u64] {
            let trials = if size > 10_000 { 4 } else { 40 };
            let squares: f64 = (0..trials)
                .map(|trial| {
                    let estimate = of((0..size).map(|value| value + trial * 1_000_003)).estimate();
                    (estimate as f64 / size as f64 - 1.0).powi(2)
                })
                .sum();
            let error = (squares / trials as f64).sqrt();

            assert!(
                error < 2.0 * 0.0163,
                "{size} values: a standard error of {error}"
            );
        }
    }

    #[test]
    fn no_registers_and_full_ones_have_estimates_too() {
        assert_eq!(estimate(&vec![0; REGISTERS]), 0);
        assert!(estimate(&vec![GREATEST_RANK; REGISTERS]) > 1 << 60);
    }
}
