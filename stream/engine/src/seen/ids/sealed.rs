//! Fingerprints that are only looked up: those of a pane to which nothing but late events is added.
//!
//! ```text
//! bucket (upper bits of the fingerprint)   0      1         2   …
//! starts                                   0      2         7   …
//! rests (the next 64 bits)                 a b  │ c d e f g │   …
//! ```
//!
//! A bucket has 16 to 32 fingerprints in the mean, in any order, and a search reads all of them.
//! The number of the bucket stands for the upper bits of its fingerprints. Of the others, 64 are
//! kept. A fingerprint takes 8 bytes, and the starts at most a quarter of a byte for each.
//!
//! Two ids have the same bits with a probability of at most 2 · 2⁻⁶⁴ divided by the number of
//! buckets, and there are at most 32 times as many fingerprints as buckets. So a late event is taken
//! for a duplicate by mistake with a probability of at most 2⁻⁵⁸, however many fingerprints there
//! are: with a million late events a second, once in 9,000 years. Only late events are looked up here.
//!
//! Invariant: a fingerprint that was given is found.

use super::Fingerprint;

/// The 64 bits of a fingerprint behind those that the bucket stands for.
type Rest = u64;

/// The least mean number of fingerprints in a bucket.
const OF_A_BUCKET: usize = 16;
/// The least number of buckets: with fewer fingerprints, a set of its own is small enough.
const LEAST_BUCKETS: usize = 256;

/// Fingerprints in little memory.
#[derive(Default)]
pub struct Sealed {
    /// The logarithm of the number of buckets.
    bits: u32,
    /// The place of each bucket's first fingerprint, and their number.
    starts: Box<[u32]>,
    rests: Box<[Rest]>,
}

impl Sealed {
    /// The least number of fingerprints for which the buckets are worth their memory.
    pub const LEAST: usize = OF_A_BUCKET * LEAST_BUCKETS;

    /// Stores `count` fingerprints, all different. There must be at least [`Sealed::LEAST`].
    pub fn of<'a>(
        count: usize,
        fingerprints: impl Iterator<Item = &'a Fingerprint> + Clone,
    ) -> Self {
        let bits = (count / OF_A_BUCKET).max(LEAST_BUCKETS).ilog2();

        // At first `starts` has the end of each bucket, which is then filled towards its start.
        let mut starts = vec![0_u32; (1 << bits) + 1].into_boxed_slice();
        for fingerprint in fingerprints.clone() {
            starts[bucket(fingerprint, bits)] += 1;
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }

        let mut rests = vec![Rest::default(); count].into_boxed_slice();
        for fingerprint in fingerprints {
            let start = &mut starts[bucket(fingerprint, bits)];
            *start -= 1;
            rests[*start as usize] = rest(fingerprint, bits);
        }

        Self {
            bits,
            starts,
            rests,
        }
    }

    /// The number of fingerprints.
    pub fn len(&self) -> usize {
        self.rests.len()
    }

    /// Returns whether the fingerprint is one of these.
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        let at = bucket(fingerprint, self.bits);
        let (Some(start), Some(end)) = (self.starts.get(at), self.starts.get(at + 1)) else {
            return false;
        };
        self.rests[*start as usize..*end as usize].contains(&rest(fingerprint, self.bits))
    }

    /// The bytes that they take.
    #[cfg(test)]
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.rests)
    }
}

fn bucket([_, _, high]: &Fingerprint, bits: u32) -> usize {
    high.unbounded_shr(u32::BITS - bits) as usize
}

fn rest([low, middle, high]: &Fingerprint, bits: u32) -> Rest {
    let upper = (u64::from(*high) << 32) | u64::from(*middle);
    let lower = u64::from(*low) << 32;
    (upper << bits) | lower.unbounded_shr(u64::BITS - bits)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn what_was_given_is_found_and_nothing_that_differs_in_a_kept_bit() {
        let mut rng = StdRng::seed_from_u64(1);
        for count in [Sealed::LEAST, 10_000, 70_000] {
            let all: Vec<Fingerprint> = (0..count).map(|_| rng.random()).collect();
            let sealed = Sealed::of(all.len(), all.iter());
            assert_eq!(sealed.len(), count);

            for (number, fingerprint) in all.iter().enumerate() {
                assert!(sealed.contains(fingerprint));
                // Of the lowest number, only as many bits are kept as the bucket stands for: 8 at least.
                let bits = if number % 3 == 0 { 8 } else { 32 };
                let mut other = *fingerprint;
                other[number % 3] ^= 1 << (31 - number / 3 % bits);
                assert!(!sealed.contains(&other), "{fingerprint:?} {other:?}");
            }
        }
    }

    #[test]
    fn fingerprints_of_one_bucket_are_found_and_an_empty_set_has_none() {
        let all: Vec<Fingerprint> = (0..5_000).map(|number| [0, number, 7]).collect();
        let sealed = Sealed::of(all.len(), all.iter());
        assert!(all.iter().all(|fingerprint| sealed.contains(fingerprint)));
        assert!(!sealed.contains(&[0, 5_000, 7]) && !sealed.contains(&[0, 0, u32::MAX]));

        let none = Sealed::default();
        assert!(!none.contains(&[0, 0, 0]) && !none.contains(&[1, 2, u32::MAX]));
    }

    #[test]
    fn a_fingerprint_takes_less_than_nine_bytes() {
        let mut rng = StdRng::seed_from_u64(2);
        for count in [Sealed::LEAST, 8_191, 50_000, 1 << 20] {
            let all: Vec<Fingerprint> = (0..count).map(|_| rng.random()).collect();
            let sealed = Sealed::of(all.len(), all.iter());
            assert!(sealed.size_bytes() < 9 * count, "{count}");
        }
    }
}
