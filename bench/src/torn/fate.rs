//! The fate of a request on its way through the proxy. The seed of a schedule, the kind of the request and its number
//! among those of its kind determine it, so a schedule meets the same faults again.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::frame::{ADD_PARTITIONS, END_TXN, INIT_PRODUCER_ID, PRODUCE};

/// The longest delay of a request or an answer that still arrives in time.
const LONGEST_DELAY_MS: u64 = 120;
/// The longest time after which a request of a closed connection arrives.
const LATEST_MS: u64 = 400;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    Passes,
    /// It arrives later, and what follows on its connection too.
    Delayed(Duration),
    /// Its answer arrives later.
    AnsweredLate(Duration),
    /// The connection ends before it.
    Lost,
    /// It arrives, and its answer does not.
    Unanswered(Notice),
    /// It arrives some time after its connection has ended for the client.
    Late(Duration, Notice),
    /// An end of a transaction: it arrives after the first Produce of the next one.
    Held(Notice),
}

/// The way in which a client notices that an answer does not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Its connection is closed.
    Closed,
    /// By its own time limit.
    Silence,
}

impl Fate {
    /// Draws the fate of the request with this number among those of its kind.
    pub fn draw(seed: u64, key: i16, number: u64) -> Self {
        let of_key = u64::from(key.unsigned_abs()) << 32;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of_key ^ number.rotate_left(48),
        );

        let one_in = match key {
            END_TXN => 2,
            PRODUCE | ADD_PARTITIONS => 4,
            INIT_PRODUCER_ID => 6,
            _ => 30,
        };
        if random.random_range(0..one_in) > 0 {
            return Self::Passes;
        }

        let delay = Duration::from_millis(random.random_range(1..LONGEST_DELAY_MS));
        let later = Duration::from_millis(random.random_range(1..LATEST_MS));
        // Silence costs the time limit of a request.
        let notice = match random.random_range(0..6) {
            0 => Notice::Silence,
            _ => Notice::Closed,
        };

        if key == END_TXN && random.random_bool(0.5) {
            return Self::Held(notice);
        }

        match (key, random.random_range(0..8)) {
            (_, 0) => Self::Delayed(delay),
            (_, 1) => Self::AnsweredLate(delay),
            (END_TXN | PRODUCE | ADD_PARTITIONS | INIT_PRODUCER_ID, 2) => Self::Lost,
            (END_TXN | PRODUCE | ADD_PARTITIONS | INIT_PRODUCER_ID, 3..6) => {
                Self::Unanswered(notice)
            }
            // A late InitProducerId would fence the publisher that holds the id by then, as it should.
            (END_TXN | PRODUCE | ADD_PARTITIONS, _) => Self::Late(later, notice),
            _ => Self::Delayed(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn drawn(key: i16) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for seed in 0..2_000 {
            let name = match Fate::draw(seed, key, 1) {
                Fate::Passes => "passes",
                Fate::Delayed(_) => "delayed",
                Fate::AnsweredLate(_) => "answered late",
                Fate::Lost => "lost",
                Fate::Unanswered(_) => "unanswered",
                Fate::Late(..) => "late",
                Fate::Held(_) => "held",
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    #[test]
    fn half_of_the_faults_of_an_end_hold_it_back_and_no_other_request_is_held() {
        let ends = drawn(END_TXN);
        let faults = 2_000 - ends["passes"];
        assert!(
            faults > 900 && ends["held"].abs_diff(faults / 2) < 100,
            "{ends:?}"
        );

        for key in [PRODUCE, ADD_PARTITIONS] {
            let met = drawn(key);
            assert!(!met.contains_key("held"), "{met:?}");
            for fault in ["lost", "unanswered", "late", "delayed", "answered late"] {
                assert!(met[fault] > 20, "{fault} in {met:?}");
            }
        }
    }

    #[test]
    fn requests_that_may_fence_or_only_read_are_never_late() {
        let opening = drawn(INIT_PRODUCER_ID);
        assert!(
            !opening.contains_key("late") && opening["unanswered"] > 20,
            "{opening:?}"
        );
        let other = drawn(3);
        assert!(
            other
                .keys()
                .all(|fate| ["passes", "delayed", "answered late"].contains(fate)),
            "{other:?}"
        );
    }

    #[test]
    fn a_schedule_meets_the_same_faults_again() {
        let all = |seed| {
            (0..50)
                .map(|number| Fate::draw(seed, END_TXN, number))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }
}
