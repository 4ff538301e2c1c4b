//! The commands on the checkpoints of a job.

use std::num::NonZeroU16;

use stream::{CheckpointsCommand, ManifestId};

/// A command on the checkpoints of a job.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CheckpointsVerb {
    /// List the checkpoints, the newest first
    List {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Show one checkpoint in full
    Show {
        /// The checkpoint, as `list` names it [default: the newest]
        #[arg(value_name = "ID")]
        checkpoint: Option<ManifestId>,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Read and check every object of every checkpoint; fails if one is damaged
    Verify {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Delete objects that no start needs: older checkpoints, parts that no kept checkpoint names, and old
    /// attempts' markers
    Prune {
        /// Number of whole checkpoints that are kept, the newest included
        #[arg(long, value_name = "N", default_value_t = NonZeroU16::new(CheckpointsCommand::KEPT).expect("some are kept"))]
        keep: NonZeroU16,
        /// Only print the objects that would be deleted
        #[arg(long)]
        dry_run: bool,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
}

impl From<CheckpointsVerb> for CheckpointsCommand {
    fn from(verb: CheckpointsVerb) -> Self {
        match verb {
            CheckpointsVerb::List { json } => Self::List { json },
            CheckpointsVerb::Show { checkpoint, json } => Self::Show { checkpoint, json },
            CheckpointsVerb::Verify { json } => Self::Verify { json },
            CheckpointsVerb::Prune {
                keep,
                dry_run,
                json,
            } => Self::Prune {
                keep,
                dry_run,
                json,
            },
        }
    }
}
