//! The sink: commits the results of a boundary as soon as its checkpoint is durable.
//!
//! ```text
//! rows ────────────────▶┐
//! totals, late, dead ──▶│ stash by pane ──▶ batch ──▶ committer (a thread): one transaction a slot
//! durable (frontier) ──▶┘                                   │
//!        frontier of the output = all committed before it ◀─┘
//! ```
//!
//! 1. The sink stashes rows and records by the pane at which they arrive.
//! 2. When all three frontiers have passed a boundary, everything before it goes to the committer
//!    in one batch.
//! 3. When the committer has committed a batch, the output frontier passes the batch's boundary.
//!
//! Further boundaries may pass while a batch is being committed; the next batch covers them all.

pub mod committer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::aggregate::{Aggregate, Key};
use crate::flow::{Aside, Reason, Row, SharedPane, Slots};
use crate::frontier::boundary_of;
use crate::job::Output;
use crate::pane::EventTimeMs;
use committer::{Batch, Committer};

/// A record for another topic than the results': summaries, late records or dead letters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outgoing {
    /// The slot that commits the record.
    pub slot: u32,
    /// The topic's name.
    pub topic: String,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Outgoing {
    /// Creates a record with a key and a value.
    pub fn record(slot: u32, topic: &str, output: Output) -> Self {
        let key = Some(output.key);
        let value = Some(output.value);
        Self {
            slot,
            topic: topic.to_owned(),
            key,
            value,
            headers: Vec::new(),
        }
    }

    /// Turns a side output into a record: the original record with headers for its source and the
    /// reason.
    pub fn aside(slots: Slots, late_topic: &str, dead_letter_topic: &str, aside: Aside) -> Self {
        let (topic, reason) = match aside.reason {
            Reason::Late => (late_topic, "late".to_owned()),
            Reason::Rejected(reason) => (dead_letter_topic, reason),
        };

        let mut headers = aside.headers;
        headers.push((
            "source_partition".to_owned(),
            aside.partition.to_string().into_bytes(),
        ));

        headers.push((
            "source_offset".to_owned(),
            aside.offset.to_string().into_bytes(),
        ));

        headers.push(("reason".to_owned(), reason.into_bytes()));
        let slot = slots.of_partition(aside.partition);
        let topic = topic.to_owned();

        Self {
            slot,
            topic,
            key: aside.key,
            value: aside.value,
            headers,
        }
    }
}

/// Encodes the side outputs of closed panes as records for the sink.
pub fn asides<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    late_topic: &str,
    dead_letter_topic: &str,
    slots: Slots,
) -> StreamVec<'scope, EventTimeMs, Outgoing> {
    let late = late_topic.to_owned();
    let dead_letter = dead_letter_topic.to_owned();
    panes.unary(Pipeline, "encode asides", move |_, _| {
        move |input, output| {
            input.for_each(|cap, panes| {
                let asides = panes.drain(..).flat_map(|pane| pane.asides.clone());
                let records =
                    asides.map(|aside| Outgoing::aside(slots, &late, &dead_letter, aside));
                output.session(&cap).give_iterator(records);
            });
        }
    })
}

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
    start: impl FnOnce(timely::scheduling::activate::SyncActivator) -> Committer<K, A> + 'scope,
) -> StreamVec<'scope, EventTimeMs, ()> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new("commit".to_owned(), scope);
    let address = builder.operator_info().address.to_vec();
    let mut rows = builder.new_input(rows, Pipeline);

    let mut outgoing = builder.new_input(
        outgoing,
        Exchange::new(|record: &Outgoing| u64::from(record.slot)),
    );

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
