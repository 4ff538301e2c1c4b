//! The reasons why nothing was measured.

use std::io;

use record_log::{LogError, PublishError};

use crate::binaries::NotBuilt;
use crate::counterparts::CounterpartError;

/// The reason why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsWritesError {
    /// A server or a replica did not start.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// No port is free.
    #[error("no port is free: {0}")]
    Port(#[from] io::Error),
    /// The program of the service is missing.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A row was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A request to a replica or to DynamoDB Local failed.
    #[error("a request failed: {0}")]
    Request(#[from] reqwest::Error),
    /// The rows were not written in time, or an answer lacks an expected field.
    #[error("{0}")]
    Unexpected(String),
}

pub(super) type Result<T> = std::result::Result<T, AnalyticsWritesError>;
