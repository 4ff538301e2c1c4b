//! `GET /analytics/series`: orders and totals by minute, hour or day, of all users or of one. The series of a product or
//! of a category is in [`sales`].

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chassis::auth::Admin;
use chassis::{Problem, Query, Result};
use events::Timestamp;
use futures::stream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::format::{Cell, Column, Format, Kind, Row, document, table};
use super::{Analytics, Freshness, UserId, sales};
use crate::audit::StoredMinute;
use crate::sales::Category;
use crate::series::{NoSeries, Point, Series, Step, Steps};
use crate::store::{Starts, StoreError};

/// The time limit for reading the stored orders of minutes that are not counted yet.
const STORED_PATIENCE: Duration = Duration::from_secs(1);

/// The query.
#[derive(Debug, Deserialize)]
pub(super) struct SeriesQuery {
    #[serde(default)]
    step: Step,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    user: Option<UserId>,
    product: Option<Uuid>,
    category: Option<Category>,
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
    let sold = sales::named(query.user.is_some(), query.product, query.category)?;
    if let Some(sold) = sold {
        return analytics.sales(sold, query.step, steps, format).await;
    }

    // A series reads every window of its range, up to 31 days, so only few are computed at the same time.
    let turn = analytics.turns.acquire().await;
    let series = match query.user {
        None => analytics.series_of_all(steps, now).await?,
        Some(UserId(user_id)) => analytics.series_of_user(user_id, steps).await?,
    };
    drop(turn);
    let points = series.summed?.into_points(series.counted_until);

    match format {
        Format::Json => Ok(document(Points {
            items: points,
            next: None,
            freshness: analytics.freshness().await?,
        })),
        Format::Table(format) => table(format, "series", stream::iter([Ok(points)])).await,
    }
}

/// A series, and the instant until which the stream job has counted.
struct Counted {
    summed: std::result::Result<Series, NoSeries>,
    counted_until: Option<Timestamp>,
}

impl Analytics {
    /// Returns the series of all users, including orders that are stored but not counted yet.
    async fn series_of_all(
        &self,
        steps: Steps,
        now: Timestamp,
    ) -> std::result::Result<Counted, StoreError> {
        // This is read first, so that a window that is counted meanwhile is left out, and not added twice.
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
                    series.add_window(&window);
                }
            })
            .await?;

        // The sum of sessions is of a day that is not over yet.
        Ok(Counted {
            summed: series.by_steps(),
            counted_until: counted_until.map(|until| until.min(now)),
        })
    }

    async fn series_of_user(
        &self,
        user_id: u64,
        steps: Steps,
    ) -> std::result::Result<Counted, StoreError> {
        let counted_until = self.store.newest_window_end().await?;
        let starts = Starts {
            from: steps.from(),
            to: Some(steps.to()),
        };

        let mut series = Series::new(steps);
        for window in self.windows_of(user_id, starts).await? {
            series.add(window.window_start, window.order_count, &window.amounts);
        }

        Ok(Counted {
            summed: Ok(series),
            counted_until,
        })
    }

    /// Returns the stored orders by minute, or none if the orders service does not reply in time.
    pub(super) async fn stored(&self, from: Timestamp, to: Timestamp) -> Option<Vec<StoredMinute>> {
        let asked = tokio::time::timeout(STORED_PATIENCE, self.orders.by_minute(from, to));
        match asked.await {
            Ok(Ok(minutes)) => Some(minutes),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the orders service did not return the minutes that are not counted yet");
                None
            }
            Err(_) => None,
        }
    }
}

impl From<NoSeries> for Problem {
    fn from(error: NoSeries) -> Self {
        let detail = error.to_string();
        match error {
            NoSeries::Empty => Self::bad_request(detail).field("to"),
            NoSeries::TooManyPoints { .. } => Self::bad_request(detail).field("step"),
            NoSeries::TooLong => Self::bad_request(detail).field("from"),
            NoSeries::NotBySteps { .. } => Self::conflict(detail).field("step"),
        }
    }
}

impl Row for Point {
    const COLUMNS: &'static [Column] = &[
        Column("id", Kind::Number),
        Column("start", Kind::Instant),
        Column("end", Kind::Instant),
        Column("orders", Kind::Number),
        Column("total_cents", Kind::OptionalNumber),
        Column("totals", Kind::Amounts),
        Column("is_provisional", Kind::Flag),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Number(self.id),
            Cell::Instant(self.start),
            Cell::Instant(self.end),
            Cell::Number(self.orders),
            Cell::OptionalNumber(self.amounts.total_cents()),
            Cell::Amounts(self.amounts.as_slice().to_vec()),
            Cell::Flag(self.is_provisional),
        ]
    }
}
