//! `GET /analytics/recent`: counts of users and windows, newest window first.

use axum::extract::State;
use axum::response::Response;
use chassis::auth::Admin;
use chassis::{Cursor, Limit, Page, Query, Result};
use events::{Timestamp, WindowCount};
use futures::{Stream, stream};
use serde::Deserialize;

use super::format::{Cell, Column, Format, Kind, Row, document, table};
use super::{Analytics, Shown, UserId, page, starts};
use crate::store::{Position, Starts, StoreError};

/// Number of counts that a table reads at a time.
const TABLE_PAGE: usize = 500;

/// The query, for windows that start at or after `from` and before `to`.
#[derive(Debug, Deserialize)]
pub(super) struct RecentQuery {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    user: Option<UserId>,
    limit: Option<Limit>,
    cursor: Option<Cursor>,
}

/// The counts that a query selects.
#[derive(Clone, Copy)]
struct Selected {
    starts: Starts,
    user: Option<UserId>,
}

pub(super) async fn recent(
    _: Admin,
    format: Format,
    State(analytics): State<Analytics>,
    Query(query): Query<RecentQuery>,
) -> Result<Response> {
    let after: Option<Position> = query.cursor.as_ref().map(Cursor::decode).transpose()?;
    let selected = Selected {
        starts: starts(query.from, query.to)?,
        user: query.user,
    };

    match format {
        Format::Json => {
            let limit = query.limit.unwrap_or_default();
            let counts = analytics
                .selected(selected, after, limit.items() + 1)
                .await?;
            Ok(document(page(Page::cut(counts, limit, Position::after))))
        }
        Format::Table(format) => {
            let limit = query.limit.map_or(usize::MAX, Limit::items);
            table(format, "counts", analytics.pages(selected, after, limit)).await
        }
    }
}

impl Analytics {
    async fn selected(
        &self,
        selected: Selected,
        after: Option<Position>,
        limit: usize,
    ) -> std::result::Result<Vec<WindowCount>, StoreError> {
        match selected.user {
            None => self.store.recent(selected.starts, after, limit).await,
            Some(UserId(user_id)) => {
                let before = after.and_then(|position| position.window_start());
                let left = before.map_or(selected.starts, |before| selected.starts.before(before));
                self.store.of_user(user_id, left, limit).await
            }
        }
    }

    /// Returns at most `limit` counts, read page by page.
    fn pages(
        self,
        selected: Selected,
        after: Option<Position>,
        limit: usize,
    ) -> impl Stream<Item = std::result::Result<Vec<Shown<WindowCount>>, StoreError>> + Send {
        stream::try_unfold(
            (self, after, limit),
            move |(analytics, after, left)| async move {
                let wanted = left.min(TABLE_PAGE);
                if wanted == 0 {
                    return Ok(None);
                }

                let counts = analytics.selected(selected, after, wanted).await?;
                let Some(last) = counts.last() else {
                    return Ok(None);
                };

                let after = Some(Position::after(last));
                let left = left - counts.len();
                let rows = counts.into_iter().map(Shown::from).collect();
                Ok(Some((rows, (analytics, after, left))))
            },
        )
    }
}

impl Row for Shown<WindowCount> {
    const COLUMNS: &'static [Column] = &[
        Column("id", Kind::Text),
        Column("user_id", Kind::Number),
        Column("window_start", Kind::Instant),
        Column("window_end", Kind::Instant),
        Column("order_count", Kind::Number),
        Column("total_cents", Kind::OptionalNumber),
        Column("totals", Kind::Amounts),
        Column("revision", Kind::Number),
    ];

    fn cells(&self) -> Vec<Cell> {
        let count = &self.event;
        vec![
            Cell::Text(self.id.clone()),
            Cell::Number(count.user_id),
            Cell::Instant(count.window_start),
            Cell::Instant(count.window_end),
            Cell::Number(count.order_count),
            Cell::OptionalNumber(count.amounts.total_cents()),
            Cell::Amounts(count.amounts.as_slice().to_vec()),
            Cell::Number(count.revision.into()),
        ]
    }
}
