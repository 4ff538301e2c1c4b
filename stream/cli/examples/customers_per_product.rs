//! Computes, every five minutes, the number of distinct customers of each product and its three
//! largest sales.
//!
//! ```text
//! cargo run -p stream-cli --example customers_per_product                                on sample orders in memory
//! cargo run -p stream-cli --example customers_per_product -- --brokers localhost:9092    on your Kafka
//! ```

mod shop;

use std::process::ExitCode;
use std::time::Duration;

use shop::{ORDERS, Order};
use stream::{Distinct, Job, JobError, Pipeline, Top, Windows};
use stream_cli::Program;

/// The distinct customers (an estimate in bounded space), and the three largest totals of sales
/// with their orders.
type Sales = (Distinct, Top<(u64, u64), 3>);

/// Defines the job.
fn customers_per_product(job: Job) -> Result<Pipeline<String, Sales>, JobError> {
    Ok(job
        .source(ORDERS, shop::order)
        .window(Windows::tumbling(Duration::from_secs(300))?)
        .aggregate(|order: Order| {
            let customer = order.user_id;
            let order_id = order.order_id;
            order.items.into_iter().map(move |item| {
                let sale_cents = u64::from(item.quantity) * item.unit_price_cents;
                let sales = (Distinct::of(&customer), Top::of((sale_cents, order_id)));
                (item.product_id, sales)
            })
        })
        .sink("product-customers", |row, output| {
            let (customers, largest) = &row.aggregate;
            let largest: Vec<String> = largest
                .values()
                .iter()
                .map(|(cents, order)| format!("{cents} cents in order {order}"))
                .collect();

            let start = shop::instant(row.window_start);
            let product = &row.key;
            let customers = customers.estimate();
            let largest = largest.join(", ");

            output.key.extend(product.bytes());
            output
                .value
                .extend(format!("{start}  {product}  {customers} customers, {largest}").bytes());
        }))
}

fn main() -> ExitCode {
    Program::of("customers-per-product", customers_per_product)
        .about("Computes the customers and the largest sales of each product, every five minutes")
        .sample(shop::sample)
        .main()
}
