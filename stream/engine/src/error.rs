//! The errors that end a job: those of one process, and those of several that run it together. Each can be the
//! reason for the other, so they are defined in one place.

use std::time::Duration;

use record_log::{LogError, PublishError};

use crate::checkpoint::recover::RecoverError;
use crate::checkpoint::store::StoreError;
use crate::pane::InvalidWindows;

/// The reason why a job ended before a stop was requested or the input was read to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The record log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A publisher failed.
    #[error("cannot commit results: {0}")]
    Publish(#[from] PublishError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The attempt could not start from the checkpoint.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The log does not hold a position of the checkpoint.
    #[error("{0}")]
    Position(String),
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// timely dataflow could not start its workers, or one of them panicked.
    #[error("a worker died: {0}")]
    Worker(String),
    /// A worker does not come back from a step. The process must start again to get rid of it.
    #[error("worker {worker} hangs: its step has not ended for {limit:?} (--step-limit)")]
    Hung {
        /// The worker.
        worker: usize,
        /// The step limit.
        limit: Duration,
    },
    /// The processes of the job cannot run together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl From<InvalidWindows> for JobError {
    fn from(error: InvalidWindows) -> Self {
        Self::Settings(error.to_string())
    }
}

impl JobError {
    /// Returns whether continuing from the checkpoint may help. A single process does so by itself,
    /// several processes together.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Log(error) => error.is_transient(),
            Self::Publish(error) => error.is_transient(),
            Self::Cluster(error) => error.is_passing(),
            _ => false,
        }
    }

    /// Returns whether another attempt of the same job has begun, so that this one must not
    /// continue.
    pub fn is_superseded(&self) -> bool {
        matches!(
            self,
            Self::Publish(PublishError::Fenced { .. })
                | Self::Recover(RecoverError::Superseded { .. })
                | Self::Store(StoreError::Taken(_))
        )
    }

    /// Returns whether the process's supervisor should start it again.
    pub fn is_for_a_new_start(&self) -> bool {
        matches!(self, Self::Worker(_) | Self::Hung { .. }) || self.is_passing()
    }
}

/// The reason why processes cannot run a job together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The flags contradict each other.
    #[error("{0}")]
    Membership(String),
    /// This process cannot listen at its address.
    #[error("process {process} cannot listen at {address}: {source}")]
    Listen {
        /// This process.
        process: u16,
        /// Its address.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Process 0 refuses this process.
    #[error("process 0 does not take this process: {0}")]
    Refused(String),
    /// The processes did not join in time.
    #[error(
        "not all processes of the job joined within {limit:?} (--join-limit); earlier warnings name those that are missing"
    )]
    NotJoined {
        /// The time limit.
        limit: Duration,
    },
    /// The connection to a process failed, or the process sent an unexpected message.
    #[error("process {process} cannot be talked to: {source}")]
    Line {
        /// The other process.
        process: u16,
        /// The failure.
        source: std::io::Error,
    },
    /// A process cannot read its share of the checkpoint that the job would begin from.
    #[error("process {process} cannot read its share of the checkpoint: {reason}")]
    Unreadable {
        /// The process.
        process: u16,
        /// The cause.
        reason: String,
    },
    /// A process went away in the middle of the attempt.
    #[error("process {0} went away: the attempt ends in all processes")]
    Lost(u16),
    /// A process hangs or is cut off.
    #[error("process {process} has sent nothing for {limit:?}: the attempt ends in all processes")]
    Silent {
        /// The other process.
        process: u16,
        /// The silence limit.
        limit: Duration,
    },
    /// Another attempt has begun in the meantime: the other processes continued without this one.
    #[error("the job went on without this process: {0}")]
    LeftBehind(#[source] Box<JobError>),
    /// The topic has more partitions than the attempt started with.
    #[error("partitions were added: all processes start again to take them in")]
    PartitionsAdded,
    /// A stop was requested in another process.
    #[error(
        "another process of the job received a stop request: closed windows are committed, and all processes start again"
    )]
    Stopped,
}

impl ClusterError {
    /// Returns whether starting again may help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Line { .. }
                | Self::Unreadable { .. }
                | Self::Lost(_)
                | Self::Silent { .. }
                | Self::LeftBehind(_)
                | Self::PartitionsAdded
                | Self::Stopped
        )
    }
}
