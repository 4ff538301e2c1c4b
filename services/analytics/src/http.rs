//! The REST interface of the counts.

mod audit;
mod board;
mod explain;
mod format;
mod recent;
mod sales;
mod series;
mod stream;
mod summary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::auth::Caller;
use chassis::{Json, Page, PageQuery, Path, Problem, Query, Result, Shutdown, described};
use events::{Timestamp, WindowCount, WindowSummary};
use follower::Lag;
use record_log::RecordLog;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

use crate::feed::Feed;
use crate::orders::Orders;
use crate::store::{Starts, Store, StoreError};

/// The OpenAPI description of the service.
const DESCRIPTION: &str = include_str!("../openapi.json");

/// The state shared by the handlers.
#[derive(Clone)]
pub struct Analytics {
    /// The tables of the counts.
    pub store: Store,
    /// The live feed.
    pub feed: Feed,
    /// The number of results that are not yet written.
    pub lag: Lag,
    /// The client of the orders service, for the audit.
    pub orders: Orders,
    /// The time after the end of a minute until the audit counts uncounted orders as a difference.
    pub audit_patience: Duration,
    /// Ends the streams when requested.
    pub shutdown: Shutdown,
    /// The latest summary and its time. The first request that finds it too old computes a new one; the others wait for
    /// it.
    pub summary: Arc<Mutex<Option<(Instant, summary::Summarized)>>>,
    /// The latest board and its time.
    pub latest_board: Arc<Mutex<Option<(Instant, board::Board)>>>,
    /// One permit for each series that may be computed at the same time.
    pub turns: Arc<Semaphore>,
    /// The log, from which counts are explained.
    pub log: Arc<dyn RecordLog>,
    /// The one permit to explain a count.
    pub explaining: Arc<Semaphore>,
}

/// A user's id in a query: at most 2^63 - 1, because ids come from SQL.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
struct UserId(u64);

impl TryFrom<u64> for UserId {
    type Error = &'static str;

    fn try_from(id: u64) -> std::result::Result<Self, Self::Error> {
        if i64::try_from(id).is_ok() {
            Ok(Self(id))
        } else {
            Err("ids of users are at most 9223372036854775807")
        }
    }
}

/// An object with its id. The id of a count is `<user>-<window start in ms>`; that of a window is its start in ms.
#[derive(Clone, Debug, Serialize)]
pub struct Shown<T> {
    id: String,
    #[serde(flatten)]
    event: T,
}

/// The freshness of the counts.
#[derive(Clone, Debug, Serialize)]
struct Freshness {
    /// The end of the newest known window.
    newest_window_end: Option<Timestamp>,
    /// Number of results that are not yet written; null until the log has been queried.
    lag_records: Option<u64>,
}

/// Returns the routes of this service.
pub fn router(analytics: Analytics) -> Router {
    let routes = Router::new()
        .route("/analytics/summary", get(summary::summary))
        .route("/analytics/recent", get(recent::recent))
        .route("/analytics/series", get(series::series))
        .route("/analytics/board", get(board::board))
        .route("/analytics/users/{id}", get(of_user))
        .route("/analytics/stream", get(stream::stream))
        .route("/analytics/audit", get(audit::audit))
        .route("/analytics/explain", get(explain::explain))
        .with_state(analytics);
    described(routes, DESCRIPTION)
}

/// Returns the range of windows that start from `from` on and before `to`.
fn starts(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Starts> {
    let from = from.unwrap_or(Timestamp::EPOCH);
    if to.is_some_and(|to| from >= to) {
        return Err(Problem::bad_request("the range must end after it begins").field("to"));
    }
    Ok(Starts { from, to })
}

fn page(counts: Page<WindowCount>) -> Page<Shown<WindowCount>> {
    Page {
        items: counts.items.into_iter().map(Shown::from).collect(),
        next: counts.next,
    }
}

async fn of_user(
    caller: Caller,
    State(analytics): State<Analytics>,
    Path(id): Path<u64>,
    Query(page_query): Query<PageQuery>,
) -> Result<Json<Page<Shown<WindowCount>>>> {
    caller.require_user(id)?;
    let one_more = page_query.limit.items() + 1;
    let before = page_query.after::<Timestamp>()?;
    let starts = Starts {
        from: Timestamp::EPOCH,
        to: before,
    };

    let counts = analytics.store.of_user(id, starts, one_more).await?;
    let counts = Page::cut(counts, page_query.limit, |count| count.window_start);
    Ok(Json(page(counts)))
}

impl Analytics {
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
