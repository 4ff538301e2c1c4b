//! The orders of a shop: how a record of them is read, and ten minutes of them to try the examples
//! with.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use record_log::Record;
use serde::{Deserialize, Serialize};
use stream::Rejected;
use stream_cli::SampleRecord;

/// The topic that orders are published to.
pub const ORDERS: &str = "orders";

/// The fields of an order that the examples read.
#[derive(Deserialize, Serialize)]
pub struct Order {
    pub order_id: u64,
    pub user_id: u64,
    pub total_cents: u64,
    pub items: Vec<Item>,
    /// The event time, in RFC 3339.
    pub created_at: String,
}

/// An item of an order.
#[derive(Deserialize, Serialize)]
pub struct Item {
    pub product_id: String,
    pub quantity: u32,
    pub unit_price_cents: u64,
}

/// Reads an order, and returns its event time in milliseconds since the Unix epoch.
pub fn order(record: &Record<'_>) -> Result<(u64, Order), Rejected> {
    let order: Order =
        serde_json::from_slice(record.value.unwrap_or_default()).map_err(Rejected::because)?;
    let created_at: Timestamp = order.created_at.parse().map_err(Rejected::because)?;
    let created_ms = u64::try_from(created_at.as_millisecond()).map_err(Rejected::because)?;

    Ok((created_ms, order))
}

/// Formats an instant, given in milliseconds since the Unix epoch.
pub fn instant(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map(|instant| format!("{instant:.3}"))
        .unwrap_or_default()
}

/// Returns ten minutes of orders for three products, one order every ten seconds.
pub fn sample() -> Vec<SampleRecord> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
    let begin_ms = now_ms.saturating_sub(600_000);

    (0..60)
        .map(|number| {
            let quantity = u8::try_from(1 + number % 4).unwrap_or(1);
            let unit_price_cents = 1999;
            let order = Order {
                order_id: number,
                user_id: number % 7,
                total_cents: u64::from(quantity) * unit_price_cents,
                items: vec![Item {
                    product_id: format!("00000000-0000-7000-8000-{:012}", number % 3),
                    quantity: quantity.into(),
                    unit_price_cents,
                }],
                created_at: instant(begin_ms + number * 10_000),
            };

            SampleRecord {
                key: order.user_id.to_string().into_bytes(),
                value: serde_json::to_vec(&order).expect("an order is plain data"),
            }
        })
        .collect()
}
