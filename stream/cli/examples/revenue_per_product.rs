//! Computes the revenue per product over the last five minutes, every minute.
//!
//! ```text
//! cargo run -p stream-cli --example revenue_per_product                                  on sample orders in memory
//! cargo run -p stream-cli --example revenue_per_product -- --brokers localhost:9092      on your Kafka
//! cargo run -p stream-cli --example revenue_per_product -- --help                        every setting
//! ```

mod shop;

use std::process::ExitCode;
use std::time::Duration;

use shop::{ORDERS, Order};
use stream::{Count, Job, JobError, Pipeline, Sum, Windows};
use stream_cli::Program;

/// Defines the job.
fn revenue_per_product(job: Job) -> Result<Pipeline<String, (Sum, Count)>, JobError> {
    let last_five_minutes = Windows::sliding(Duration::from_secs(300), Duration::from_secs(60))?;
    Ok(job
        .source(ORDERS, shop::order)
        .window(last_five_minutes)
        .aggregate(|order: Order| {
            order.items.into_iter().map(|item| {
                let revenue_cents = u64::from(item.quantity) * item.unit_price_cents;
                let sold = u64::from(item.quantity);
                (item.product_id, (Sum(revenue_cents), Count(sold)))
            })
        })
        .sink("product-revenue", |row, output| {
            let (Sum(revenue_cents), Count(sold)) = row.aggregate;
            let start = shop::instant(row.window_start);
            let product = &row.key;

            output.key.extend(product.bytes());
            output.value.extend(
                format!("{start}  {product}  {sold:3} sold  {revenue_cents:6} cents").bytes(),
            );
        }))
}

fn main() -> ExitCode {
    Program::of("revenue-per-product", revenue_per_product)
        .about("Computes the revenue per product over the last five minutes, every minute")
        .sample(shop::sample)
        .main()
}
