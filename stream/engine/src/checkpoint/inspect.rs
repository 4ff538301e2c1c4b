//! Commands for operators: list, show, verify, prune, copy and read checkpoints.
//!
//! ```text
//! order-analytics checkpoints list | show [ID] | verify | prune [--keep N] [--dry-run] | copy [ID] --to …     each with --json
//! order-analytics checkpoints read [ID]                                                                     NDJSON
//! ```
//!
//! [`CheckpointsCommand::run`] reads the store and returns a [`Report`]; the caller prints it. Only `prune` changes the
//! store. It is safe while the job runs: it keeps the newest whole checkpoint and everything that
//! came after it. `copy` creates objects of another job or at another place.

pub(crate) mod content;
mod copy;
mod prune;
mod survey;
mod text;

use std::num::NonZeroU16;

use serde::Serialize;

use crate::checkpoint::recover::Flaw;
use crate::checkpoint::retain::KEPT;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// A command on the checkpoints of a job.
///
/// ```
/// use stream::{CheckpointStore, CheckpointsCommand, InspectError, ManifestId, RecoverError, Report, StoreError};
///
/// let store = CheckpointStore::open("memory:///", "visits")?;
/// let verify = CheckpointsCommand::Verify { json: false };
/// let report: Result<Report, InspectError> = verify.run(&store, 0);
/// assert!(matches!(report, Err(InspectError::Empty(job)) if job == "visits"));
///
/// let checkpoint: ManifestId = "7-60000".parse().expect("an attempt and a boundary");
/// let show = CheckpointsCommand::Show { checkpoint: Some(checkpoint), json: false };
/// assert!(matches!(show.run(&store, 0), Err(InspectError::Empty(_) | InspectError::Unknown(_))));
///
/// // A start that finds no checkpoint to continue from reports the remedy.
/// let lost = RecoverError::CheckpointsLost { until_ms: 60_000 };
/// assert!(lost.to_string().contains("start-over"));
/// # Ok::<(), StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub enum CheckpointsCommand {
    /// List the checkpoints, the newest first
    List {
        /// As JSON, for scripts
        json: bool,
    },
    /// Show one checkpoint in full
    Show {
        /// The checkpoint, as `list` names it; the newest if none
        checkpoint: Option<ManifestId>,
        /// As JSON, for scripts
        json: bool,
    },
    /// Read and check every object of every checkpoint; fails if one is damaged
    Verify {
        /// As JSON, for scripts
        json: bool,
    },
    /// Delete objects that no start needs: older checkpoints, parts that no kept checkpoint names, and old
    /// attempts' markers
    Prune {
        /// Number of whole checkpoints that are kept, the newest included
        keep: NonZeroU16,
        /// Only print the objects that would be deleted
        dry_run: bool,
        /// As JSON, for scripts
        json: bool,
    },
    /// Copy a checkpoint: for another job to begin from, or to another place for the same job
    Copy {
        /// The checkpoint, as `list` names it; the newest if none
        checkpoint: Option<ManifestId>,
        /// The job that begins from the copy, and the place of its checkpoints. It must have none yet
        to: CheckpointStore,
        /// As JSON, for scripts
        json: bool,
    },
}

impl CheckpointsCommand {
    /// The number of whole checkpoints that a job itself keeps.
    pub const KEPT: u16 = KEPT as u16;

    /// Runs the command to its end. `now_ms` is the clock, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn run(&self, store: &CheckpointStore, now_ms: u64) -> Result<Report, InspectError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.answer(store, now_ms))
    }

    /// Runs the command as [`run`](Self::run) does, on the caller's runtime. A store that does not answer is waited for, so
    /// callers set a time limit.
    ///
    /// # Errors
    /// [`InspectError`].
    pub async fn answer(
        &self,
        store: &CheckpointStore,
        now_ms: u64,
    ) -> Result<Report, InspectError> {
        answer(self, store, now_ms).await
    }
}

