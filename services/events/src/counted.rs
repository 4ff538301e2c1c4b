//! The fields of an order that a reader needs to count it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Currency, Timestamp};

/// An order as it is counted: a JSON object with these fields of [`OrderCreated`](crate::OrderCreated),
/// from any producer. The stream job and the explanation of its counts read the same records as orders.
///
/// `Id` is the type that a reader decodes the event's id into; the id may be missing. `order_id` and `items`
/// are not counted and may have any value. No field of the contract may occur twice.
#[derive(Debug, Deserialize)]
pub struct CountedOrder<'a, Id> {
    /// The type: [`ORDER_CREATED`](crate::ORDER_CREATED) if it is an order.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// The user who ordered.
    pub user_id: u64,
    /// The total, in minor units of the currency.
    pub total_cents: u64,
    /// The currency.
    pub currency: Currency,
    /// The event time.
    pub created_at: Timestamp,
    /// The id of the event.
    #[serde(default)]
    pub event_id: Id,
    #[serde(default, rename = "order_id")]
    _order_id: IgnoredAny,
    #[serde(default, rename = "items")]
    _items: IgnoredAny,
}
