//! The dataflow of one worker: the whole job on one page.
//!
//! ```text
//!            ┌────────────────────── crossings ──────────────────────┐
//!            │                                                       ▼
//! log ──▶ source ── entries ──▶ panes ──┬── write parts ──▶ write manifests
//!            │        by key   (closed) │                            │ frontier: durable
//!            │                          └── windows ── rows ───────▶ sink ──▶ log
//!            │                           │     └─ changes ─▶ summary ─▶│      │ frontier: committed
//!            │                           └─ rows ─────────▶ stages ──▶│      │
//!            │           (with a process function: states by key in the place of events)
//!            └──────── side outputs (no stream: a queue) ──────────────┘      └─▶ (read by source, write manifests)
//! ```
//!
//! Timestamps are panes of event time, so the frontier is the watermark. Only `entries` and the
//! low-rate streams cross workers. A key's windows and the transactions of its rows are on the same
//! worker, and so are a partition's source and the transactions of its side outputs: its late and
//! rejected records.

use std::rc::Rc;

use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Concat, Probe};
use timely::worker::Worker;

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::commit::{self, Checkpointer};
use crate::checkpoint::writing;
use crate::metrics::operators::OperatorName::ProcessKeys;
use crate::pane::EventTimeMs;
use crate::process::Bounds;
use crate::sink::committer::{Committer, Owner};
use crate::sink::transaction::{RowWriter, Transactions};
use crate::source::{self, Source};
use crate::worker::{Own, Shared};
use crate::worker_progress::SharedProgress;
use crate::{closing, process, sink, stages, summary, window};

/// Builds the dataflow of one worker. The returned probe is at the boundary up to which results are
/// committed.
pub fn build<K: Key, A: Aggregate>(
    worker: &mut Worker,
    shared: &Shared<K, A>,
    own: Own<K, A>,
) -> ProbeHandle<EventTimeMs> {
    let Shared {
        pipeline,
        attempt,
        store,
        adopted,
        ..
    } = shared;
    let slots = shared.slots;
    attempt.metrics.describe(pipeline);

    let committed = ProbeHandle::new();
    let workers = SharedProgress::spread(worker);
    let source = Source::new(
        shared,
        own.partitions,
        own.restored,
        workers,
        committed.clone(),
    );
    let bounds = Bounds::new(adopted.boundary, source.last_boundary());

    let checkpointer = Checkpointer::new(shared, committed.clone());
    let rules = shared.window_rules();

    let writer = RowWriter::of(pipeline);
    let transactions = Transactions::new(own.sink, pipeline, &adopted.lineage);
    let owner = Owner::of(shared, worker.index());
    let committer = |activator| Committer::start(transactions, writer, owner, activator);
    let timer = attempt.metrics.timer(ProcessKeys, worker.index());
    let views: Rc<[_]> = pipeline.views.clone().into();

    worker.dataflow_named(&pipeline.name, |scope| {
        let (entries, crossings) = source::read(scope, source);
        let panes = closing::panes(entries, slots, &attempt.metrics);
        let panes = match &pipeline.processor {
            Some(processor) => process::handle(panes, processor, bounds, timer),
            None => panes,
        };
        let parts = writing::parts(
            panes.clone(),
            adopted.boundary,
            store.clone(),
            attempt.clone(),
        );
        let durable = commit::write(crossings, parts, checkpointer);

        let (rows, changes) = window::close(panes, rules.clone(), views.clone(), attempt.clone());
        let derived = stages::derive(&rows, &rules, &pipeline.stages);
        let outgoing = summary::summarize(changes, views).concat(derived);
        sink::commit(rows, outgoing, durable, slots, committer).probe_with(&committed);
    });

    committed
}
