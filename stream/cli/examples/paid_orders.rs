//! Computes, every ten minutes, the sum paid for each order: a join of two topics by key and window.
//!
//! ```text
//! cargo run -p stream-cli --example paid_orders                                on sample records in memory
//! cargo run -p stream-cli --example paid_orders -- --brokers localhost:9092    on your Kafka
//! ```

mod shop;

use std::process::ExitCode;
use std::time::Duration;

use record_log::Record;
use serde::{Deserialize, Serialize};
use shop::{ORDERS, Order};
use stream::{Job, JobError, Joined, Pipeline, Rejected, Sourced, Sum, Windows};
use stream_cli::{Program, SampleRecord};

/// The topic that payments are published to.
const PAYMENTS: &str = "payments";

/// A payment for an order.
#[derive(Deserialize, Serialize)]
struct Payment {
    order_id: u64,
    cents: u64,
    /// The event time, in milliseconds since the Unix epoch.
    paid_at_ms: u64,
}

fn payment(record: &Record<'_>) -> Result<(u64, Payment), Rejected> {
    let value = record.value.unwrap_or_default();
    let payment: Payment = serde_json::from_slice(value).map_err(Rejected::because)?;
    Ok((payment.paid_at_ms, payment))
}

/// Defines the job.
fn paid_orders(job: Job) -> Result<Pipeline<u64, Joined<Sum, Sum>>, JobError> {
    Ok(job
        .source(ORDERS, shop::order)
        .with(Sourced::of(PAYMENTS, payment))
        .window(Windows::tumbling(Duration::from_secs(600))?)
        .left_join(
            |order: Order| [(order.order_id, Sum(order.total_cents))],
            |payment: Payment| [(payment.order_id, Sum(payment.cents))],
        )
        .sink("paid-orders", |row, output| {
            let start = shop::instant(row.window_start);
            let due = row.aggregate.left.as_ref().map_or(0, |due| due.0);
            let paid = row.aggregate.right.as_ref().map_or(0, |paid| paid.0);

            output.key.extend(format!("{} {start}", row.key).bytes());
            let line = format!("{start}  order {}: {paid} of {due} cents paid", row.key);
            output.value.extend(line.bytes());
        }))
}

/// Returns a payment for two of three sample orders, five seconds after the order.
fn payments() -> Vec<SampleRecord> {
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

fn main() -> ExitCode {
    Program::of("paid-orders", paid_orders)
        .about("Computes what was paid of each order, every ten minutes")
        .sample(shop::sample)
        .sample_of(PAYMENTS, payments)
        .main()
}
