//! Groups each customer's orders into sessions. A session ends when its customer has ordered
//! nothing for the gap, and every five minutes at the latest. The gap is a flag of this job's own.
//!
//! ```text
//! cargo run -p stream-cli --example sessions_per_customer                                on sample orders in memory
//! cargo run -p stream-cli --example sessions_per_customer -- --brokers localhost:9092    on your Kafka
//! cargo run -p stream-cli --example sessions_per_customer -- --gap-seconds 30            with another gap
//! ```

mod shop;

use std::process::ExitCode;
use std::time::Duration;

use shop::{ORDERS, Order};
use stream::{AnyPipeline, Count, Job, JobError, Session, SessionWindows, Sum};
use stream_cli::{JobDefinition, Program};

/// The job's own flags.
#[derive(Clone, Debug, clap::Args)]
struct Sessions {
    /// Time without an order after which a session ends, in seconds
    #[arg(long, env = "SESSIONS_GAP_SECONDS", default_value_t = 90)]
    gap_seconds: u64,
}

impl JobDefinition for Sessions {
    const NAME: &'static str = "sessions-per-customer";
    const ABOUT: &'static str = "Groups each customer's orders into sessions";

    fn define(&self, job: Job) -> Result<AnyPipeline, JobError> {
        let gap = Duration::from_secs(self.gap_seconds);
        let job = job
            .source(ORDERS, shop::order)
            .sessions(SessionWindows::new(gap, Duration::from_secs(300))?)
            .aggregate(|order: Order| [(order.user_id, (Count(1), Sum(order.total_cents)))])
            .sink("customer-sessions", |row, output| {
                let Session {
                    first_ms,
                    last_ms,
                    aggregate: (Count(orders), Sum(cents)),
                } = row.aggregate;

                let customer = row.key;
                let from = shop::instant(first_ms);
                let to = shop::instant(last_ms);
                let gone = if row.is_gone {
                    "  now part of another"
                } else {
                    ""
                };

                output.key.extend(customer.to_string().bytes());
                output.value.extend(
                    format!(
                        "customer {customer}  {from} to {to}  {orders} orders  {cents} cents{gone}"
                    )
                    .bytes(),
                );
            });

        Ok(job.into())
    }
}

fn main() -> ExitCode {
    Program::<Sessions>::default().sample(shop::sample).main()
}
