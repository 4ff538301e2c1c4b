//! # Process functions
//!
//! Windows answer "how many in this minute". A process function answers "what happened in which order, and what did
//! not happen": an order without a payment, a machine that is silent, the third failed log-in within an hour. It is a
//! function of the events of a key, with a state and with timers of event time (the `KeyedProcessFunction` of Flink).
//!
//! This job alerts if an order is not followed by a payment within ten minutes:
//!
//! ```
//! use std::time::Duration;
//! use record_log::Record;
//! use serde::{Deserialize, Serialize};
//! use stream::{Job, JobError, Pipeline, Processed, ProcessContext, ProcessFunction, Rejected, Sourced};
//!
//! #[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
//! enum Step {
//!     Ordered(u64),
//!     Paid(u64),
//! }
//!
//! struct Unpaid;
//!
//! impl ProcessFunction for Unpaid {
//!     type Key = u64; // the order
//!     type Event = Step;
//!     type State = u64; // the time of the timer
//!     type Out = u64;
//!
//!     fn on_event(&self, step: Step, order: &mut ProcessContext<'_, u64, u64, u64>) {
//!         match step {
//!             Step::Ordered(_) => {
//!                 let until_ms = order.time_ms() + 600_000;
//!                 order.set_timer(until_ms);
//!                 *order.state() = Some(until_ms);
//!             }
//!             Step::Paid(_) => {
//!                 if let Some(until_ms) = order.state().take() {
//!                     order.delete_timer(until_ms);
//!                 }
//!             }
//!         }
//!     }
//!
//!     fn on_timer(&self, order: &mut ProcessContext<'_, u64, u64, u64>) {
//!         *order.state() = None;
//!         order.emit(*order.key());
//!     }
//! }
//!
//! /// Reads "<order> <event time in ms>".
//! fn order(record: &Record<'_>) -> Result<(u64, u64), Rejected> {
//!     let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
//!     let (order, time_ms) = text.split_once(' ').ok_or_else(|| Rejected::because("no time"))?;
//!     let order = order.parse().map_err(Rejected::because)?;
//!     Ok((time_ms.parse().map_err(Rejected::because)?, order))
//! }
//!
//! fn unpaid(job: Job) -> Result<Pipeline<u64, Processed<Step, u64>>, JobError> {
//!     Ok(job
//!         .source("orders", order)
//!         .map(Step::Ordered)
//!         .and(Sourced::of("payments", order).map(Step::Paid))
//!         .key_by(|step| match step {
//!             Step::Ordered(order) | Step::Paid(order) => *order,
//!         })
//!         .process(Duration::from_secs(1), Unpaid)?
//!         .sink("unpaid", |order, output| output.value.extend(order.to_string().bytes())))
//! }
//! # let log = record_log::simulated::SimulatedLog::default();
//! # let topic = |name: &str| record_log::TopicSpec {
//! #     name: name.to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
//! #     retention: Duration::from_secs(60),
//! # };
//! # record_log::RecordLog::ensure_topics(&log, &[topic("orders"), topic("payments")]).unwrap();
//! # let mut publisher = record_log::RecordLog::publisher(&log, "shop", record_log::Delivery::Transactional).unwrap();
//! # for (topic, value) in [
//! #     ("orders", "1 1000"), ("orders", "2 2000"), ("payments", "1 601000"), ("orders", "3 700000"), ("payments", "2 700001"),
//! # ] {
//! #     publisher.send(record_log::NewRecord {
//! #         topic, partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
//! #     }).unwrap();
//! # }
//! # publisher.commit(&[]).unwrap();
//! # let settings = stream::Settings { until_end: true, ..stream::Settings::default() };
//! # let run = stream::Run::new(unpaid(Job::new("unpaid"))?, settings, std::sync::Arc::new(log.clone()))?;
//! # run.run(&stream::Stop::default())?;
//! # let values: Vec<_> = log.records("unpaid").into_iter().filter_map(|it| it.value).collect();
//! # assert_eq!(values, [b"2".to_vec()]);
//! # Ok::<(), JobError>(())
//! ```
//!
//! `examples/unpaid_orders.rs` is the same with JSON; it runs on sample records, and on your Kafka with `--brokers`.
//!
//! - The function sees the events of a key in the order of event time, over all topics and partitions. Events of equal
//!   times come in the order of sources, partitions and offsets.
//! - A timer fires when event time has passed it, after all events of its time: a payment in the last millisecond is in
//!   time.
//! - The output is the same for any number of workers and whatever dies, and each record is published once.
//! - The step (a second here) sets the latency. Records that come after their step has ended are late and go to the
//!   late topic: set `--disorder` to how far your records are out of order.
//! - State is in the memory of the workers, and in checkpoints as it changes. Set it to none when a key no longer needs
//!   it, and set a timer for a key that may get no last event: nothing else deletes its state.
//! - A key that does not change is written again every hour of event time
//!   ([`Processing::state_refresh`](stream::Processing::state_refresh)), so that checkpoints need no older parts.
//! - Timers after the end of the records do not fire, because event time does not reach them. They stay in the
//!   checkpoint.
//! - A job does not continue from a checkpoint of another key, event or state type, another step, refresh or
//!   [`state_version`](stream::Processing::state_version), and names the difference.
//! - After a fallback to an older checkpoint, because newer ones were damaged, the job publishes the later results
//!   again.
