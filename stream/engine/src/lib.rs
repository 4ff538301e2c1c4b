//! A stream processor on timely dataflow: event-time windows, exactly once, from a record log to a
//! record log.
//!
//! Event time is cut into panes. A pane is the timely timestamp (so the frontier is the watermark)
//! and the unit of aggregation, of state and of consistency. [`Job`] defines a job and [`Run`] runs
//! it.
//!
//! The modules in reading order, which is the order in which a record passes them:
//!
//! - event time: [`pane`], [`watermark`], [`cut`];
//! - the aggregates of events: [`aggregate`];
//! - the dataflow: [`dataflow`], with [`source`], [`panes`], [`window`], [`checkpoint`],
//!   [`summary`] and [`sink`];
//! - the life of a job: [`run`], with the [recovery](`beginning`) of its attempts, one process or
//!   [several](`cluster`), and the [`assignment`] of work to them.

pub mod aggregate;
pub mod assignment;
pub mod attempt;
pub mod beginning;
pub mod checkpoint;
pub mod clock;
pub mod cluster;
pub mod cut;
pub mod dataflow;
pub mod erased;
pub mod error;
pub mod flow;
pub mod frontier;
pub mod job;
pub mod json;
pub mod metrics;
pub mod monitor;
pub mod output;
pub mod pane;
pub mod panes;
pub mod run;
pub mod seen;
pub mod settings;
pub mod sink;
pub mod size;
pub mod source;
pub mod standing;
pub mod status;
pub mod summary;
pub mod topics;
pub mod units;
mod watchdog;
pub mod watermark;
pub mod window;
pub mod worker;

pub use aggregate::{
    Aggregate, Count, Distinct, DistinctExact, Key, Max, Min, Session, Sessions, Sum, Tally, Top,
    Value, hash_bytes,
};
pub use attempt::Stop;
pub use checkpoint::inspect::{self, CheckpointsCommand, InspectError};
pub use checkpoint::store::{CheckpointStore, ManifestId, StoreError};
pub use clock::system_clock;
pub use cluster::secret::Secret;
pub use cluster::{EXIT_START_AGAIN, Membership};
pub use erased::{AnyPipeline, AnyRun};
pub use error::{ClusterError, JobError};
pub use flow::{Row, Slots};
pub use job::{Job, Pipeline, Rejected};
pub use metrics::Metrics;
pub use output::Output;
pub use pane::{InvalidWindows, SessionWindows, Windows};
pub use run::Run;
pub use settings::{Guarantee, Settings};
pub use size::{ByteSize, InvalidSize};
pub use status::{CheckpointStatus, PartitionStatus, Status, TopicsStatus, Trouble, WorkerStatus};
pub use summary::Totals;
