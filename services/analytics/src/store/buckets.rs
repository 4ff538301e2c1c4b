//! Buckets of users. Pure.
//!
//! A user's hash begins with the number of the user's bucket, so the buckets of each level split those
//! of the level before into four. A chunk is in one bucket of one level, and the level follows from the
//! number of counts that are written at once: enough buckets that few counts of others are read with a
//! user's, and few enough that a write is worth its unit. So a shop of any size has chunks of 12 to 48
//! counts, and no partition takes a noticeable part of the writes. Readers look at all levels.
//!
//! A past hour is merged (`hours`) into finer buckets, with a chunk an hour. Counts that arrive after that
//! are on a shelf of their own, so that a history need not read the minutes of a merged hour.

use events::{Timestamp, WindowCount};

/// The number of levels. The level `l` has `4^l` buckets; the last has 4,096.
pub(super) const LEVELS: u8 = 7;
/// The fewest counts of a chunk, on average, for which a level is chosen.
const FEWEST: usize = 12;
/// The fewest counts of a merged hour in a bucket, on average, for which a level is chosen: 48 to 192 are one or two write
/// units.
const FEWEST_OF_AN_HOUR: usize = 48;
/// The finest level of merged hours.
const MOST_LEVEL: u8 = 12;
pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The three kinds of chunks. Each has buckets of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Shelf {
    /// Counts that were written before their hour was closed.
    Timely,
    /// Counts that were written after that.
    Late,
    /// The timely counts of merged hours once more.
    Hours,
}

/// A bucket of users.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Bucket {
    pub(super) shelf: Shelf,
    pub(super) level: u8,
    number: u64,
}

/// Returns the level for so many counts that are written at once.
pub(super) fn level_for(counts: usize) -> u8 {
    let fits = |level: &u8| counts / FEWEST >= 1 << (2 * level);
    (0..LEVELS).rev().find(fits).unwrap_or(0)
}

/// Returns the level for so many counts of a merged hour, at least `coarsest`.
pub(super) fn level_for_hour(counts: usize, coarsest: u8) -> u8 {
    let fits = |level: &u8| counts / FEWEST_OF_AN_HOUR >= 1 << (2 * level);
    let level = (0..=MOST_LEVEL).rev().find(fits).unwrap_or(0);
    level.max(coarsest)
}

