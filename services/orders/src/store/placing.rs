//! Stores an order: its row, its items, its event and its reply, in one transaction.

use events::{ORDER_CREATED, OrderCreated, OrderItem};
use sqlx::AnyConnection;
use uuid::Uuid;

use super::{KeyClaim, Reply, Store, StoreError, claims, millis, signed};
use crate::order::{Item, Order, Priced, Status};

const AGGREGATE_TYPE: &str = "orders";

const INSERT_ORDER: &str = "INSERT INTO orders \
                            (user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms) \
                            VALUES (?, ?, ?, ?, ?, ?, ?)";
const INSERT_ITEM: &str = "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents) VALUES (?, ?, ?, ?, ?)";
const INSERT_EVENT: &str = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, traceparent) VALUES (?, ?, ?, ?, ?, ?)";
const KEEP_REPLY: &str = "UPDATE idempotency_keys SET reply = ? WHERE reservation_key = ?";

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
        priced: Priced,
        traceparent: Option<String>,
    ) -> Result<PlaceOutcome, StoreError> {
        let mut transaction = self.database.write().await?;
        if !claims::take(transaction.connection(), claim).await? {
            let kept = claims::kept_reply(transaction.connection(), claim).await?;
            return Ok(kept.map_or(PlaceOutcome::ClaimGone, PlaceOutcome::Replied));
        }

        let inserted = insert_order(transaction.connection(), claim, &priced).await?;
        let id = transaction.inserted_id(&inserted).await?;
        let order = order(id, claim, priced);

        for (line, item) in (0_i64..).zip(&order.items) {
            insert_item(transaction.connection(), id, line, item).await?;
        }
        insert_event(transaction.connection(), &order, traceparent).await?;

        let reply = Reply(serde_json::to_string(&order)?);
        if claim.idempotency_key.is_some() {
            let keep = sqlx::query(KEEP_REPLY)
                .bind(&reply.0)
                .bind(claim.reservation_key.to_string());
            keep.execute(transaction.connection()).await?;
        }

        transaction.commit().await?;
        Ok(PlaceOutcome::Placed(reply))
    }
}

fn order(id: i64, claim: &KeyClaim, priced: Priced) -> Order {
    Order {
        id,
        user_id: claim.user_id,
        status: Status::Pending,
        total_cents: priced.total_cents,
        currency: priced.currency,
        items: priced.items,
        created_at: claim.now,
        updated_at: claim.now,
    }
}

async fn insert_order(
    connection: &mut AnyConnection,
    claim: &KeyClaim,
    priced: &Priced,
) -> Result<sqlx::any::AnyQueryResult, StoreError> {
    let insert = sqlx::query(INSERT_ORDER)
        .bind(claim.user_id)
        .bind(Status::Pending.name())
        .bind(signed(priced.total_cents)?)
        .bind(&priced.currency)
        .bind(claim.reservation_key.to_string())
        .bind(millis(claim.now))
        .bind(millis(claim.now));

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

async fn insert_event(
    connection: &mut AnyConnection,
    order: &Order,
    traceparent: Option<String>,
) -> Result<(), StoreError> {
    let event = event(order);
    sqlx::query(INSERT_EVENT)
        .bind(event.event_id.to_string())
        .bind(AGGREGATE_TYPE)
        .bind(order.user_id.to_string())
        .bind(ORDER_CREATED)
        .bind(serde_json::to_string(&event)?)
        .bind(traceparent)
        .execute(connection)
        .await?;

    Ok(())
}

fn event(order: &Order) -> OrderCreated {
    let item = |item: &Item| OrderItem {
        product_id: item.product_id,
        quantity: item.quantity,
        unit_price_cents: item.unit_price_cents,
    };

    OrderCreated {
        event_id: Uuid::now_v7(),
        event_type: ORDER_CREATED.to_owned(),
        order_id: order.id.unsigned_abs(),
        user_id: order.user_id.unsigned_abs(),
        total_cents: order.total_cents,
        currency: order.currency.clone(),
        items: order.items.iter().map(item).collect(),
        created_at: order.created_at,
    }
}
