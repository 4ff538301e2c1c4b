//! The next periodic run of a source.
//!
//! A source also runs when there is something to read and when another worker has progressed. If each
//! run scheduled a next one, every extra run would add a timer that is never taken back, and the
//! timers of a loaded machine would drift apart and add up.
//!
//! Invariant: of the runs that are scheduled, one is the earliest; a later one is scheduled only after
//! it is due.

use std::time::{Duration, Instant};

/// The longest interval at which event time advances at the end of partitions.
pub const TICK: Duration = Duration::from_millis(40);
/// The shortest interval. The log may confirm the end of a partition later than expected.
const LEAST_TICK: Duration = Duration::from_millis(4);

/// Returns the wait until the next run, where event time may reach the next boundary in `left_ms`. `left_ms` is none if
/// event time stands still.
pub fn wait(left_ms: Option<u64>) -> Duration {
    left_ms.map_or(TICK, |left_ms| {
        Duration::from_millis(left_ms).clamp(LEAST_TICK, TICK)
    })
}

/// The time at which the next run is due; none before the first.
#[derive(Default)]
pub struct Alarm {
    due: Option<Instant>,
}

impl Alarm {
    /// Returns whether a run must be scheduled for `wait` after `now`. None is needed if one is due by
    /// then.
    pub fn set(&mut self, now: Instant, wait: Duration) -> bool {
        let at = now + wait;
        let is_set = self.due.is_some_and(|due| now < due && due <= at);
        if !is_set {
            self.due = Some(at);
        }
        !is_set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_for_the_boundary_within_bounds() {
        let waits = [None, Some(0), Some(3), Some(17), Some(1_000)].map(wait);
        assert_eq!(waits.map(|wait| wait.as_millis()), [40, 4, 4, 17, 40]);
    }

    #[test]
    fn runs_in_between_schedule_nothing() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        assert!(alarm.set(start, TICK));

        let between = (1..40).map(Duration::from_millis);
        assert!(
            between
                .into_iter()
                .all(|after| !alarm.set(start + after, TICK))
        );
        assert!(alarm.set(start + TICK, TICK), "it is due");
        assert!(!alarm.set(start + TICK, TICK));
    }

    #[test]
    fn an_earlier_run_is_scheduled_beside_a_later_one() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        assert!(alarm.set(start, TICK));
        assert!(alarm.set(start, TICK / 4));
        assert!(!alarm.set(start, TICK), "the earlier one comes first");

        // The earlier run sets the next one, and the later one adds none when it comes.
        assert!(alarm.set(start + TICK / 4, TICK));
        assert!(!alarm.set(start + TICK, TICK));
    }

    #[test]
    fn an_alarm_that_was_missed_is_set_again() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        alarm.set(start, TICK);
        assert!(alarm.set(start + 3 * TICK, TICK));
    }
}
