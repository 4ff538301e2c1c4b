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

/// The inputs of one worker.
pub struct Own<K, A> {
    /// The worker's partitions.
    pub partitions: Partitions<K, A>,
    /// The closed panes of the checkpoint that the worker sends.
    pub restored: Vec<ClosedPane<K, A>>,
    /// The start of the worker's sink.
    pub sink: SinkStart,
}
