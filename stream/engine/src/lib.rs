//! A stream processor as a library, on timely dataflow: event-time windows, exactly once, from a
//! record log (Kafka) to a record log.
//!
//! A job is defined by its source, the grouping of events by their time, an aggregate of them,
//! and its sinks. It runs in one process or several, and continues from a checkpoint
//! wherever it was stopped.
//!
//! # A first job
//!
//! It counts the visits of each minute. The log is in memory here; [`record_log::open`] opens Kafka.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use record_log::{Record, RecordLog, simulated::SimulatedLog};
//! use stream::{Count, Job, Output, Rejected, Run, Settings, Stop, Windows};
//!
//! let job = Job::new("visits")
//!     .source("visits", |record: &Record<'_>| {
//!         let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
//!         let (page, time_ms) = text.split_once(' ').ok_or_else(|| Rejected::because("no time"))?;
//!         Ok((time_ms.parse().map_err(Rejected::because)?, page.to_owned()))
//!     })
//!     .window(Windows::tumbling(Duration::from_secs(60))?)
//!     .aggregate(|page: String| [(page, Count(1))])
//!     .sink("visit-counts", |row, output: &mut Output| {
//!         output.value.extend(format!("{} {} {}", row.window_start, row.key, row.aggregate.0).bytes());
//!     });
//!
//! let log = SimulatedLog::default();
//! # publish(&log, "visits", &["home 1000", "home 59999", "shop 2000", "home 60000", "no visit"]);
//! let settings = Settings { until_end: true, ..Settings::default() };
//! Run::new(job, settings, Arc::new(log.clone()))?.run(&Stop::default())?;
//!
//! assert_eq!(values(&log, "visit-counts"), ["0 home 2", "0 shop 1", "60000 home 1"]);
//! assert_eq!(values(&log, "visits-dead-letter"), ["no visit"]);
//! # fn publish(log: &dyn RecordLog, topic: &str, values: &[&str]) {
//! #     let spec = record_log::TopicSpec {
//! #         name: topic.to_owned(), partitions: 2, cleanup: record_log::Cleanup::Delete,
//! #         retention: Duration::from_secs(60),
//! #     };
//! #     log.ensure_topics(&[spec]).unwrap();
//! #     let mut publisher = log.publisher("visitors", record_log::Delivery::Transactional).unwrap();
//! #     for value in values {
//! #         publisher.send(record_log::NewRecord {
//! #             topic, partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
//! #         }).unwrap();
//! #     }
//! #     publisher.commit(&[]).unwrap();
//! # }
//! # fn values(log: &SimulatedLog, topic: &str) -> Vec<String> {
//! #     let texts = log.records(topic).into_iter().filter_map(|record| record.value);
//! #     let mut texts: Vec<_> = texts.map(|text| String::from_utf8(text).unwrap()).collect();
//! #     texts.sort();
//! #     texts
//! # }
//! # Ok::<(), stream::JobError>(())
//! ```
//!
//! The steps are types, so that a job without a source or an aggregate does not compile: [`Job`],
//! [`Sourced`], [`Windowed`] or [`Sessioned`] or [`Passing`], [`Aggregated`], [`Pipeline`]. A record that a
//! decoder rejects becomes a dead letter with the reason, and the job goes on.
//!
//! A program with a command line, logs, signals, a status page and supervision takes one call more:
//! see the crate `stream-cli`.
//!
//! # Without a window
//!
//! [`Sourced::filter`] and [`Sourced::map`] change events before anything else. With
//! [`Sourced::without_window`] a job publishes records for each event, exactly once and in order:
//! see [`Passing`].
//!
//! # Windows and aggregates
//!
//! [`Windows`] follow each other or slide; a session of [`SessionWindows`] ends when its key has had
//! no event for a gap. A key's events in a window are kept as an [`Aggregate`]: [`Count`],
//! [`Sum`], [`Min`], [`Max`], [`Tally`], [`Top`], [`Distinct`], [`DistinctExact`], a tuple of them,
//! or one of your own. [`Windows::offset`] moves the starts of windows, to the days of a time zone.
//!
//! # Several topics
//!
//! [`Sourced::and`] adds topics whose events have the same form, [`Sourced::with`] those of another.
//! [`Windowed::join`] joins two of them by key and window ([`Joined`]). Each has its own decoder, and may
//! have its own disorder and topics of side outputs.
//!
//! # Behind a window
//!
//! The sink's function fills the record of a row: key, value and headers. It may
//! [skip](Output::skip) the row. If a correction is skipped, a tombstone takes the place of the row
//! that was published before. [`Pipeline::summarize`] adds the [`Totals`] of each window over all
//! keys, and [`Pipeline::top`] its first keys, each as a record of its own ([`Ranked`]). Both follow corrections, in
//! the transaction of the rows. [`Pipeline::stage`] filters, maps, joins and ranks rows, and groups them by further
//! windows ([`Rows`]), with the same promise. With the aggregate `()`, the rows of a window are its distinct keys.
//!
//! # Process functions
//!
//! For rules that windows cannot express, [`Sourced::key_by`] and [`Keyed::process`] call a [`ProcessFunction`] with the
//! events of each key in their order, with a state and event-time timers.
//!
//! # Late events
//!
//! Event time follows the slowest partition, less [`Settings::disorder`]. When it has passed the end of a window, the
//! window's rows are published, each with revision 0. An event that comes later, within [`Settings::allowed_lateness`],
//! corrects its window: the [`Row`] is published again with the next revision, and a consumer keeps the highest. Still
//! later ones go to the late topic ([`Pipeline::side_outputs`]). No event vanishes: it is counted, late or rejected. An
//! event with the id of one that was counted ([`Sourced::identified_by`]) is not counted twice.
//!
//! # Checkpoints
//!
//! The job writes checkpoints to the address in [`Settings::checkpoints`]: a folder, an S3 or a GCS
//! bucket, or memory. Results become readable only after the checkpoint that can repeat them is
//! durable, in one transaction with the progress of their publisher. So a crash at any moment
//! neither loses a result nor doubles it ([`Guarantee::ExactlyOnce`]). A job that was changed in a
//! way that its checkpoint cannot continue does not start, and the error names the difference.
//! [`CheckpointsCommand`] lists, shows, verifies, prunes and copies checkpoints (a savepoint, from which another job begins);
//! [`AnyPipeline::read_checkpoint`] writes the content of one, and [`AnyPipeline::start_over`] lets a job begin anew.
//!
//! # Files
//!
//! A [`FileSink`] is a log whose published topics are files in a folder or a bucket, with the same promise: each file is one
//! transaction, and never changes. Its [`FileFormat`] is NDJSON or, with the feature `parquet`, Parquet.
//!
//! # One process or several
//!
//! A process has [`Settings::workers`] threads. Several processes form one job by a [`Membership`].
//! A failure ends the attempt in all of them, and they start again from the newest checkpoint: a
//! process exits with [`EXIT_START_AGAIN`].
//!
//! # Where to go on
//!
//! - [`Job`]: the definition of a job, step by step.
//! - [`Settings`]: how it is run.
//! - [`Run`] and [`Stop`]: its life. [`AnyPipeline`] and [`AnyRun`]: the same for a program that
//!   handles jobs of many types.
//! - [`Metrics`] and [`Status`]: its progress and health.
//! - [`json`]: reading two fields of a JSON record without parsing the rest.
//! - ARCHITECTURE.md in the repository: how the engine works inside, and its invariants.

