//! The dataflow of one worker: the whole job on one page.
//!
//! ```text
//!            ┌────────────────────── crossings ──────────────────────┐
//!            │                                                       ▼
//! log ──▶ source ── entries ──▶ panes ──┬── write parts ──▶ write manifests
//!            └───── asides ───▶ (closed)│                            │ frontier: durable
//!                 by key, by partition  ├── windows ── rows ───────▶ sink ──▶ log
//!                                       │      └─ changes ─▶ summary ─▶│      │ frontier: committed
//!                                       └── asides ───────────────────▶┘      └─▶ (read by source, write manifests)
//! ```
//!
//! Timestamps are panes of event time: the frontier is the watermark. Only `entries`, `asides` and the low-rate streams
//! cross workers; a key's windows and its sink slot are on the same worker.

use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};
use timely::worker::Worker;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Attempt;
use crate::checkpoint::commit::{self, Checkpointer};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::parts;
use crate::checkpoint::store::CheckpointStore;
use crate::flow::ClosedPane;
use crate::job::Pipeline;
use crate::pane::EventTimeMs;
use crate::sink::committer::{Committer, RowWriter, SlotPublisher};
use crate::sink::{self, Outgoing};
use crate::source::partitions::Partitions;
use crate::source::{self, Clock, Source};
use crate::standing::Standings;
use crate::{panes, summary, window};

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
    /// How long a window can be corrected.
    pub allowed_lateness_ms: u64,
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

/// Builds the dataflow of one worker. The probe tells up to where results are committed.
pub fn build<K: Key, A: Aggregate>(
    worker: &mut Worker,
    shared: &Shared<K, A>,
    own: Own<K, A>,
) -> ProbeHandle<EventTimeMs> {
    let Shared { pipeline, attempt, store, adopted, allowed_lateness_ms, clock } = shared;
    let (slots, boundary) = (adopted.fingerprint.slots, adopted.boundary);
    let standings = Standings::spread(worker);
    let committed = ProbeHandle::new();
    let memory_ms = pipeline.windows.reach_ms() + allowed_lateness_ms;
    let source = Source {
        partitions: own.partitions,
        restored: own.restored,
        standings,
        committed: committed.clone(),
        clock: Arc::clone(clock),
        attempt: Arc::clone(attempt),
        is_away: false,
    };
    let checkpointer = Checkpointer {
        store: store.clone(),
        attempt: Arc::clone(attempt),
        ledger: Ledger::new(adopted.clone(), memory_ms),
        committed: committed.clone(),
    };
    let results = &pipeline.results;
    let writer = RowWriter { topic: results.topic.clone(), encode: Arc::clone(&results.encode), slots };
    let summary = pipeline.summary.clone().map(Rc::new);
    let (late, dead_letter) = (pipeline.late_topic.clone(), pipeline.dead_letter_topic.clone());

    worker.dataflow_named(&pipeline.name, |scope| {
        let (entries, asides, crossings) = source::read(scope, source);
        let panes = panes::close(entries, asides, slots);
        let parts = parts::write(panes.clone(), boundary, store.clone(), Arc::clone(attempt));
        let durable = commit::write(crossings, parts, checkpointer);

        let outgoing = panes.clone().flat_map(move |pane| {
            let (late, dead_letter) = (late.clone(), dead_letter.clone());
            let asides = pane.asides.clone().into_iter();
            asides.map(move |aside| Outgoing::aside(slots, &late, &dead_letter, aside))
        });
        let windows = (pipeline.windows, *allowed_lateness_ms);
        let (rows, changes) = window::close(panes, windows, summary.clone(), Arc::clone(attempt));
        let outgoing = match summary {
            Some(summary) => summary::summarize(changes, summary, slots).concat(outgoing),
            None => outgoing,
        };
        let committer = |activator| Committer::start(own.slots, writer, Arc::clone(attempt), activator);
        sink::commit(rows, outgoing, durable, committer).probe_with(&committed);
    });
    committed
}
