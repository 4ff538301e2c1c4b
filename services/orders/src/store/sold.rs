//! The lines that sold a product or a category, added up in SQL by step of time and currency.

use events::{Amount, Amounts};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

use super::{Store, StoreError, instant, signed, sum_of_parts, unsigned};
use crate::sales::{MAX_LINES_READ, Range, Sales, Sold};

/// Counts the lines, up to one more than [`MAX_LINES_READ`], in an index alone.
const COUNT: &str = "SELECT COUNT(*) AS found FROM (SELECT 1 AS line FROM order_items i \
                     WHERE i.{column} = ? AND i.order_id >= ? AND i.order_id < ? LIMIT ?) counted";
/// Costs are added up in two parts, because SQLite refuses sums beyond 64 bits.
const SUMS: &str = "SELECT o.created_at_ms - o.created_at_ms % ? AS start_ms, o.currency AS currency, \
     COUNT(DISTINCT o.id) AS orders, CAST(SUM(i.quantity) AS SIGNED) AS units, \
     CAST(SUM((i.quantity * i.unit_price_cents - i.quantity * i.unit_price_cents % 1000000000) / 1000000000) AS SIGNED) AS billions, \
     CAST(SUM(i.quantity * i.unit_price_cents % 1000000000) AS SIGNED) AS rest \
     FROM order_items i JOIN orders o ON o.id = i.order_id \
     WHERE i.{column} = ? AND i.order_id >= ? AND i.order_id < ? \
     GROUP BY start_ms, currency ORDER BY start_ms, currency";
/// The name on the newest line of a product.
const NAME: &str = "SELECT name FROM order_items WHERE product_id = ? AND order_id < ? AND name IS NOT NULL \
                    ORDER BY order_id DESC LIMIT 1";

impl Store {
    /// Returns the sales of every step that has some, oldest first; none if more than [`MAX_LINES_READ`] lines would
    /// have to be added up.
    pub async fn sold(&self, sold: &Sold, range: Range) -> Result<Option<Vec<Sales>>, StoreError> {
        let count = AssertSqlSafe(COUNT.replace("{column}", column(sold)));
        let count = of_range(sqlx::query(count), sold, range).bind(i64::from(MAX_LINES_READ) + 1);
        let found: i64 = count
            .fetch_one(self.database.pool())
            .await?
            .try_get("found")?;
        if found > i64::from(MAX_LINES_READ) {
            return Ok(None);
        }

        let sums = AssertSqlSafe(SUMS.replace("{column}", column(sold)));
        let sums = sqlx::query(sums).bind(signed(range.step_ms)?);
        let rows = of_range(sums, sold, range)
            .fetch_all(self.database.pool())
            .await?;
        let shares: Vec<Sales> = rows.iter().map(share).collect::<Result<_, _>>()?;

        let steps = shares.chunk_by(|one, other| one.start == other.start);
        Ok(Some(steps.map(step).collect()))
    }

    /// Returns the name that the product had on its newest line before the end of the range.
    pub async fn name_sold(&self, sold: &Sold, range: Range) -> Result<Option<String>, StoreError> {
        let Sold::Product(product) = sold else {
            return Ok(None);
        };
        let query = sqlx::query(NAME)
            .bind(product.to_string())
            .bind(range.numbers().1);
        let row = query.fetch_optional(self.database.pool()).await?;
        Ok(row.map(|row| row.try_get("name")).transpose()?)
    }
}

/// Returns the column that the lines are selected by. An index begins with it, and continues with the order's number.
fn column(sold: &Sold) -> &'static str {
    match sold {
        Sold::Product(_) => "product_id",
        Sold::Category(_) => "category",
    }
}

fn of_range<'q>(
    query: Query<'q, Any, AnyArguments>,
    sold: &Sold,
    range: Range,
) -> Query<'q, Any, AnyArguments> {
    let value = match sold {
        Sold::Product(product) => product.to_string(),
        Sold::Category(name) => name.clone(),
    };
    let (least, after) = range.numbers();
    query.bind(value).bind(least).bind(after)
}

/// Combines the shares of one step. An order has one currency, so no order is in two of them.
fn step(shares: &[Sales]) -> Sales {
    let amounts = shares.iter().flat_map(|share| share.amounts.as_slice());
    Sales {
        orders: shares.iter().map(|share| share.orders).sum(),
        units: shares.iter().map(|share| share.units).sum(),
        amounts: amounts.copied().collect(),
        ..shares[0].clone()
    }
}

/// Reads the sales of one step in one currency.
fn share(row: &AnyRow) -> Result<Sales, sqlx::Error> {
    let code: String = row.try_get("currency")?;
    let currency = code
        .parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let amount = Amount {
        currency,
        minor_units: sum_of_parts(row)?,
    };

    let start = instant(row.try_get("start_ms")?)?;
    Ok(Sales {
        id: start.as_ms(),
        start,
        orders: unsigned(row.try_get("orders")?)?,
        units: unsigned(row.try_get("units")?)?,
        amounts: [amount].into_iter().collect::<Amounts>(),
    })
}
