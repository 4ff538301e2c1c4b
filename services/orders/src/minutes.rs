//! The books by minute: how many orders are stored and what they come to, by the minute they were accepted in.
//!
//! An order's minute is that of its `created_at`, which is also the time in its event. So whoever counts the events by
//! event time must come to the same numbers; `GET /analytics/audit` holds the two against each other.

use axum::extract::State;
use chassis::auth::Trusted;
use chassis::{Json, Page, Problem, Query, Result};
use events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::Orders;

const MINUTE_MS: u64 = 60_000;
/// The longest range: a day.
const MAX_MINUTES: u64 = 24 * 60;

/// The query: every minute that the range touches.
#[derive(Debug, Deserialize)]
pub struct RangeQuery {
    from: Timestamp,
    to: Timestamp,
}

/// Whole minutes: at least one, at most [`MAX_MINUTES`]. In milliseconds since 1970, `to_ms` is the first that is out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Minutes {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// What was ordered within a minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Minute {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// Its start.
    pub minute: Timestamp,
    /// Orders accepted in it, whatever became of them.
    pub orders: u64,
    /// Sum of their totals.
    pub total_cents: u64,
}

/// `GET /orders/minutes`: those with orders, the oldest first.
pub async fn list(
    _: Trusted,
    State(orders): State<Orders>,
    Query(range): Query<RangeQuery>,
) -> Result<Json<Page<Minute>>> {
    let items = orders
        .placing
        .store
        .by_minute(Minutes::touched_by(&range)?)
        .await?;
    Ok(Json(Page { items, next: None }))
}

impl Minutes {
    fn touched_by(range: &RangeQuery) -> Result<Self> {
        if range.from >= range.to {
            return Err(Problem::bad_request("the range ends before it begins").field("to"));
        }

        let from_ms = range.from.as_ms() / MINUTE_MS * MINUTE_MS;
        let to_ms = range.to.as_ms().div_ceil(MINUTE_MS) * MINUTE_MS;
        if to_ms - from_ms > MAX_MINUTES * MINUTE_MS {
            return Err(Problem::bad_request("the range is longer than a day").field("from"));
        }

        Ok(Self { from_ms, to_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::{Minutes, RangeQuery};

    fn minutes(from: &str, to: &str) -> Option<u64> {
        let range = RangeQuery {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        let minutes = Minutes::touched_by(&range).ok()?;
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
