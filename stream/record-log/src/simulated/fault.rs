//! The faults of a simulated log, and the calls at which they occur.

use std::fmt;

use crate::{LogError, Refusal};

/// A call on the log that is about to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call<'a> {
    /// [`RecordLog::ensure_topics`](crate::RecordLog::ensure_topics).
    EnsureTopics,
    /// [`RecordLog::describe`](crate::RecordLog::describe).
    Describe {
        /// The topic.
        topic: &'a str,
    },
    /// [`RecordLog::partitions`](crate::RecordLog::partitions).
    Partitions {
        /// The topic.
        topic: &'a str,
    },
    /// [`RecordLog::offsets`](crate::RecordLog::offsets).
    Offsets {
        /// The topic.
        topic: &'a str,
    },
    /// [`RecordLog::reader`](crate::RecordLog::reader).
    OpenReader {
        /// The topic.
        topic: &'a str,
    },
    /// [`Reader::poll`](crate::Reader::poll).
    Poll {
        /// The topic.
        topic: &'a str,
        /// The partition.
        partition: u32,
    },
    /// [`RecordLog::publisher`](crate::RecordLog::publisher).
    OpenPublisher {
        /// The publisher.
        id: &'a str,
    },
    /// [`Publisher::send`](crate::Publisher::send).
    Send {
        /// The publisher.
        id: &'a str,
        /// The topic of the record.
        topic: &'a str,
    },
    /// [`Publisher::commit`](crate::Publisher::commit).
    Commit {
        /// The publisher.
        id: &'a str,
        /// The progress it carries.
        progress: &'a [u8],
    },
    /// [`RecordLog::committed`](crate::RecordLog::committed).
    Committed {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
    },
    /// [`RecordLog::commit`](crate::RecordLog::commit).
    CommitPositions {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
    },
    /// [`RecordLog::join`](crate::RecordLog::join).
    Join {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
    },
    /// [`Membership::owned`](crate::Membership::owned).
    Owned {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
    },
}

/// The fate of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It works.
    None,
    /// It fails without an effect. A commit returns that nothing was published.
    Unavailable,
    /// It is refused permanently, as if a right were missing.
    Refused,
    /// It has its effect, and fails. A commit returns that it may have happened.
    LoseReply,
    /// The process crashes before the effect: this call, and all later ones of the process, end
    /// their threads by a panic whose payload is [`Crashed`].
    CrashBefore,
    /// The process crashes after the effect.
    CrashAfter,
}

/// The payload of the panic that ends a thread of a crashed process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crashed;

/// The cause of a planned error.
#[derive(Debug)]
pub(super) struct Simulated;

impl fmt::Display for Simulated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a simulated fault")
    }
}

impl std::error::Error for Simulated {}

impl Call<'_> {
    /// Returns the refusal of the call.
    pub(super) fn refusal(&self) -> Refusal {
        let (right, resource, name) = match self {
            Self::EnsureTopics => ("CREATE", "cluster", "simulated"),
            Self::Describe { topic } => ("DESCRIBE_CONFIGS", "topic", *topic),
            Self::Partitions { topic } | Self::Offsets { topic } => ("DESCRIBE", "topic", *topic),
            Self::OpenReader { topic } | Self::Poll { topic, .. } => ("READ", "topic", *topic),
            Self::OpenPublisher { id } | Self::Commit { id, .. } => {
                ("WRITE", "transactional id", *id)
            }
            Self::Send { topic, .. } => ("WRITE", "topic", *topic),
            Self::Committed { group, .. }
            | Self::CommitPositions { group, .. }
            | Self::Join { group, .. }
            | Self::Owned { group, .. } => ("READ", "group", *group),
        };
        Refusal::denied(right, resource, name)
    }
}

pub(super) fn unavailable() -> LogError {
    LogError::Unavailable(Box::new(Simulated))
}
