//! The time that is left for a call, and for the records of a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::Runtime;

/// The least time for the acknowledgement of records, however old their transaction is.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// The end of the time limit of a call.
pub(super) struct Deadline {
    at: Instant,
    pub runtime: Arc<dyn Runtime>,
}

impl Deadline {
    pub fn after(limit: Duration, runtime: &Arc<dyn Runtime>) -> Self {
        Self {
            at: runtime.now() + limit,
            runtime: Arc::clone(runtime),
        }
    }

    pub fn is_over(&self) -> bool {
        self.runtime.now() >= self.at
    }

    /// Returns `limit`, or the time that is left if that is less. A call that has just begun to wait gets at least a
    /// moment.
    pub fn limit(&self, limit: Duration) -> Duration {
        let left = self.at.saturating_duration_since(self.runtime.now());
        limit.min(left).max(Duration::from_millis(1))
    }

    /// Sleeps for `pause`, or for the time that is left if that is less.
    pub fn pause(&self, pause: Duration) {
        self.runtime.sleep(self.limit(pause));
    }
}

/// The time limit for sending records. Brokers abort a transaction at its time-out and fence its holder, so a third of
/// that time is left for its end.
pub(super) struct TimeLimit {
    pub runtime: Arc<dyn Runtime>,
    pub call: Duration,
    /// The greatest age of a transaction whose records are sent; none without transactions.
    pub transaction: Option<Duration>,
}

impl TimeLimit {
    /// Returns the deadline of a call that begins now. The coordinator may have the transaction since `begun_at`;
    /// without it, it has the transaction from now on.
    pub fn begin(&self, begun_at: Option<Instant>) -> Deadline {
        let mut deadline = Deadline::after(self.call, &self.runtime);
        if let Some(oldest) = self.transaction {
            let now = self.runtime.now();
            let oldest_at = begun_at.unwrap_or(now) + oldest;
            deadline.at = deadline.at.min(oldest_at.max(now + LEAST_LIMIT));
        }
        deadline
    }

    /// Returns `true` if the brokers may have aborted a transaction that began at `begun_at`.
    pub fn is_past(&self, begun_at: Option<Instant>) -> bool {
        let age = begun_at.map(|begun_at| self.runtime.since(begun_at));
        age.zip(self.transaction)
            .is_some_and(|(age, oldest)| age >= oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::System;

    #[test]
    fn a_third_of_a_transaction_s_time_is_left_for_its_end() {
        let runtime: Arc<dyn Runtime> = Arc::new(System);
        let hour = Duration::from_secs(3600);
        let limit = TimeLimit {
            runtime: Arc::clone(&runtime),
            call: hour,
            transaction: Some(hour / 2),
        };
        let now = runtime.now();
        let left = |begun_at| limit.begin(begun_at).at.saturating_duration_since(now);

        let is_about = |left: Duration, expected: Duration| left.abs_diff(expected) < hour / 10;
        assert!(is_about(left(None), hour / 2), "it begins now");
        assert!(is_about(left(now.checked_sub(hour / 4)), hour / 4));
        assert!(left(now.checked_sub(hour)) >= LEAST_LIMIT);

        let without = TimeLimit {
            transaction: None,
            ..limit
        };
        let left = without.begin(None).at.saturating_duration_since(now);
        assert!(is_about(left, hour));
    }
}