/// The result of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The text to print.
    pub text: String,
    /// False if `verify` found damage.
    pub is_sound: bool,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job has no checkpoints.
    #[error(
        "job {0:?} has no checkpoints here; --job and --checkpoints name the job and the place"
    )]
    Empty(String),
    /// The checkpoint does not exist.
    #[error("there is no checkpoint {0}; `checkpoints list` names those that there are")]
    Unknown(ManifestId),
    /// A newer version of this program wrote a checkpoint.
    #[error(
        "nothing was deleted, for checkpoint {0} was written by a newer version of this program: prune with that"
    )]
    Newer(ManifestId),
    /// No checkpoint is whole, so none can be kept.
    #[error(
        "nothing was deleted, because none of the {0} checkpoints is whole; `checkpoints verify` shows their damage"
    )]
    NoneWhole(usize),
    /// The checkpoint cannot be read.
    #[error("checkpoint {checkpoint} cannot be read: {flaw}")]
    Damaged {
        /// The checkpoint.
        checkpoint: ManifestId,
        /// The problem.
        flaw: Box<Flaw>,
    },
    /// The target of a copy has checkpoints.
    #[error(
        "nothing was copied, for job {job:?} has checkpoint {checkpoint} there already: name a job or a place without any"
    )]
    Exists {
        /// The job.
        job: String,
        /// Its newest checkpoint.
        checkpoint: ManifestId,
    },
    /// The checkpoint has nothing that another job could begin from.
    #[error(
        "nothing was copied, for checkpoint {0} is the one of a job that has just begun, or of an earlier version of \
         this program: copy the next one"
    )]
    Nothing(ManifestId),
    /// The target of a copy began to run before the copy was complete.
    #[error(
        "job {0:?} began while the checkpoint was copied, and goes on without it: copy to another job, and start that \
         one when the copy is done"
    )]
    Begun(String),
    /// The keys or aggregates of the checkpoint are of other types than those of the program.
    #[error("checkpoint {checkpoint} cannot be read by this program: {difference}")]
    OtherTypes {
        /// The checkpoint.
        checkpoint: ManifestId,
        /// The difference.
        difference: String,
    },
    /// The content cannot be written.
    #[error("cannot write the content: {0}")]
    Output(#[source] std::io::Error),
    /// The runtime could not be started.
    #[error("cannot wait for the object store: {0}")]
    Runtime(#[from] std::io::Error),
}

async fn answer(
    command: &CheckpointsCommand,
    store: &CheckpointStore,
    now_ms: u64,
) -> Result<Report, InspectError> {
    match command {
        CheckpointsCommand::List { json } => {
            let listed = survey::list(store, now_ms).await?;
            Ok(report(*json, &listed, true, |listed| text::list(listed)))
        }
        CheckpointsCommand::Show { checkpoint, json } => {
            let shown = survey::show(store, *checkpoint, now_ms).await?;
            Ok(report(*json, &shown, true, text::show))
        }
        CheckpointsCommand::Verify { json } => {
            let verified = survey::verify(store).await?;
            Ok(report(*json, &verified, verified.is_sound, text::verify))
        }
        CheckpointsCommand::Prune {
            keep,
            dry_run,
            json,
        } => {
            let plan = prune::plan(store, usize::from(keep.get())).await?;
            if !dry_run {
                prune::carry_out(store, &plan).await?;
            }

            Ok(report(*json, &plan, true, |plan| {
                text::prune(plan, *dry_run)
            }))
        }
        CheckpointsCommand::Copy {
            checkpoint,
            to,
            json,
        } => {
            let copied = copy::copy(store, to, *checkpoint).await?;
            Ok(report(*json, &copied, true, text::copy))
        }
    }
}

fn report<T: Serialize>(
    json: bool,
    answer: &T,
    is_sound: bool,
    to_text: impl FnOnce(&T) -> String,
) -> Report {
    let to_json = || serde_json::to_string_pretty(answer).expect("answers are plain data") + "\n";
    Report {
        text: if json { to_json() } else { to_text(answer) },
        is_sound,
    }
}
