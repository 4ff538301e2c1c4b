//! Reading a partition from a follower in the client's rack ([KIP-392]), so that its bytes do not cross racks.
//!
//! ```text
//!            the leader names a follower
//!   leader ─────────────────────────────▶ follower
//!      ▲                                     │
//!      └─ it fails or lags, or time is over ─┘
//! ```
//!
//! - A follower's end may lag, so it is never an end of the partition. Only the leader dates ends, by a request
//!   whenever the follower has no further record ([`Replica::wants_end`]).
//! - After a failure of the follower, requests to the leader leave out the client's rack for a while. Otherwise the
//!   leader would name the same follower again and send no records.
//!
//! [KIP-392]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-392

use std::time::{Duration, Instant};

/// The time after which the leader chooses again, as in the Java client (`metadata.max.age.ms`).
const TERM: Duration = Duration::from_secs(300);
/// The time for which a follower that failed is not read from.
const AVOIDED: Duration = Duration::from_secs(30);
/// The longest time for which a follower may have no records while the leader has some. After it the follower counts as
/// failed.
const LONGEST_LAG: Duration = Duration::from_secs(3);

/// The replica that a partition is read from.
#[derive(Debug, Default)]
pub(super) struct Replica {
    follower: Option<Follower>,
    avoided_until: Option<Instant>,
}

#[derive(Debug)]
struct Follower {
    node: i32,
    until: Instant,
    /// `true` if the follower has no further record, and the leader has not stated its end since.
    wants_end: bool,
    /// The time since which the follower has had no records although the leader has some.
    lags_since: Option<Instant>,
}

impl Replica {
    /// Returns the broker that is read from; none if it is the leader.
    pub fn follower(&self) -> Option<i32> {
        self.follower.as_ref().map(|follower| follower.node)
    }

    /// Notes that the leader has named a follower in the client's rack.
    pub fn follow(&mut self, node: i32, now: Instant) {
        self.follower = Some(Follower {
            node,
            until: now + TERM,
            wants_end: true,
            lags_since: None,
        });
    }

    /// Returns to the leader, which may name a follower at once.
    pub fn leave(&mut self) {
        self.follower = None;
    }

    /// Returns to the leader, and stays there for a while.
    pub fn avoid(&mut self, now: Instant) {
        self.follower = None;
        self.avoided_until = Some(now + AVOIDED);
    }

    /// Returns `true` if a follower may be named.
    pub fn may_follow(&self, now: Instant) -> bool {
        self.avoided_until.is_none_or(|until| until <= now)
    }

    /// Returns `true` if the leader must state its end.
    pub fn wants_end(&self) -> bool {
        self.follower
            .as_ref()
            .is_some_and(|follower| follower.wants_end)
    }

    /// Notes an answer of the follower.
    pub fn note_answer(&mut self, has_records: bool, now: Instant) {
        let Some(follower) = &mut self.follower else {
            return;
        };

        if now >= follower.until {
            self.leave();
        } else if has_records {
            follower.lags_since = None;
            follower.wants_end = false;
        } else {
            follower.wants_end = true;
        }
    }

    /// Notes that the leader has stated its end, which is ahead of the position if `is_ahead`.
    pub fn note_end(&mut self, is_ahead: bool, now: Instant) {
        let Some(follower) = &mut self.follower else {
            return;
        };

        follower.wants_end = false;
        if !is_ahead {
            follower.lags_since = None;
            return;
        }

        let since = *follower.lags_since.get_or_insert(now);
        if now.duration_since(since) >= LONGEST_LAG {
            tracing::warn!(
                broker = follower.node,
                "a follower lags behind its leader; the leader is read instead for a while"
            );
            self.avoid(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{AVOIDED, LONGEST_LAG, Replica, TERM};

    #[test]
    fn a_follower_that_failed_is_avoided_for_a_while() {
        let now = Instant::now();
        let mut replica = Replica::default();
        assert!(replica.may_follow(now));
        replica.follow(2, now);
        assert_eq!(replica.follower(), Some(2));

        replica.avoid(now);
        assert_eq!(replica.follower(), None);
        assert!(!replica.may_follow(now + AVOIDED - Duration::from_millis(1)));
        assert!(replica.may_follow(now + AVOIDED));
    }

    #[test]
    fn the_leader_chooses_again_after_a_term() {
        let now = Instant::now();
        let mut replica = Replica::default();
        replica.follow(2, now);
        replica.note_answer(true, now + TERM - Duration::from_millis(1));
        assert_eq!(replica.follower(), Some(2));

        replica.note_answer(true, now + TERM);
        assert_eq!(replica.follower(), None);
        assert!(replica.may_follow(now + TERM));
    }

    #[test]
    fn a_follower_with_nothing_while_the_leader_has_records_is_left() {
        let now = Instant::now();
        let mut replica = Replica::default();
        replica.follow(2, now);
        replica.note_end(true, now);

        // The follower catches up in between, and lags again.
        replica.note_answer(true, now + LONGEST_LAG / 2);
        replica.note_end(true, now + LONGEST_LAG / 2);
        replica.note_end(true, now + LONGEST_LAG);
        assert_eq!(replica.follower(), Some(2));

        replica.note_end(true, now + LONGEST_LAG * 3 / 2);
        assert_eq!(replica.follower(), None);
        assert!(!replica.may_follow(now + LONGEST_LAG * 3 / 2));
    }

    #[test]
    fn the_leader_gets_one_request_for_each_empty_answer() {
        let now = Instant::now();
        let mut replica = Replica::default();
        assert!(!replica.wants_end());
        replica.follow(2, now);
        assert!(replica.wants_end());

        replica.note_end(false, now);
        assert!(!replica.wants_end());
        replica.note_answer(false, now);
        assert!(replica.wants_end());
        replica.note_answer(true, now);
        assert!(!replica.wants_end());
    }
}
