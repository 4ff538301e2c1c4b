//! The sink: commits the results of a boundary as soon as its checkpoint is durable.
//!
//! ```text
//! rows ────────────────▶┐
//! totals ──────────────▶│ stash by pane ──▶ batch ──▶ committer (a thread) ──▶ transactions
//! durable (frontier) ──▶┘                              ▲     │
//! side outputs ────────────────────────────────────────┘     │
//!        frontier of the output = all committed before it ◀──┘
//! ```
//!
//! 1. The sink stashes rows and records by the pane at which they arrive.
//! 2. When all three frontiers have passed a boundary, everything before it goes to the committer
//!    in one batch.
//! 3. When the committer has committed a batch, the output frontier passes the batch's boundary.
//!
//! Further boundaries may pass while a batch is being committed; the next batch covers them all.
//!
//! [Side outputs](sides) wait for no frontier: they are published a moment after the source has
//! handed them over.

pub mod batch;
pub mod committer;
pub mod fencing;
pub mod progress;
pub mod row_limit;
pub mod side;
pub mod sides;
pub mod transaction;

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::aggregate::{Aggregate, Key};
use crate::flow::{Row, Slots};
use crate::frontier::boundary_of;
use crate::output::Outgoing;
use crate::pane::EventTimeMs;
use batch::Batch;
use committer::Committer;

/// The results that are not committed yet, by pane.
struct Stash<K, A> {
    panes: Batch<K, A>,
    in_flight: Option<EventTimeMs>,
}

/// Builds the sink of one worker. The returned stream carries no data, only its frontier.
pub fn commit<'scope, K: Key, A: Aggregate>(
    rows: StreamVec<'scope, EventTimeMs, Row<K, A>>,
    outgoing: StreamVec<'scope, EventTimeMs, Outgoing>,
    durable: StreamVec<'scope, EventTimeMs, ()>,
    slots: Slots,
    start: impl FnOnce(timely::scheduling::activate::SyncActivator) -> Committer<K, A> + 'scope,
) -> StreamVec<'scope, EventTimeMs, ()> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new("commit".to_owned(), scope);
    let address = builder.operator_info().address.to_vec();
    let mut rows = builder.new_input(rows, Pipeline);

    let by_group = move |record: &Outgoing| u64::from(slots.of_group(record.group));
    let mut outgoing = builder.new_input(outgoing, Exchange::new(by_group));
    let _durable = builder.new_input(durable, Pipeline);
    let (_output, committed) = builder.new_output::<Vec<()>>();
    let committer = start(scope.worker().sync_activator_for(address));

    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut stash = Stash {
            panes: BTreeMap::new(),
            in_flight: None,
        };

        move |frontiers| {
            rows.for_each_stamp(|cap, containers| {
                let Some(time) = cap.least() else { return };
                let pane = stash.panes.entry(*time).or_default();
                pane.rows.extend(containers.map(std::mem::take));
            });

            outgoing.for_each_stamp(|cap, containers| {
                let Some(time) = cap.least() else { return };
                let pane = stash.panes.entry(*time).or_default();
                pane.outgoing.extend(containers.flat_map(std::mem::take));
            });

            let boundary = frontiers
                .iter()
                .map(boundary_of)
                .min()
                .expect("there are three inputs");
            stash.step(boundary, &committer, &mut capability);
        }
    });

    committed
}

impl<K: Key, A: Aggregate> Stash<K, A> {
    /// Advances the output past a committed batch, and sends the next batch before `boundary` to
    /// the committer.
    fn step(
        &mut self,
        boundary: EventTimeMs,
        committer: &Committer<K, A>,
        capability: &mut Option<Capability<EventTimeMs>>,
    ) {
        if self
            .in_flight
            .is_some_and(|sent| committer.committed() >= sent)
        {
            advance(capability, self.in_flight.take().expect("it is some"));
        }

        if self.in_flight.is_some()
            || capability
                .as_ref()
                .is_none_or(|held| *held.time() >= boundary)
        {
            return;
        }

        let later = self.panes.split_off(&boundary);
        let batch = std::mem::replace(&mut self.panes, later);
        if batch.is_empty() {
            return advance(capability, boundary);
        }

        self.in_flight = Some(boundary);
        committer.commit(batch, boundary);
    }
}

/// Downgrades a capability to `boundary`, or drops it at the end of all event time.
pub fn advance(capability: &mut Option<Capability<EventTimeMs>>, boundary: EventTimeMs) {
    match capability {
        Some(held) if boundary != crate::frontier::END => held.downgrade(&boundary),
        held => *held = None,
    }
}
