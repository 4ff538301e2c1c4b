//! Stores an order: its row, its items, its event and its reply, in one transaction.

use std::time::Duration;

use events::Timestamp;
use sqlx::AnyConnection;

use super::{
    KeyClaim, Reply, Store, StoreError, UnpaidLimit, claims, millis, outgoing, signed, unpaid,
};
use crate::delivery::Delivery;
use crate::order::{Item, Order, Priced};
use crate::status::Status;

const INSERT_ORDER: &str = "INSERT INTO orders \
                            (user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms, expires_at_ms, delivery) \
                            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_ITEM: &str = "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents) VALUES (?, ?, ?, ?, ?)";
const KEEP_REPLY: &str = "UPDATE idempotency_keys SET reply = ? WHERE reservation_key = ?";

/// The data that is stored as an order.
#[derive(Clone, Debug)]
pub struct Placement {
    pub priced: Priced,
    pub delivery: Option<Delivery>,
    /// The `traceparent` of the request.
    pub traceparent: Option<String>,
    /// The time that the order may stay unpaid.
    pub unpaid_for: Duration,
    /// The limit of its account's unpaid orders.
    pub limit: Option<UnpaidLimit>,
}

/// The outcome of [`Store::place`].
#[derive(Debug)]
pub enum PlaceOutcome {
    /// The order is stored; this is the reply.
    Placed(Reply),
    /// A request with the same idempotency key stored its order first; this is its reply.
    Replied(Reply),
    /// The claim was given up in the meantime; nothing was stored.
    ClaimGone,
}

impl Store {
    /// Stores the order of the claim.
    pub async fn place(
        &self,
        claim: &KeyClaim,
        placement: Placement,
    ) -> Result<PlaceOutcome, StoreError> {
        let mut transaction = self.database.write().await?;
        if !claims::take(transaction.connection(), claim).await? {
            let kept = claims::kept_reply(transaction.connection(), claim).await?;
            return Ok(kept.map_or(PlaceOutcome::ClaimGone, PlaceOutcome::Replied));
        }

        let Placement {
            traceparent, limit, ..
        } = placement.clone();
        let mut order = order(claim, placement);
        let inserted = insert_order(transaction.connection(), claim, &order).await?;
        order.id = transaction.inserted_id(&inserted).await?;

        for (line, item) in (0_i64..).zip(&order.items) {
            insert_item(transaction.connection(), order.id, line, item).await?;
        }
        outgoing::created(transaction.connection(), &order, traceparent).await?;

        let reply = Reply(serde_json::to_string(&order)?);
        if claim.idempotency_key.is_some() {
            let keep = sqlx::query(KEEP_REPLY)
                .bind(&reply.0)
                .bind(claim.reservation_key.to_string());
            keep.execute(transaction.connection()).await?;
        }

        // Last, because orders of one account wait here for each other.
        unpaid::add(transaction.connection(), &order, limit).await?;
        transaction.commit().await?;
        Ok(PlaceOutcome::Placed(reply))
    }
}

/// Returns the order to store, which has no id yet.
fn order(claim: &KeyClaim, placement: Placement) -> Order {
    let unpaid_ms = u64::try_from(placement.unpaid_for.as_millis()).unwrap_or(u64::MAX);
    Order {
        id: 0,
        user_id: claim.user_id,
        status: Status::Pending,
        total_cents: placement.priced.total_cents,
        currency: placement.priced.currency,
        items: placement.priced.items,
        created_at: claim.now,
        updated_at: claim.now,
        expires_at: Timestamp::from_ms(claim.now.as_ms().saturating_add(unpaid_ms)),
        delivery: placement.delivery,
    }
}

async fn insert_order(
    connection: &mut AnyConnection,
    claim: &KeyClaim,
    order: &Order,
) -> Result<sqlx::any::AnyQueryResult, StoreError> {
    let delivery = order.delivery.as_ref().map(serde_json::to_string);
    let insert = sqlx::query(INSERT_ORDER)
        .bind(order.user_id)
        .bind(order.status.name())
        .bind(signed(order.total_cents)?)
        .bind(&order.currency)
        .bind(claim.reservation_key.to_string())
        .bind(millis(order.created_at))
        .bind(millis(order.updated_at))
        .bind(order.expires_at.map(millis))
        .bind(delivery.transpose()?);

    insert.execute(connection).await.map_err(|error| {
        let no_user = error
            .as_database_error()
            .is_some_and(|error| error.is_foreign_key_violation());
        if no_user {
            StoreError::NoUser
        } else {
            error.into()
        }
    })
}

async fn insert_item(
    connection: &mut AnyConnection,
    id: i64,
    line: i64,
    item: &Item,
) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT_ITEM)
        .bind(id)
        .bind(line)
        .bind(item.product_id.to_string())
        .bind(i64::from(item.quantity))
        .bind(signed(item.unit_price_cents)?)
        .execute(connection)
        .await?;
    Ok(())
}
