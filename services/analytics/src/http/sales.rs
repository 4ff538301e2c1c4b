//! The series of a product or of a category, a part of `GET /analytics/series`.

use axum::response::Response;
use chassis::{Problem, Result};
use events::Timestamp;
use futures::stream;
use serde::Serialize;
use uuid::Uuid;

use super::Analytics;
use super::format::{Cell, Column, Format, Kind, Row, document, table};
use crate::sales::{Category, SalesPoint, Sold, points};
use crate::series::{Step, Steps};

/// The reply.
#[derive(Debug, Serialize)]
struct Sales {
    items: Vec<SalesPoint>,
    /// Always `None`, as the range is one page. Every list has this field.
    next: Option<String>,
    /// The product; none in the series of a category.
    product: Option<Product>,
    /// The category; none in the series of a product.
    category: Option<Category>,
}

/// The product of a series.
#[derive(Debug, Serialize)]
struct Product {
    id: Uuid,
    /// The name that it had when it was last ordered, even if it was deleted since; none if it was never ordered.
    name: Option<String>,
}

impl Analytics {
    /// Returns the series of a product or of a category as a reply of this format.
    pub(super) async fn sales(
        &self,
        sold: Sold,
        step: Step,
        steps: Steps,
        format: Format,
    ) -> Result<Response> {
        // Read first, so that a step that is over by this clock was over when the orders were read.
        let now = Timestamp::now();
        let turn = self.turns.acquire().await;
        let stored = self.orders.sales(&sold, step, steps).await?;
        drop(turn);
        let points = points(steps, stored.items, now);

        let Format::Table(format) = format else {
            let (product, category) = match sold {
                Sold::Product(id) => {
                    let name = stored.name;
                    (Some(Product { id, name }), None)
                }
                Sold::Category(category) => (None, Some(category)),
            };
            return Ok(document(Sales {
                items: points,
                next: None,
                product,
                category,
            }));
        };
        table(format, "sales", stream::iter([Ok(points)])).await
    }
}

/// Returns the product or the category that a query names, if any. A series is of one thing.
///
/// # Errors
/// A 400 if the query names several.
pub(super) fn named(
    has_user: bool,
    product: Option<Uuid>,
    category: Option<Category>,
) -> Result<Option<Sold>> {
    let several = |field: &'static str| {
        let detail = "a series is of one user, of one product or of one category";
        Err(Problem::bad_request(detail).field(field))
    };
    match (product, category) {
        (Some(_), Some(_)) => several("category"),
        (Some(_), None) if has_user => several("product"),
        (None, Some(_)) if has_user => several("category"),
        (Some(product), None) => Ok(Some(Sold::Product(product))),
        (None, Some(category)) => Ok(Some(Sold::Category(category))),
        (None, None) => Ok(None),
    }
}

impl Row for SalesPoint {
    const COLUMNS: &'static [Column] = &[
        Column("id", Kind::Number),
        Column("start", Kind::Instant),
        Column("end", Kind::Instant),
        Column("orders", Kind::Number),
        Column("units", Kind::Number),
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
            Cell::Number(self.units),
            Cell::OptionalNumber(self.amounts.total_cents()),
            Cell::Amounts(self.amounts.as_slice().to_vec()),
            Cell::Flag(self.is_provisional),
        ]
    }
}
