//! Turns the rows of a stage into records.
//!
//! 1. Of the rows with the same record key, the greatest counts: the newest window's, since rows are
//!    ordered by it first.
//! 2. The operator stores the changes by their pane. When the frontier has passed a pane, each key that
//!    changed becomes one record: its new row, or a tombstone.
//! 3. A change at a pane at which its row can no longer change only forgets, and is not published.

use std::collections::BTreeMap;

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

    let topic = stage.topic.clone();
    let reach_ms = stage.reach_ms;
    let rules = rules.clone();
    newest
        .inner
        .unary_frontier(Pipeline, "publish changes", move |_, _| {
            let mut waiting: BTreeMap<EventTimeMs, Pane> = BTreeMap::new();
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
                    let (pane, (capability, mut changes)) = first.remove_entry();
                    let is_settled = |start: EventTimeMs| {
                        rules.settled_at(start.saturating_add(reach_ms)) <= pane
                    };
                    changes.retain(|((_, (start, _)), _)| !is_settled(*start));

                    let records = records(&topic, changes);
                    output
                        .session(&capability)
                        .give_iterator(records.into_iter());
                }
            }
        })
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
