//! The number of each account's unpaid orders and of the pieces in them. Each account has one row. The transactions
//! that store an order, pay it or end it change the row.

use chassis::sql::Database;
use sqlx::AnyConnection;

use super::StoreError;
use crate::order::{Item, Order};

const ADD: &str = "UPDATE unpaid_orders SET orders = orders + 1, pieces = pieces + ? \
                   WHERE user_id = ? AND orders < ? AND pieces <= ?";
const INSERT: &str = "INSERT INTO unpaid_orders (user_id, orders, pieces) VALUES (?, 0, 0)";
const SUBTRACT: &str = "UPDATE unpaid_orders SET \
                        orders = CASE WHEN orders > 0 THEN orders - 1 ELSE 0 END, \
                        pieces = CASE WHEN pieces > ? THEN pieces - ? ELSE 0 END WHERE user_id = ?";

/// The limit of one account's unpaid orders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnpaidLimit {
    /// Number of orders.
    pub orders: u32,
    /// Number of pieces in all of them.
    pub pieces: u32,
}

/// The reason an order is not stored: the account holds too much unpaid.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "an account may have {orders} unpaid orders with {pieces} pieces in total; pay or cancel one, or order less"
)]
pub struct TooMuchUnpaid {
    orders: u32,
    pieces: u32,
}

impl UnpaidLimit {
    /// Returns the refusal of an order beyond the limit.
    pub fn refusal(self) -> TooMuchUnpaid {
        TooMuchUnpaid {
            orders: self.orders,
            pieces: self.pieces,
        }
    }
}

/// Adds an order that is stored in the same transaction, if the limit allows it. [`begin`] has inserted the account's
/// row. The numbers are also kept without a limit, so that a limit can be set later.
pub(super) async fn add(
    connection: &mut AnyConnection,
    order: &Order,
    limit: Option<UnpaidLimit>,
) -> Result<(), StoreError> {
    let pieces = pieces(&order.items);
    let most_orders = limit.map_or(i64::MAX, |limit| limit.orders.into());
    let most_pieces = limit.map_or(i64::MAX, |limit| i64::from(limit.pieces) - pieces);

    let added = sqlx::query(ADD)
        .bind(pieces)
        .bind(order.user_id)
        .bind(most_orders)
        .bind(most_pieces)
        .execute(&mut *connection)
        .await?;
    if added.rows_affected() > 0 {
        return Ok(());
    }

    // Without a limit, no row is changed only if the account's row is missing.
    match limit {
        Some(limit) => Err(limit.refusal().into()),
        None => Err(StoreError::Contended),
    }
}

/// Inserts the row of an account that has none, in a transaction of its own. If two orders inserted it in their own
/// transactions at the same time, each would wait for the row that the other has read, and the database would end one
/// of them.
pub(super) async fn begin(database: &Database, user_id: i64) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let inserted = sqlx::query(INSERT)
        .bind(user_id)
        .execute(transaction.connection())
        .await;
    match inserted {
        Ok(_) => Ok(transaction.commit().await?),
        Err(error) if chassis::sql::is_duplicate(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Subtracts an order that is no longer pending.
pub(super) async fn subtract(
    connection: &mut AnyConnection,
    order: &Order,
) -> Result<(), StoreError> {
    let pieces = pieces(&order.items);
    sqlx::query(SUBTRACT)
        .bind(pieces)
        .bind(pieces)
        .bind(order.user_id)
        .execute(connection)
        .await?;
    Ok(())
}

fn pieces(items: &[Item]) -> i64 {
    items.iter().map(|item| i64::from(item.quantity)).sum()
}
