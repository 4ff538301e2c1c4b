//! A stream processor on timely dataflow: event-time windows, exactly once, from a record log to a record log.
//!
//! Event time is cut into panes, and the pane is the unit of everything: the timely timestamp (so the frontier is the
//! watermark), the unit of aggregation, of state, and of consistency. A job is said with [`Job`] and run with [`Run`].
//!
//! The modules in reading order, which is the order in which a record passes them:
//! event time ([`pane`], [`watermark`], [`cut`]), what is kept of events ([`aggregate`]), the dataflow ([`dataflow`]:
//! [`source`], [`panes`], [`window`], [`checkpoint`], [`summary`], [`sink`]), and the life of a job ([`run`]: how its
//! attempts [begin](`beginning`), in one process or in [several](`cluster`), and who does what in them, [`assignment`]).

pub mod aggregate;
pub mod assignment;
pub mod attempt;
pub mod beginning;
pub mod checkpoint;
pub mod cluster;
pub mod cut;
pub mod dataflow;
pub mod flow;
pub mod frontier;
pub mod job;
pub mod json;
pub mod metrics;
pub mod monitor;
pub mod pane;
pub mod panes;
pub mod run;
pub mod seen;
pub mod settings;
pub mod sink;
pub mod source;
pub mod standing;
pub mod status;
pub mod summary;
pub mod supervise;
pub mod topics;
mod units;
pub mod watermark;
pub mod window;
pub mod worker;

pub use aggregate::{
    Aggregate, Count, Distinct, DistinctExact, Key, Max, Min, Session, Sessions, Sum, Tally, Top,
    Value, hash_bytes,
};
pub use attempt::{JobError, Stop};
pub use flow::Row;
pub use job::{Job, Output, Pipeline, Rejected};
pub use pane::{InvalidWindows, SessionWindows, Windows};
pub use run::Run;
pub use settings::{Guarantee, Settings};
pub use summary::Totals;
