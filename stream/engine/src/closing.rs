//! Closes panes: merges the entries that the sources of all workers send for the keys of this
//! worker.
//!
//! 1. The operator stores entries by the pane at which they arrive.
//! 2. When the frontier has passed a pane, nothing more can arrive at it. The entries are sorted,
//!    those of the same pane and key are merged, and the pane leaves as a [`ClosedPane`], which
//!    never changes again.

use std::collections::BTreeMap;
use std::rc::Rc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::aggregate::{Aggregate, Key};
use crate::flow::{ClosedPane, Entry, SharedPane, Slots};
use crate::frontier::boundary_of;
use crate::metrics::Metrics;
use crate::metrics::operators::{Activity, OperatorName};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;

/// The entries that have arrived at a pane so far.
struct OpenPane<K, A> {
    capability: Capability<EventTimeMs>,
    entries: Vec<Entry<K, A>>,
}

/// Builds the operator. Keys go to the worker that owns their slot.
pub fn panes<'scope, K: Key, A: Aggregate>(
    entries: StreamVec<'scope, EventTimeMs, Entry<K, A>>,
    slots: Slots,
    metrics: &Metrics,
) -> StreamVec<'scope, EventTimeMs, SharedPane<K, A>> {
    let by_key = Exchange::new(move |entry: &Entry<K, A>| u64::from(slots.of_key(&entry.key)));

    let timer = metrics.timer(OperatorName::ClosePanes, entries.scope().index());

    entries.unary_frontier(by_key, "close panes", |_, _| {
        let mut open: BTreeMap<EventTimeMs, OpenPane<K, A>> = BTreeMap::new();
        move |(entries, frontier), output| {
            timer.turn(Activity::Busy);
            entries.for_each_stamp(|cap, containers| {
                let Some(capability) = cap.retain_least(output.output_index()) else {
                    return;
                };

                let pane = open
                    .entry(*capability.time())
                    .or_insert_with(|| OpenPane::new(capability));
                containers.for_each(|container| pane.entries.append(container));
            });

            let boundary = boundary_of(frontier);
            while let Some(first) = open.first_entry().filter(|first| *first.key() < boundary) {
                let pane = first.remove();
                let arrival = *pane.capability.time();
                Milestone::Frontier.log(arrival);

                let capability = pane.capability.clone();
                let closed = Rc::new(pane.close());
                Milestone::Closed.log(arrival);
                output.session(&capability).give(closed);
            }
            timer.turn(Activity::Idle);
        }
    })
}

impl<K: Key, A: Aggregate> OpenPane<K, A> {
    fn new(capability: Capability<EventTimeMs>) -> Self {
        Self {
            capability,
            entries: Vec::new(),
        }
    }

    fn close(self) -> ClosedPane<K, A> {
        ClosedPane {
            arrival: *self.capability.time(),
            entries: merged(self.entries),
            side_outputs: Vec::new(),
        }
    }
}

/// Sorts entries by pane and key, and merges those of the same pane and key.
pub fn merged<K: Key, A: Aggregate>(mut entries: Vec<Entry<K, A>>) -> Vec<Entry<K, A>> {
    entries.sort_unstable_by(|one, other| (one.pane, &one.key).cmp(&(other.pane, &other.key)));
    entries.dedup_by(|later, kept| {
        let is_same = (later.pane, &later.key) == (kept.pane, &kept.key);
        if is_same {
            kept.aggregate.merge(&later.aggregate);
        }
        is_same
    });

    entries.shrink_to_fit();
    entries
}
