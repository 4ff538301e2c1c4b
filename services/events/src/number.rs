//! The number of an order or a user: the id in SQL, in events, in paths and in mails.
//!
//! ```text
//! bit 52 ······························· 12   11 ······ 0
//!     milliseconds since 2020-01-01T00:00Z    random
//! ```
//!
//! A customer sees the numbers of their own orders, and their own as a user. If the database counted them, two numbers would
//! reveal how many orders or users the shop gained in between, and the numbers of others could be listed. This number
//! contains only the time of the order or of the sign-up, which the customer has anyway, and twelve random bits. Numbers
//! ascend with time, so that new rows lie together in SQL and a list of the newest needs no other index. A number is
//! exact in a browser, whose integers have 53 bits.
//!
//! A number need not be hard to guess, because a request for another user's data is refused. Orders and users of earlier
//! versions keep the numbers that their customers and the events have.

use crate::Timestamp;

/// Milliseconds from 1970 to 2020.
const BEGINNING_MS: u64 = 1_577_836_800_000;
/// Number of random bits, which distinguish the numbers of one millisecond.
const CHANCE_BITS: u32 = 12;
/// Number of bits of the time; they suffice until 2089.
const TIME_BITS: u32 = 41;

/// Returns the numbers that an order or a user of this moment may have, in the sequence in which to try them. The last
/// bits of `chance`, which must be random, select the first; the other numbers of the same millisecond follow.
pub fn numbers_of(moment: Timestamp, chance: u64) -> impl Iterator<Item = i64> {
    let of_a_millisecond = 1_u64 << CHANCE_BITS;
    let ms = moment.as_ms().saturating_sub(BEGINNING_MS) & ((1 << TIME_BITS) - 1);

    (0..of_a_millisecond).map(move |step| {
        let chance = chance.wrapping_add(step) % of_a_millisecond;
        i64::try_from(ms << CHANCE_BITS | chance).expect("53 bits fit")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{BEGINNING_MS, numbers_of};
    use crate::Timestamp;

    const EXACT_IN_A_BROWSER: i64 = (1 << 53) - 1;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_beginning_is_the_one_that_is_written() {
        assert_eq!(at("2020-01-01T00:00:00.000Z").as_ms(), BEGINNING_MS);
    }

    #[test]
    fn a_later_moment_has_a_greater_number_that_a_browser_can_hold() {
        let moments = [
            "2026-11-30T13:00:00.000Z",
            "2026-11-30T13:00:00.001Z",
            "2089-01-01T00:00:00.000Z",
        ];
        let mut before = 0;
        for moment in moments {
            let of_moment: Vec<i64> = numbers_of(at(moment), 0x9e37_79b9_7f4a_7c15).collect();
            assert!(of_moment.iter().all(|number| *number > before), "{moment}");
            before = *of_moment.iter().max().unwrap();
        }
        assert!(before <= EXACT_IN_A_BROWSER);
    }

    #[test]
    fn a_millisecond_has_4096_numbers_and_chance_selects_the_first() {
        let moment = at("2026-11-30T13:00:00.000Z");
        let numbers: HashSet<i64> = numbers_of(moment, 4095).collect();
        assert_eq!(numbers.len(), 4096);

        let first = |chance| numbers_of(moment, chance).next().unwrap();
        let firsts: HashSet<i64> = (0..4096).map(first).collect();
        assert_eq!(firsts, numbers);
    }

    #[test]
    fn a_clock_before_the_beginning_still_gives_numbers() {
        let numbers = numbers_of(at("2019-01-01T00:00:00.000Z"), 7);
        assert_eq!(numbers.take(2).collect::<Vec<_>>(), [7, 8]);
    }
}
