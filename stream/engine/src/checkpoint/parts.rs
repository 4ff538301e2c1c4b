//! Writes the closed panes of one worker to the object store, each once.
//!
//! 1. Closed panes are encoded into the part in the making. Panes that were restored are in parts already.
//! 2. When no write is under way, the part is finished and its write begins. Panes that close meanwhile make the next one.
//! 3. When the write is done, the part is announced; until then the capability of its first pane is held. So the output
//!    frontier passes a pane when it is durable.

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, Pending};
use crate::checkpoint::manifest::PartInfo;
use crate::checkpoint::part::PartBuilder;
use crate::checkpoint::store::{CheckpointStore, StoreError};
use crate::flow::SharedPane;
use crate::pane::EventTimeMs;

/// The part in the making and the part under way.
struct Writer {
    store: CheckpointStore,
    attempt: Arc<Attempt>,
    worker: usize,
    activator: SyncActivator,
    making: Option<(Capability<EventTimeMs>, PartBuilder)>,
    writing: Option<Write>,
}

/// A part on its way to the store.
struct Write {
    capability: Capability<EventTimeMs>,
    part: PartInfo,
    outcome: Pending<Result<(), StoreError>>,
}

/// Builds the operator. Panes before `restored` are passed over.
pub fn write<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    restored: EventTimeMs,
    store: CheckpointStore,
    attempt: Arc<Attempt>,
) -> StreamVec<'scope, EventTimeMs, PartInfo> {
    let scope = panes.scope();
    panes.unary_frontier(Pipeline, "write parts", move |_, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let mut writer = Writer {
            store,
            attempt,
            worker: scope.index(),
            activator,
            making: None,
            writing: None,
        };

        move |(input, _), output| {
            input.for_each(|cap, panes| {
                for pane in panes.drain(..).filter(|pane| pane.arrival >= restored) {
                    let Some(capability) = cap.retain_least(output.output_index()) else {
                        continue;
                    };
                    writer
                        .making
                        .get_or_insert_with(|| (capability, PartBuilder::default()))
                        .1
                        .push(&*pane);
                }
            });
            if let Some((capability, part)) = writer.step() {
                output.session(&capability).give(part);
            }
        }
    })
}

impl Writer {
    /// A part that has become durable, if one has; begins the next write if none is under way.
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
