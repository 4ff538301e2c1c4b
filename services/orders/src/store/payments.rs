//! Payments in SQL.

use std::time::Duration;

use events::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::changes::{self, Locked};
use super::{Store, StoreError, decode, instant, millis, signed, status, unsigned};
use crate::payment::{Paid, Payment, PaymentStatus};
use crate::status::Status;

const INSERT: &str = "INSERT INTO payments (id, order_id, status, token, total_cents, currency, reason, created_at_ms, updated_at_ms) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const ONE: &str = "SELECT p.id, p.order_id, p.status AS payment_status, p.token, p.total_cents, p.currency, p.reason, \
                   p.created_at_ms, p.updated_at_ms, o.status, o.paid_by \
                   FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = ?";
const OF_ORDER: &str = "SELECT p.id, p.order_id, p.status AS payment_status, p.token, p.total_cents, p.currency, p.reason, \
                        p.created_at_ms, p.updated_at_ms FROM payments p WHERE p.order_id = ? ORDER BY p.id";
const ORDER: &str = "SELECT order_id FROM payments WHERE id = ?";
const STATUS: &str = "SELECT status FROM payments WHERE id = ?";
const SET_STATUS: &str =
    "UPDATE payments SET status = ?, reason = ?, updated_at_ms = ? WHERE id = ?";
/// Selects the payments that need a call of the provider: without a decision, authorised, or captured for an order that
/// no longer needs the money.
const OPEN: &str = "SELECT p.id FROM payments p JOIN orders o ON o.id = p.order_id \
                    WHERE p.updated_at_ms <= ? AND p.id > ? AND (p.status IN ('pending', 'authorised') \
                    OR (p.status = 'captured' AND (o.paid_by IS NULL OR o.paid_by <> p.id \
                    OR o.status IN ('cancelled', 'expired', 'refunded')))) \
                    ORDER BY p.id LIMIT 100";
/// Maximum length of a stored reason, in characters.
const MAX_REASON_CHARS: usize = 500;

/// An observation of a payment: its state, as the provider reported it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observed {
    /// The state that it is in.
    pub status: PaymentStatus,
    /// The reason why it was declined.
    pub reason: Option<String>,
}

impl Observed {
    /// Returns the observation of a state.
    pub fn of(status: PaymentStatus) -> Self {
        Self {
            status,
            reason: None,
        }
    }

    /// Returns the observation that a payment was declined.
    pub fn declined(reason: &str) -> Self {
        Self {
            status: PaymentStatus::Declined,
            reason: Some(reason.chars().take(MAX_REASON_CHARS).collect()),
        }
    }
}

impl Store {
    /// Stores a new payment, before the provider is called.
    pub async fn add_payment(&self, payment: &Payment) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        sqlx::query(INSERT)
            .bind(payment.id.to_string())
            .bind(payment.order_id)
            .bind(payment.status.name())
            .bind(&payment.token)
            .bind(signed(payment.total_cents)?)
            .bind(&payment.currency)
            .bind(&payment.reason)
            .bind(millis(payment.created_at))
            .bind(millis(payment.updated_at))
            .execute(transaction.connection())
            .await?;

        Ok(transaction.commit().await?)
    }

    /// Returns a payment, and the state of its order.
    pub async fn payment(&self, id: Uuid) -> Result<Option<(Payment, Paid)>, StoreError> {
        let row = sqlx::query(ONE)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await?;
        Ok(row.as_ref().map(payment_of_order).transpose()?)
    }

    /// Returns the payments of an order, the oldest first.
    pub async fn payments_of(&self, order_id: i64) -> Result<Vec<Payment>, StoreError> {
        let rows = sqlx::query(OF_ORDER)
            .bind(order_id)
            .fetch_all(self.database.pool())
            .await?;
        Ok(rows.iter().map(payment).collect::<Result<_, _>>()?)
    }

    /// Returns up to a hundred payments that need a step and have not changed for `age`. Their ids follow `after`.
    pub async fn open_payments(
        &self,
        now: Timestamp,
        age: Duration,
        after: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let rows = sqlx::query(OPEN)
            .bind(millis(now).saturating_sub(age_ms))
            .bind(after)
            .fetch_all(self.database.pool())
            .await?;
        Ok(rows.iter().map(id).collect::<Result<_, _>>()?)
    }

    /// Stores an observation of a payment, and changes its order accordingly. An observation that is not a next state
    /// of the payment, because it is repeated or late, changes nothing. Returns whether the payment exists.
    pub async fn observe(
        &self,
        id: Uuid,
        observed: Observed,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let id = id.to_string();
        let found = sqlx::query(ORDER).bind(&id);
        let Some(row) = found.fetch_optional(transaction.connection()).await? else {
            return Ok(false);
        };

        // The order's lock also protects its payments, so that two of them are decided one after the other.
        let order = self
            .lock(transaction.connection(), row.try_get(0)?)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;

        let row = sqlx::query(self.database.dialect().locking(STATUS))
            .bind(&id)
            .fetch_one(transaction.connection())
            .await?;
        if !payment_status(row.try_get("status")?)?.may_become(observed.status) {
            return Ok(true);
        }

        sqlx::query(SET_STATUS)
            .bind(observed.status.name())
            .bind(observed.reason)
            .bind(millis(now))
            .bind(&id)
            .execute(transaction.connection())
            .await?;

        if let Some(next) = follows(&order, &id, observed.status) {
            if next == Status::Paid {
                changes::set_paid_by(transaction.connection(), order.id, &id).await?;
            }
            changes::enter(transaction.connection(), &order, next, now).await?;
        }

        transaction.commit().await?;
        Ok(true)
    }
}

/// Returns the state that the order enters because of this state of its payment; none if it does not change.
fn follows(order: &Locked, id: &str, payment: PaymentStatus) -> Option<Status> {
    let next = match payment {
        payment if payment.pays() => Status::Paid,
        PaymentStatus::Refunded => Status::Refunded,
        _ => return None,
    };

    // An order without another payment also becomes refunded if the money came too late and was returned.
    let is_of_order = order.paid_by.as_deref().is_none_or(|paid_by| paid_by == id);
    (is_of_order && order.status.may_become(next)).then_some(next)
}

fn payment_of_order(row: &AnyRow) -> Result<(Payment, Paid), sqlx::Error> {
    let payment = payment(row)?;
    let paid_by: Option<String> = row.try_get("paid_by")?;
    let order = Paid {
        status: status(row)?,
        is_by_this: paid_by.is_some_and(|paid_by| paid_by == payment.id.to_string()),
    };
    Ok((payment, order))
}

fn payment(row: &AnyRow) -> Result<Payment, sqlx::Error> {
    Ok(Payment {
        id: id(row)?,
        order_id: row.try_get("order_id")?,
        status: payment_status(row.try_get("payment_status")?)?,
        total_cents: unsigned(row.try_get("total_cents")?)?,
        currency: row.try_get("currency")?,
        reason: row.try_get("reason")?,
        created_at: instant(row.try_get("created_at_ms")?)?,
        updated_at: instant(row.try_get("updated_at_ms")?)?,
        token: row.try_get("token")?,
    })
}

fn id(row: &AnyRow) -> Result<Uuid, sqlx::Error> {
    row.try_get::<String, _>("id")?.parse().map_err(decode)
}

fn payment_status(name: &str) -> Result<PaymentStatus, sqlx::Error> {
    PaymentStatus::from_name(name)
        .ok_or_else(|| sqlx::Error::Decode(format!("{name:?} is not a state of a payment").into()))
}
