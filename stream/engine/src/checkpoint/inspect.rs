//! Checkpoints for people: what there is, whether it is whole, and away with what nobody will start from.
//!
//! ```text
//! order-analytics checkpoints list | show [ID] | verify | prune [--keep N] [--dry-run]      each with --json
//! ```
//!
//! [`run`] asks the store and answers with a [`Report`]; whoever calls prints it. What is asked for changes nothing, but for
//! `prune`, which is safe while the job runs: it leaves the newest whole checkpoint and everything that came after it.

mod prune;
mod survey;
mod text;

use std::num::NonZeroU16;

use serde::Serialize;

use crate::checkpoint::retain::KEPT;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// What is asked about the checkpoints of a job.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CheckpointsCommand {
    /// List the checkpoints, the newest first
    List {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Show one checkpoint in full
    Show {
        /// Which one, as `list` names it [default: the newest]
        #[arg(value_name = "ID")]
        checkpoint: Option<ManifestId>,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Read and check every object of every checkpoint; fails when one is damaged
    Verify {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Delete what nobody will start from: older checkpoints, parts that no kept one names, and old attempts' markers
    Prune {
        /// How many whole checkpoints are kept, the newest included
        #[arg(long, value_name = "N", default_value_t = NonZeroU16::new(KEPT as u16).expect("some are kept"))]
        keep: NonZeroU16,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
}

/// The answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// To be printed.
    pub text: String,
    /// Nothing that was verified is damaged.
    pub is_sound: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The store does not serve.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are no checkpoints.
    #[error("job {0:?} has no checkpoints here")]
    Empty(String),
    /// There is no such checkpoint.
    #[error("there is no checkpoint {0}; `checkpoints list` names those that there are")]
    Unknown(ManifestId),
    /// A newer program wrote one.
    #[error(
        "nothing was deleted, for checkpoint {0} was written by a newer version of this program: prune with that"
    )]
    Newer(ManifestId),
    /// No checkpoint can be kept.
    #[error(
        "nothing was deleted, for none of the {0} checkpoints is whole; `checkpoints verify` says what is wrong with them"
    )]
    NoneWhole(usize),
    /// The system.
    #[error("cannot wait for the object store: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Asks, and waits for the answer. `now_ms` is the clock, in milliseconds since the epoch.
///
/// # Errors
/// [`InspectError`].
pub fn run(
    command: &CheckpointsCommand,
    store: &CheckpointStore,
    now_ms: u64,
) -> Result<Report, InspectError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(answer(command, store, now_ms))
}

async fn answer(
    command: &CheckpointsCommand,
    store: &CheckpointStore,
    now_ms: u64,
) -> Result<Report, InspectError> {
    match command {
        CheckpointsCommand::List { json } => {
            let listed = survey::list(store, now_ms).await?;
            Ok(report(*json, &listed, true, |listed| {
                text::list(store.job(), listed)
            }))
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
