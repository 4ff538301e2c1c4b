//! Reading a partition from a follower in the client's rack ([KIP-392]), so that its bytes do not cross racks.
//!
//! ```text
//!            the leader names a follower
//!   leader ─────────────────────────────▶ follower
//!      ▲                                     │
//!      └──── it fails, or lags, or is old ───┘
//! ```
//!
//! - A follower's end may lag, so it is never an end of the partition. Only the leader dates ends, by a request whenever the
//!   follower has nothing more ([`Replica::wants_end`]).
//! - After a failure of the follower, the leader is read for a while without the client's rack, or it would name the same
//!   follower again and send no records.
//!
//! [KIP-392]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-392

use std::time::{Duration, Instant};

/// After this time the leader chooses again, as the Java client has it (`metadata.max.age.ms`).
const TERM: Duration = Duration::from_secs(300);
/// A follower that failed is not read from for so long.
const AVOIDED: Duration = Duration::from_secs(30);
/// A follower that has nothing for so long, while the leader has records, is taken for stuck.
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
    /// It answered that it has no more, and the leader has not stated its end since.
    wants_end: bool,
    /// Since this time it has had nothing although the leader has records.
    lags_since: Option<Instant>,
}

impl Replica {
    /// The broker that is read from; none if it is the leader.
    pub fn follower(&self) -> Option<i32> {
        self.follower.as_ref().map(|follower| follower.node)
    }

    /// The leader has named a follower in the client's rack.
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

    /// Returns whether a follower may be named.
    pub fn may_follow(&self, now: Instant) -> bool {
        self.avoided_until.is_none_or(|until| until <= now)
    }

    /// Returns whether the leader is to state its end.
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

    /// Notes the leader's end, which is `is_ahead` of the position or not.
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

        // It catches up in between, and lags anew.
        replica.note_answer(true, now + LONGEST_LAG / 2);
        replica.note_end(true, now + LONGEST_LAG / 2);
        replica.note_end(true, now + LONGEST_LAG);
        assert_eq!(replica.follower(), Some(2));

        replica.note_end(true, now + LONGEST_LAG * 3 / 2);
        assert_eq!(replica.follower(), None);
        assert!(!replica.may_follow(now + LONGEST_LAG * 3 / 2));
    }

    #[test]
    fn the_leader_is_asked_once_for_each_answer_without_records() {
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
