//! Orders in SQL. This module reads them; [`placing`] stores new ones, [`changes`] changes their states, and
//! [`payments`] contains their payments.

mod addresses;
mod by_minute;
mod changes;
mod claims;
mod outgoing;
mod payments;
mod placing;
mod sold;
mod unpaid;

pub use changes::Changed;
use chassis::sql::Database;
use chassis::{Limit, Problem};
pub use claims::{ClaimOutcome, KeyClaim};
use events::Timestamp;
pub use payments::Observed;
pub use placing::{PlaceOutcome, Placement};
use sqlx::Row;
use sqlx::any::AnyRow;
pub use unpaid::{TooMuchUnpaid, UnpaidLimit};

use crate::order::{Item, Order};
use crate::status::Status;

const ONE: &str = "SELECT o.id, o.user_id, o.status, o.total_cents, o.currency, o.created_at_ms, o.updated_at_ms, o.expires_at_ms, o.delivery, \
                   i.product_id, i.quantity, i.unit_price_cents, i.name \
                   FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.id = ? ORDER BY i.line";
const NEWEST: &str = "SELECT o.id, o.user_id, o.status, o.total_cents, o.currency, o.created_at_ms, o.updated_at_ms, o.expires_at_ms, o.delivery, \
                      i.product_id, i.quantity, i.unit_price_cents, i.name \
                      FROM (SELECT * FROM orders WHERE (? = '' OR status = ?) AND id < ? ORDER BY id DESC LIMIT ?) o \
                      JOIN order_items i ON i.order_id = o.id ORDER BY o.id DESC, i.line";
const NEWEST_OF_USER: &str = "SELECT o.id, o.user_id, o.status, o.total_cents, o.currency, o.created_at_ms, o.updated_at_ms, o.expires_at_ms, o.delivery, \
     i.product_id, i.quantity, i.unit_price_cents, i.name \
     FROM (SELECT * FROM orders WHERE user_id = ? AND (? = '' OR status = ?) AND id < ? ORDER BY id DESC LIMIT ?) o \
     JOIN order_items i ON i.order_id = o.id ORDER BY o.id DESC, i.line";

/// Access to the tables of this service.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

/// The body of the reply to the request that placed an order: the order as JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply(pub String);

/// The reason a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no such user")]
    NoUser,
    #[error("other requests under the same key got in the way too often")]
    Contended,
    #[error(transparent)]
    Unpaid(#[from] TooMuchUnpaid),
    #[error("SQL: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("an event cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn get(&self, id: i64) -> Result<Option<Order>, StoreError> {
        let rows = sqlx::query(ONE)
            .bind(id)
            .fetch_all(self.database.pool())
            .await?;
        Ok(group(&rows)?.pop())
    }

    /// Returns up to `limit` + 1 orders with lower ids than `before`, newest first. If a user or a state is given,
    /// only their orders are returned.
    pub async fn list(
        &self,
        user_id: Option<i64>,
        status: Option<Status>,
        before: i64,
        limit: Limit,
    ) -> Result<Vec<Order>, StoreError> {
        let query = match user_id {
            Some(user_id) => sqlx::query(NEWEST_OF_USER).bind(user_id),
            None => sqlx::query(NEWEST),
        };

        let status = status.map_or("", Status::name);
        let rows = query
            .bind(status)
            .bind(status)
            .bind(before)
            .bind(limit.and_one())
            .fetch_all(self.database.pool())
            .await?;
        Ok(group(&rows)?)
    }
}

/// Groups rows into orders. The rows of one order are adjacent, in the order of its lines.
fn group(rows: &[AnyRow]) -> Result<Vec<Order>, sqlx::Error> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let id = row.try_get("id")?;
        if orders.last().is_none_or(|order| order.id != id) {
            orders.push(head(id, row)?);
        }

        if let Some(order) = orders.last_mut() {
            order.items.push(item(row)?);
        }
    }

    Ok(orders)
}

fn head(id: i64, row: &AnyRow) -> Result<Order, sqlx::Error> {
    let status = status(row)?;
    let expires_at_ms: Option<i64> = row.try_get("expires_at_ms")?;
    let delivery: Option<String> = row.try_get("delivery")?;

    Ok(Order {
        id,
        user_id: row.try_get("user_id")?,
        status,
        total_cents: unsigned(row.try_get("total_cents")?)?,
        currency: row.try_get("currency")?,
        items: Vec::new(),
        created_at: instant(row.try_get("created_at_ms")?)?,
        updated_at: instant(row.try_get("updated_at_ms")?)?,
        expires_at: expires_at_ms
            .filter(|_| status == Status::Pending)
            .map(instant)
            .transpose()?,
        delivery: delivery
            .map(|json| serde_json::from_str(&json).map_err(decode))
            .transpose()?,
    })
}

fn item(row: &AnyRow) -> Result<Item, sqlx::Error> {
    Ok(Item {
        product_id: row
            .try_get::<String, _>("product_id")?
            .parse()
            .map_err(decode)?,
        quantity: u32::try_from(row.try_get::<i64, _>("quantity")?).map_err(decode)?,
        unit_price_cents: unsigned(row.try_get("unit_price_cents")?)?,
        name: row.try_get("name")?,
    })
}

fn status(row: &AnyRow) -> Result<Status, sqlx::Error> {
    let name: String = row.try_get("status")?;
    Status::from_name(&name)
        .ok_or_else(|| sqlx::Error::Decode(format!("{name:?} is not a status").into()))
}

fn instant(ms: i64) -> Result<Timestamp, sqlx::Error> {
    let instant = u64::try_from(ms).ok().and_then(Timestamp::from_ms);
    instant.ok_or_else(|| sqlx::Error::Decode(format!("{ms} ms is not an instant").into()))
}

fn millis(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_ms()).expect("the year 9999 fits")
}

fn unsigned(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(decode)
}

/// Returns the sum whose billions and rest were added up each on its own; at most the largest number.
fn sum_of_parts(row: &AnyRow) -> Result<u64, sqlx::Error> {
    let billions = unsigned(row.try_get("billions")?)?;
    let rest = unsigned(row.try_get("rest")?)?;
    let sum = u128::from(billions) * 1_000_000_000 + u128::from(rest);
    Ok(u64::try_from(sum).unwrap_or(u64::MAX))
}

fn signed(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoUser => Self::unprocessable("there is no such user").field("user_id"),
            StoreError::Contended => {
                Self::unavailable("another request under the same key is under way")
            }
            StoreError::Unpaid(error) => Self::conflict(error.to_string()).field("user_id"),
            StoreError::Sql(error) => error.into(),
            StoreError::Json(error) => Self::internal(error),
        }
    }
}
