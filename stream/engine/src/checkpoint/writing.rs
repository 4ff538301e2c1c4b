//! Writes the closed panes of one worker to the object store, each once.
//!
//! 1. Closed panes are encoded into the current part. Panes before the restored boundary are
//!    skipped: they are in parts already.
//! 2. When no write is in progress, the current part is finished and its write begins. Panes that
//!    close in the meantime go into the next part.
//! 3. When the write is done, the part is sent to the output. The capability of its first pane is
//!    held until then, so the output frontier passes a pane only when the pane is durable.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, Awaited};
use crate::checkpoint::manifest::PartInfo;
use crate::checkpoint::part::PartBuilder;
use crate::checkpoint::store::{CheckpointStore, StoreError};
use crate::flow::SharedPane;
use crate::metrics::operators::{Activity, OperatorName};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;

/// The room of a part beyond the size of the last one, as a share of that.
const ROOM_SHARE: usize = 16;

/// The part being built and the part being written.
struct Writer {
    store: CheckpointStore,
    attempt: Arc<Attempt>,
    worker: usize,
    activator: SyncActivator,
    /// The size of the last part, which the next one has room for.
    usual_bytes: usize,
    making: Option<(Capability<EventTimeMs>, PartBuilder)>,
    writing: Option<Write>,
}

/// A part that is being written.
struct Write {
    capability: Capability<EventTimeMs>,
    part: PartInfo,
    outcome: Awaited<Result<(), StoreError>>,
}

/// Builds the operator. Panes before `restored` are skipped.
pub fn parts<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    restored: EventTimeMs,
    store: CheckpointStore,
    attempt: Arc<Attempt>,
) -> StreamVec<'scope, EventTimeMs, PartInfo> {
    let scope = panes.scope();
    panes.unary_frontier(Pipeline, "write parts", move |_, info| {
        let timer = attempt
            .metrics
            .timer(OperatorName::WriteParts, scope.index());
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let mut writer = Writer {
            store,
            attempt,
            worker: scope.index(),
            activator,
            usual_bytes: 0,
            making: None,
            writing: None,
        };

        move |(input, _), output| {
            timer.turn(Activity::Busy);
            input.for_each(|cap, panes| {
                for pane in panes.drain(..).filter(|pane| pane.arrival >= restored) {
                    let Some(capability) = cap.retain_least(output.output_index()) else {
                        continue;
                    };
                    writer.part(capability).push(&*pane);
                }
            });
            if let Some((capability, part)) = writer.step() {
                output.session(&capability).give(part);
            }
            timer.turn(match writer.writing {
                Some(_) => Activity::AwaitsStore,
                None => Activity::Idle,
            });
        }
    })
}

impl Writer {
    /// Returns the current part. A new one holds `capability`.
    fn part(&mut self, capability: Capability<EventTimeMs>) -> &mut PartBuilder {
        let part = || (capability, PartBuilder::with_room(self.usual_bytes));
        &mut self.making.get_or_insert_with(part).1
    }

    /// Returns a part that has become durable, if there is one. Begins the next write if none is in
    /// progress.
    fn step(&mut self) -> Option<(Capability<EventTimeMs>, PartInfo)> {
        let outcome = self.writing.as_mut().and_then(|write| write.outcome.poll());
        let finished = match outcome {
            Some(Ok(())) => self.writing.take(),
            Some(Err(error)) => {
                self.attempt.fail(error);
                None
            }
            None => None,
        };

        if self.writing.is_none() && !self.attempt.is_over() {
            self.begin();
        }

        finished.map(
            |Write {
                 capability, part, ..
             }| {
                self.attempt.metrics.part(part.size_bytes);
                Milestone::Part.log(part.last);
                (capability, part)
            },
        )
    }

    fn begin(&mut self) {
        let Some((capability, part)) = self.making.take() else {
            return;
        };

        let (first, last) = part.range().expect("a part is made for a pane");
        let name = format!(
            "{:010}-{:04}-{first:015}-{last:015}",
            self.attempt.number, self.worker
        );

        let entries = part.entries() as u64;
        let bytes = part.finish();
        self.usual_bytes = bytes.len() + bytes.len() / ROOM_SHARE;
        let info = PartInfo {
            name: name.clone(),
            first,
            last,
            entries,
            size_bytes: bytes.len() as u64,
        };

        let store = self.store.clone();
        let write = async move { store.create_part(&name, bytes).await };
        let outcome = self.attempt.spawn(self.activator.clone(), write);

        self.writing = Some(Write {
            capability,
            part: info,
            outcome,
        });
    }
}
