//! The limits on reading.

use std::sync::Arc;

use crate::inputs;
use crate::pane::Windows;
use crate::sink::side::SideLimits;

/// The limits on reading.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The job's windows.
    pub windows: Windows,
    /// True if the job has no window.
    pub is_passing: bool,
    /// The reach of stages beyond a window.
    pub reach_ms: u64,
    /// The limits of each source topic.
    pub of_inputs: Arc<[InputLimits]>,
    /// The number of panes with content that a worker may have before they are committed.
    pub max_open_panes: usize,
    /// True if records that cannot be read are side outputs; otherwise they end the job.
    pub sets_aside: bool,
    /// The number of horizons above which reading waits until results are committed.
    pub max_horizons: usize,
}

/// The limits on reading one of the source topics.
#[derive(Clone, Copy, Debug)]
pub struct InputLimits {
    /// True if the topic may lose single records, including the anchors (compaction).
    pub may_lose_anchors: bool,
    /// The limits for records of the topics of its side outputs.
    pub sides: SideLimits,
}

impl Limits {
    /// Returns the limits of the topic that a partition belongs to.
    pub fn of_input(&self, partition: u32) -> InputLimits {
        self.of_inputs[inputs::source_of(partition)]
    }
}
