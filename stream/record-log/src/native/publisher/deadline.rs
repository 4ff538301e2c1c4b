//! The time that is left for a call, and for the records of a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::Runtime;

/// However old the transaction is, its records get so long to be acknowledged.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// The end of a call's patience.
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

    /// Returns the rest of `limit`. A call that has just begun to wait gets a moment.
    pub fn limit(&self, limit: Duration) -> Duration {
        let left = self.at.saturating_duration_since(self.runtime.now());
        limit.min(left).max(Duration::from_millis(1))
    }

    /// Sleeps for `pause`, or for what is left.
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
    /// Begins now, in a transaction that the coordinator may have since `begun_at`.
    pub fn begin(&self, begun_at: Option<Instant>) -> Deadline {
        let mut deadline = Deadline::after(self.call, &self.runtime);
        if let (Some(begun_at), Some(oldest)) = (begun_at, self.transaction) {
            let least = self.runtime.now() + LEAST_LIMIT;
            deadline.at = deadline.at.min((begun_at + oldest).max(least));
        }
        deadline
    }

    /// Returns whether the brokers may have aborted a transaction that began then.
    pub fn is_past(&self, begun_at: Option<Instant>) -> bool {
        let age = begun_at.map(|begun_at| self.runtime.since(begun_at));
        age.zip(self.transaction)
            .is_some_and(|(age, oldest)| age >= oldest)
    }
}
