//! Groups each customer's orders into sessions. A session ends when its customer has ordered
//! nothing for 90 seconds, and every five minutes at the latest.
//!
//! ```text
//! cargo run -p stream --example sessions_per_customer
//! ```

mod shop;

use std::time::Duration;

use events::{ORDERS, OrderCreated, Timestamp};
use record_log::Record;
use stream::{Count, Job, Pipeline, Rejected, Session, SessionWindows, Sum};

/// Defines the job.
fn sessions_per_customer() -> anyhow::Result<Pipeline<u64, Session<(Count, Sum)>>> {
    let sessions = SessionWindows::new(Duration::from_secs(90), Duration::from_secs(300))?;
    Ok(Job::new("sessions-per-customer")
        .source(ORDERS, |record: &Record<'_>| {
            let order: OrderCreated = serde_json::from_slice(record.value.unwrap_or_default())
                .map_err(Rejected::because)?;
            Ok((order.created_at.as_ms(), order))
        })
        .sessions(sessions)
        .aggregate(|order: OrderCreated| [(order.user_id, (Count(1), Sum(order.total_cents)))])
        .sink("customer-sessions", |row, output| {
            let Session {
                first_ms,
                last_ms,
                aggregate: (Count(orders), Sum(cents)),
            } = row.aggregate;

            let [from, to] = [first_ms, last_ms].map(|ms| {
                Timestamp::from_ms(ms)
                    .map(|time| time.to_string())
                    .unwrap_or_default()
            });

            let gone = if row.is_gone {
                "  now part of another"
            } else {
                ""
            };

            output.key.extend(row.key.to_string().bytes());
            output.value.extend(
                format!(
                    "customer {}  {from} to {to}  {orders} orders  {cents} cents{gone}",
                    row.key
                )
                .bytes(),
            );
        }))
}

fn main() -> anyhow::Result<()> {
    shop::run(sessions_per_customer()?, "customer-sessions")
}
