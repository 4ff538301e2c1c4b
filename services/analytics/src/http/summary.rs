//! `GET /analytics/summary`: the newest window, the last hour, the last day, and a range.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use chassis::auth::Admin;
use chassis::{Problem, Query, Result};
use events::{Timestamp, WindowSummary};
use futures::stream;
use serde::{Deserialize, Serialize};

use super::format::{Cell, Column, Format, Kind, Row, document, table};
use super::{Analytics, Freshness, UserId, starts};
use crate::audit::Sum;
use crate::store::{Starts, StoreError};
use crate::summary::{DAY_MS, HOUR_MS, Range, Span, Summary, TOP, of_one};

/// The time for which a summary is reused. Computing one reads every window of a day.
pub(super) const SUMMARY_AGE: Duration = Duration::from_secs(1);
/// Number of counts of a user that are read by one query.
const COUNTS_PAGE: usize = 500;
const MINUTE_MS: u64 = 60_000;

/// The query. If it has neither `from` nor `to`, the reply has no range. The default of `to` is now, and that of `from`
/// a day before `to`.
#[derive(Debug, Deserialize)]
pub(super) struct SummaryQuery {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    user: Option<UserId>,
    limit: Option<usize>,
}

/// The reply.
#[derive(Clone, Debug, Serialize)]
pub struct Summarized {
    #[serde(flatten)]
    summary: Summary,
    /// The minute that is not over yet; `None` for one user, or if the orders service is unavailable.
    current: Option<Current>,
    freshness: Freshness,
}

/// The stored orders of the minute that is not over yet.
#[derive(Clone, Debug, Serialize)]
struct Current {
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    sum: Sum,
    /// Always true: the stream job has not counted these orders.
    is_provisional: bool,
}

/// A span of the summary, as a row of a table.
#[derive(Debug, Serialize)]
struct SpanRow {
    span: &'static str,
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    of: Span,
}

pub(super) async fn summary(
    _: Admin,
    format: Format,
    State(analytics): State<Analytics>,
    Query(query): Query<SummaryQuery>,
) -> Result<Response> {
    let limit = query.limit.unwrap_or(TOP);
    if !(1..=TOP).contains(&limit) {
        let reason = format!("a summary names 1 to {TOP} users, not {limit}");
        return Err(Problem::bad_request(reason).field("limit"));
    }

    let now = Timestamp::now();
    let range = range(&query, now)?;
    let mut summarized = match query.user {
        None => analytics.of_all(now).await?,
        Some(UserId(user_id)) => analytics.of_user(user_id, now).await?,
    };

    if let Some((from, to)) = range {
        let starts = Starts { from, to: Some(to) };
        let windows = match query.user {
            None => analytics.store.summaries_between(from, to).await?,
            Some(UserId(user_id)) => analytics.windows_of(user_id, starts).await?,
        };
        summarized.summary.range = Some(Range::of(&windows, from, to));
    }

    summarized.summary.name_at_most(limit);
    match format {
        Format::Json => Ok(document(summarized)),
        Format::Table(format) => {
            let rows = summarized.summary.into_rows(now);
            table(format, "summary", stream::iter([Ok(rows)])).await
        }
    }
}

/// Returns the range of the query, at most a day.
fn range(query: &SummaryQuery, now: Timestamp) -> Result<Option<(Timestamp, Timestamp)>> {
    if query.from.is_none() && query.to.is_none() {
        return Ok(None);
    }

    let to = query.to.unwrap_or(now);
    let from = query.from.unwrap_or_else(|| before(to));
    starts(Some(from), Some(to))?;
    if to.as_ms() - from.as_ms() > DAY_MS {
        return Err(Problem::bad_request("the range is longer than a day").field("from"));
    }

    Ok(Some((from, to)))
}

/// Returns the instant a day before.
fn before(instant: Timestamp) -> Timestamp {
    Timestamp::from_ms(instant.as_ms().saturating_sub(DAY_MS)).unwrap_or(instant)
}

