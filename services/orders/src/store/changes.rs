//! Changes the state of an order, in one transaction: its row, the release of its stock, the numbers of the account's
//! unpaid orders, and the event.

use events::Timestamp;
use sqlx::{AnyConnection, Row};

use super::{ONE, Store, StoreError, claims, group, millis, outgoing, status, unpaid};
use crate::order::Order;
use crate::status::Status;

const STATUS: &str = "SELECT status, reservation_key, paid_by FROM orders WHERE id = ?";
const SET_STATUS: &str = "UPDATE orders SET status = ?, updated_at_ms = ? WHERE id = ?";
const SET_PAID_BY: &str = "UPDATE orders SET paid_by = ? WHERE id = ?";
const UNPAID: &str = "SELECT expires_at_ms, id FROM orders WHERE status = 'pending' AND expires_at_ms <= ? \
                      AND (expires_at_ms > ? OR (expires_at_ms = ? AND id > ?)) \
                      ORDER BY expires_at_ms, id LIMIT 100";
/// The value of `paid_by` of an order that was marked as paid without a payment: in cash, or by transfer.
const BY_HAND: &str = "by hand";

/// The outcome of a change of state.
pub enum Changed {
    To(Box<Order>),
    NotFrom(Status),
    /// The order was not paid, so no money can be returned.
    NotPaid,
    NoOrder,
}

/// The state of an order that is locked.
pub(super) struct Locked {
    pub id: i64,
    pub status: Status,
    pub paid_by: Option<String>,
    reservation_key: String,
}

impl Store {
    /// Changes the state of an order, if the current state allows it.
    pub async fn set_status(
        &self,
        id: i64,
        next: Status,
        now: Timestamp,
    ) -> Result<Changed, StoreError> {
        let mut transaction = self.database.write().await?;
        let Some(order) = self.lock(transaction.connection(), id).await? else {
            return Ok(Changed::NoOrder);
        };

        if !order.status.may_become(next) {
            return Ok(Changed::NotFrom(order.status));
        }
        if next == Status::Refunded && order.paid_by.is_none() {
            return Ok(Changed::NotPaid);
        }

        if next == Status::Paid {
            set_paid_by(transaction.connection(), id, BY_HAND).await?;
        }
        let order = enter(transaction.connection(), &order, next, now).await?;
        transaction.commit().await?;

        Ok(Changed::To(Box::new(order)))
    }

    /// Returns up to a hundred pending orders whose time to pay ended by `now`, with that time, earliest first. They
    /// follow `after`.
    pub async fn unpaid_at(
        &self,
        now: Timestamp,
        after: (i64, i64),
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = sqlx::query(UNPAID)
            .bind(millis(now))
            .bind(after.0)
            .bind(after.0)
            .bind(after.1)
            .fetch_all(self.database.pool())
            .await?;

        let pair = |row: &sqlx::any::AnyRow| Ok((row.try_get(0)?, row.try_get(1)?));
        Ok(rows.iter().map(pair).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Locks the row of an order until the transaction ends.
    pub(super) async fn lock(
        &self,
        connection: &mut AnyConnection,
        id: i64,
    ) -> Result<Option<Locked>, StoreError> {
        let locking = sqlx::query(self.database.dialect().locking(STATUS)).bind(id);
        let Some(row) = locking.fetch_optional(connection).await? else {
            return Ok(None);
        };

        Ok(Some(Locked {
            id,
            status: status(&row)?,
            paid_by: row.try_get("paid_by")?,
            reservation_key: row.try_get("reservation_key")?,
        }))
    }
}

/// Stores the id of the payment that pays an order.
pub(super) async fn set_paid_by(
    connection: &mut AnyConnection,
    id: i64,
    paid_by: &str,
) -> Result<(), StoreError> {
    sqlx::query(SET_PAID_BY)
        .bind(paid_by)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Changes the state of an order to `next`, which its current state must allow, with all consequences.
pub(super) async fn enter(
    connection: &mut AnyConnection,
    order: &Locked,
    next: Status,
    now: Timestamp,
) -> Result<Order, StoreError> {
    sqlx::query(SET_STATUS)
        .bind(next.name())
        .bind(millis(now))
        .bind(order.id)
        .execute(&mut *connection)
        .await?;

    if next.releases_stock() {
        claims::insert_released(connection, &order.reservation_key, now).await?;
    }

    let rows = sqlx::query(ONE)
        .bind(order.id)
        .fetch_all(&mut *connection)
        .await?;
    let changed = group(&rows)?.pop().ok_or(sqlx::Error::RowNotFound)?;

    if order.status == Status::Pending {
        unpaid::subtract(connection, &changed).await?;
    }
    outgoing::changed(connection, &changed).await?;

    Ok(changed)
}
