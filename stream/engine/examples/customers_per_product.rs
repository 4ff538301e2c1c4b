//! Computes, every five minutes, the number of distinct customers of each product and its three
//! largest sales.
//!
//! ```text
//! cargo run -p stream --example customers_per_product
//! ```

mod shop;

use std::time::Duration;

use events::{ORDERS, OrderCreated, Timestamp};
use record_log::Record;
use stream::aggregate::{Distinct, Top};
use stream::{Job, Pipeline, Rejected, Windows};

/// The distinct customers (an estimate in bounded space), and the three largest totals of sales
/// with their orders.
type Sales = (Distinct, Top<(u64, u64), 3>);

/// Defines the job.
fn customers_per_product() -> anyhow::Result<Pipeline<String, Sales>> {
    Ok(Job::new("customers-per-product")
        .source(ORDERS, |record: &Record<'_>| {
            let order: OrderCreated = serde_json::from_slice(record.value.unwrap_or_default())
                .map_err(Rejected::because)?;
            Ok((order.created_at.as_ms(), order))
        })
        .window(Windows::tumbling(Duration::from_secs(300))?)
        .aggregate(|order: OrderCreated| {
            let customer = order.user_id;
            let order_id = order.order_id;
            order.items.into_iter().map(move |item| {
                let sale_cents = u64::from(item.quantity) * item.unit_price_cents;
                (
                    item.product_id.to_string(),
                    (Distinct::of(&customer), Top::of((sale_cents, order_id))),
                )
            })
        })
        .sink("product-customers", |row, output| {
            let (customers, largest) = &row.aggregate;
            let largest: Vec<String> = largest
                .values()
                .iter()
                .map(|(cents, order)| format!("{cents} cents in order {order}"))
                .collect();

            let customers = customers.estimate();
            let largest = largest.join(", ");
            output.key.extend(row.key.bytes());

            let start = Timestamp::from_ms(row.window_start)
                .map(|start| start.to_string())
                .unwrap_or_default();
            output
                .value
                .extend(format!("{start}  {}  {customers} customers, {largest}", row.key).bytes());
        }))
}

fn main() -> anyhow::Result<()> {
    shop::run(customers_per_product()?, "product-customers")
}
