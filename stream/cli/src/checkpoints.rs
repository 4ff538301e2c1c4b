//! The commands on the checkpoints of a job.

use std::num::NonZeroU16;

use stream::{CheckpointsCommand, ManifestId};

use crate::job::JobDefinition;

/// A command on the checkpoints of a job.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CheckpointsVerb<D: JobDefinition> {
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
    /// Copy a checkpoint, so that another job begins from it, or the same job elsewhere
    ///
    /// With the name of another job, such as a new version that is tried beside the old one, that job
    /// begins with the state and the positions of the checkpoint. It has transactions and progress of
    /// its own, and publishes what closes or is corrected from the checkpoint's boundary on: each row
    /// once. Rows before that are the first job's. Both jobs may run; give the new one topics of its
    /// own. To hand over the topics, stop the first job (not by a kill), copy its last checkpoint, and
    /// start the new one.
    ///
    /// With a URL, the checkpoint is copied there for the same job, which goes on with its progress in
    /// the log. The job must run from one of the two places only.
    ///
    /// Nothing is overwritten: the target must have no checkpoint. A copy that was interrupted goes on
    /// when it is repeated, and is a checkpoint only when all of it is there.
    Copy {
        /// The checkpoint, as `list` names it [default: the newest]
        #[arg(value_name = "ID")]
        checkpoint: Option<ManifestId>,
        /// The name of the other job, at the same URL; or another URL, for the same job
        #[arg(long, value_name = "JOB|URL")]
        to: String,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Print the content of a checkpoint as NDJSON: a line for each key and pane, with its aggregate
    ///
    /// The first line is about the checkpoint, the last one has the numbers of panes and entries: without
    /// it, the output is not complete. An entry has the pane of its events (`pane_ms`), the pane at which
    /// they arrived (`arrival_ms`, later if they were late), the window if there is only one
    /// (`window_start_ms`), `key` and `aggregate`. A key with several entries for a pane has the merged
    /// aggregate of them.
    Read {
        /// The checkpoint, as `list` names it [default: the newest]
        #[arg(value_name = "ID")]
        checkpoint: Option<ManifestId>,
        #[command(flatten)]
        #[allow(missing_docs)]
        own: D,
    },
}
