//! The parts that all services share: the HTTP server, health, error replies, stores and orderly
//! shutdown.
//!
//! A service builds an [`axum::Router`] from its own handlers and hands it to [`serve`], which adds
//! the parts that all services share: health, metrics, request ids, traces, time limits, problem documents
//! and draining. Several services can run in one process without sharing state: nothing here is
//! global but the log's subscriber.

mod accept;
mod application;
pub mod auth;
mod backoff;
mod causes;
mod connections;
mod description;
mod duplicates;
pub mod dynamodb;
mod extract;
mod health;
mod leftover;
mod metrics;
mod page;
mod peer;
mod problem;
mod security;
mod serve;
mod shutdown;
pub mod span;
pub mod sql;
mod telemetry;
mod trace;
mod visible;
mod wording;
mod workers;

pub use application::{application, operator};
pub use backoff::{Backoff, retry};
pub use causes::in_one_line;
pub use connections::network_of;
pub use description::described;
pub use duplicates::Unique;
pub use extract::{Json, Path, Query};
pub use health::{Health, Hold};
pub use metrics::Metrics;
pub use page::{Cursor, Limit, Page, PageQuery};
pub use peer::Peer;
pub use problem::{Problem, Result};
pub use security::{SecurityEvent, SecurityEvents};
pub use serve::{Limits, Listeners, ServeError, Server, serve};
pub use shutdown::Shutdown;
pub use telemetry::{
    LogFilter, LogFormat, LogSettings, TraceError, TraceSettings, Traces, init as init_telemetry,
    init_with_traces,
};
pub use trace::{RequestId, TRACEPARENT, TraceParent};
pub use visible::is_visible;
