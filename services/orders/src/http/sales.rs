//! The route of sales by step of time.

use axum::extract::State;
use chassis::auth::Trusted;
use chassis::{Json, Problem, Query, Result};
use events::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Orders;
use crate::sales::{MAX_LINES_READ, Range, Sales, Sold, StepLength};

/// The query. The range covers every step that it touches.
#[derive(Deserialize)]
pub(super) struct SalesQuery {
    from: Timestamp,
    to: Timestamp,
    step: StepLength,
    product: Option<Uuid>,
    category: Option<String>,
}

/// The reply.
#[derive(Serialize)]
pub(super) struct SalesPage {
    items: Vec<Sales>,
    /// Always `None`, as the range is one page. Every list has this field.
    next: Option<String>,
    /// The name that the product had when it was last ordered.
    name: Option<String>,
}

/// `GET /orders/sales`: the steps in which the product or the category was sold, oldest first.
pub(super) async fn list(
    _: Trusted,
    State(orders): State<Orders>,
    Query(query): Query<SalesQuery>,
) -> Result<Json<SalesPage>> {
    let sold = Sold::named(query.product, query.category)?;
    let range = Range::touched_by(query.from, query.to, query.step)?;

    let store = &orders.placing.store;
    let Some(items) = store.sold(&sold, range).await? else {
        let detail = format!(
            "the range has more than {MAX_LINES_READ} lines of orders: choose a shorter one"
        );
        return Err(Problem::unprocessable(detail).field("from"));
    };

    Ok(Json(SalesPage {
        items,
        next: None,
        name: store.name_sold(&sold, range).await?,
    }))
}
