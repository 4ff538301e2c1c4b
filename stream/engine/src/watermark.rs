//! The watermark of a partition: its claim that no older event will follow.
//!
//! While records come, the watermark is the newest event time less the allowed disorder. When the
//! log confirms the partition's end as of `T`, everything appended until then has been read, so the
//! partition claims `T − lead − lag − disorder`:
//!
//! - `lead` is the time by which this clock may be ahead of the log's;
//! - `lag` is the source's own delay: the append time of the newest event less its event time. It
//!   is milliseconds for a live source and can be a year for a backfill, so a replay of history
//!   stays in history.
//!
//! Only a later reply of the log moves `T`. While a broker is unreachable, event time stays where
//! it was.
//!
//! A partition that was confirmed at its end for a while without a record is *idle*. It no longer
//! holds the others back, however great its lag. When all partitions are idle, the one with the least
//! lag decides how far event time has come. `model/ends.py` compares this rule with others on logs
//! that misbehave.
//!
//! Invariants: a watermark never falls, and no event moves it beyond the time at which the
//! event was appended. A partition that is idle or has no event does not hold the others back, but
//! only up to the time of its last confirmed end. So records that come while its broker is
//! unreachable are not late.

use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

/// The newest event of a partition. A checkpoint stores it, so that event time continues after a
/// restart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Newest {
    /// The event's time.
    pub event_ms: EventTimeMs,
    /// The reader's clock when the event was read.
    pub read_at_ms: u64,
    /// The time from the event to its append. Checkpoints of earlier versions lack it; the time of
    /// reading then stands in for the time of the append.
    #[serde(default)]
    pub lag_ms: Option<u64>,
}

impl Newest {
    /// The delay of the source; from the time of reading if the append time is missing.
    fn lag_ms(&self) -> u64 {
        self.lag_ms
            .unwrap_or_else(|| self.read_at_ms.saturating_sub(self.event_ms))
    }
}

/// The limits on how fast event time advances.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The allowed disorder of events.
    pub disorder_ms: u64,
    /// The time that this clock may be ahead of the log's.
    pub max_clock_skew_ms: u64,
    /// The time without a record after which a partition at its end is idle.
    pub idle_after_ms: u64,
}

impl Pace {
    /// Returns the limits with this disorder, if there is one.
    pub fn allowing(self, disorder_ms: Option<u64>) -> Self {
        Self {
            disorder_ms: disorder_ms.unwrap_or(self.disorder_ms),
            ..self
        }
    }
}

/// The watermark of one partition.
#[derive(Clone, Debug)]
pub struct Watermark {
    pace: Pace,
    newest: Option<Newest>,
    mark_ms: EventTimeMs,
    /// The time as of which the log last confirmed the partition's end.
    end_as_of_ms: Option<u64>,
    /// The confirmed end as event time: less the lead and the disorder. Without a lag of the
    /// source, no later record is older.
    bound_ms: EventTimeMs,
    /// The time at which the last record was appended; after a restart, the time at which the newest event was read.
    quiet_since_ms: u64,
    is_idle: bool,
}

impl Watermark {
    /// Creates a watermark that continues from the newest event of a checkpoint, if there is one.
    pub fn new(pace: Pace, newest: Option<Newest>) -> Self {
        let mark_ms = newest.map_or(0, |newest| {
            let event_ms = newest.event_ms.min(newest.read_at_ms);
            event_ms.saturating_sub(pace.disorder_ms)
        });

        Self {
            pace,
            newest,
            mark_ms,
            end_as_of_ms: None,
            bound_ms: 0,
            quiet_since_ms: newest.map_or(0, |newest| newest.read_at_ms),
            is_idle: false,
        }
    }

    /// Notes that a record was appended at `appended_ms`, rejected or not.
    #[inline]
    pub fn record(&mut self, appended_ms: u64) {
        self.quiet_since_ms = self.quiet_since_ms.max(appended_ms);
        self.is_idle = false;
    }

