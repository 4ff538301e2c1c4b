//! The outbox rows of an order's events, written as part of the caller's transaction.

use events::{
    ORDER_CHANGED_VERSION, ORDER_CREATED, OrderChanged, OrderCreated, OrderItem, Timestamp,
};
use serde::Serialize;
use sqlx::AnyConnection;
use uuid::Uuid;

use super::StoreError;
use crate::order::{Item, Order};

const AGGREGATE_TYPE: &str = "orders";
const INSERT_EVENT: &str = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, traceparent) VALUES (?, ?, ?, ?, ?, ?)";

/// Writes the event of an order that is stored in the same transaction.
pub(super) async fn created(
    connection: &mut AnyConnection,
    order: &Order,
    traceparent: Option<String>,
) -> Result<(), StoreError> {
    let event = order_created(order);
    let row = Row {
        id: event.event_id,
        user_id: order.user_id,
        event_type: &event.event_type,
        payload: &event,
        traceparent,
    };
    row.insert(connection).await
}

/// Writes the event of an order that has entered its state in the same transaction.
pub(super) async fn changed(
    connection: &mut AnyConnection,
    order: &Order,
) -> Result<(), StoreError> {
    let event = order_changed(order, order.updated_at);
    let row = Row {
        id: event.event_id,
        user_id: order.user_id,
        event_type: &event.event_type,
        payload: &event,
        traceparent: None,
    };
    row.insert(connection).await
}

/// A row of the outbox.
struct Row<'a, Payload> {
    id: Uuid,
    user_id: i64,
    event_type: &'a str,
    payload: &'a Payload,
    traceparent: Option<String>,
}

impl<Payload: Serialize> Row<'_, Payload> {
    async fn insert(self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        sqlx::query(INSERT_EVENT)
            .bind(self.id.to_string())
            .bind(AGGREGATE_TYPE)
            .bind(self.user_id.to_string())
            .bind(self.event_type)
            .bind(serde_json::to_string(self.payload)?)
            .bind(self.traceparent)
            .execute(connection)
            .await?;

        Ok(())
    }
}

fn order_created(order: &Order) -> OrderCreated {
    let item = |item: &Item| OrderItem {
        product_id: item.product_id,
        quantity: item.quantity,
        unit_price_cents: item.unit_price_cents,
        name: item.name.clone(),
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

fn order_changed(order: &Order, changed_at: Timestamp) -> OrderChanged {
    OrderChanged {
        event_id: Uuid::now_v7(),
        event_type: order.status.event_type().to_owned(),
        version: ORDER_CHANGED_VERSION,
        order_id: order.id.unsigned_abs(),
        user_id: order.user_id.unsigned_abs(),
        total_cents: order.total_cents,
        currency: order.currency.clone(),
        changed_at,
    }
}
