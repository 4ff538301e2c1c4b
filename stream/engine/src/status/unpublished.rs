//! A worker whose output the log does not take.

use std::fmt;

use crate::units::instant;

/// Since when the log has not taken a worker's output, and why. Attempts after the first failure may
/// fail for another reason that follows from the first, so both are kept.
pub(super) struct Unpublished {
    since_ms: u64,
    first_reason: String,
    last_reason: String,
}

impl Unpublished {
    /// Creates the state of a worker whose attempt of `since_ms` has failed.
    pub(super) fn new(since_ms: u64, reason: String) -> Self {
        Self {
            since_ms,
            first_reason: reason.clone(),
            last_reason: reason,
        }
    }

    /// Returns the beginning of the first attempt that failed, in milliseconds since the epoch.
    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Notes the reason of a further failure.
    pub(super) fn fails_again(&mut self, reason: String) {
        self.last_reason = reason;
    }
}

impl fmt::Display for Unpublished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = instant(self.since_ms);
        let first = &self.first_reason;
        write!(
            formatter,
            "the log has not taken what the job publishes since {since}: {first}"
        )?;

        if self.last_reason == self.first_reason {
            return Ok(());
        }
        write!(formatter, "; and last: {}", self.last_reason)
    }
}
