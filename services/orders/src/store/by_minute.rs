//! The orders of each minute, counted in SQL.

use events::{Amount, Amounts, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, instant, signed, sum_of_parts, unsigned};
use crate::minutes::{Minute, Minutes};

/// The index `orders_created_in` covers this query. Totals are added up in two parts, because SQLite refuses sums beyond 64
/// bits, and MariaDB cuts them off.
const BY_MINUTE: &str = "SELECT created_at_ms - created_at_ms % 60000 AS minute_ms, currency, COUNT(*) AS orders, \
                         CAST(SUM((total_cents - total_cents % 1000000000) / 1000000000) AS SIGNED) AS billions, \
                         CAST(SUM(total_cents % 1000000000) AS SIGNED) AS rest \
                         FROM orders WHERE created_at_ms >= ? AND created_at_ms < ? \
                         GROUP BY minute_ms, currency ORDER BY minute_ms";

/// The orders of one minute in one currency.
struct Share {
    minute: Timestamp,
    orders: u64,
    amount: Amount,
}

impl Store {
    /// Returns the count and totals of every minute that has an order, oldest first.
    pub async fn by_minute(&self, minutes: Minutes) -> Result<Vec<Minute>, StoreError> {
        let query = sqlx::query(BY_MINUTE)
            .bind(signed(minutes.from_ms)?)
            .bind(signed(minutes.to_ms)?);
        let rows = query.fetch_all(self.database.pool()).await?;
        let shares: Vec<Share> = rows.iter().map(share).collect::<Result<_, _>>()?;

        let minutes = shares.chunk_by(|one, other| one.minute == other.minute);
        Ok(minutes.map(minute).collect())
    }
}

/// Combines the shares of one minute.
fn minute(shares: &[Share]) -> Minute {
    let minute = shares[0].minute;
    Minute {
        id: minute.as_ms(),
        minute,
        orders: shares.iter().map(|share| share.orders).sum(),
        amounts: shares.iter().map(|share| share.amount).collect::<Amounts>(),
    }
}

fn share(row: &AnyRow) -> Result<Share, sqlx::Error> {
    let code: String = row.try_get("currency")?;
    let currency = code
        .parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;

    Ok(Share {
        minute: instant(row.try_get("minute_ms")?)?,
        orders: unsigned(row.try_get("orders")?)?,
        amount: Amount {
            currency,
            minor_units: sum_of_parts(row)?,
        },
    })
}
