//! Windows: turns closed panes into rows. [`state`] and [`sessions`] compute the rows; the operator
//! here passes them the panes in order.
//!
//! 1. The operator stores the closed panes that arrive, by their time.
//! 2. When the frontier has passed a pane that has arrived or at which a window ends, the operator
//!    closes the pane in the state. The rows leave at the pane's own timestamp, so they do not
//!    depend on how many panes close together.

mod kept;
mod packed;
mod partials;
pub mod rules;
pub mod sessions;
pub mod state;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Attempt;
use crate::flow::{Row, SharedPane};
use crate::frontier::boundary_of;
use crate::metrics::operators::{Activity, OperatorName};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;
use crate::summary::{Change, Contributions, Summary};
use rules::WindowRules;
use sessions::SessionState;
use state::{State, WindowState};

/// A pane that is to be closed, and the capabilities to send its results.
struct Due<K, A> {
    rows: Capability<EventTimeMs>,
    changes: Capability<EventTimeMs>,
    closed: Option<SharedPane<K, A>>,
}

impl<K, A> Due<K, A> {
    fn new(
        rows: Capability<EventTimeMs>,
        changes: Capability<EventTimeMs>,
        closed: Option<SharedPane<K, A>>,
    ) -> Self {
        Self {
            rows,
            changes,
            closed,
        }
    }

    /// Returns the same without a pane, due at `next`, a later time at which a window ends.
    fn delayed(&self, next: EventTimeMs) -> Self {
        Self::new(self.rows.delayed(&next), self.changes.delayed(&next), None)
    }
}

/// The outputs: rows, and the changes of this worker's contributions to the summaries.
pub type Closings<'scope, K, A> = (
    StreamVec<'scope, EventTimeMs, Row<K, A>>,
    StreamVec<'scope, EventTimeMs, Change<K, A>>,
);

/// Returns a state without windows.
fn state<K: Key, A: Aggregate>(rules: &WindowRules<A>) -> Box<dyn State<K, A>> {
    match rules.extent {
        None => Box::new(WindowState::new(rules.windows, rules.lateness_ms)),
        Some(extent) => Box::new(SessionState::new(rules.windows, extent, rules.lateness_ms)),
    }
}

/// Builds the operator that closes windows.
pub fn close<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    rules: WindowRules<A>,
    views: Rc<[Summary<K, A>]>,
    attempt: Arc<Attempt>,
) -> Closings<'scope, K, A> {
    let scope = panes.scope();
    let worker = scope.index();
    let timer = attempt.metrics.timer(OperatorName::CloseWindows, worker);
    let mut builder = OperatorBuilder::new("close windows".to_owned(), scope);
    let mut input = builder.new_input(panes, Pipeline);
    let (rows, row_stream) = builder.new_output();
    let (changes, change_stream) = builder.new_output();
    let mut rows = OutputBuilder::from(rows);
    let mut changes = OutputBuilder::from(changes);

    builder.build(move |_| {
        let mut state = state(&rules);
        let mut contributions = Contributions::new(rules.clone(), Rc::clone(&views));
        let mut agenda: BTreeMap<EventTimeMs, Due<K, A>> = BTreeMap::new();

        move |frontiers| {
            timer.turn(Activity::Busy);
            let mut rows = rows.activate();
            let mut changes = changes.activate();
            input.for_each(|cap, panes| {
                for pane in panes.drain(..) {
                    if let Some((rows, changes)) = cap.retain_least(0).zip(cap.retain_least(1)) {
                        agenda.insert(pane.arrival, Due::new(rows, changes, Some(pane)));
                    }
                }
            });

            let boundary = boundary_of(&frontiers[0]);
            while let Some(first) = agenda.first_entry().filter(|first| *first.key() < boundary) {
                let (arrival, due) = first.remove_entry();
                let mut closed = state.close(arrival, due.closed.as_ref());
                closed.rows.retain(|row| rules.has_row(&row.aggregate));
                attempt
                    .metrics
                    .windows(worker, closed.rows.len(), state.entries(), state.panes());

                let updates = contributions.update(arrival, &closed, &*state);
                changes
                    .session(&due.changes)
                    .give_iterator(updates.into_iter());

                contributions.forget(&state.forget(arrival));
                closed.rows.iter_mut().for_each(|row| rules.raise(row));
                Milestone::Rows.log(arrival);
                rows.session(&due.rows).give_container(&mut closed.rows);

                if let Some(next) = state.next_due() {
                    agenda.entry(next).or_insert(due.delayed(next));
                }
            }
            timer.turn(Activity::Idle);
        }
    });

    (row_stream, change_stream)
}
