//! The reasons why an attempt cannot start, and why a checkpoint cannot be used.

use crate::checkpoint::manifest::{Difference, ManifestError};
use crate::checkpoint::part::PartError;
use crate::checkpoint::store::StoreError;
use crate::pane::EventTimeMs;
use crate::sink::progress::UnknownProgress;

/// The reason why an attempt cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A later attempt has begun.
    #[error("attempt {newest} of the job has begun after this one, attempt {own}: this one ends")]
    Superseded {
        /// This attempt.
        own: u64,
        /// The later one.
        newest: u64,
    },
    /// The settings have changed in a way that the checkpoint does not allow.
    #[error(
        "the job has a checkpoint that was written with other settings: {}. Restore what has changed, \
         or start over, under another --job name or by the command `start-over`",
        .0.iter().map(Difference::to_string).collect::<Vec<_>>().join(", ")
    )]
    SettingsChanged(Vec<Difference>),
    /// There are checkpoints, but none can be used.
    #[error(
        "none of the job's {count} checkpoints can be used; the newest: {newest}. Restore its objects, or start over by the command `start-over`"
    )]
    NoneWhole {
        /// The number of checkpoints.
        count: usize,
        /// The flaw of the newest.
        newest: Box<Flaw>,
    },
    /// Results were committed, but there is no checkpoint.
    #[error(
        "results up to {until_ms} ms of event time were committed, but the job has no checkpoint at its --checkpoints address: \
         correct that, restore its objects, or start over by the command `start-over`"
    )]
    CheckpointsLost {
        /// The event time by which the results end.
        until_ms: EventTimeMs,
    },
    /// The log has lost the job's progress, and the checkpoint, written by an earlier version, does
    /// not contain it.
    #[error(
        "the log holds no progress of the job, whose checkpoint reaches {boundary_ms} ms of event time: it expired \
         (offsets.retention.minutes), or its topic was deleted. Replace the results by the command `start-over`"
    )]
    ProgressLost {
        /// The checkpoint's boundary.
        boundary_ms: EventTimeMs,
    },
    /// A publisher's progress cannot be read.
    #[error(transparent)]
    Progress(#[from] UnknownProgress),
    /// The newest checkpoint cannot be read, and must not be skipped.
    #[error("{0}")]
    Unreadable(Box<Flaw>),
}

/// The reason why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Its manifest cannot be used.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// One of its parts cannot be used.
    #[error("part {name}: {source}")]
    Part {
        /// The part's name.
        name: String,
        /// The reason.
        source: PartError,
    },
    /// One of its objects cannot be read.
    #[error("{0}")]
    Object(#[from] StoreError),
    /// Another process found damage in its share.
    #[error("process {process}: {reason}")]
    Elsewhere {
        /// The process.
        process: u16,
        /// The damage that it found.
        reason: String,
    },
}

impl Flaw {
    /// Returns the flaw if an older checkpoint may take the place of the one that has it.
    pub(super) fn unless_it_forbids_falling_back(self) -> Result<Self, RecoverError> {
        match self {
            // An object whose read is refused is not damaged: falling back would replace results
            // for no reason.
            Self::Object(refused @ StoreError::Refused { .. }) => Err(refused.into()),
            flaw if flaw.is_of_the_future() => Err(RecoverError::Unreadable(Box::new(flaw))),
            flaw => Ok(flaw),
        }
    }

    /// Returns whether a newer program wrote the object: falling back to an older checkpoint would
    /// undo its work.
    pub(in crate::checkpoint) fn is_of_the_future(&self) -> bool {
        matches!(
            self,
            Self::Manifest(ManifestError::Version(_))
                | Self::Part {
                    source: PartError::Version(_),
                    ..
                }
        )
    }
}