    /// Notes an event. Reading the newest event again, as every restart does, changes neither its
    /// lag nor its time of reading.
    #[inline]
    pub fn observe(&mut self, event_ms: EventTimeMs, appended_ms: u64, now_ms: u64) {
        if self.newest.is_none_or(|newest| event_ms > newest.event_ms) {
            self.newest = Some(Newest {
                event_ms,
                read_at_ms: now_ms,
                lag_ms: Some(appended_ms.saturating_sub(event_ms)),
            });
            self.reach(event_ms.min(appended_ms));
        }
    }

    /// Notes that the log confirmed the partition's end as of `as_of_ms`, on a clock that may be
    /// `lead_ms` ahead of the log's.
    pub fn at_end(&mut self, as_of_ms: u64, lead_ms: u64) {
        self.end_as_of_ms = self.end_as_of_ms.max(Some(as_of_ms));
        let log_ms = as_of_ms.saturating_sub(lead_ms);
        self.bound_ms = self
            .bound_ms
            .max(log_ms.saturating_sub(self.pace.disorder_ms));
        self.is_idle = log_ms.saturating_sub(self.quiet_since_ms) > self.pace.idle_after_ms;

        if let Some(newest) = self.newest {
            self.reach(log_ms.saturating_sub(newest.lag_ms()));
        }
    }

    #[inline]
    fn reach(&mut self, event_ms: EventTimeMs) {
        let mark_ms = event_ms.saturating_sub(self.pace.disorder_ms);
        self.mark_ms = self.mark_ms.max(mark_ms);
    }

    /// Returns the newest event, if there was one.
    pub fn newest(&self) -> Option<Newest> {
        self.newest
    }

    /// Returns the time as of which the log last confirmed the end, if it did.
    pub fn end_as_of_ms(&self) -> Option<u64> {
        self.end_as_of_ms
    }

    /// Returns the partition's claim.
    pub fn claim(&self) -> Claim {
        let end_as_of_ms = self.end_as_of_ms.unwrap_or(0);
        let mark = self.newest.map(|_| self.mark_ms);
        match mark {
            None if self.end_as_of_ms.is_none() => Claim::Unread,
            Some(_) if !self.is_idle => Claim::Known(Known {
                active: mark,
                end_as_of_ms,
                ..Known::default()
            }),
            idle => Claim::Known(Known {
                idle,
                bound_ms: self.bound_ms,
                end_as_of_ms,
                ..Known::default()
            }),
        }
    }
}

/// The claim about event time of a partition, or of a worker for all of its partitions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Claim {
    /// Nothing is known yet; all workers wait.
    Unread,
    /// The partitions have a claim.
    Known(Known),
}

/// The claim of some partitions about event time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Known {
    /// The least claim of the partitions that are not idle, if there are any.
    active: Option<EventTimeMs>,
    /// The greatest claim of the idle partitions, if there are any.
    idle: Option<EventTimeMs>,
    /// The event time up to which idle and empty partitions do not hold the others back.
    bound_ms: EventTimeMs,
    /// The time as of which all partitions were at their ends; 0 if one never was.
    end_as_of_ms: u64,
}

impl Default for Known {
    /// Returns the claim of no partitions.
    fn default() -> Self {
        Self {
            active: None,
            idle: None,
            bound_ms: EventTimeMs::MAX,
            end_as_of_ms: u64::MAX,
        }
    }
}

impl Claim {
    /// Returns the claim of no partitions. It does not hold others back.
    pub fn none() -> Self {
        Self::Known(Known::default())
    }

    /// Returns the claim that time has reached `time`.
    pub fn at(time: EventTimeMs) -> Self {
        Self::Known(Known {
            active: Some(time),
            ..Known::default()
        })
    }

    /// Combines two claims.
    pub fn and(self, other: Self) -> Self {
        let (Self::Known(one), Self::Known(other)) = (self, other) else {
            return Self::Unread;
        };

        let least = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };

