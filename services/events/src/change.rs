//! The events of an order after it was accepted: one for each state that it enters.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The `event_type` of an order that was paid for.
pub const ORDER_PAID: &str = "order.paid";
/// The `event_type` of an order that left the shop.
pub const ORDER_SHIPPED: &str = "order.shipped";
/// The `event_type` of an order that arrived.
pub const ORDER_DELIVERED: &str = "order.delivered";
/// The `event_type` of an order that was cancelled before it left the shop.
pub const ORDER_CANCELLED: &str = "order.cancelled";
/// The `event_type` of an order that was not paid in time.
pub const ORDER_EXPIRED: &str = "order.expired";
/// The `event_type` of an order whose money was returned.
pub const ORDER_REFUNDED: &str = "order.refunded";

/// The events of [`OrderChanged`], in the order of an order's life.
pub const ORDER_CHANGES: [&str; 6] = [
    ORDER_PAID,
    ORDER_SHIPPED,
    ORDER_DELIVERED,
    ORDER_CANCELLED,
    ORDER_EXPIRED,
    ORDER_REFUNDED,
];

/// The version of [`OrderChanged`] that is written.
pub const ORDER_CHANGED_VERSION: u32 = 1;

/// The event of an order that entered a state. It is on the topic of its
/// [`OrderCreated`](crate::OrderCreated), under the same key, and follows it.
///
/// A new field leaves `version` as it is, and consumers ignore fields that they do not have. Another
/// meaning of a field is the next version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OrderChanged {
    /// The id of the event. Consumers ignore an event whose id they have seen.
    pub event_id: Uuid,
    /// One of [`ORDER_CHANGES`]; it names the state.
    pub event_type: String,
    /// The version of this form: [`ORDER_CHANGED_VERSION`].
    pub version: u32,
    /// The order.
    pub order_id: u64,
    /// The user who ordered.
    pub user_id: u64,
    /// The order's total, in minor units of the currency.
    pub total_cents: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// The time at which the order entered the state: the event time.
    pub changed_at: Timestamp,
}
