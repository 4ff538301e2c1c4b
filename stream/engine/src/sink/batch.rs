//! The results that are committed together.

use std::collections::BTreeMap;

use crate::flow::Row;
use crate::output::Outgoing;
use crate::pane::EventTimeMs;

/// The results of one pane.
pub struct PaneResults<K, A> {
    /// Rows of windows, in the containers in which they arrived.
    pub rows: Vec<Vec<Row<K, A>>>,
    /// Records for other topics.
    pub outgoing: Vec<Outgoing>,
}

/// Results by the pane at which they arrived.
pub type Batch<K, A> = BTreeMap<EventTimeMs, PaneResults<K, A>>;

impl<K, A> Default for PaneResults<K, A> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            outgoing: Vec::new(),
        }
    }
}
