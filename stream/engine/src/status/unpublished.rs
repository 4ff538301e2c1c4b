//! A worker whose output the log does not take.

use std::fmt;

use crate::units::instant;

/// The sentence's end while no attempt has an answer.
const UNANSWERED: &str = "its brokers have not answered: one is away, frozen or slow, or a quota (producer_byte_rate) throttles this \
     client";

/// The time since which the log has not taken a worker's output, and the reasons. Attempts after the first failure may
/// fail for another reason that follows from the first, so both are kept.
pub(super) struct Unpublished {
    since_ms: u64,
    reasons: Option<Reasons>,
}

struct Reasons {
    first: String,
    last: String,
}

impl Unpublished {
    /// Creates the state of a worker that has begun to publish at `since_ms`.
    pub(super) fn since(since_ms: u64) -> Self {
        Self {
            since_ms,
            reasons: None,
        }
    }

    /// Returns the beginning of the first attempt, in milliseconds since the epoch.
    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Notes the reason of a failure.
    pub(super) fn fails(&mut self, reason: String) {
        match &mut self.reasons {
            Some(reasons) => reasons.last = reason,
            None => {
                self.reasons = Some(Reasons {
                    first: reason.clone(),
                    last: reason,
                });
            }
        }
    }
}

impl fmt::Display for Unpublished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = instant(self.since_ms);
        write!(
            formatter,
            "the log has not taken the output of the job since {since}: "
        )?;

        match &self.reasons {
            None => formatter.write_str(UNANSWERED),
            Some(Reasons { first, last }) if first == last => formatter.write_str(first),
            Some(Reasons { first, last }) => write!(formatter, "{first}; and last: {last}"),
        }
    }
}
