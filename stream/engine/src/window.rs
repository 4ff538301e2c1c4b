//! Windows: turns closed panes into rows. [`state`] and [`sessions`] compute the rows; the operator
//! here passes them the panes in order.
//!
//! 1. The operator stores the closed panes that arrive, by their time.
//! 2. When the frontier has passed a pane that has arrived or at which a window ends, the operator
//!    closes the pane in the state. The rows leave at the pane's own timestamp, so they do not
//!    depend on how many panes close together.

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
use crate::checkpoint::lineage::Lineage;
use crate::flow::{Row, SharedPane};
use crate::frontier::boundary_of;
use crate::job::Summary;
use crate::pane::{EventTimeMs, Windows};
use crate::summary::{Change, Contributions};
use sessions::{Extent, SessionState};
use state::{State, WindowState};

/// The rules by which panes become rows.
#[derive(Clone, Debug)]
pub struct Rules<A> {
    /// The job's windows; for sessions, the windows that sessions are cut to.
    pub windows: Windows,
    /// The times of the first and last event in an aggregate, if the job's windows are sessions.
    pub extent: Option<Extent<A>>,
    /// The time after its end for which a window is kept for corrections.
    pub lateness_ms: u64,
    /// The lines of history, which determine revisions.
    pub lineage: Lineage,
}

/// A pane that is to be closed, and the capabilities to send its results.
struct Due<K, A> {
    rows: Capability<EventTimeMs>,
    changes: Capability<EventTimeMs>,
    closed: Option<SharedPane<K, A>>,
}

/// The outputs: rows, and the changes of this worker's contributions to the summaries.
pub type Closings<'scope, K, A> = (
    StreamVec<'scope, EventTimeMs, Row<K, A>>,
    StreamVec<'scope, EventTimeMs, Change<K, A>>,
);

impl<A: Aggregate> Rules<A> {
    /// Returns the revision of a window's row or totals on the job's line of history, where
    /// `revision` is the one counted by the window itself.
    pub fn revision(&self, window_start: EventTimeMs, revision: u32) -> u32 {
        self.lineage
            .raised(revision, self.windows.first_row(window_start))
    }

    /// Returns a state without windows.
    fn state<K: Key>(&self) -> Box<dyn State<K, A>> {
        match self.extent {
            None => Box::new(WindowState::new(self.windows, self.lateness_ms)),
            Some(extent) => Box::new(SessionState::new(self.windows, extent, self.lateness_ms)),
        }
    }

    fn raise<K>(&self, row: &mut Row<K, A>) {
        row.revision = self.revision(row.window_start, row.revision);
    }
}

/// Builds the operator that closes windows.
pub fn close<'scope, K: Key, A: Aggregate>(
    panes: StreamVec<'scope, EventTimeMs, SharedPane<K, A>>,
    rules: Rules<A>,
    summary: Option<Rc<Summary<K, A>>>,
    attempt: Arc<Attempt>,
) -> Closings<'scope, K, A> {
    let scope = panes.scope();
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("close windows".to_owned(), scope);
    let mut input = builder.new_input(panes, Pipeline);
    let (rows, row_stream) = builder.new_output();
    let (changes, change_stream) = builder.new_output();
    let mut rows = OutputBuilder::from(rows);
    let mut changes = OutputBuilder::from(changes);

    builder.build(move |_| {
        let mut state = rules.state();
        let mut contributions = Contributions::new(rules.clone());
        let mut agenda: BTreeMap<EventTimeMs, Due<K, A>> = BTreeMap::new();

        move |frontiers| {
            let mut rows = rows.activate();
            let mut changes = changes.activate();
            input.for_each(|cap, panes| {
                for pane in panes.drain(..) {
                    let (Some(rows), Some(changes)) = (cap.retain_least(0), cap.retain_least(1))
                    else {
                        continue;
                    };
                    agenda.insert(
                        pane.arrival,
                        Due {
                            rows,
                            changes,
                            closed: Some(pane),
                        },
                    );
                }
            });

            let boundary = boundary_of(&frontiers[0]);
            while let Some(first) = agenda.first_entry().filter(|first| *first.key() < boundary) {
                let (arrival, due) = first.remove_entry();
                let mut closed = state.close(arrival, due.closed.as_ref());
                attempt
                    .metrics
                    .windows(worker, closed.rows.len(), state.entries(), state.panes());

                if let Some(summary) = &summary {
                    let updates = contributions.update(summary, arrival, &closed, &*state);
                    changes
                        .session(&due.changes)
                        .give_iterator(updates.into_iter());
                }

                contributions.forget(&state.forget(arrival));
                closed.rows.iter_mut().for_each(|row| rules.raise(row));
                rows.session(&due.rows).give_container(&mut closed.rows);

                if let Some(next) = state.next_due() {
                    let rows = due.rows.delayed(&next);
                    let changes = due.changes.delayed(&next);
                    agenda.entry(next).or_insert(Due {
                        rows,
                        changes,
                        closed: None,
                    });
                }
            }
        }
    });

    (row_stream, change_stream)
}
