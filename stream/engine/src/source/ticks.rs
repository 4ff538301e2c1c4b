//! The time of a job without a window: it advances with the clock, so that results are committed at
//! every interval, whatever the times of events are.
//!
//! Invariant: the time never falls and never stands still. A clock that is set back does not
//! stop it, and a worker whose clock is behind follows the others, so no worker holds results back.
//! Only the order of times matters, never their distance from the clock.

use crate::pane::EventTimeMs;

/// The time of one worker.
#[derive(Debug)]
pub struct Ticks {
    interval_ms: u64,
    at: EventTimeMs,
    clock_ms: u64,
}

impl Ticks {
    /// Creates the time of a worker that goes on from `boundary`, in steps of `interval_ms`.
    pub fn from(boundary: EventTimeMs, interval_ms: u64, clock_ms: u64) -> Self {
        Self {
            interval_ms,
            at: boundary,
            clock_ms,
        }
    }

    /// Returns the last boundary that is reached when the clock is at `clock_ms` and the furthest other worker at `furthest`.
    pub fn at(&mut self, clock_ms: u64, furthest: Option<EventTimeMs>) -> EventTimeMs {
        let passed_ms = clock_ms.saturating_sub(self.clock_ms);
        self.clock_ms = clock_ms;

        let own = self.at.saturating_add(passed_ms).max(clock_ms);
        self.at = own.max(furthest.unwrap_or(0));
        self.at - self.at % self.interval_ms
    }

    /// Returns the time until the next boundary, as of the last call of [`Ticks::at`].
    pub fn left_ms(&self) -> u64 {
        self.interval_ms - self.at % self.interval_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_by_the_clock() {
        let mut ticks = Ticks::from(0, 100, 1_000);
        assert_eq!(
            (ticks.at(1_000, None), ticks.at(1_250, None)),
            (1_000, 1_200)
        );
        assert_eq!(ticks.left_ms(), 50);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_time() {
        let mut ticks = Ticks::from(5_000, 100, 1_000);
        assert_eq!(ticks.at(1_100, None), 5_100, "behind the checkpoint");
        assert_eq!(ticks.at(200, None), 5_100);
        assert_eq!(ticks.at(300, None), 5_200);
    }

    #[test]
    fn a_worker_whose_clock_is_behind_follows_the_others() {
        let mut ticks = Ticks::from(0, 100, 1_000);
        assert_eq!(ticks.at(1_100, Some(9_000)), 9_000);
        assert_eq!(ticks.at(1_200, Some(9_000)), 9_100);
    }
}
