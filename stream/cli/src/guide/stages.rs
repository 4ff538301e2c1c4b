//! # Stages
//!
//! The steps of a job between its source and its sinks.
//!
//! ## Filter and map
//!
//! [`Sourced::filter`](stream::Sourced::filter) and [`Sourced::map`](stream::Sourced::map) come
//! first. An event that is filtered out is neither counted nor rejected, and does not move event
//! time.
//!
//! ## Without a window
//!
//! [`Sourced::without_window`](stream::Sourced::without_window) publishes records for each event at
//! once: a conversion, a filter, an enrichment with data that is loaded at the start.
//!
//! ```
//! use std::time::Duration;
//! use record_log::Record;
//! use stream::{Emitted, Job, JobError, Pipeline, Rejected, SourcePartition};
//!
//! fn clicks(job: Job) -> Result<Pipeline<SourcePartition, Emitted>, JobError> {
//!     let decode = |record: &Record<'_>| {
//!         let text = std::str::from_utf8(record.value.unwrap_or_default());
//!         Ok((record.log_time_ms, text.map_err(Rejected::because)?.to_owned()))
//!     };
//!     Ok(job
//!         .source("visits", decode)
//!         .filter(|line| !line.starts_with('#'))
//!         .without_window(Duration::from_millis(200))?
//!         .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
//!         .branch("checkouts", |page, output| {
//!             output.value.extend(page.bytes());
//!             if page != "checkout" {
//!                 output.skip();
//!             }
//!         })
//!         .sink("clicks", |page, output| output.value.extend(page.bytes())))
//! }
//! # let log = record_log::simulated::SimulatedLog::default();
//! # let topic = record_log::TopicSpec {
//! #     name: "visits".to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
//! #     retention: Duration::from_secs(60),
//! # };
//! # record_log::RecordLog::ensure_topics(&log, &[topic]).unwrap();
//! # let mut publisher = record_log::RecordLog::publisher(&log, "visitors", record_log::Delivery::Transactional).unwrap();
//! # for value in ["home checkout", "# nobody"] {
//! #     publisher.send(record_log::NewRecord {
//! #         topic: "visits", partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
//! #     }).unwrap();
//! # }
//! # publisher.commit(&[]).unwrap();
//! # let settings = stream::Settings { until_end: true, ..stream::Settings::default() };
//! # let run = stream::Run::new(clicks(Job::new("clicks"))?, settings, std::sync::Arc::new(log.clone()))?;
//! # run.run(&stream::Stop::default())?;
//! # let values = |topic| -> Vec<Vec<u8>> { log.records(topic).into_iter().filter_map(|it| it.value).collect() };
//! # assert_eq!(values("clicks"), [b"home".to_vec(), b"checkout".to_vec()]);
//! # assert_eq!(values("checkouts"), [b"checkout".to_vec()]);
//! # Ok::<(), JobError>(())
//! ```
//!
//! - Each event is published exactly once, whatever dies. Records of a partition keep their order.
//! - Results become readable once every interval, with a checkpoint that is as small as what was read
//!   in the interval. A shorter interval is a shorter latency and more writes to the store.
//! - Event time decides nothing: no event is late, and none is rejected for its time.
//! - [`Passing::branch`](stream::Passing::branch) publishes to a further topic.
//! - Ids of events ([`Sourced::identified_by`](stream::Sourced::identified_by)) need a window, which
//!   limits how long they are held. A job that has ids and no window does not start.
//! - After a fallback to an older checkpoint, because newer ones were damaged, the job publishes the later results
//!   again.
//!
//! ## Behind a window
//!
//! [`Pipeline::stage`](stream::Pipeline::stage) derives other rows from a window's rows, and publishes them to a topic
//! of their own. The hot items of a shop are the products that were viewed as often as any other of their minute:
//!
//! ```
//! use std::time::Duration;
//! use record_log::Record;
//! use stream::{Count, Job, JobError, Max, Pipeline, Rejected, Rows, WindowRow, Windows};
//!
//! type Views = WindowRow<String, Count>;
//!
//! fn hottest(views: Rows<Views, Views>) -> Rows<Views, Views> {
//!     let most = views.clone().aggregate(|row| [((), Max(row.aggregate))]);
//!     views
//!         .join(most, |_| (), |_| ())
//!         .filter(|(row, most)| row.aggregate == most.aggregate.0)
//!         .map(|(row, _)| row)
//! }
//!
//! fn hot_items(job: Job) -> Result<Pipeline<String, Count>, JobError> {
//!     let decode = |record: &Record<'_>| {
//!         let text = std::str::from_utf8(record.value.unwrap_or_default());
//!         let (product, time_ms) = text
//!             .map_err(Rejected::because)?
//!             .split_once(' ')
//!             .ok_or_else(|| Rejected::because("no time"))?;
//!         Ok((time_ms.parse().map_err(Rejected::because)?, product.to_owned()))
//!     };
//!     Ok(job
//!         .source("views", decode)
//!         .window(Windows::tumbling(Duration::from_secs(60))?)
//!         .aggregate(|product: String| [(product, Count(1))])
//!         .sink("views-per-product", |_, output| output.skip())
//!         .stage("hot-items", hottest, |hot, output| {
//!             output.key.extend(format!("{} {}", hot.window_start, hot.key).bytes());
//!             output.value.extend(format!("{} {}", hot.key, hot.aggregate.0).bytes());
//!         }))
//! }
//! # let log = record_log::simulated::SimulatedLog::default();
//! # let topic = record_log::TopicSpec {
//! #     name: "views".to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
//! #     retention: Duration::from_secs(60),
//! # };
//! # record_log::RecordLog::ensure_topics(&log, &[topic]).unwrap();
//! # let mut publisher = record_log::RecordLog::publisher(&log, "visitors", record_log::Delivery::Transactional).unwrap();
//! # for value in ["cup 1000", "pen 2000", "cup 3000", "pen 70000", "mug 71000"] {
//! #     publisher.send(record_log::NewRecord {
//! #         topic: "views", partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
//! #     }).unwrap();
//! # }
//! # publisher.commit(&[]).unwrap();
//! # let settings = stream::Settings { until_end: true, ..stream::Settings::default() };
//! # let run = stream::Run::new(hot_items(Job::new("hot-items"))?, settings, std::sync::Arc::new(log.clone()))?;
//! # run.run(&stream::Stop::default())?;
//! # let mut values: Vec<Vec<u8>> = log.records("hot-items").into_iter().filter_map(|it| it.value).collect();
//! # values.sort();
//! # assert_eq!(values, [b"cup 2".to_vec(), b"mug 1".to_vec(), b"pen 1".to_vec()]);
//! # Ok::<(), JobError>(())
//! ```
//!
//! | step | rows of a window become |
//! |---|---|
//! | [`filter`](stream::Rows::filter), [`map`](stream::Rows::map), [`flat_map`](stream::Rows::flat_map) | some of them, others |
//! | [`aggregate`](stream::Rows::aggregate) | one row for each key, in the same window |
//! | [`window`](stream::Rows::window) | one row for each key, in a further window: the hour of minutes |
//! | [`top`](stream::Rows::top) | the first ones, with their ranks |
//! | [`distinct`](stream::Rows::distinct) | one of equal ones |
//! | [`join`](stream::Rows::join), [`left_join`](stream::Rows::left_join) | pairs with other rows derived from the same job |
//!
//! - Late records correct all of this: a row that changed replaces the record with its key, and a row that is
//!   gone becomes a tombstone, in the transaction of the correction. So the key of a record must name its row.
//! - A row of a further window is published once, when all windows that begin in it have closed, and then
//!   corrected.
//! - Rows are in the memory of the workers for as long as they can change something; the job's checkpoints
//!   keep their panes, and nothing of the stages. A further window of an hour keeps panes an hour longer. A job
//!   does not go on from a checkpoint that reaches less far, and names the difference: give it another name, or
//!   start over.
//! - One worker merges, ranks or joins all rows of a window with the same key, and does so again whenever one of them
//!   changes.
