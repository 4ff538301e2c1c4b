//! Writes manifests. One worker does this for all; a manifest makes its boundary durable, and with
//! it the results before the boundary.
//!
//! 1. The [`Ledger`] records the crossings and parts of all workers.
//! 2. When both frontiers have passed a boundary and no manifest is being written, the ledger plans
//!    the next manifest.
//! 3. When the manifest is durable, the output frontier passes its boundary. This is the signal to
//!    commit.
//! 4. If the manifest names too many parts, some of them are merged in the background. A merge that
//!    fails changes nothing.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilderSession};
use timely::dataflow::{ProbeHandle, StreamVec};
use timely::scheduling::activate::SyncActivator;
use tokio::task::{JoinError, spawn_blocking};

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, Awaited};
use crate::checkpoint::ledger::{Ledger, ManifestPlan, MergePlan, Merged};
use crate::checkpoint::manifest::{Manifest, PartInfo};
use crate::checkpoint::merge::batches;
use crate::checkpoint::part::{PartBuilder, PartError};
use crate::checkpoint::retain::retain;
use crate::checkpoint::store::{CheckpointStore, StoreError};
use crate::cut::Crossing;
use crate::frontier::{END, boundary_at, boundary_of};
use crate::metrics::operators::{Activity, OperatorName, Timer};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;
use crate::sink::advance;
use crate::stages;
use crate::worker::Shared;

/// The state of the worker that writes manifests.
pub struct Checkpointer {
    store: CheckpointStore,
    attempt: Arc<Attempt>,
    ledger: Ledger,
    committed: ProbeHandle<EventTimeMs>,
    take_in: TakeIn,
}

/// Appends the panes of a part before a boundary to another one ([`PartBuilder::take_in`]).
type TakeIn = fn(&mut PartBuilder, &[u8], EventTimeMs) -> Result<bool, PartError>;

/// The reason why parts were not merged.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("part {name}: {source}")]
    Part { name: String, source: PartError },
    #[error(transparent)]
    Thread(#[from] JoinError),
}

impl Checkpointer {
    /// Creates a checkpointer that continues from the adopted manifest. Results before the frontier
    /// of `committed` are committed.
    pub fn new<K: Key, A: Aggregate>(
        shared: &Shared<K, A>,
        committed: ProbeHandle<EventTimeMs>,
    ) -> Self {
        let memory_ms = shared.pipeline.windows.reach_ms()
            + shared.adopted.lateness_ms()
            + shared.pipeline.refresh_ms()
            + stages::reach_ms(&shared.pipeline.stages);
        let ledger = Ledger::new(shared.adopted.clone(), memory_ms);
        Self {
            store: shared.store.clone(),
            attempt: Arc::clone(&shared.attempt),
            ledger,
            committed,
            take_in: PartBuilder::take_in::<K, A>,
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
    merging: Option<Merge>,
    /// True if a merge has failed in this attempt. Then no other is begun.
    has_failed_to_merge: bool,
}

/// A manifest that is being written.
struct Write {
    manifest: Manifest,
    begun: Instant,
    outcome: Awaited<Result<(), StoreError>>,
}

/// A merge in progress.
struct Merge {
    /// The names of the parts that are merged.
    parts: Vec<String>,
    outcome: Awaited<Result<MergeOutcome, MergeError>>,
}

/// The result of a merge in the background.
struct MergeOutcome {
    /// The merged part, if at least one part could be merged.
    merged: Option<Merged>,
    /// The parts that cannot be merged.
    left_alone: Vec<String>,
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
            let metrics = &checkpointer.attempt.metrics;
            let timer =
                is_writer.then(|| metrics.timer(OperatorName::WriteManifests, scope.index()));
            initial.downgrade(&checkpointer.ledger.boundary());
            let mut capability = is_writer.then_some(initial);

            let mut writer = Writer {
                checkpointer,
                activator,
                writing: None,
                merging: None,
                has_failed_to_merge: false,
            };

            move |(crossings, crossings_frontier),
                  (parts, parts_frontier),
                  _: &mut FrontierOnly<'_>| {
                turn(&timer, Activity::Busy);
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
                turn(&timer, writer.activity());
            }
        },
    )
}

