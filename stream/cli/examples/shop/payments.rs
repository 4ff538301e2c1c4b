//! Payments for the orders of the shop.

use record_log::Record;
use serde::{Deserialize, Serialize};
use stream::Rejected;
use stream_cli::SampleRecord;

use crate::shop::{self, Order};

/// The topic that payments are published to.
pub const PAYMENTS: &str = "payments";

/// A payment for an order.
#[derive(Deserialize, Serialize)]
pub struct Payment {
    pub order_id: u64,
    pub cents: u64,
    /// The event time, in milliseconds since the Unix epoch.
    pub paid_at_ms: u64,
}

/// Decodes a payment, and returns it with its event time.
pub fn payment(record: &Record<'_>) -> Result<(u64, Payment), Rejected> {
    let value = record.value.unwrap_or_default();
    let payment: Payment = serde_json::from_slice(value).map_err(Rejected::because)?;
    Ok((payment.paid_at_ms, payment))
}

/// Returns a payment for two of three sample orders, five seconds after the order.
pub fn sample() -> Vec<SampleRecord> {
    let orders = shop::sample().into_iter();
    let orders = orders.filter_map(|record| serde_json::from_slice::<Order>(&record.value).ok());
    let paid = orders.filter(|order| order.order_id % 3 > 0);

    let record = |order: Order| {
        let created_at: jiff::Timestamp = order.created_at.parse().ok()?;
        let payment = Payment {
            order_id: order.order_id,
            cents: order.total_cents,
            paid_at_ms: u64::try_from(created_at.as_millisecond()).ok()? + 5_000,
        };
        Some(SampleRecord {
            key: order.order_id.to_string().into_bytes(),
            value: serde_json::to_vec(&payment).expect("a payment is plain data"),
        })
    };
    paid.filter_map(record).collect()
}
