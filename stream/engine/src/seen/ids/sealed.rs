//! Fingerprints that are only looked up: those of a pane to which nothing but late events is added.
//!
//! ```text
//! bucket (upper bits of the fingerprint)   0      1         2   …
//! starts                                   0      2         7   …
//! rests (the other 88 bits)                a b  │ c d e f g │   …
//! ```
//!
//! A bucket has 16 fingerprints in the mean, in any order, and a search reads all of them. The number
//! of the bucket stands for the upper 8 bits of its fingerprints at least, so these are left out. A
//! fingerprint takes 11 bytes, and the starts a quarter of a byte for each.
//!
//! What always holds: a fingerprint is found exactly if it was given.

use super::Fingerprint;

/// The bits of a fingerprint without the 8 upper ones.
type Rest = [u8; 11];

/// The mean number of fingerprints in a bucket.
const OF_A_BUCKET: usize = 16;
/// The least number of buckets: they must stand for 8 bits.
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

    /// Stores these fingerprints, all different, of which there are at least [`Sealed::LEAST`].
    pub fn of<'a>(fingerprints: impl Iterator<Item = &'a Fingerprint> + Clone) -> Self {
        let count = fingerprints.clone().count();
        let bits = (count / OF_A_BUCKET).max(LEAST_BUCKETS).ilog2();

        // First the end of each bucket, from which it is then filled towards its start.
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
            rests[*start as usize] = rest(fingerprint);
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
        self.rests[*start as usize..*end as usize].contains(&rest(fingerprint))
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

fn rest([low, middle, high]: &Fingerprint) -> Rest {
    let [l0, l1, l2, l3] = low.to_le_bytes();
    let [m0, m1, m2, m3] = middle.to_le_bytes();
    let [h0, h1, h2, _] = high.to_le_bytes();
    [l0, l1, l2, l3, m0, m1, m2, m3, h0, h1, h2]
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn what_was_given_is_found_and_nothing_that_differs_in_a_bit() {
        let mut rng = StdRng::seed_from_u64(1);
        for count in [Sealed::LEAST, 10_000, 70_000] {
            let all: Vec<Fingerprint> = (0..count).map(|_| rng.random()).collect();
            let sealed = Sealed::of(all.iter());
            assert_eq!(sealed.len(), count);

            for (number, fingerprint) in all.iter().enumerate() {
                assert!(sealed.contains(fingerprint));
                let mut other = *fingerprint;
                other[number % 3] ^= 1 << (number / 3 % 32);
                assert!(!sealed.contains(&other), "{fingerprint:?} {other:?}");
            }
        }
    }

    #[test]
    fn fingerprints_of_one_bucket_are_found_and_an_empty_set_has_none() {
        let all: Vec<Fingerprint> = (0..5_000).map(|number| [number, 0, 7]).collect();
        let sealed = Sealed::of(all.iter());
        assert!(all.iter().all(|fingerprint| sealed.contains(fingerprint)));
        assert!(!sealed.contains(&[5_000, 0, 7]) && !sealed.contains(&[0, 0, u32::MAX]));

        let none = Sealed::default();
        assert!(!none.contains(&[0, 0, 0]) && !none.contains(&[1, 2, u32::MAX]));
    }

    #[test]
    fn a_fingerprint_takes_less_than_twelve_bytes() {
        let mut rng = StdRng::seed_from_u64(2);
        for count in [Sealed::LEAST, 8_191, 50_000, 1 << 20] {
            let all: Vec<Fingerprint> = (0..count).map(|_| rng.random()).collect();
            let sealed = Sealed::of(all.iter());
            assert!(sealed.size_bytes() < 12 * count, "{count}");
        }
    }
}
