//! The route of orders by minute.

use axum::extract::State;
use chassis::auth::Trusted;
use chassis::{Json, Page, Query, Result};
use events::Timestamp;
use serde::Deserialize;

use super::Orders;
use crate::minutes::{Minute, Minutes};

/// The query. The range covers every minute that it touches.
#[derive(Deserialize)]
pub(super) struct RangeQuery {
    from: Timestamp,
    to: Timestamp,
}

/// `GET /orders/minutes`: the minutes that have orders, oldest first.
pub(super) async fn list(
    _: Trusted,
    State(orders): State<Orders>,
    Query(range): Query<RangeQuery>,
) -> Result<Json<Page<Minute>>> {
    let items = orders
        .placing
        .store
        .by_minute(Minutes::touched_by(range.from, range.to)?)
        .await?;
    Ok(Json(Page { items, next: None }))
}
