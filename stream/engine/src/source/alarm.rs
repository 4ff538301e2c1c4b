//! The next periodic run of a source.
//!
//! A source also runs when there is something to read and when another worker has progressed. If each
//! run scheduled a next one, every extra run would add a timer that is never taken back, and the
//! timers of a loaded machine would drift apart and add up.
//!
//! Invariant: of the runs that are scheduled, one is the earliest; a later one is scheduled only after
//! it is due.

use std::time::{Duration, Instant};

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

    const TICK: Duration = Duration::from_millis(40);

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
