//! The wire contract: the types that services and the stream job exchange, and nothing else.
//!
//! Money is integer minor units with their currency ([`Amount`]); a field that ends in `_cents` is a
//! number of minor units of any currency, cents or not. Time on the wire is UTC RFC 3339 with
//! milliseconds ([`Timestamp`]). Ids of users and orders are integers of at most 53 bits that their services draw
//! ([`numbers_of`]); ids of products and events are UUIDs. Golden files under `tests/golden/` hold the JSON of every
//! type: a change that breaks one breaks a consumer.

mod change;
mod counted;
mod money;
mod number;
mod timestamp;

pub use change::{
    ORDER_CANCELLED, ORDER_CHANGED_VERSION, ORDER_CHANGES, ORDER_DELIVERED, ORDER_EXPIRED,
    ORDER_PAID, ORDER_REFUNDED, ORDER_SHIPPED, OrderChanged,
};
pub use counted::CountedOrder;
pub use money::{Amount, Amounts, Currency, InvalidCurrency};
pub use number::numbers_of;
use serde::{Deserialize, Serialize};
pub use timestamp::{InvalidTimestamp, Timestamp, TimestampText};
use uuid::Uuid;

/// Accepted orders and their changes of state, keyed by user id in decimal. Values are
/// [`OrderCreated`] and [`OrderChanged`], by `event_type`.
pub const ORDERS: &str = "orders";
/// Counts per user and window, keyed by user id in decimal. Values are [`WindowCount`].
pub const ANALYTICS_RESULTS: &str = "analytics-results";
/// Totals per window, keyed by window start. Values are [`WindowSummary`].
pub const ANALYTICS_SUMMARIES: &str = "analytics-summaries";
/// Records that came too late to correct their window, unchanged, with headers that name their
/// origin.
pub const ORDERS_LATE: &str = "orders-late";
/// Records that could not be decoded or have an impossible time, unchanged, with headers that name
/// the reason.
pub const ORDERS_DEAD_LETTER: &str = "orders-dead-letter";

/// The `event_type` of [`OrderCreated`].
pub const ORDER_CREATED: &str = "order.created";

/// The event of an order that was accepted and stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OrderCreated {
    /// The id of the event. Consumers ignore an event whose id they have seen.
    pub event_id: Uuid,
    /// Always [`ORDER_CREATED`].
    pub event_type: String,
    /// The order.
    pub order_id: u64,
    /// The user who ordered.
    pub user_id: u64,
    /// Sum over the items of quantity times unit price, in minor units of the currency.
    pub total_cents: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// The lines of the order; at least one.
    pub items: Vec<OrderItem>,
    /// The time at which the order was accepted: its event time.
    pub created_at: Timestamp,
}

/// One line of an order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OrderItem {
    /// The product.
    pub product_id: Uuid,
    /// The quantity; at least one.
    pub quantity: u32,
    /// The price of one unit at the time of the order.
    pub unit_price_cents: u64,
    /// The product's name at the time of the order; orders of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The number of a user's orders within a window or a session. A higher `revision` of the same user
/// and window replaces a lower one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WindowCount {
    /// The user.
    pub user_id: u64,
    /// The first instant of the window; of a session, the time of its first order.
    pub window_start: Timestamp,
    /// The first instant after the window; of a session, the end of the gap after its last order.
    pub window_end: Timestamp,
    /// Orders in the window: at least one, or zero for a session that was merged into an earlier one.
    pub order_count: u64,
    /// Sums of their totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// 0 at first; higher when late orders corrected the count.
    pub revision: u32,
}

/// Totals of a window over all users. A higher `revision` replaces a lower one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WindowSummary {
    /// First instant of the window.
    pub window_start: Timestamp,
    /// First instant after the window.
    pub window_end: Timestamp,
    /// Orders in the window.
    pub order_count: u64,
    /// Distinct users who ordered.
    pub user_count: u64,
    /// Sums of the orders' totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// The ten users with the most orders, most first. Ties are ordered by currency, then by higher
    /// total, then by lower id.
    pub top_users: Vec<TopUser>,
    /// 0 at first; higher when late orders corrected the totals.
    pub revision: u32,
}

/// A user's part in a [`WindowSummary`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TopUser {
    /// The user.
    pub user_id: u64,
    /// Orders in the window.
    pub order_count: u64,
    /// Sums of their totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
}
