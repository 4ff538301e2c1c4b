//! Turns rows into changes of a collection.
//!
//! 1. The operator stores the rows that arrive, by their pane.
//! 2. When the frontier has passed a pane, each of its rows retracts the one that it replaces. A row
//!    is inserted with the retraction that forgets it at a later pane.

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::WindowRow;
use crate::aggregate::{Aggregate, Key};
use crate::flow::Row;
use crate::frontier::boundary_of;
use crate::pane::EventTimeMs;
use crate::window::rules::WindowRules;

/// A change: a row with the start of its window, the pane, and the number of copies.
type Change<K, A> = ((EventTimeMs, WindowRow<K, A>), EventTimeMs, isize);

/// The rows of a pane, and the capability to send their changes.
type Pane<K, A> = (Capability<EventTimeMs>, Vec<Row<K, A>>);

/// The rows that are in the collection, by the start of their window.
struct Current<K, A> {
    rules: WindowRules<A>,
    reach_ms: u64,
    rows: BTreeMap<EventTimeMs, BTreeMap<K, A>>,
}

/// Builds the operator. Rows are kept until nothing within `reach_ms` can change.
pub fn collect<'scope, K: Key, A: Aggregate>(
    rows: StreamVec<'scope, EventTimeMs, Row<K, A>>,
    rules: &WindowRules<A>,
    reach_ms: u64,
) -> StreamVec<'scope, EventTimeMs, Change<K, A>> {
    let mut current = Current {
        rules: rules.clone(),
        reach_ms,
        rows: BTreeMap::new(),
    };

    rows.unary_frontier(Pipeline, "rows as changes", move |_, _| {
        let mut waiting: BTreeMap<EventTimeMs, Pane<K, A>> = BTreeMap::new();
        move |(rows, frontier), output| {
            rows.for_each_stamp(|cap, containers| {
                let Some(capability) = cap.retain_least(output.output_index()) else {
                    return;
                };
                let pane = waiting
                    .entry(*capability.time())
                    .or_insert_with(|| (capability, Vec::new()));
                containers.for_each(|container| pane.1.append(container));
            });

            let boundary = boundary_of(frontier);
            while let Some(first) = waiting.first_entry().filter(|it| *it.key() < boundary) {
                let (pane, (capability, rows)) = first.remove_entry();
                let changes = rows.iter().flat_map(|row| current.change(pane, row));
                let changes: Vec<_> = changes.collect();
                output
                    .session(&capability)
                    .give_iterator(changes.into_iter());
                current.forget(pane);
            }
        }
    })
}

impl<K: Key, A: Aggregate> Current<K, A> {
    /// Returns the changes that a row makes at a pane.
    fn change(&mut self, pane: EventTimeMs, row: &Row<K, A>) -> Vec<Change<K, A>> {
        let start = row.window_start;
        let rows = self.rows.entry(start).or_default();
        let former = if row.is_gone {
            rows.remove(&row.key)
        } else {
            rows.insert(row.key.clone(), row.aggregate.clone())
        };

        let mut changes = Vec::new();
        let of = |aggregate| WindowRow {
            window_start: start,
            key: row.key.clone(),
            aggregate,
        };
        if let Some(former) = former {
            changes.extend(self.during(pane, of(former), -1));
        }
        if !row.is_gone {
            changes.extend(self.during(pane, of(row.aggregate.clone()), 1));
        }
        changes
    }

    /// Adds copies of a row from `pane` on until it is forgotten.
    fn during(&self, pane: EventTimeMs, row: WindowRow<K, A>, copies: isize) -> [Change<K, A>; 2] {
        let start = row.window_start;
        let forgotten_at = self.rules.settled_at(start.saturating_add(self.reach_ms));
        [
            ((start, row.clone()), pane, copies),
            ((start, row), forgotten_at, -copies),
        ]
    }

    /// Forgets the rows that the collection has forgotten when `pane` has closed.
    fn forget(&mut self, pane: EventTimeMs) {
        let is_forgotten =
            |start: EventTimeMs| self.rules.settled_at(start.saturating_add(self.reach_ms)) <= pane;
        while let Some(first) = self.rows.first_entry().filter(|it| is_forgotten(*it.key())) {
            first.remove();
        }
    }
}
