//! # Joins
//!
//! A job reads several topics. Each has its own decoder, and may have a disorder and topics of side
//! outputs of its own.
//!
//! ## The union of topics
//!
//! [`Sourced::and`](stream::Sourced::and) adds a source whose values have the same type: the orders of
//! two shops, or a topic and its successor.
//!
//! ## A join by key and window
//!
//! [`Sourced::with`](stream::Sourced::with) adds a source whose values have another type, and
//! [`Windowed::join`](stream::Windowed::join) or [`left_join`](stream::Windowed::left_join) joins the
//! two. Each side is an aggregate by key, as in any job. This job publishes, for each order, its amount
//! and the sum paid within its ten minutes:
//!
//! ```
//! use std::time::Duration;
//! use record_log::Record;
//! use stream::{Job, JobError, Joined, Pipeline, Rejected, Sourced, Sum, Windows};
//!
//! /// Reads "<order> <cents> <event time in ms>".
//! fn amount(record: &Record<'_>) -> Result<(u64, (u64, u64)), Rejected> {
//!     let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
//!     let numbers: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
//!     match *numbers.map_err(Rejected::because)? {
//!         [order, cents, time_ms] => Ok((time_ms, (order, cents))),
//!         _ => Err(Rejected::because("three numbers are expected")),
//!     }
//! }
//!
//! fn paid(job: Job) -> Result<Pipeline<u64, Joined<Sum, Sum>>, JobError> {
//!     let payments = Sourced::of("payments", amount).disorder(Duration::from_secs(60));
//!     Ok(job
//!         .source("orders", amount)
//!         .with(payments)
//!         .window(Windows::tumbling(Duration::from_secs(600))?)
//!         .left_join(
//!             |(order, cents)| [(order, Sum(cents))],
//!             |(order, cents)| [(order, Sum(cents))],
//!         )
//!         .sink("paid-orders", |row, output| {
//!             let due = row.aggregate.left.as_ref().map_or(0, |due| due.0);
//!             let paid = row.aggregate.right.as_ref().map_or(0, |paid| paid.0);
//!             output.key.extend(format!("{} {}", row.key, row.window_start).bytes());
//!             output.value.extend(format!("{} {due} {paid}", row.key).bytes());
//!         }))
//! }
//! # let log = record_log::simulated::SimulatedLog::default();
//! # let topic = |name: &str| record_log::TopicSpec {
//! #     name: name.to_owned(), partitions: 2, cleanup: record_log::Cleanup::Delete,
//! #     retention: Duration::from_secs(60),
//! # };
//! # record_log::RecordLog::ensure_topics(&log, &[topic("orders"), topic("payments")]).unwrap();
//! # let mut publisher = record_log::RecordLog::publisher(&log, "shop", record_log::Delivery::Transactional).unwrap();
//! # for (topic, value) in [
//! #     ("orders", "1 500 1000"), ("orders", "2 700 2000"), ("payments", "1 200 3000"),
//! #     ("payments", "1 300 4000"), ("payments", "9 100 5000"), ("payments", "nothing"),
//! # ] {
//! #     publisher.send(record_log::NewRecord {
//! #         topic, partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
//! #     }).unwrap();
//! # }
//! # publisher.commit(&[]).unwrap();
//! # let settings = stream::Settings { until_end: true, ..stream::Settings::default() };
//! # let run = stream::Run::new(paid(Job::new("paid"))?, settings, std::sync::Arc::new(log.clone()))?;
//! # run.run(&stream::Stop::default())?;
//! # let values = |topic| -> Vec<Vec<u8>> {
//! #     let mut values: Vec<_> = log.records(topic).into_iter().filter_map(|it| it.value).collect();
//! #     values.sort();
//! #     values
//! # };
//! # assert_eq!(values("paid-orders"), [b"1 500 500".to_vec(), b"2 700 0".to_vec()]);
//! # assert_eq!(values("payments-dead-letter"), [b"nothing".to_vec()]);
//! # Ok::<(), JobError>(())
//! ```
//!
//! `examples/paid_orders.rs` is this job on orders in JSON; `--brokers` runs it on your Kafka.
//!
//! - The promises are those of a job with one topic: each event is counted once, whatever dies, and late
//!   events of either side correct the rows.
//! - The job's event time is the least of those of all partitions of all topics. A topic without new records does not
//!   delay the job once its brokers have confirmed its end. The job waits for a topic that is read more slowly.
//! - A row of an inner join appears when both sides have events of its key. If a late event completes it,
//!   its first revision is greater than 0.
//! - A row has the events of a side merged. To publish a pair for each event, keep the events in an aggregate such as
//!   [`DistinctExact`](stream::DistinctExact), and write the pairs in the sink's function.
//! - A source can be added to a job that has a checkpoint if it comes last. Its records are read from the
//!   oldest one on; those whose windows can no longer be corrected go to its late topic. A source that is
//!   removed, renamed or moved is refused by name.
//! - Metrics and pages name a partition with its topic, and side outputs have the header `source_topic`.
//! - With `--input`, each topic is read from the file or folder with its name, in the folder that the flag
//!   names.
//!
//! ## Joins of rows behind a window
//!
//! [`Rows::join`](stream::Rows::join) joins rows that are derived from the same job: see [`stages`](super::stages).
//!
//! ## Joins without a window
//!
//! A join of all events of two topics, such as each bid with its auction, has state that never ends. It
//! cannot be expressed.
