//! Orders by minute: the number and totals of the orders accepted in each minute, from SQL.
//!
//! The minute of an order is that of its `created_at`, which is also the event time of its event. A
//! count of the events by event time must therefore give the same numbers; `GET /analytics/audit`
//! compares the two.

use chassis::{Problem, Result};
use events::{Amounts, Timestamp};
use serde::Serialize;

const MINUTE_MS: u64 = 60_000;
/// Maximum length of a range: one day.
const MAX_MINUTES: u64 = 24 * 60;

/// A range of whole minutes: at least one, at most [`MAX_MINUTES`]. In milliseconds since 1970;
/// `to_ms` is exclusive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Minutes {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// The orders of one minute.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Minute {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// Its start.
    pub minute: Timestamp,
    /// Number of orders accepted in it, in any status.
    pub orders: u64,
    /// Sums of the orders' totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
}

impl Minutes {
    /// Returns every minute that the range from `from` up to `to` touches.
    ///
    /// # Errors
    /// A 400 when the range is empty or longer than a day.
    pub fn touched_by(from: Timestamp, to: Timestamp) -> Result<Self> {
        if from >= to {
            return Err(Problem::bad_request("the range must end after it begins").field("to"));
        }

        let from_ms = from.as_ms() / MINUTE_MS * MINUTE_MS;
        let to_ms = to.as_ms().div_ceil(MINUTE_MS) * MINUTE_MS;
        if to_ms - from_ms > MAX_MINUTES * MINUTE_MS {
            return Err(Problem::bad_request("the range is longer than a day").field("from"));
        }

        Ok(Self { from_ms, to_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::Minutes;

    fn minutes(from: &str, to: &str) -> Option<u64> {
        let minutes = Minutes::touched_by(from.parse().unwrap(), to.parse().unwrap()).ok()?;
        assert_eq!((minutes.from_ms % 60_000, minutes.to_ms % 60_000), (0, 0));

        Some((minutes.to_ms - minutes.from_ms) / 60_000)
    }

    #[test]
    fn a_range_stands_for_every_minute_it_touches() {
        assert_eq!(
            minutes("2026-11-22T10:00:00.000Z", "2026-11-22T10:02:00.000Z"),
            Some(2)
        );

        assert_eq!(
            minutes("2026-11-22T10:00:59.999Z", "2026-11-22T10:01:00.001Z"),
            Some(2)
        );

        assert_eq!(
            minutes("2026-11-22T10:00:30.000Z", "2026-11-22T10:00:30.001Z"),
            Some(1)
        );
    }

    #[test]
    fn a_range_that_is_empty_or_longer_than_a_day_is_none() {
        assert_eq!(
            minutes("2026-11-22T10:00:30.000Z", "2026-11-22T10:00:30.000Z"),
            None
        );

        assert_eq!(
            minutes("2026-11-22T10:01:00.000Z", "2026-11-22T10:00:00.000Z"),
            None
        );

        assert_eq!(
            minutes("2026-11-22T10:00:00.000Z", "2026-11-23T10:00:00.000Z"),
            Some(1_440)
        );

        assert_eq!(
            minutes("2026-11-22T10:00:00.000Z", "2026-11-23T10:00:00.001Z"),
            None
        );
    }
}
