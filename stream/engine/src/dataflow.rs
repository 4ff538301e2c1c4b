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
//! Timestamps are panes of event time, so the frontier is the watermark. `asides` are side outputs:
//! late and rejected records. Only `entries`, `asides` and the low-rate streams cross workers. A
//! key's windows and its sink slot are on the same worker.

use std::rc::Rc;

use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Concat, Probe};
use timely::worker::Worker;

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::commit::{self, Checkpointer};
use crate::checkpoint::parts;
use crate::pane::EventTimeMs;
use crate::sink::committer::{Committer, RowWriter};
use crate::source::{self, Source};
use crate::standing::Standings;
use crate::window::Rules;
use crate::worker::{Own, Shared};
use crate::{panes, sink, summary, window};

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
    let slots = adopted.fingerprint.slots;
    attempt.metrics.describe(pipeline);

    let committed = ProbeHandle::new();
    let standings = Standings::spread(worker);
    let source = Source::new(
        shared,
        own.partitions,
        own.restored,
        standings,
        committed.clone(),
    );

    let checkpointer = Checkpointer::new(shared, committed.clone());
    let rules = Rules {
        windows: pipeline.windows,
        extent: pipeline.extent,
        lateness_ms: adopted.lateness_ms(),
        lineage: adopted.lineage.clone(),
    };

    let writer = RowWriter::of(pipeline, slots, &adopted.lineage);
    let committer = |activator| Committer::start(own.slots, writer, attempt.clone(), activator);
    let summary = pipeline.summary.clone().map(Rc::new);

    worker.dataflow_named(&pipeline.name, |scope| {
        let (entries, asides, crossings) = source::read(scope, source);
        let panes = panes::close(entries, asides, slots);
        let parts = parts::write(
            panes.clone(),
            adopted.boundary,
            store.clone(),
            attempt.clone(),
        );
        let durable = commit::write(crossings, parts, checkpointer);

        let outgoing = sink::asides(
            panes.clone(),
            &pipeline.late_topic,
            &pipeline.dead_letter_topic,
            slots,
        );

        let (rows, changes) = window::close(panes, rules, summary.clone(), attempt.clone());
        let outgoing = match summary {
            Some(summary) => summary::summarize(changes, summary, slots).concat(outgoing),
            None => outgoing,
        };
        sink::commit(rows, outgoing, durable, committer).probe_with(&committed);
    });

    committed
}
