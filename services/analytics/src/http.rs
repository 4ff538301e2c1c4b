//! The REST interface of the counts.

mod audit;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::auth::{Admin, Caller};
use chassis::{Json, Page, PageQuery, Path, Problem, Query, Result, Shutdown, described};
use events::{Timestamp, WindowCount, WindowSummary};
use follower::Lag;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::feed::Feed;
use crate::orders::Orders;
use crate::store::{Position, Store, StoreError};
use crate::summary::{DAY_MS, Summary};

/// The OpenAPI description of the service.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// How long a summary is reused. Computing one reads every window of a day.
const SUMMARY_AGE: Duration = Duration::from_secs(1);

/// The state shared by the handlers.
#[derive(Clone)]
pub struct Analytics {
    /// The tables of the counts.
    pub store: Store,
    /// The live feed.
    pub feed: Feed,
    /// The number of results that wait to be written.
    pub lag: Lag,
    /// The client of the orders service, for the audit.
    pub orders: Orders,
    /// How long after its end a minute may wait for its window before the audit counts a
    /// difference.
    pub audit_patience: Duration,
    /// Ends the streams when requested.
    pub shutdown: Shutdown,
    /// The latest summary. The request that finds it too old computes a new one while the others
    /// wait for it.
    pub summary: Arc<Mutex<Option<(Instant, Summarized)>>>,
}

/// An object with its id: for a count `<user>-<window start in ms>`, for a window its start in ms.
#[derive(Clone, Debug, Serialize)]
pub struct Shown<T> {
    id: String,
    #[serde(flatten)]
    event: T,
}

/// The reply to `GET /analytics/summary`.
#[derive(Clone, Debug, Serialize)]
pub struct Summarized {
    #[serde(flatten)]
    summary: Summary,
    freshness: Freshness,
}

/// The freshness of the counts.
#[derive(Clone, Debug, Serialize)]
struct Freshness {
    /// The end of the newest known window.
    newest_window_end: Option<Timestamp>,
    /// Number of results that wait to be written; null until the log has been queried.
    lag_records: Option<u64>,
}

/// Returns the routes of this service.
pub fn router(analytics: Analytics) -> Router {
    let routes = Router::new()
        .route("/analytics/summary", get(summary))
        .route("/analytics/recent", get(recent))
        .route("/analytics/users/{id}", get(of_user))
        .route("/analytics/stream", get(stream::stream))
        .route("/analytics/audit", get(audit::audit))
        .with_state(analytics);
    described(routes, DESCRIPTION)
}

async fn summary(_: Admin, State(analytics): State<Analytics>) -> Result<Json<Summarized>> {
    let mut latest = analytics.summary.lock().await;
    if let Some((_, summarized)) = latest
        .as_ref()
        .filter(|(made, _)| made.elapsed() < SUMMARY_AGE)
    {
        return Ok(Json(summarized.clone()));
    }

    let summarized = analytics.summarize(Timestamp::now()).await?;
    *latest = Some((Instant::now(), summarized.clone()));
    Ok(Json(summarized))
}

async fn recent(
    _: Admin,
    State(analytics): State<Analytics>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Shown<WindowCount>>>> {
    let one_more = page.limit.items() + 1;
    let counts = analytics
        .store
        .recent(page.after::<Position>()?, one_more)
        .await?;
    let page = Page::cut(counts, page.limit, Position::after);

    Ok(Json(Page {
        items: page.items.into_iter().map(Shown::from).collect(),
        next: page.next,
    }))
}

async fn of_user(
    caller: Caller,
    State(analytics): State<Analytics>,
    Path(id): Path<u64>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Shown<WindowCount>>>> {
    caller.require_user(id)?;
    let one_more = page.limit.items() + 1;
    let counts = analytics
        .store
        .of_user(id, page.after::<Timestamp>()?, one_more)
        .await?;
    let page = Page::cut(counts, page.limit, |count| count.window_start);

    Ok(Json(Page {
        items: page.items.into_iter().map(Shown::from).collect(),
        next: page.next,
    }))
}

impl Analytics {
    async fn summarize(&self, now: Timestamp) -> std::result::Result<Summarized, StoreError> {
        let since = Timestamp::from_ms(now.as_ms().saturating_sub(DAY_MS)).unwrap_or(now);
        let windows = self.store.summaries_since(since).await?;
        Ok(Summarized {
            summary: Summary::of(&windows, now),
            freshness: self.freshness().await?,
        })
    }

    async fn freshness(&self) -> std::result::Result<Freshness, StoreError> {
        Ok(Freshness {
            newest_window_end: self.store.newest_window_end().await?,
            lag_records: self.lag.records(),
        })
    }
}

impl From<WindowCount> for Shown<WindowCount> {
    fn from(event: WindowCount) -> Self {
        Self {
            id: format!("{}-{}", event.user_id, event.window_start.as_ms()),
            event,
        }
    }
}

impl From<WindowSummary> for Shown<WindowSummary> {
    fn from(event: WindowSummary) -> Self {
        Self {
            id: event.window_start.as_ms().to_string(),
            event,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable(error) => Self::internal(error),
            error @ StoreError::DynamoDb(_) => {
                tracing::warn!(%error, "a request failed");
                Self::unavailable("the counts cannot be reached")
            }
        }
    }
}
