//! `GET /analytics/series`: orders and totals by minute, hour or day.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chassis::auth::Admin;
use chassis::{Problem, Query, Result};
use events::Timestamp;
use futures::stream;
use serde::{Deserialize, Serialize};

use super::format::{Cell, Format, Row, document, table};
use super::{Analytics, Freshness, UserId};
use crate::audit::StoredMinute;
use crate::series::{NoSeries, Point, Series, Step, Steps};
use crate::store::{Starts, StoreError};

/// The time limit for reading the orders of minutes that are not counted yet.
const STORED_PATIENCE: Duration = Duration::from_secs(1);

/// The query.
#[derive(Debug, Deserialize)]
pub(super) struct SeriesQuery {
    #[serde(default)]
    step: Step,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    user: Option<UserId>,
}

/// The reply.
#[derive(Debug, Serialize)]
struct Points {
    items: Vec<Point>,
    /// Always `None`, as the range is one page. Every list has this field.
    next: Option<String>,
    freshness: Freshness,
}

pub(super) async fn series(
    _: Admin,
    format: Format,
    State(analytics): State<Analytics>,
    Query(query): Query<SeriesQuery>,
) -> Result<Response> {
    let now = Timestamp::now();
    let steps = Steps::touched_by(query.from, query.to, query.step, now)?;

    // A series of 31 days reads every window of them, so few are computed at a time.
    let turn = analytics.turns.acquire().await;
    let points = match query.user {
        None => analytics.series_of_all(steps, now).await?,
        Some(UserId(user_id)) => analytics.series_of_user(user_id, steps).await?,
    };
    drop(turn);

    match format {
        Format::Json => Ok(document(Points {
            items: points,
            next: None,
            freshness: analytics.freshness().await?,
        })),
        Format::Table(format) => table(format, "series", stream::iter([Ok(points)])).await,
    }
}

impl Analytics {
    /// Returns the orders of all users, with the ones that are stored and not counted yet.
    async fn series_of_all(
        &self,
        steps: Steps,
        now: Timestamp,
    ) -> std::result::Result<Vec<Point>, StoreError> {
        // Read first: a window that is counted in between is left out rather than added twice.
        let counted_until = self.store.newest_summary_end().await?;
        let uncounted = match steps.uncounted(counted_until, now) {
            None => Vec::new(),
            Some((from, to)) => self.stored(from, to).await.unwrap_or_default(),
        };

        let mut series = Series::new(steps);
        series.add_stored(&uncounted);
        let is_counted = |end| counted_until.is_some_and(|until| end <= until);
        self.store
            .for_each_summary(steps.from(), steps.to(), |window| {
                if is_counted(window.window_end) {
                    series.add(window.window_start, window.order_count, &window.amounts);
                }
            })
            .await?;

        Ok(series.into_points(counted_until))
    }

    async fn series_of_user(
        &self,
        user_id: u64,
        steps: Steps,
    ) -> std::result::Result<Vec<Point>, StoreError> {
        let counted_until = self.store.newest_window_end().await?;
        let starts = Starts {
            from: steps.from(),
            to: Some(steps.to()),
        };

        let mut series = Series::new(steps);
        for window in self.windows_of(user_id, starts).await? {
            series.add(window.window_start, window.order_count, &window.amounts);
        }

        Ok(series.into_points(counted_until))
    }

    /// Returns the stored orders by minute, or none if the orders service does not reply in time.
    pub(super) async fn stored(&self, from: Timestamp, to: Timestamp) -> Option<Vec<StoredMinute>> {
        let asked = tokio::time::timeout(STORED_PATIENCE, self.orders.by_minute(from, to));
        match asked.await {
            Ok(Ok(minutes)) => Some(minutes),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the minutes that are not counted yet are not shown");
                None
            }
            Err(_) => None,
        }
    }
}

impl From<NoSeries> for Problem {
    fn from(error: NoSeries) -> Self {
        let field = match error {
            NoSeries::Empty => "to",
            NoSeries::TooManyPoints { .. } => "step",
            NoSeries::TooLong => "from",
        };
        Self::bad_request(error.to_string()).field(field)
    }
}

impl Row for Point {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "start",
        "end",
        "orders",
        "total_cents",
        "totals",
        "is_provisional",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Number(self.id),
            Cell::instant(self.start),
            Cell::instant(self.end),
            Cell::Number(self.orders),
            Cell::maybe(self.amounts.total_cents()),
            Cell::amounts(self.amounts.as_slice()),
            Cell::Text(self.is_provisional.to_string()),
        ]
    }
}