mod aggregate;
mod assignment;
mod attempt;
mod checkpoint;
mod clock;
mod closing;
mod cluster;
mod cut;
mod dataflow;
mod emitted;
mod erased;
mod error;
mod file_sink;
mod flow;
mod frontier;
mod inputs;
mod job;
pub mod json;
mod metrics;
mod milestones;
mod monitor;
mod output;
mod pane;
mod process;
mod recovery;
mod run;
mod seen;
mod settings;
mod sink;
mod size;
mod source;
mod stages;
mod status;
mod summary;
mod topics;
pub mod units;
mod waiting;
mod watchdog;
mod watermark;
mod window;
mod worker;
mod worker_progress;

pub use emitted::{Emitted, SourcePartition};
pub use job::{
    Aggregated, Either, Job, Keyed, Passing, Pipeline, Processing, Rejected, Sessioned, Sourced,
    Windowed,
};
pub use pane::{EventTimeMs, InvalidWindows, SessionWindows, Windows};
pub use process::function::{ProcessContext, ProcessFunction};
pub use process::state::Processed;
pub use seen::EventId;

pub use aggregate::{
    Aggregate, Count, Distinct, DistinctExact, Joined, Key, Max, Min, Session, Sessions, Sum,
    Tally, ToAggregates, Top, Value, hash_bytes,
};
pub use file_sink::{FileFormat, FileSink};
pub use flow::Row;
pub use output::Output;
pub use stages::WindowRow;
pub use stages::rows::Rows;
pub use summary::{Ranked, Totals};

pub use attempt::Stop;
pub use clock::{Clock, system_clock};
pub use erased::{AnyPipeline, AnyRun};
pub use error::{ClusterError, JobError};
pub use flow::Slots;
pub use run::Run;
pub use settings::{Guarantee, Settings, UnreadableBatches};
pub use size::{ByteSize, InvalidSize};

pub use cluster::secret::{Secret, SecretError};
pub use cluster::{EXIT_START_AGAIN, Members, Membership};

pub use checkpoint::inspect::{CheckpointsCommand, InspectError, Report};
pub use checkpoint::recover::RecoverError;
pub use checkpoint::store::trial::{StoreFault, StoreTrial};
pub use checkpoint::store::{CheckpointStore, ManifestId, StoreError};

pub use metrics::Metrics;
pub use metrics::operators::OperatorStatus;
pub use status::{
    CheckpointStatus, PartitionStatus, SideOutputStatus, Status, TopicsStatus, Trouble,
    WorkerStatus,
};

/// Access for the engine's own tests. It is not part of the library, and may change at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::checkpoint::manifest::{Fingerprint, Manifest, PartitionCut};
    pub use crate::checkpoint::part::{self, PartBuilder};
    pub use crate::checkpoint::part_info::PartInfo;
    pub use crate::checkpoint::recover;
    pub use crate::cluster::secret::Trust;
    pub use crate::flow::{ClosedPane, Entry, Reason, SideOutput, group_of};
    pub use crate::topics::ensure as ensure_topics;
}
