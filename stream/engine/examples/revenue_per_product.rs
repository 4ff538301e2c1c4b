//! Computes the revenue per product over the last five minutes, every minute.
//!
//! ```text
//! cargo run -p stream --example revenue_per_product
//! ```
//!
//! It needs no Kafka: it puts a few orders into an embedded log in a temporary folder, and prints
//! the windows.

mod shop;

use std::time::Duration;

use events::{ORDERS, OrderCreated, OrderItem, Timestamp};
use record_log::Record;
use stream::{Count, Job, Rejected, Sum, Windows};

/// Defines the job.
fn revenue_per_product() -> anyhow::Result<stream::Pipeline<String, (Sum, Count)>> {
    let last_five_minutes = Windows::sliding(Duration::from_secs(300), Duration::from_secs(60))?;
    Ok(Job::new("revenue-per-product")
        .source(ORDERS, |record: &Record<'_>| {
            let order: OrderCreated = serde_json::from_slice(record.value.unwrap_or_default())
                .map_err(Rejected::because)?;
            Ok((order.created_at.as_ms(), order.items))
        })
        .window(last_five_minutes)
        .aggregate(|items: Vec<OrderItem>| {
            items.into_iter().map(|item| {
                let revenue_cents = u64::from(item.quantity) * item.unit_price_cents;
                let sold = u64::from(item.quantity);
                (
                    item.product_id.to_string(),
                    (Sum(revenue_cents), Count(sold)),
                )
            })
        })
        .sink("product-revenue", |row, output| {
            let (Sum(revenue_cents), Count(sold)) = row.aggregate;
            output.key.extend(row.key.bytes());
            let start = Timestamp::from_ms(row.window_start)
                .map(|start| start.to_string())
                .unwrap_or_default();

            output.value.extend(
                format!(
                    "{start}  {}  {sold:3} sold  {revenue_cents:6} cents",
                    row.key
                )
                .bytes(),
            );
        }))
}

fn main() -> anyhow::Result<()> {
    shop::run(revenue_per_product()?, "product-revenue")
}
