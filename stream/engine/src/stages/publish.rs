//! Turns the rows of a stage into records.
//!
//! 1. Of the rows with the same record key, the greatest counts: the newest window's, since rows are
//!    ordered by it first.
//! 2. The operator stores the changes by their pane. When the frontier has passed a pane, each key that
//!    changed becomes one record: its new row, or a tombstone.
//! 3. A change at a pane at which its row can no longer change only forgets the row, and is not published.
//! 4. Where a [line of history](crate::checkpoint::lineage) begins, every row that can still change is
//!    published once more. The line before may have published another row of the key since, and a row
//!    that this line never changes would not replace it. Rows of which the checkpoint has dropped panes are left alone: a
//!    longer lateness than before makes them changeable again, but not whole.

use std::collections::{BTreeMap, BTreeSet};

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::{Changes, Content, Stage};
use crate::aggregate::{Aggregate, hash_bytes};
use crate::flow::group_of;
use crate::frontier::boundary_of;
use crate::output::{Outgoing, Output};
use crate::pane::EventTimeMs;
use crate::window::rules::WindowRules;

/// A record that appears or disappears: its key, and the start of its row's window with the rest.
type Appearance = (Vec<u8>, (EventTimeMs, Content));

/// The changes of a pane, and the capability to send their records.
type Pane = (Capability<EventTimeMs>, Vec<(Appearance, isize)>);

/// Builds the operators.
pub fn newest<'scope, K, A: Aggregate>(
    contents: Changes<'scope, Content>,
    stage: &Stage<K, A>,
    rules: &WindowRules<A>,
) -> StreamVec<'scope, EventTimeMs, Outgoing> {
    let by_key = contents.map(|(start, content)| (content.key.clone(), (start, content)));
    let newest = by_key.reduce(|_, found, newest| {
        newest.extend(
            found
                .last()
                .map(|(content, _)| ((*content).clone(), 1_isize)),
        );
    });

    let mut rows = StageRows::new(stage, rules);
    newest
        .inner
        .unary_frontier(Pipeline, "publish changes", move |initial, _| {
            let begin = |from: &EventTimeMs| (*from, (initial.delayed(from), Vec::new()));
            let mut waiting: BTreeMap<EventTimeMs, Pane> = rows.lines.iter().map(begin).collect();

            move |(changes, frontier), output| {
                changes.for_each(|cap, changes| {
                    let Some(earliest) = cap.retain_least(output.output_index()) else {
                        return;
                    };
                    for (appearance, pane, copies) in changes.drain(..) {
                        let pane = waiting
                            .entry(pane)
                            .or_insert_with(|| (earliest.delayed(&pane), Vec::new()));
                        pane.1.push((appearance, copies));
                    }
                });

                let boundary = boundary_of(frontier);
                while let Some(first) = waiting.first_entry().filter(|it| *it.key() < boundary) {
                    let (pane, (capability, changes)) = first.remove_entry();
                    let records = rows.close(pane, changes);
                    output
                        .session(&capability)
                        .give_iterator(records.into_iter());
                }
            }
        })
}

/// Decides which rows of a stage are published.
struct StageRows<A> {
    topic: String,
    reach_ms: u64,
    rules: WindowRules<A>,
    /// The panes at which lines of history begin.
    lines: BTreeSet<EventTimeMs>,
    /// The row of each key, with the start of its window, until the last line begins.
    current: BTreeMap<Vec<u8>, (EventTimeMs, Content)>,
}

impl<A: Aggregate> StageRows<A> {
    fn new<K>(stage: &Stage<K, A>, rules: &WindowRules<A>) -> Self {
        let branches = rules.lineage.branches().iter();
        Self {
            topic: stage.topic.clone(),
            reach_ms: stage.reach_ms,
            rules: rules.clone(),
            lines: branches.map(|branch| branch.from).collect(),
            current: BTreeMap::new(),
        }
    }

    /// Returns the records of a pane with these changes.
    fn close(&mut self, pane: EventTimeMs, mut changes: Vec<(Appearance, isize)>) -> Vec<Outgoing> {
        if self.lines.last().is_some_and(|last| pane <= *last) {
            self.note(&changes);
        }
        if self.lines.contains(&pane) {
            let current = self.current.iter();
            let whole = current.filter(|(_, (start, _))| *start >= self.rules.kept_from);
            changes.extend(whole.map(|(key, row)| ((key.clone(), row.clone()), 1)));
        }
        if self.lines.last() == Some(&pane) {
            self.current.clear();
        }

        changes.retain(|((_, (start, _)), _)| !self.is_settled(*start, pane));
        records(&self.topic, changes)
    }

    /// Notes the row of each key that changed.
    fn note(&mut self, changes: &[(Appearance, isize)]) {
        for ((key, _), _) in changes.iter().filter(|(_, copies)| *copies < 0) {
            self.current.remove(key);
        }
        for ((key, row), _) in changes.iter().filter(|(_, copies)| *copies > 0) {
            self.current.insert(key.clone(), row.clone());
        }
    }

    /// Returns whether a row whose window starts at `start` can no longer change at `pane`.
    fn is_settled(&self, start: EventTimeMs, pane: EventTimeMs) -> bool {
        self.rules.settled_at(start.saturating_add(self.reach_ms)) <= pane
    }
}

/// Returns a record for each key that changed.
fn records(topic: &str, mut changes: Vec<(Appearance, isize)>) -> Vec<Outgoing> {
    changes.sort_by(|((one, _), copies), ((other, _), others)| (one, copies).cmp(&(other, others)));

    let record = |of_key: &[(Appearance, isize)]| {
        let ((key, (_, content)), copies) = of_key.last()?;
        let mut output = Output::default();
        output.key.clone_from(key);
        if *copies > 0 {
            output.value.clone_from(&content.value);
            output.headers.clone_from(&content.headers);
        } else {
            output.skip();
        }

        Some(Outgoing {
            group: group_of(hash_bytes(key)),
            topic: topic.to_owned(),
            output,
        })
    };
    let by_key = changes.chunk_by(|((one, _), _), ((next, _), _)| one == next);
    by_key.filter_map(record).collect()
}

#[cfg(test)]
mod tests;
