//! How far a partition's event time has come: its claim that nothing older will follow.
//!
//! While records come, the watermark is the newest event time less the allowed disorder. At the end of the partition
//! (the log said so: knowledge, not a time-out) event time goes on from the newest event at the pace of the clock, so
//! the last window of a quiet topic closes by itself. It never jumps to the clock: a replay of history stays in history.
//!
//! What always holds: a watermark never falls; a partition that never held an event holds nobody back once its end was
//! seen.

use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

/// The newest event of a partition and when it was read. A checkpoint keeps it: event time goes on over a restart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Newest {
    /// Its event time.
    pub event_ms: EventTimeMs,
    /// The clock when it was read.
    pub read_at_ms: u64,
}

/// The watermark of one partition.
#[derive(Clone, Debug)]
pub struct Watermark {
    disorder_ms: u64,
    newest: Option<Newest>,
    mark_ms: EventTimeMs,
    end_seen: bool,
}

impl Watermark {
    /// A watermark that goes on from what a checkpoint kept, if anything.
    pub fn new(disorder_ms: u64, newest: Option<Newest>) -> Self {
        let mark_ms = newest.map_or(0, |newest| newest.event_ms.saturating_sub(disorder_ms));
        Self {
            disorder_ms,
            newest,
            mark_ms,
            end_seen: false,
        }
    }

    /// Takes note of an event. When the newest was read is not changed by reading it again, as every start does.
    pub fn observe(&mut self, event_ms: EventTimeMs, now_ms: u64) {
        if self.newest.is_none_or(|newest| event_ms > newest.event_ms) {
            self.newest = Some(Newest {
                event_ms,
                read_at_ms: now_ms,
            });
            self.mark_ms = self.mark_ms.max(event_ms.saturating_sub(self.disorder_ms));
        }
    }

    /// Takes note that the partition held nothing more at `now_ms`.
    pub fn at_end(&mut self, now_ms: u64) {
        self.end_seen = true;
        if let Some(newest) = self.newest {
            let gone_on_ms = newest.event_ms + now_ms.saturating_sub(newest.read_at_ms);
            self.mark_ms = self
                .mark_ms
                .max(gone_on_ms.saturating_sub(self.disorder_ms));
        }
    }

    /// The newest event, if there was one.
    pub fn newest(&self) -> Option<Newest> {
        self.newest
    }

    /// What the partition claims.
    pub fn claim(&self) -> Claim {
        match self.newest {
            Some(_) => Claim::Reached(self.mark_ms),
            None if self.end_seen => Claim::Empty,
            None => Claim::Unread,
        }
    }
}

/// What a partition, or a worker for all of its partitions, claims about event time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Claim {
    /// Nothing is known yet: everybody waits.
    Unread,
    /// No event is older than this.
    Reached(EventTimeMs),
    /// There never was an event: nobody waits.
    Empty,
}

impl Claim {
    /// What two claims come to together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unread, _) | (_, Self::Unread) => Self::Unread,
            (Self::Empty, other) => other,
            (one, Self::Empty) => one,
            (Self::Reached(one), Self::Reached(other)) => Self::Reached(one.min(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_trails_the_newest_event_by_the_disorder_and_never_falls() {
        let mut watermark = Watermark::new(5, None);
        assert_eq!(watermark.claim(), Claim::Unread);
        watermark.observe(100, 0);
        watermark.observe(60, 1);
        assert_eq!(watermark.claim(), Claim::Reached(95));
    }

    #[test]
    fn at_the_end_event_time_goes_on_at_the_pace_of_the_clock_from_the_newest_event() {
        let mut watermark = Watermark::new(5, None);
        watermark.observe(100, 1_000_000);
        watermark.at_end(1_000_020);
        assert_eq!(
            watermark.claim(),
            Claim::Reached(115),
            "history stays in history"
        );
        watermark.at_end(1_000_010);
        assert_eq!(
            watermark.claim(),
            Claim::Reached(115),
            "a clock set back does not take a claim back"
        );
    }

    #[test]
    fn another_event_of_the_same_time_does_not_hold_event_time_back() {
        let mut watermark = Watermark::new(5, None);
        watermark.observe(100, 1_000);
        watermark.observe(100, 1_040);
        watermark.at_end(1_050);
        assert_eq!(watermark.claim(), Claim::Reached(145));
    }

    #[test]
    fn a_partition_goes_on_over_a_restart_for_the_time_that_it_was_down() {
        let newest = Newest {
            event_ms: 100,
            read_at_ms: 1_000,
        };
        let mut watermark = Watermark::new(5, Some(newest));
        assert_eq!(watermark.claim(), Claim::Reached(95));
        watermark.at_end(61_000);
        assert_eq!(watermark.claim(), Claim::Reached(60_095));
    }

    #[test]
    fn an_empty_partition_holds_nobody_back_but_an_unread_one_does() {
        let mut empty = Watermark::new(5, None);
        empty.at_end(7);
        assert_eq!(empty.claim().and(Claim::Reached(40)), Claim::Reached(40));
        assert_eq!(Claim::Unread.and(Claim::Reached(40)), Claim::Unread);
        assert_eq!(
            Claim::Reached(50).and(Claim::Reached(40)),
            Claim::Reached(40)
        );
    }
}
