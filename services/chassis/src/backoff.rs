//! Exponential backoff, with randomness so that clients that failed together do not retry together.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use crate::Shutdown;

/// Waits that double from `first` to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }
}

impl Backoff {
    /// Returns a backoff with waits between `first` and `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Returns the next wait: between half of the doubled step and all of it. `random` is any
    /// number.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let step = self
            .first
            .saturating_mul(1 << self.failures.min(20))
            .min(self.longest);

        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(random % spread)
    }

    /// Resets the wait to the first one, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Retries until `attempt` succeeds; returns `None` if a shutdown is requested first. Each failure
/// is logged under the name `what`.
pub async fn retry<T, E, F, R>(shutdown: &Shutdown, what: &str, mut attempt: F) -> Option<T>
where
    E: Display,
    F: FnMut() -> R,
    R: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::default();
    loop {
        let outcome = tokio::select! {
            outcome = attempt() => outcome,
            () = shutdown.requested() => return None,
        };

        let error = match outcome {
            Ok(value) => return Some(value),
            Err(error) => error,
        };

        let wait = backoff.next_wait(uuid::Uuid::new_v4().as_u64_pair().1);
        tracing::warn!(%error, what, wait_ms = wait.as_millis(), "failed, retrying");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.requested() => return None,
        }
    }
}
