//! The errors of a log and of its publishers. They state if an operation may have happened, and if
//! another try can help.

use crate::{Offset, Refusal};

/// The reason why an operation of the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached now; the same call may succeed later.
    #[error("the record log is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// There is no such topic.
    #[error("there is no topic {0:?}")]
    UnknownTopic(String),
    /// The topic exists but has no such partition, or the reader was opened without it.
    #[error("there is no partition {partition} of {topic:?} to be read or written here")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The log does not hold this position: it is too old, or not yet written.
    #[error(
        "partition {partition} of {topic:?} holds no offset {offset}: its records were deleted (retention.ms, retention.bytes) \
         or were lost with a broker; restore the topic, or start the job over to read what is left"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The requested offset.
        offset: Offset,
    },
    /// The log's bytes at this position cannot be read: they are damaged, or of a format that is not supported. The
    /// position is kept. [`Reader::set_aside`](crate::Reader::set_aside) continues behind them.
    #[error(
        "partition {partition} of topic {topic:?} cannot be read at offset {offset}: {reason}; restore the partition from a \
         replica, or let a stream job set it aside (--unreadable-batches set-aside)"
    )]
    Unreadable {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset of the first record that cannot be read.
        offset: Offset,
        /// The reason.
        #[source]
        reason: Cause,
    },
    /// The settings can never work.
    #[error("the record log refuses its settings: {0}")]
    Settings(#[source] Cause),
    /// The log refuses this operation until a right or a setting is changed.
    #[error("{0}")]
    Refused(#[source] Refusal),
}

impl LogError {
    /// Returns `true` if another attempt can succeed. All other errors end the operation, with a
    /// sentence that names the cause.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The reason why a publisher did not publish.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A newer holder of the id exists. This publisher must stop.
    #[error("publisher {id:?} was fenced by a newer holder of its id")]
    Fenced {
        /// The id.
        id: String,
    },
    /// Nothing that was sent since the last commit was or will be published. Send it again.
    #[error("nothing was published: {0}")]
    NotPublished(#[source] Cause),
    /// The log stopped answering during the commit.
    #[error("it is not known whether the commit happened: {0}")]
    MayHaveHappened(#[source] Cause),
    /// The log refuses a record or the publisher permanently. No transaction that contains it is
    /// published; without transactions, earlier records may be.
    #[error("{0}")]
    Refused(#[source] Refusal),
}

impl PublishError {
    /// Returns `true` if another attempt can succeed: with this publisher or, if the commit [may
    /// have happened](Self::may_have_happened), with a new one whose progress is read first.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotPublished(_) | Self::MayHaveHappened(_))
    }

    /// Returns `true` if the commit may have been published.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::MayHaveHappened(_))
    }
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LogError> for PublishError {
    /// Converts an error that came before anything was published.
    fn from(error: LogError) -> Self {
        match error {
            LogError::Refused(refusal) => Self::Refused(refusal),
            transient if transient.is_transient() => Self::NotPublished(Box::new(transient)),
            permanent => Self::Refused(Refusal::new(permanent.to_string())),
        }
    }
}

/// The cause of a log's error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
