//! The inputs of the workers of a process: some shared, some for each worker alone.

use std::sync::Arc;

use crate::attempt::Attempt;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::clock::Clock;
use crate::flow::{ClosedPane, Slots};
use crate::job::Pipeline;
use crate::sink::transaction::SinkStart;
use crate::source::partitions::Partitions;
use crate::window::rules::WindowRules;

/// The inputs that all workers of a process share.
pub struct Shared<K, A> {
    /// The job.
    pub pipeline: Pipeline<K, A>,
    /// The attempt that the workers belong to.
    pub attempt: Arc<Attempt>,
    /// The store of the job's checkpoints.
    pub store: CheckpointStore,
    /// The checkpoint that the attempt starts from, published under the attempt's number.
    pub adopted: Manifest,
    /// The distribution of keys over the workers.
    pub slots: Slots,
    /// The clock.
    pub clock: Clock,
}

impl<K, A> Shared<K, A> {
    /// Returns the rules by which panes become rows.
    pub fn window_rules(&self) -> WindowRules<A> {
        WindowRules {
            windows: self.pipeline.windows,
            extent: self.pipeline.extent,
            is_row: self.pipeline.is_row,
            lateness_ms: self.adopted.lateness_ms(),
            kept_from: self.adopted.kept_from(),
            lineage: self.adopted.lineage.clone(),
        }
    }
}

/// The inputs of one worker.
pub struct Own<K, A> {
    /// The worker's partitions.
    pub partitions: Partitions<K, A>,
    /// The closed panes of the checkpoint that the worker sends.
    pub restored: Vec<ClosedPane<K, A>>,
    /// The start of the worker's sink.
    pub sink: SinkStart,
}
