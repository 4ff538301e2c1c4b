//! Writes manifests. One worker does this for all; a manifest makes its boundary durable, and with
//! it the results before the boundary.
//!
//! 1. The [`Ledger`] records the crossings and parts of all workers.
//! 2. When both frontiers have passed a boundary and no manifest is being written, the ledger plans
//!    the next manifest.
//! 3. When the manifest is durable, the output frontier passes its boundary. This is the signal to
//!    commit.

use std::sync::Arc;
use std::time::Instant;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilderSession};
use timely::dataflow::{ProbeHandle, StreamVec};
use timely::scheduling::activate::SyncActivator;

use crate::attempt::{Attempt, Awaited};
use crate::checkpoint::ledger::{Ledger, Plan};
use crate::checkpoint::manifest::{Manifest, PartInfo};
use crate::checkpoint::retain::retain;
use crate::checkpoint::store::{CheckpointStore, StoreError};
use crate::cut::Crossing;
use crate::frontier::{END, boundary_at, boundary_of};
use crate::pane::EventTimeMs;
use crate::sink::advance;
use crate::worker::Shared;

/// The state of the worker that writes manifests.
pub struct Checkpointer {
    store: CheckpointStore,
    attempt: Arc<Attempt>,
    ledger: Ledger,
    committed: ProbeHandle<EventTimeMs>,
}

impl Checkpointer {
    /// Creates a checkpointer that continues from the adopted manifest. Results before the frontier
    /// of `committed` are committed.
    pub fn new<K, A>(shared: &Shared<K, A>, committed: ProbeHandle<EventTimeMs>) -> Self {
        let memory_ms = shared.pipeline.windows.reach_ms() + shared.adopted.lateness_ms();
        let ledger = Ledger::new(shared.adopted.clone(), memory_ms);
        Self {
            store: shared.store.clone(),
            attempt: Arc::clone(&shared.attempt),
            ledger,
            committed,
        }
    }
}

/// An output that carries no data, only its frontier.
type FrontierOnly<'a> = OutputBuilderSession<'a, EventTimeMs, CapacityContainerBuilder<Vec<()>>>;

/// The operator's state.
struct Writer {
    checkpointer: Checkpointer,
    activator: SyncActivator,
    writing: Option<Write>,
}

/// A manifest that is being written.
struct Write {
    manifest: Manifest,
    begun: Instant,
    outcome: Awaited<Result<(), StoreError>>,
}

/// Builds the operator. The returned stream carries no data, only its frontier.
pub fn write<'scope>(
    crossings: StreamVec<'scope, EventTimeMs, Crossing>,
    parts: StreamVec<'scope, EventTimeMs, PartInfo>,
    checkpointer: Checkpointer,
) -> StreamVec<'scope, EventTimeMs, ()> {
    let scope = crossings.scope();
    let is_writer = scope.index() == 0;
    let to_writer = Exchange::new(|_: &Crossing| 0);
    let to_writer_too = Exchange::new(|_: &PartInfo| 0);

    crossings.binary_frontier(
        parts,
        to_writer,
        to_writer_too,
        "write manifests",
        move |mut initial, info| {
            let activator = scope.worker().sync_activator_for(info.address.to_vec());
            initial.downgrade(&checkpointer.ledger.boundary());
            let mut capability = is_writer.then_some(initial);

            let mut writer = Writer {
                checkpointer,
                activator,
                writing: None,
            };

            move |(crossings, crossings_frontier),
                  (parts, parts_frontier),
                  _: &mut FrontierOnly<'_>| {
                let ledger = &mut writer.checkpointer.ledger;
                crossings.for_each(|_, batch| {
                    batch
                        .drain(..)
                        .for_each(|crossing| ledger.record_crossing(crossing));
                });

                parts
                    .for_each(|_, batch| batch.drain(..).for_each(|part| ledger.record_part(part)));
                let complete = boundary_of(crossings_frontier).min(boundary_of(parts_frontier));
                writer.step(complete, &mut capability);
            }
        },
    )
}

impl Writer {
    fn step(&mut self, complete: EventTimeMs, capability: &mut Option<Capability<EventTimeMs>>) {
        self.finish(capability);
        if self.writing.is_some() || self.checkpointer.attempt.is_over() {
            return;
        }

        let Some(held) = capability
            .as_ref()
            .map(|held| *held.time())
            .filter(|held| *held < complete)
        else {
            return;
        };

        let boundary = if complete == END {
            self.checkpointer.ledger.furthest()
        } else {
            complete
        };

        if boundary > held {
            self.begin(boundary, capability);
        }

        if self.writing.is_none() {
            advance(capability, complete);
        }
    }

    /// Completes a write: advances the frontier if the manifest is durable, and fails the attempt
    /// otherwise.
    fn finish(&mut self, capability: &mut Option<Capability<EventTimeMs>>) {
        let Some(outcome) = self.writing.as_mut().and_then(|write| write.outcome.poll()) else {
            return;
        };

        let Some(Write {
            manifest, begun, ..
        }) = self.writing.take()
        else {
            return;
        };

        match outcome {
            Ok(()) => {
                self.checkpointer
                    .attempt
                    .metrics
                    .checkpoint(&manifest, begun.elapsed());
                advance(capability, manifest.boundary);
                self.checkpointer.ledger.written(manifest);
            }
            Err(error) => self.checkpointer.attempt.fail(error),
        }
    }

    fn begin(&mut self, boundary: EventTimeMs, capability: &mut Option<Capability<EventTimeMs>>) {
        let Checkpointer {
            store,
            attempt,
            ledger,
            committed,
        } = &self.checkpointer;

        match ledger.plan(boundary, boundary_at(committed)) {
            Plan::Nothing => advance(capability, boundary),
            Plan::Write(manifest) => {
                let store = store.clone();
                let written = (*manifest).clone();
                let write = async move {
                    store.create_manifest(&written).await?;
                    tokio::spawn(async move { retain(&store, &written).await });
                    Ok(())
                };
                let outcome = attempt.spawn(self.activator.clone(), write);

                self.writing = Some(Write {
                    manifest: *manifest,
                    begun: Instant::now(),
                    outcome,
                });
            }
        }
    }
}