impl Analytics {
    /// Returns the summary of all users' windows. The first request that finds the latest summary too old computes a
    /// new one; the others wait for it.
    async fn of_all(&self, now: Timestamp) -> std::result::Result<Summarized, StoreError> {
        let mut latest = self.summary.lock().await;
        if let Some((_, summarized)) = latest
            .as_ref()
            .filter(|(made, _)| made.elapsed() < SUMMARY_AGE)
        {
            return Ok(summarized.clone());
        }

        let windows = self.store.summaries_since(before(now)).await?;
        let mut summarized = self.summarized(&windows, now).await?;
        summarized.current = self.current(now).await;
        *latest = Some((Instant::now(), summarized.clone()));
        Ok(summarized)
    }

    /// Returns the summary of one user's windows.
    async fn of_user(
        &self,
        user_id: u64,
        now: Timestamp,
    ) -> std::result::Result<Summarized, StoreError> {
        // A window that ends within the last day may have begun before it.
        let from = before(before(now));
        let windows = self.windows_of(user_id, Starts { from, to: None }).await?;

        let since = before(now);
        let within: Vec<_> = windows
            .into_iter()
            .filter(|window| window.window_end > since)
            .collect();
        self.summarized(&within, now).await
    }

    async fn summarized(
        &self,
        windows: &[WindowSummary],
        now: Timestamp,
    ) -> std::result::Result<Summarized, StoreError> {
        Ok(Summarized {
            summary: Summary::of(windows, now),
            current: None,
            freshness: self.freshness().await?,
        })
    }

    /// Returns the stored orders of the minute that is not over yet.
    async fn current(&self, now: Timestamp) -> Option<Current> {
        let from = Timestamp::from_ms(now.as_ms() / MINUTE_MS * MINUTE_MS)?;
        let to = Timestamp::from_ms(from.as_ms() + MINUTE_MS)?;
        let minutes = self.stored(from, to).await?;
        let stored = minutes.into_iter().find(|stored| stored.minute == from);

        Some(Current {
            from,
            to,
            sum: stored.map(|stored| stored.sum).unwrap_or_default(),
            is_provisional: true,
        })
    }

    /// Returns the windows of the range in which the user ordered, newest first.
    pub(super) async fn windows_of(
        &self,
        user_id: u64,
        starts: Starts,
    ) -> std::result::Result<Vec<WindowSummary>, StoreError> {
        let mut windows = Vec::new();
        let mut left = starts;
        loop {
            let counts = self.store.of_user(user_id, left, COUNTS_PAGE).await?;
            let oldest = counts.last().map(|count| count.window_start);
            let is_last = counts.len() < COUNTS_PAGE;

            // A session window that was merged into another one has no orders any more.
            let counted = counts.into_iter().filter(|count| count.order_count > 0);
            windows.extend(counted.map(of_one));

            match oldest {
                Some(oldest) if !is_last => left = left.before(oldest),
                _ => return Ok(windows),
            }
        }
    }
}

impl Summary {
    /// Returns a row for each span.
    fn into_rows(self, now: Timestamp) -> Vec<SpanRow> {
        let ago = |ms| Timestamp::from_ms(now.as_ms().saturating_sub(ms)).unwrap_or(now);
        let row = |span, from, to, of| SpanRow { span, from, to, of };

        let newest = self
            .now
            .map(|newest| row("now", newest.window_start, newest.window_end, newest.span));
        let range = self
            .range
            .map(|range| row("range", range.from, range.to, range.span));
        let hour = row("last_hour", ago(HOUR_MS), now, self.last_hour);
        let day = row("last_day", ago(DAY_MS), now, self.last_day);

        newest.into_iter().chain([hour, day]).chain(range).collect()
    }
}

impl Row for SpanRow {
    const COLUMNS: &'static [Column] = &[
        Column("span", Kind::Text),
        Column("from", Kind::Instant),
        Column("to", Kind::Instant),
        Column("orders", Kind::Number),
        Column("users", Kind::Number),
        Column("users_is_exact", Kind::Flag),
        Column("revenue_cents", Kind::OptionalNumber),
        Column("revenue", Kind::Amounts),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Text(self.span.to_owned()),
            Cell::Instant(self.from),
            Cell::Instant(self.to),
            Cell::Number(self.of.orders),
            Cell::Number(self.of.users),
            Cell::Flag(self.of.users_is_exact),
            Cell::OptionalNumber(self.of.revenue_cents),
            Cell::Amounts(self.of.revenue.clone()),
        ]
    }
}
