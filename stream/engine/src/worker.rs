//! What the workers of a process are given: some of it in common, some of it each for itself.

use std::sync::Arc;

use crate::attempt::Attempt;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::flow::ClosedPane;
use crate::job::Pipeline;
use crate::sink::committer::SlotPublisher;
use crate::source::Clock;
use crate::source::partitions::Partitions;

/// What all workers of a process have in common.
pub struct Shared<K, A> {
    /// The job.
    pub pipeline: Pipeline<K, A>,
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// Where checkpoints go.
    pub store: CheckpointStore,
    /// The checkpoint that the attempt starts from, published as its own.
    pub adopted: Manifest,
    /// The clock.
    pub clock: Clock,
}

/// What one worker has for itself.
pub struct Own<K, A> {
    /// Its partitions.
    pub partitions: Partitions<K, A>,
    /// What it sends of the checkpoint.
    pub restored: Vec<ClosedPane<K, A>>,
    /// Its sink slots.
    pub slots: Vec<SlotPublisher>,
}