        Self::Known(Known {
            active: least(one.active, other.active),
            idle: one.idle.max(other.idle),
            bound_ms: one.bound_ms.min(other.bound_ms),
            end_as_of_ms: one.end_as_of_ms.min(other.end_as_of_ms),
        })
    }

    /// Returns whether some partition that is not idle has a claim.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Known(known) if known.active.is_some())
    }

    /// Returns whether it is the claim of partitions that are all idle.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Known(known) if known.active.is_none() && known.idle.is_some())
    }

    /// Returns whether the combination `all` of several claims, this one among them, has reached no more because of this
    /// one.
    pub fn holds_back(&self, all: Self) -> bool {
        let (Self::Known(own), Self::Known(all)) = (self, all) else {
            return *self == Self::Unread;
        };

        let bound_ms = Some(all.bound_ms);
        match all.active.or(all.idle) {
            None => false,
            reached if bound_ms < reached => own.bound_ms == all.bound_ms,
            reached if all.active.is_some() => own.active == reached,
            reached => own.idle == reached,
        }
    }

    /// Returns the event time reached: the partitions claim that no older event follows. Returns
    /// none while nothing moves event time.
    pub fn reached(&self) -> Option<EventTimeMs> {
        let Self::Known(known) = self else {
            return None;
        };
        let reached = known.active.or(known.idle)?;
        Some(reached.min(known.bound_ms))
    }

    /// Returns the time as of which all partitions were at their ends; 0 if one never was.
    pub fn end_as_of_ms(&self) -> u64 {
        match self {
            Self::Unread => 0,
            Self::Known(known) => known.end_as_of_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        disorder_ms: 5,
        max_clock_skew_ms: 0,
        idle_after_ms: 1_000,
    };

    fn watermark(newest: Option<Newest>) -> Watermark {
        Watermark::new(PACE, newest)
    }

    /// Returns a partition with one event, read when it was appended.
    fn with_event(event_ms: u64, appended_ms: u64) -> Watermark {
        let mut watermark = watermark(None);
        watermark.record(appended_ms);
        watermark.observe(event_ms, appended_ms, appended_ms);
        watermark
    }

    fn reached(watermark: &Watermark) -> Option<u64> {
        watermark.claim().reached()
    }

    #[test]
    fn it_trails_the_newest_event_by_the_disorder_and_never_falls() {
        let mut watermark = with_event(100, 101);
        watermark.observe(60, 102, 102);
        assert_eq!(reached(&watermark), Some(95));
    }

    #[test]
    fn at_an_end_it_trails_the_date_by_the_lag_of_the_source() {
        let mut backfill = with_event(100, 1_000_000);
        backfill.at_end(1_000_020, 0);
        assert_eq!(reached(&backfill), Some(115), "history stays in history");
        backfill.at_end(1_000_010, 0);

        assert_eq!(reached(&backfill), Some(115), "a date that is older");

        let mut live = with_event(1_000_000, 1_000_003);
        live.at_end(1_000_500, 0);
        assert_eq!(reached(&live), Some(1_000_492));
    }

    #[test]
    fn an_event_of_the_future_moves_it_to_its_append_at_most() {
        let mut watermark = with_event(5_000, 1_000);
        assert_eq!(reached(&watermark), Some(995));
        watermark.at_end(1_100, 0);
        assert_eq!(reached(&watermark), Some(1_095));
    }

    #[test]
    fn a_clock_that_may_be_ahead_is_believed_less() {
        let mut watermark = with_event(1_000, 1_000);
        watermark.at_end(1_500, 200);
        assert_eq!(reached(&watermark), Some(1_295));
    }

    #[test]
    fn without_an_answer_it_stays_where_it_was() {
        let mut watermark = with_event(1_000, 1_000);
        watermark.at_end(1_500, 0);
        watermark.observe(990, 1_900, 1_900);
        assert_eq!(reached(&watermark), Some(1_495));
    }

    #[test]
    fn a_partition_goes_on_over_a_restart_by_its_lag() {
        let newest = Newest {
            event_ms: 100,
            read_at_ms: 60_000,
            lag_ms: Some(3),
        };
        let mut watermark = watermark(Some(newest));
        assert_eq!(reached(&watermark), Some(95));
        watermark.at_end(61_000, 0);

        assert_eq!(reached(&watermark), Some(60_992));
    }

    #[test]
    fn a_partition_is_as_quiet_after_a_restart_as_it_was_before() {
        let newest = Newest {
            event_ms: 59_000,
            read_at_ms: 60_000,
            lag_ms: Some(3),
        };
        let mut watermark = watermark(Some(newest));
        watermark.at_end(61_000, 0);
        assert!(watermark.claim().is_active(), "quiet for a second");
        watermark.at_end(61_001, 0);
        assert!(!watermark.claim().is_active());
    }

    #[test]
    fn a_checkpoint_of_an_earlier_version_has_the_lag_of_its_reading() {
        let json = r#"{"event_ms":100,"read_at_ms":1000}"#;
        let newest: Newest = serde_json::from_str(json).unwrap();
        let mut watermark = watermark(Some(newest));
        watermark.at_end(1_500, 0);
        assert_eq!(reached(&watermark), Some(595));
    }

    #[test]
    fn an_idle_partition_holds_no_other_back_and_advances_alone() {
        let mut idle = with_event(100, 9_000);
        let mut live = with_event(11_990, 11_999);
        live.at_end(12_000, 0);
        idle.at_end(10_000, 0);

        assert_eq!(
            idle.claim().and(live.claim()).reached(),
            Some(1_095),
            "it is not idle yet"
        );

        idle.at_end(12_000, 0);
        assert_eq!(idle.claim().and(live.claim()).reached(), Some(11_986));
        assert_eq!(reached(&idle), Some(3_095));
        idle.record(12_001);

        assert!(idle.claim().is_active(), "a record ends it");
    }

    #[test]
    fn of_idle_partitions_the_one_with_the_least_lag_speaks() {
        let mut one = with_event(100, 9_000);
        let mut other = with_event(8_999, 9_000);
        one.at_end(12_000, 0);
        other.at_end(12_000, 0);
        assert_eq!(one.claim().and(other.claim()).reached(), Some(11_994));
    }

    #[test]
    fn an_empty_partition_holds_nobody_back_up_to_the_date_of_its_end() {
        let active = with_event(2_000, 2_000).claim();
        let mut empty = watermark(None);
        assert_eq!(empty.claim(), Claim::Unread);
        assert_eq!(empty.claim().and(active), Claim::Unread);
        empty.at_end(7_000, 0);

        assert_eq!(empty.claim().and(active).reached(), Some(1_995));
        assert_eq!(empty.claim().reached(), None, "nothing moves event time");
        let later = with_event(9_000, 9_000).claim();
        assert_eq!(empty.claim().and(later).reached(), Some(6_995));
    }

    #[test]
    fn the_partition_that_holds_event_time_back_is_found() {
        let holding = |marks: &[Watermark]| -> Vec<bool> {
            let claims = marks.iter().map(Watermark::claim);
            let all = claims.clone().fold(Claim::none(), Claim::and);
            claims.map(|claim| claim.holds_back(all)).collect()
        };

        let slow = with_event(100, 120);
        let fast = with_event(300, 310);
        assert_eq!(holding(&[fast.clone(), slow.clone()]), [false, true]);
        let unread = watermark(None);
        assert_eq!(holding(&[slow.clone(), unread.clone()]), [false, true]);

        let mut idle = with_event(100, 9_000);
        idle.at_end(12_000, 0);
        let live = with_event(11_990, 11_999);
        assert_eq!(holding(&[idle.clone(), live]), [false, true]);
        let ahead = with_event(13_000, 13_000);
        assert_eq!(
            holding(&[idle.clone(), ahead]),
            [true, false],
            "its end is older"
        );

        let mut newer = with_event(8_999, 9_000);
        newer.at_end(12_000, 0);
        assert_eq!(holding(&[idle, newer]), [false, true], "all are idle");
        let mut empty = watermark(None);
        empty.at_end(7_000, 0);
        assert_eq!(holding(&[empty]), [false], "there is no event time");
    }

    #[test]
    fn claims_come_to_the_same_in_any_order() {
        let claims = [
            Claim::none(),
            with_event(100, 120).claim(),
            with_event(300, 310).claim(),
        ];
        let forward = claims.into_iter().fold(Claim::none(), Claim::and);
        let backward = claims.into_iter().rev().fold(Claim::none(), Claim::and);
        assert_eq!((forward, forward.reached()), (backward, Some(95)));
        assert_eq!(forward.end_as_of_ms(), 0, "none was at its end");
    }
}
