//! Process functions: state and timers by key, for rules that windows cannot express.
//!
//! ```text
//! closed panes (events by key) ──▶ handle keys ──▶ closed panes (states, timers, emitted records) ──▶ parts, rows
//! ```
//!
//! 1. The operator stores the closed panes that arrive, by their time. Those of the checkpoint contain states, and
//!    are passed on as they are: their results may not be committed yet.
//! 2. When the frontier has passed a pane that has arrived, or that a key is scheduled for, the
//!    [keys](state) handle it. Their written states take the place of the events.
//!
//! Everything behind the operator treats these panes as those of a window of one pane: they become parts, and rows
//! that the sink commits with the progress of their key group. So an attempt that continues from a checkpoint
//! repeats results exactly, and leaves out those that are committed.
//!
//! Invariants: no pane is handled that the source has not crossed. At the end of the input, timers of later
//! panes stay in the checkpoint.

pub mod function;
pub mod state;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::aggregate::{Aggregate, Key};
use crate::emitted::Emitted;
use crate::flow::{ClosedPane, SharedPane};
use crate::frontier::{END, boundary_of};
use crate::metrics::operators::{Activity, Timer};
use crate::pane::EventTimeMs;
use state::Keys;

/// The process function of a job, and the rules for its states.
pub struct Processor<K, A> {
    /// Creates the keys of a worker.
    pub(crate) keys: Arc<dyn Fn() -> Box<dyn Keys<K, A>> + Send + Sync>,
    /// Returns the records that an aggregate consists of.
    pub(crate) emitted: fn(&A) -> &Emitted,
    /// The time after which a key that did not change is written again.
    pub(crate) refresh_ms: u64,
    /// The version of the state.
    pub(crate) state_version: u32,
}

impl<K, A> Clone for Processor<K, A> {
    fn clone(&self) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            emitted: self.emitted,
            refresh_ms: self.refresh_ms,
            state_version: self.state_version,
        }
    }
}

/// A pane that is to be handled, and the capability to send it.
type Due<K, A> = (Capability<EventTimeMs>, Option<SharedPane<K, A>>);

/// The event time that a worker processes.
pub struct Bounds {
    /// The panes before are those of the checkpoint.
    restored: EventTimeMs,
    /// The boundary that the source crosses last; none before that.
    last: Rc<Cell<Option<EventTimeMs>>>,
}

impl Bounds {
    /// Returns these bounds.
    pub fn new(restored: EventTimeMs, last: Rc<Cell<Option<EventTimeMs>>>) -> Self {
        Self { restored, last }
    }
}

/// Builds the operator.
pub fn handle<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    processor: &Processor<K, A>,
    bounds: Bounds,
    timer: Timer,
) -> StreamVec<'scope, EventTimeMs, SharedPane<K, A>> {
    let mut keys = (processor.keys)();
    let Bounds { restored, last } = bounds;

    panes.unary_frontier(Pipeline, "process keys", move |_, _| {
        let mut agenda: BTreeMap<EventTimeMs, Due<K, A>> = BTreeMap::new();
        move |(panes, frontier), output| {
            timer.turn(Activity::Busy);
            panes.for_each(|cap, panes| {
                for pane in panes.drain(..) {
                    if let Some(capability) = cap.retain_least(output.output_index()) {
                        agenda.insert(pane.arrival, (capability, Some(pane)));
                    }
                }
            });

            let frontier = boundary_of(frontier);
            let boundary = match frontier {
                END => last.get().unwrap_or(0),
                boundary => boundary,
            };
            while let Some(first) = agenda.first_entry().filter(|first| *first.key() < boundary) {
                let (arrival, (capability, pane)) = first.remove_entry();
                let handled = step(&mut *keys, arrival, pane, restored);
                if let Some(handled) = handled {
                    output.session(&capability).give(handled);
                }

                if let Some(next) = keys.next_due() {
                    let due = || (capability.delayed(&next), None);
                    agenda.entry(next).or_insert_with(due);
                }
            }
            if frontier == END {
                agenda.clear();
            }
            timer.turn(Activity::Idle);
        }
    })
}

/// Handles a pane, and returns the pane of written states.
fn step<K: Key, A: Aggregate>(
    keys: &mut dyn Keys<K, A>,
    arrival: EventTimeMs,
    pane: Option<SharedPane<K, A>>,
    restored: EventTimeMs,
) -> Option<SharedPane<K, A>> {
    if arrival < restored {
        let pane = pane?;
        keys.restore(&pane, restored);
        return Some(pane);
    }

    let events = pane.as_ref().map_or(&[][..], |pane| &pane.entries);
    let entries = keys.close(arrival, events);
    (!entries.is_empty()).then(|| {
        Rc::new(ClosedPane {
            arrival,
            entries,
            side_outputs: Vec::new(),
        })
    })
}
