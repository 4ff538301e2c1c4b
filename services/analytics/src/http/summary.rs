//! `GET /analytics/summary`: the newest window, the last hour, the last day, and a range.

use std::time::{Duration, Instant};

use axum::extract::State;
use chassis::auth::Admin;
use chassis::{Json, Problem, Query, Result};
use events::{Timestamp, WindowSummary};
use serde::{Deserialize, Serialize};

use super::{Analytics, Freshness, UserId, starts};
use crate::store::{Starts, StoreError};
use crate::summary::{DAY_MS, Range, Summary, TOP, of_one};

/// How long a summary is reused. Computing one reads every window of a day.
const SUMMARY_AGE: Duration = Duration::from_secs(1);
/// Number of counts of a user that one query reads.
const COUNTS_PAGE: usize = 500;

/// The query. Without a range there is none in the reply; the default of `to` is now.
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
    freshness: Freshness,
}

pub(super) async fn summary(
    _: Admin,
    State(analytics): State<Analytics>,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<Summarized>> {
    let limit = query.limit.unwrap_or(TOP);
    if !(1..=TOP).contains(&limit) {
        let reason = format!("a summary names 1 to {TOP} users, and not {limit}");
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
    Ok(Json(summarized))
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
    /// Returns the summary of all users' windows. The request that finds the last one too old
    /// computes a new one while the others wait for it.
    async fn of_all(&self, now: Timestamp) -> std::result::Result<Summarized, StoreError> {
        let mut latest = self.summary.lock().await;
        if let Some((_, summarized)) = latest
            .as_ref()
            .filter(|(made, _)| made.elapsed() < SUMMARY_AGE)
        {
            return Ok(summarized.clone());
        }

        let windows = self.store.summaries_since(before(now)).await?;
        let summarized = self.summarized(&windows, now).await?;
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
            freshness: self.freshness().await?,
        })
    }

    /// Returns the windows of the range in which the user ordered, newest first.
    async fn windows_of(
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

            // A session that has become part of another has no orders any more.
            let counted = counts.into_iter().filter(|count| count.order_count > 0);
            windows.extend(counted.map(of_one));

            match oldest {
                Some(oldest) if !is_last => left = left.before(oldest),
                _ => return Ok(windows),
            }
        }
    }
}
