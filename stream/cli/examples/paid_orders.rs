//! Computes, every ten minutes, the sum paid for each order: a join of two topics by key and window.
//!
//! ```text
//! cargo run -p stream-cli --example paid_orders                                on sample records in memory
//! cargo run -p stream-cli --example paid_orders -- --brokers localhost:9092    on your Kafka
//! ```

#[path = "shop/payments.rs"]
mod payments;
mod shop;

use std::process::ExitCode;
use std::time::Duration;

use payments::{PAYMENTS, Payment, payment};
use shop::{ORDERS, Order};
use stream::{Job, JobError, Joined, Pipeline, Sourced, Sum, Windows};
use stream_cli::Program;

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

fn main() -> ExitCode {
    Program::of("paid-orders", paid_orders)
        .about("Computes what was paid of each order, every ten minutes")
        .sample(shop::sample)
        .sample_of(PAYMENTS, payments::sample)
        .main()
}
