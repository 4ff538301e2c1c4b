//! A circuit breaker: after repeated failures an upstream is not called for a pause, then probed by
//! one request at a time. Pure.
//!
//! ```text
//! closed ── `THRESHOLD` failures in a row ──▶ open ── its pause is over ──▶ probing
//!    ▲                                         ▲                              │ │
//!    └───────────── the probe succeeds ────────┼──────────────────────────────┘ │
//!                                              └── the probe fails: twice the pause
//! ```
//!
//! A failure is a call without an answer: no connection, a broken one, or none in time. An answer
//! of 500 is an answer.

use std::time::{Duration, Instant};

/// The number of failures in a row that opens the breaker.
const THRESHOLD: u32 = 5;
/// The first pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// Pauses double up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Decides whether an upstream is called. It has no clock: the time is passed in.
#[derive(Debug)]
pub struct Breaker {
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    Probing { pause: Duration },
}

impl Breaker {
    /// Returns a closed breaker: every call passes.
    pub fn new() -> Self {
        Self {
            state: State::Closed { failures: 0 },
        }
    }

    /// Admits a call, or returns the wait before the next try. An admitted caller reports how the
    /// call ended.
    ///
    /// # Errors
    /// The time that remains, when the breaker is open.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until, pause } if until <= now => {
                self.state = State::Probing { pause };
                Ok(())
            }
            State::Open { until, .. } => Err(until - now),
            State::Probing { pause } => Err(pause),
        }
    }

    /// Records that the upstream answered.
    pub fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// Records that the upstream did not answer.
    pub fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < THRESHOLD => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => State::Open {
                until: now + SHORTEST_PAUSE,
                pause: SHORTEST_PAUSE,
            },
            State::Probing { pause } => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                State::Open {
                    until: now + pause,
                    pause,
                }
            }
            open @ State::Open { .. } => open,
        };
    }

    /// Records that the caller gave up before the result; the next caller may probe.
    pub fn abandoned(&mut self, now: Instant) {
        if let State::Probing { pause } = self.state {
            self.state = State::Open { until: now, pause };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        (0..THRESHOLD).for_each(|_| breaker.failed(at));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..3 {
            (1..THRESHOLD).for_each(|_| breaker.failed(now));
            breaker.succeeded();
        }

        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(opened(now).admit(now), Err(SHORTEST_PAUSE));
    }

    #[test]
    fn after_the_pause_one_probe_passes_and_its_success_closes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + SHORTEST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "only one probe at a time");
        breaker.succeeded();

        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();

        for _ in 0..7 {
            let pause = breaker.admit(now).unwrap_err();
            pauses.push(pause.as_millis());
            now += pause;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }

        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    }

    #[test]
    fn an_abandoned_probe_hands_its_turn_on() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + SHORTEST_PAUSE;
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.abandoned(later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn a_late_failure_does_not_prolong_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.failed(now + SHORTEST_PAUSE / 2);
        assert_eq!(breaker.admit(now + SHORTEST_PAUSE), Ok(()));
    }
}