/// Returns the hash of a user: all its bits depend on all bits of the id (the finalizer of
/// `SplitMix64`; Steele, Lea and Flood, 2014).
pub(super) fn hash(user_id: u64) -> u64 {
    let mut bits = user_id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the minute in which a window starts.
pub(super) fn minute_ms(start: Timestamp) -> u64 {
    start.as_ms() / MINUTE_MS * MINUTE_MS
}

/// Returns the hour in which a window starts.
pub(super) fn hour_ms(start: Timestamp) -> u64 {
    start.as_ms() / HOUR_MS * HOUR_MS
}

/// Returns the order of counts in lists: newest window first, then by the user's hash.
pub(super) fn order(count: &WindowCount) -> (std::cmp::Reverse<Timestamp>, u64, u64) {
    let newest_first = std::cmp::Reverse(count.window_start);
    (newest_first, hash(count.user_id), count.user_id)
}

impl Bucket {
    /// Returns the bucket of a level that has the users with this hash.
    pub(super) fn of(shelf: Shelf, level: u8, hash: u64) -> Self {
        let bits = u32::from(level) * 2;
        Self {
            shelf,
            level,
            number: hash.checked_shr(u64::BITS - bits).unwrap_or(0),
        }
    }

    /// Returns the length of the time that the bucket's chunks are labelled by. Few counts are written to
    /// level 0, so it has chunks by hour; otherwise a user's history would be an item a minute.
    pub(super) fn span_ms(self) -> u64 {
        if self.level == 0 || self.shelf == Shelf::Hours {
            HOUR_MS
        } else {
            MINUTE_MS
        }
    }

    /// Returns the label of the chunks that have the counts of windows that start then.
    pub(super) fn label_ms(self, start: Timestamp) -> u64 {
        start.as_ms() / self.span_ms() * self.span_ms()
    }

    /// Returns the first hash of the bucket.
    fn first(self) -> u64 {
        let bits = u32::from(self.level) * 2;
        self.number.checked_shl(u64::BITS - bits).unwrap_or(0)
    }

    /// Returns the last hash of the bucket.
    pub(super) fn last(self) -> u64 {
        self.first() | u64::MAX.checked_shr(u32::from(self.level) * 2).unwrap_or(0)
    }

    /// Returns the bucket so many places further in its level, or the last.
    pub(super) fn further(self, places: u64) -> Self {
        let last = (1 << (2 * self.level)) - 1;
        Self {
            number: (self.number + places).min(last),
            ..self
        }
    }

    /// Returns the buckets of a level with hashes from `first` to `last`.
    pub(super) fn between(
        shelf: Shelf,
        level: u8,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = Self> {
        let last = Self::of(shelf, level, last).number;
        let numbers = Self::of(shelf, level, first).number..=last;
        numbers.map(move |number| Self {
            shelf,
            level,
            number,
        })
    }

    /// Returns the four buckets of the next level with the same users.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        Self::between(self.shelf, self.level + 1, self.first(), self.last())
    }

    /// Returns whether the users with this hash are in the bucket.
    pub(super) fn has(self, hash: u64) -> bool {
        (self.first()..=self.last()).contains(&hash)
    }

    /// Returns the partition key: the number of buckets of the level, the number of this one, and the shelf.
    pub(super) fn key(self) -> String {
        let shelf = match self.shelf {
            Shelf::Timely => "",
            Shelf::Late => "#late",
            Shelf::Hours => "#hours",
        };
        format!("{}#{}{shelf}", 1_u64 << (2 * self.level), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_grows_with_what_is_written_at_once() {
        let levels = [0, 1, 47, 48, 191, 192, 3_072, 100_000, usize::MAX].map(level_for);
        assert_eq!(levels, [0, 0, 0, 1, 1, 2, 4, 6, 6]);
    }

    #[test]
    fn the_level_of_a_merged_hour_grows_with_its_counts_and_is_as_fine_as_its_minutes() {
        let levels = [0, 191, 192, 6_000_000, usize::MAX].map(|counts| level_for_hour(counts, 0));
        assert_eq!(levels, [0, 0, 1, 8, 12]);
        assert_eq!(level_for_hour(192, 3), 3);
    }

    #[test]
    fn a_bucket_is_split_into_the_four_with_its_users() {
        let bucket = Bucket::of(Shelf::Hours, 3, hash(42));
        let parts: Vec<_> = bucket.split().collect();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[0].first(), bucket.first());
        assert_eq!(parts[3].last(), bucket.last());
        assert_eq!(parts.iter().filter(|part| part.has(hash(42))).count(), 1);
    }

    #[test]
    fn each_user_is_in_one_bucket_of_each_level_and_they_are_alike() {
        for level in 0..LEVELS {
            let buckets: Vec<_> = Bucket::between(Shelf::Timely, level, 0, u64::MAX).collect();
            assert_eq!(buckets.len(), 1 << (2 * level));
            assert_eq!(buckets[0].first(), 0);
            assert_eq!(buckets[buckets.len() - 1].last(), u64::MAX);
            for pair in buckets.windows(2) {
                assert_eq!(pair[0].last() + 1, pair[1].first());
                assert_eq!(pair[0].further(1), pair[1]);
            }

            let mut users = vec![0_u32; buckets.len()];
            for user in 1..=40_960 {
                let bucket = Bucket::of(Shelf::Timely, level, hash(user));
                assert!(bucket.has(hash(user)));
                users[usize::try_from(bucket.number).unwrap()] += 1;
            }
            let mean = 40_960 / (1_u32 << (2 * level));
            assert!(users.iter().all(|number| *number < 4 * mean), "{level}");
        }
    }

    /// Chunks that were stored must be found by each later version.
    #[test]
    fn keys_and_labels_stay() {
        let hash = hash(42);
        let keys: Vec<_> = (0..LEVELS)
            .map(|level| Bucket::of(Shelf::Timely, level, hash).key())
            .collect();
        assert_eq!(keys[0], "1#0");
        assert_eq!(keys[6], format!("4096#{}", hash >> 52));

        assert_eq!(Bucket::of(Shelf::Late, 0, hash).key(), "1#0#late");
        assert_eq!(Bucket::of(Shelf::Hours, 0, hash).key(), "1#0#hours");

        let start = Timestamp::from_ms(1_795_345_199_999).unwrap();
        let label_ms = |shelf, level| Bucket::of(shelf, level, hash).label_ms(start);
        for shelf in [Shelf::Timely, Shelf::Late] {
            assert_eq!(label_ms(shelf, 0), 1_795_341_600_000);
            assert_eq!(label_ms(shelf, 1), 1_795_345_140_000);
        }
        assert_eq!(label_ms(Shelf::Hours, 1), 1_795_341_600_000);
    }
}
