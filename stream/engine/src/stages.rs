//! Stages behind a window: the rows of a job as a collection that changes, and the rows that are derived from it with
//! differential dataflow.
//!
//! ```text
//! rows ──▶ changes ──▶ filter, map, second window, join, … ──▶ newest row of each key ──▶ records
//!          (retract, insert, forget)     (differential)         (one change a key and pane)
//! ```
//!
//! 1. [`changes`] turns each row into a change of a collection: a correction retracts the row that it
//!    replaces. A row is forgotten, which is a retraction too, when the rows derived from it can no longer change.
//! 2. A [plan](rows) derives other rows. Differential dataflow computes which of them change, and at
//!    which pane.
//! 3. [`publish`] turns each change into a record: the new row of a key, or a tombstone if the key has no row any more.
//!    Changes that only forget are not published.
//!
//! Invariant: the collection is a function of the panes in the checkpoint, which keeps them for
//! as long as a stage reaches back. So a restart derives the same changes at the same panes, and those
//! that are committed are left out by the progress of their key group, as for all results.

pub mod changes;
pub mod publish;
pub mod rows;

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::empty;

use crate::aggregate::{Aggregate, Key};
use crate::flow::Row;
use crate::output::Outgoing;
use crate::pane::EventTimeMs;
use crate::window::rules::WindowRules;
use rows::Derivation;

/// Rows with the starts of their windows, at the panes at which they change.
pub type Changes<'scope, T> = VecCollection<'scope, EventTimeMs, (EventTimeMs, T)>;

/// A row of a window behind which other stages follow.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct WindowRow<K, A> {
    /// The start of the window; of a session, the time of its first event.
    pub window_start: EventTimeMs,
    /// The key.
    pub key: K,
    /// All of the key's events, or rows, in the window.
    pub aggregate: A,
}

/// The content of a record: key, value and headers.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Content {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// A topic, and the plan of the rows that are published to it.
pub struct Stage<K, A> {
    /// The topic.
    pub(crate) topic: String,
    /// The longest time from the start of a row's window to that of a row derived from it.
    pub(crate) reach_ms: u64,
    plan: Arc<dyn Derive<K, A>>,
}

/// A plan of the records of a stage. The trait hides that a plan needs static types.
trait Derive<K, A>: Send + Sync {
    fn derive<'scope>(&self, rows: Changes<'scope, WindowRow<K, A>>) -> Changes<'scope, Content>
    where
        K: 'static,
        A: 'static;
}

impl<K: 'static, A: 'static> Derive<K, A> for Derivation<WindowRow<K, A>, Content> {
    fn derive<'scope>(&self, rows: Changes<'scope, WindowRow<K, A>>) -> Changes<'scope, Content> {
        self(rows)
    }
}

impl<K: 'static, A: 'static> Stage<K, A> {
    /// Creates a stage that publishes to `topic` the rows that `plan` derives.
    pub fn new(topic: &str, reach_ms: u64, plan: Derivation<WindowRow<K, A>, Content>) -> Self {
        Self {
            topic: topic.to_owned(),
            reach_ms,
            plan: Arc::new(plan),
        }
    }
}

impl<K, A> Clone for Stage<K, A> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            reach_ms: self.reach_ms,
            plan: Arc::clone(&self.plan),
        }
    }
}

/// Returns the greatest reach of the stages.
pub fn reach_ms<K, A>(stages: &[Stage<K, A>]) -> u64 {
    let reaches = stages.iter().map(|stage| stage.reach_ms);
    reaches.max().unwrap_or(0)
}

/// Builds the stages: turns rows into records for the sink.
pub fn derive<'scope, K: Key, A: Aggregate>(
    rows: &StreamVec<'scope, EventTimeMs, Row<K, A>>,
    rules: &WindowRules<A>,
    stages: &[Stage<K, A>],
) -> StreamVec<'scope, EventTimeMs, Outgoing> {
    let scope = rows.scope();
    if stages.is_empty() {
        return empty(scope);
    }

    let changes = changes::collect(rows.clone(), rules, reach_ms(stages)).as_collection();
    let records = stages.iter().map(|stage| {
        let contents = stage.plan.derive(changes.clone());
        publish::newest(contents, stage, rules)
    });
    let records: Vec<_> = records.collect();

    scope.concatenate(records)
}
