//! The orders of each minute, counted in SQL.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, instant, signed, unsigned};
use crate::minutes::{Minute, Minutes};

/// The index `orders_created` covers this query.
const BY_MINUTE: &str = "SELECT created_at_ms - created_at_ms % 60000 AS minute_ms, COUNT(*) AS orders, \
                         CAST(SUM(total_cents) AS SIGNED) AS cents \
                         FROM orders WHERE created_at_ms >= ? AND created_at_ms < ? \
                         GROUP BY minute_ms ORDER BY minute_ms";

impl Store {
    /// Returns the count and total of every minute that has an order, oldest first.
    pub async fn by_minute(&self, minutes: Minutes) -> Result<Vec<Minute>, StoreError> {
        let query = sqlx::query(BY_MINUTE)
            .bind(signed(minutes.from_ms)?)
            .bind(signed(minutes.to_ms)?);
        let rows = query.fetch_all(self.database.pool()).await?;
        Ok(rows.iter().map(minute).collect::<Result<_, _>>()?)
    }
}

fn minute(row: &AnyRow) -> Result<Minute, sqlx::Error> {
    let minute = instant(row.try_get("minute_ms")?)?;
    Ok(Minute {
        id: minute.as_ms(),
        minute,
        orders: unsigned(row.try_get("orders")?)?,
        total_cents: unsigned(row.try_get("cents")?)?,
    })
}
