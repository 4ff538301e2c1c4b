//! The time during which another process was absent, up to the join limit.
//!
//! Process 0 counts the time until all others have called. Another process counts only the time during which it cannot
//! connect to process 0: one that listens may wait for a topic, for the object store or for a third process, or its
//! supervisor may start it again and again, because the log is not available. If process 0 reaches its limit and ends, the
//! others end after theirs. So all processes end within about twice the limit, and a place such as YARN can start the whole
//! job again.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::cluster::ClusterError;

/// The time that has been waited, and its limit if there is one.
pub struct Absence {
    limit: Option<Duration>,
    lasted: Duration,
}

impl Absence {
    /// Begins with no time waited.
    pub fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            lasted: Duration::ZERO,
        }
    }

    /// Awaits a step whose time counts.
    ///
    /// # Errors
    /// [`ClusterError::NotJoined`] if the limit is reached during the step.
    pub async fn during<T>(&mut self, step: impl Future<Output = T>) -> Result<T, ClusterError> {
        let begun = Instant::now();
        let Some(limit) = self.limit else {
            return Ok(step.await);
        };

        let done = timeout(limit.saturating_sub(self.lasted), step).await;
        self.lasted += begun.elapsed();
        done.map_err(|_| ClusterError::NotJoined { limit })
    }

    /// Forgets the time waited: the process was there.
    pub fn ends(&mut self) {
        self.lasted = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn steps_add_up_to_the_limit_until_the_process_is_there() {
        let mut absence = Absence::new(Some(LIMIT));
        absence.during(sleep(LIMIT / 2)).await.unwrap();
        absence.ends();

        let begun = Instant::now();
        absence.during(sleep(LIMIT / 2)).await.unwrap();
        let error = absence.during(sleep(LIMIT)).await.unwrap_err();
        assert!(error.to_string().contains("within 60s (--join-limit)"));
        assert!(begun.elapsed().abs_diff(LIMIT) < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_any_step_may_take_any_time() {
        let mut absence = Absence::new(None);
        for _ in 0..3 {
            absence.during(sleep(LIMIT * 1000)).await.unwrap();
        }
    }
}