/// Turns the timer of the worker that writes manifests.
fn turn(timer: &Option<Timer>, to: Activity) {
    if let Some(timer) = timer {
        timer.turn(to);
    }
}

impl Writer {
    /// Returns the activity until the operator runs again.
    fn activity(&self) -> Activity {
        match self.writing {
            Some(_) => Activity::AwaitsStore,
            None => Activity::Idle,
        }
    }

    fn step(&mut self, complete: EventTimeMs, capability: &mut Option<Capability<EventTimeMs>>) {
        self.finish(capability);
        self.finish_merge();
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
                Milestone::Manifest.log(manifest.boundary);
                advance(capability, manifest.boundary);
                self.checkpointer.ledger.written(manifest);
                self.begin_merge();
            }
            Err(error) => self.checkpointer.attempt.fail(error),
        }
    }

    /// Begins a merge if the newest manifest names too many parts.
    fn begin_merge(&mut self) {
        let Checkpointer {
            store,
            attempt,
            ledger,
            take_in,
            ..
        } = &self.checkpointer;
        if self.merging.is_some() || self.has_failed_to_merge || attempt.is_over() {
            return;
        }
        let Some(plan) = ledger.plan_merge() else {
            return;
        };

        let parts = plan.parts.iter().map(|part| part.name.clone()).collect();
        let work = merge(store.clone(), *take_in, plan);
        let outcome = attempt.spawn(self.activator.clone(), work);
        self.merging = Some(Merge { parts, outcome });
    }

    /// Records a merge that is done. After a failure the parts stay as they are.
    fn finish_merge(&mut self) {
        let Some(outcome) = self.merging.as_mut().and_then(|merge| merge.outcome.poll()) else {
            return;
        };
        let parts = self.merging.take().map(|merge| merge.parts);
        let parts = parts.unwrap_or_default();

        let ledger = &mut self.checkpointer.ledger;
        let error = match outcome {
            Ok(MergeOutcome { merged, left_alone }) => {
                ledger.leave_alone(left_alone);
                if let Some(merged) = merged {
                    self.checkpointer
                        .attempt
                        .metrics
                        .part(merged.into.size_bytes);
                    ledger.record_merge(merged);
                }
                return;
            }
            Err(error) => error,
        };

        // Manifests were written meanwhile, and their retention deletes the parts that they dropped.
        let are_needed = parts.iter().all(|part| ledger.is_named(part));
        if are_needed || !matches!(error, MergeError::Store(StoreError::Missing(_))) {
            tracing::warn!(%error, "this attempt does not merge parts of checkpoints any more");
            self.has_failed_to_merge = true;
        }
    }

    fn begin(&mut self, boundary: EventTimeMs, capability: &mut Option<Capability<EventTimeMs>>) {
        let Checkpointer {
            store,
            attempt,
            ledger,
            committed,
            ..
        } = &self.checkpointer;

        match ledger.plan(boundary, boundary_at(committed)) {
            ManifestPlan::Nothing => advance(capability, boundary),
            ManifestPlan::Write(mut manifest) => {
                manifest.furthest.extend(attempt.furthest());
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

/// Merges parts into one, and writes it.
async fn merge(
    store: CheckpointStore,
    take_in: TakeIn,
    plan: MergePlan,
) -> Result<MergeOutcome, MergeError> {
    let room: u64 = plan.parts.iter().map(|part| part.size_bytes).sum();
    let mut builder = PartBuilder::with_room(usize::try_from(room).unwrap_or(0));
    let mut merged = Vec::new();
    let mut left_alone = Vec::new();
    for parts in batches(plan.parts) {
        // An object store takes a while for each part, however small.
        let read = try_join_all(parts.iter().map(|part| store.part(&part.name))).await?;
        // The thread also serves the writes of parts and manifests, which must not wait for this.
        let work = spawn_blocking(move || {
            let take = |(part, bytes): (PartInfo, Bytes)| {
                let taken = take_in(&mut builder, &bytes, part.last + 1);
                (part, taken)
            };
            let taken: Vec<_> = parts.into_iter().zip(read).map(take).collect();
            (builder, taken)
        });

        let (with_parts, taken) = work.await?;
        builder = with_parts;
        for (part, taken) in taken {
            match taken {
                Ok(true) => merged.push(part),
                Ok(false) => left_alone.push(part.name),
                Err(source) => {
                    let name = part.name;
                    return Err(MergeError::Part { name, source });
                }
            }
        }
    }

    let mut outcome = MergeOutcome {
        merged: None,
        left_alone,
    };
    if !merged.is_empty() {
        outcome.merged = Some(write_merged(&store, plan.name, &merged, builder).await?);
    }
    Ok(outcome)
}

/// Writes the part that `parts` were merged into.
async fn write_merged(
    store: &CheckpointStore,
    name: String,
    parts: &[PartInfo],
    builder: PartBuilder,
) -> Result<Merged, StoreError> {
    let entries = builder.entries() as u64;
    let bytes = builder.finish();
    let into = PartInfo {
        name: name.clone(),
        first: parts.iter().map(|part| part.first).min().unwrap_or(0),
        last: parts.iter().map(|part| part.last).max().unwrap_or(0),
        entries,
        size_bytes: bytes.len() as u64,
    };

    store.create_part(&name, bytes).await?;
    let parts = parts.iter().map(|part| part.name.clone()).collect();
    Ok(Merged { parts, into })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::aggregate::Count;
    use crate::checkpoint::part;
    use crate::flow::{ClosedPane, Entry, Reason, SideOutput};

    /// Writes a part of a worker, with a pane at each of the times.
    async fn written(store: &CheckpointStore, name: &str, panes: &[EventTimeMs]) -> PartInfo {
        let mut builder = PartBuilder::default();
        for arrival in panes {
            builder.push(&ClosedPane {
                arrival: *arrival,
                entries: vec![Entry {
                    pane: *arrival,
                    key: 7_u64,
                    aggregate: Count(1),
                }],
                side_outputs: Vec::new(),
            });
        }

        let entries = builder.entries() as u64;
        let (first, last) = builder.range().unwrap();
        let bytes = builder.finish();
        let size_bytes = bytes.len() as u64;
        store.create_part(name, bytes).await.unwrap();
        PartInfo {
            name: name.to_owned(),
            first,
            last,
            entries,
            size_bytes,
        }
    }

    /// Writes a part of an earlier version, which has side outputs.
    async fn former(store: &CheckpointStore) -> PartInfo {
        let side_output = SideOutput {
            partition: 0,
            offset: 3,
            reason: Reason::Late,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let mut builder = PartBuilder::default();
        builder.push(&ClosedPane::<u64, Count> {
            arrival: 10,
            entries: Vec::new(),
            side_outputs: vec![side_output],
        });

        store.create_part("former", builder.finish()).await.unwrap();
        PartInfo {
            name: "former".to_owned(),
            first: 10,
            last: 10,
            entries: 1,
            size_bytes: 1,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_merged_part_holds_the_panes_of_all_its_parts_that_count() {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), Path::default(), "counts");
        let parts = vec![
            written(&store, "a", &[10, 20]).await,
            former(&store).await,
            written(&store, "b", &[0, 10]).await,
            // The pane at 40 is counted by another part.
            written(&store, "c", &[30, 40]).await.before(40),
        ];

        let plan = MergePlan {
            name: "m".to_owned(),
            parts,
        };
        let take_in = PartBuilder::take_in::<u64, Count>;
        let outcome = merge(store.clone(), take_in, plan).await.unwrap();
        assert_eq!(outcome.left_alone, ["former"]);
        let Merged { parts, into } = outcome.merged.unwrap();
        assert_eq!(parts, ["a", "b", "c"]);
        assert_eq!((into.first, into.last, into.entries), (0, 39, 5));

        let bytes = store.part("m").await.unwrap();
        assert_eq!(bytes.len() as u64, into.size_bytes);
        let panes = part::read::<u64, Count>(&bytes, into.last + 1).unwrap();
        let arrivals: Vec<_> = panes.iter().map(|pane| pane.arrival).collect();
        assert_eq!(arrivals, [10, 20, 0, 10, 30]);
    }
}
