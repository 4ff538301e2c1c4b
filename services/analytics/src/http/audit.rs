//! `GET /analytics/audit`: compares the stored orders with the counted ones.

use axum::extract::State;
use chassis::auth::Admin;
use chassis::{Json, Problem, Query, Result};
use events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Analytics, Freshness};
use crate::audit::{Audit, NotByMinute, closed_until};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Maximum length of a range, here and in a request to the orders service.
const MAX_RANGE_MS: u64 = 24 * HOUR_MS;

/// The query. The range covers every minute that it touches; the default is the last hour.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct RangeQuery {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// A range of whole minutes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    from: Timestamp,
    to: Timestamp,
}

/// The reply.
#[derive(Debug, Serialize)]
pub(super) struct Audited {
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    audit: Audit,
    freshness: Freshness,
}

pub(super) async fn audit(
    _: Admin,
    State(analytics): State<Analytics>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Audited>> {
    let now = Timestamp::now();
    let Range { from, to } = Range::touched_by(query, now)?;
    if from < analytics.store.kept_since(now) {
        return Err(
            Problem::bad_request("the counts of that time are no longer kept").field("from"),
        );
    }

    let freshness = analytics.freshness().await?;
    let newest = analytics.store.newest_summary_end().await?;

    // The stored orders are read before the counts: an order placed in between belongs to an open
    // minute.
    let stored = analytics.orders.by_minute(from, to).await?;
    let windows = analytics.store.summaries_between(from, to).await?;
    let patience_ms = u64::try_from(analytics.audit_patience.as_millis()).unwrap_or(u64::MAX);
    let audit = Audit::of(&stored, &windows, closed_until(newest, now, patience_ms))?;

    Ok(Json(Audited {
        from,
        to,
        audit,
        freshness,
    }))
}

impl Range {
    fn touched_by(query: RangeQuery, now: Timestamp) -> Result<Self> {
        let to = query.to.unwrap_or(now);
        let hour_before = || Timestamp::from_ms(to.as_ms().saturating_sub(HOUR_MS)).unwrap_or(to);
        let from = query.from.unwrap_or_else(hour_before);

        if from >= to {
            return Err(Problem::bad_request("the range must end after it begins").field("to"));
        }

        let from_ms = from.as_ms() / MINUTE_MS * MINUTE_MS;
        let to_ms = to.as_ms().div_ceil(MINUTE_MS) * MINUTE_MS;
        if to_ms - from_ms > MAX_RANGE_MS {
            return Err(Problem::bad_request("the range is longer than a day").field("from"));
        }

        Ok(Self {
            from: Timestamp::from_ms(from_ms).unwrap_or(from),
            to: Timestamp::from_ms(to_ms).unwrap_or(to),
        })
    }
}

impl From<NotByMinute> for Problem {
    fn from(error: NotByMinute) -> Self {
        Self::conflict(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Option<&str>, to: Option<&str>) -> Option<(String, String)> {
        let parse = |text: &str| text.parse::<Timestamp>().unwrap();
        let query = RangeQuery {
            from: from.map(parse),
            to: to.map(parse),
        };
        let range = Range::touched_by(query, parse("2026-11-22T10:30:15.000Z")).ok()?;
        Some((range.from.to_string(), range.to.to_string()))
    }

    #[test]
    fn the_default_range_is_the_last_hour_and_the_current_minute() {
        let expected = (
            "2026-11-22T09:30:00.000Z".to_owned(),
            "2026-11-22T10:31:00.000Z".to_owned(),
        );
        assert_eq!(range(None, None), Some(expected));
    }

    #[test]
    fn a_day_is_the_longest_range() {
        assert!(range(Some("2026-11-21T00:00:00Z"), Some("2026-11-22T00:00:00Z")).is_some());
        assert_eq!(
            range(Some("2026-11-21T00:00:00Z"), Some("2026-11-22T00:00:01Z")),
            None
        );
        assert_eq!(range(Some("2026-11-22T11:00:00Z"), None), None);
    }
}
