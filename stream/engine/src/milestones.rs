//! Milestones on the way of a window's results, as lines of the log at the level debug. `bench latency --stages` reads them.
//!
//! ```text
//! crossed ──▶ frontier ──▶ closed ──┬──▶ part ──▶ manifest ──▶ commit ──▶ committed
//! (source)    (all workers)         └──▶ rows ───────────────────┘
//! ```
//!
//! Each worker logs its own; a thread belongs to one worker. Nothing is logged per record.

use crate::pane::EventTimeMs;

/// A milestone.
#[derive(Clone, Copy, Debug)]
pub enum Milestone {
    /// A source has crossed a boundary: its watermark has passed it.
    Crossed,
    /// The frontier of all workers has passed a pane.
    Frontier,
    /// A pane is merged and sorted.
    Closed,
    /// The rows that a pane emits are made.
    Rows,
    /// A part is durable, up to this pane.
    Part,
    /// A manifest is durable, up to this boundary.
    Manifest,
    /// A committer has begun with the rows before this boundary.
    Commit,
    /// These rows are committed.
    Committed,
}

impl Milestone {
    /// Logs that this thread has reached the milestone with a pane or boundary.
    pub fn log(self, event_ms: EventTimeMs) {
        tracing::debug!(
            milestone = ?self,
            event_ms,
            thread = ?std::thread::current().id(),
        );
    }
}
