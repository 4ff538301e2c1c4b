//! Alerts if an order is not paid within two minutes: a process function with state and timers.
//!
//! ```text
//! cargo run -p stream-cli --example unpaid_orders                                on sample records in memory
//! cargo run -p stream-cli --example unpaid_orders -- --brokers localhost:9092    on your Kafka
//! ```

#[path = "shop/payments.rs"]
mod payments;
mod shop;

use std::process::ExitCode;
use std::time::Duration;

use payments::{PAYMENTS, payment};
use record_log::Record;
use serde::{Deserialize, Serialize};
use shop::ORDERS;
use stream::{
    Job, JobError, Pipeline, ProcessContext, ProcessFunction, Processed, Rejected, Sourced,
};
use stream_cli::Program;

/// The time that a customer has to pay.
const TO_PAY_MS: u64 = 120_000;

/// A step in the life of an order.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Step {
    order_id: u64,
    kind: Kind,
}

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Kind {
    Ordered { cents: u64 },
    Paid,
}

/// An order that was placed and not paid yet, or paid before its order was seen.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Waiting {
    ForPayment { cents: u64, until_ms: u64 },
    ForOrder,
}

/// An order that was not paid in time.
struct Alert {
    order_id: u64,
    cents: u64,
    at_ms: u64,
}

/// Emits the orders that are not paid within two minutes.
struct Unpaid;

impl ProcessFunction for Unpaid {
    type Key = u64;
    type Event = Step;
    type State = Waiting;
    type Out = Alert;

    fn on_event(&self, step: Step, order: &mut ProcessContext<'_, u64, Waiting, Alert>) {
        let waiting = order.state().take();
        match (step.kind, waiting) {
            // The payment came first: its clock is a little behind the shop's.
            (Kind::Ordered { .. }, Some(Waiting::ForOrder)) => {}
            (Kind::Ordered { cents }, _) => {
                let until_ms = order.time_ms() + TO_PAY_MS;
                order.set_timer(until_ms);
                *order.state() = Some(Waiting::ForPayment { cents, until_ms });
            }
            (Kind::Paid, Some(Waiting::ForPayment { until_ms, .. })) => {
                order.delete_timer(until_ms);
            }
            (Kind::Paid, _) => {
                // The timer deletes this state, so that a payment without an order is not kept forever.
                order.set_timer(order.time_ms() + TO_PAY_MS);
                *order.state() = Some(Waiting::ForOrder);
            }
        }
    }

    fn on_timer(&self, order: &mut ProcessContext<'_, u64, Waiting, Alert>) {
        if let Some(Waiting::ForPayment { cents, .. }) = order.state().take() {
            order.emit(Alert {
                order_id: *order.key(),
                cents,
                at_ms: order.time_ms(),
            });
        }
    }
}

fn ordered(record: &Record<'_>) -> Result<(u64, Step), Rejected> {
    let (created_ms, order) = shop::order(record)?;
    let step = Step {
        order_id: order.order_id,
        kind: Kind::Ordered {
            cents: order.total_cents,
        },
    };
    Ok((created_ms, step))
}

fn paid(record: &Record<'_>) -> Result<(u64, Step), Rejected> {
    let (paid_at_ms, payment) = payment(record)?;
    let step = Step {
        order_id: payment.order_id,
        kind: Kind::Paid,
    };
    Ok((paid_at_ms, step))
}

/// Defines the job.
fn unpaid_orders(job: Job) -> Result<Pipeline<u64, Processed<Step, Waiting>>, JobError> {
    Ok(job
        .source(ORDERS, ordered)
        .and(Sourced::of(PAYMENTS, paid))
        .key_by(|step: &Step| step.order_id)
        .process(Duration::from_secs(1), Unpaid)?
        .sink("unpaid-orders", |alert: &Alert, output| {
            let at = shop::instant(alert.at_ms);
            output.key.extend(alert.order_id.to_string().bytes());
            let line = format!(
                "{at}  order {} is not paid: {} cents",
                alert.order_id, alert.cents
            );
            output.value.extend(line.bytes());
        }))
}

fn main() -> ExitCode {
    Program::of("unpaid-orders", unpaid_orders)
        .about("Alerts if an order is not paid within two minutes")
        .sample(shop::sample)
        .sample_of(PAYMENTS, payments::sample)
        .main()
}
