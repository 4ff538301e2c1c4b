//! `GET /analytics/explain`: the orders behind the count of a user in a window.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use chassis::auth::Admin;
use chassis::{Json, Problem, Query, Result};
use events::{ORDERS, ORDERS_DEAD_LETTER, ORDERS_LATE, Timestamp, WindowCount};
use record_log::{LogError, RecordLog};
use serde::{Deserialize, Serialize};

use super::{Analytics, Shown, UserId};
use crate::explain::scan::{Limits, Scan};
use crate::explain::{Counted, ExplainedOrder, Findings, Selection};
use crate::store::Starts;

/// The limits of one explanation. The gateway waits ten seconds for a reply.
const LIMITS: Limits = Limits {
    records: 5_000_000,
    time: Duration::from_secs(8),
};
/// Maximum number of orders of one explanation.
const MOST_ORDERS: usize = 10_000;
/// Maximum difference between the clocks. By the log's clock, an order is appended at most this long before its event
/// time.
const CLOCKS_DIFFER_MS: u64 = 10 * 60_000;
/// The value of `Retry-After` while another explanation is running.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The query.
#[derive(Debug, Deserialize)]
pub(super) struct ExplainQuery {
    user: UserId,
    /// The first instant of the window.
    window: Timestamp,
}

/// The reply.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    /// The count as the stream job has published it.
    published: Shown<WindowCount>,
    /// The number and totals of the orders that are counted according to the log.
    counted: Counted,
    /// Whether both have the same number and totals, so that the counted `items` are the orders behind the count.
    agrees: bool,
    /// The time, by the log's clock, before which appended records were not looked for.
    appended_since: Timestamp,
    /// Number of records that were read.
    records_read: u64,
    /// The gaps: records that were not read. Empty if all were.
    gaps: Vec<String>,
    /// The orders of the user in the window, counted or not.
    items: Vec<ExplainedOrder>,
    /// Always `None`, as the orders are one page. Every list has this field.
    next: Option<String>,
}

/// The log could not be read.
struct Unreadable(LogError);

pub(super) async fn explain(
    _: Admin,
    State(analytics): State<Analytics>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>> {
    let published = analytics.published(query.user, query.window).await?;
    let Ok(turn) = Arc::clone(&analytics.explaining).try_acquire_owned() else {
        let detail = "another count is being explained; try again in a few seconds";
        return Err(Problem::too_many_requests(detail, RETRY_AFTER));
    };

    // Calls of the log block. The turn moves to the thread, so that it stays taken if the caller disconnects.
    let log = Arc::clone(&analytics.log);
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read(&*log, published)
    });
    let explanation = work.await.map_err(Problem::internal)?;
    Ok(Json(explanation.map_err(Unreadable)?))
}

impl Analytics {
    /// Returns the published count of a user in the window that begins at this instant.
    async fn published(&self, user: UserId, window: Timestamp) -> Result<WindowCount> {
        let UserId(user_id) = user;
        let after = Timestamp::from_ms(window.as_ms() + 1);
        let starts = Starts {
            from: window,
            to: after,
        };
        if let Some(count) = self.store.of_user(user_id, starts, 1).await?.pop() {
            return Ok(count);
        }

        let around = self
            .store
            .summaries_between(window, after.unwrap_or(window))
            .await?;
        match around.first() {
            Some(other) if other.window_start != window => {
                let detail = format!(
                    "no window begins at {window}; the window that contains it begins at {}",
                    other.window_start
                );
                Err(Problem::unprocessable(detail).field("window"))
            }
            _ => Err(Problem::not_found(format!(
                "there is no count of user {user_id} in a window that begins at {window}"
            ))),
        }
    }
}

/// Reads the orders behind a count from the log.
fn read(log: &dyn RecordLog, published: WindowCount) -> std::result::Result<Explanation, LogError> {
    let start_ms = published.window_start.as_ms();
    let since_ms = start_ms.saturating_sub(CLOCKS_DIFFER_MS);
    let mut scan = Scan::new(log, since_ms, LIMITS);
    let mut findings = Findings::new(Selection::of(&published), MOST_ORDERS);

    // A record is on `orders` before it is on a side topic, so the side topics are read last.
    scan.topic(ORDERS, &mut |record| findings.note_order(record))?;
    scan.topic(ORDERS_LATE, &mut |record| {
        findings.note_late(record);
        true
    })?;
    scan.topic(ORDERS_DEAD_LETTER, &mut |record| {
        findings.note_rejected(record);
        true
    })?;

    let (records_read, gaps) = scan.conclude();
    let items = findings.explained();
    let counted = Counted::of(&items);
    Ok(Explanation {
        agrees: counted.agrees_with(&published),
        published: Shown::from(published),
        counted,
        appended_since: Timestamp::from_ms(since_ms).unwrap_or(Timestamp::EPOCH),
        records_read,
        gaps,
        items,
        next: None,
    })
}

impl From<Unreadable> for Problem {
    fn from(Unreadable(error): Unreadable) -> Self {
        tracing::warn!(%error, "a count cannot be explained");
        Self::unavailable("the log with the orders cannot be read right now")
    }
}
