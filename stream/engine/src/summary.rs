//! Views of each window over all of its keys, derived with differential dataflow: its totals, and
//! the ranking of its first keys.
//!
//! ```text
//! closed windows ──▶ contribution of this worker ──▶ reduce by window ──▶ totals, whenever they change
//!                    (keys, aggregate, top)          (differential)
//! ```
//!
//! Each worker contributes one small record per window. Keys are spread over workers and never
//! shared, so the numbers of distinct keys add up, and the overall top keys are among the top keys
//! of the workers. When a late record corrects a window, the worker retracts its old contribution
//! and sends a new one. Differential dataflow computes which totals change, and when.
//!
//! For sessions, the totals cover the emitted sessions between two cuts. They change at every pane that emits a
//! session.
//!
//! A ranking is published row by row: a record for each rank. Rows of windows are merged, never
//! removed, so a ranking never becomes shorter: the former row of a rank is overwritten.
//!
//! Invariants: totals have the timestamp of the pane that changed them, so they are
//! committed with its rows. A contribution ends when its window can no longer be corrected, so the
//! view forgets it.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::empty;

use crate::aggregate::{Aggregate, Key, hash_bytes};
use crate::flow::group_of;
use crate::output::{Destination, Outgoing, Output};
use crate::pane::EventTimeMs;
use crate::window::rules::WindowRules;
use crate::window::state::{Closed, ForEachKey, State};

/// A view of each window over all of its keys.
pub struct Summary<K, A> {
    pub(crate) top: usize,
    pub(crate) rank: Rank<K, A>,
    pub(crate) destination: ViewDestination<K, A>,
}

impl<K, A> Summary<K, A> {
    /// The topic of the view.
    pub(crate) fn topic(&self) -> &str {
        match &self.destination {
            ViewDestination::Totals(destination) => &destination.topic,
            ViewDestination::Ranking(destination) => &destination.topic,
        }
    }
}

/// The topic and the form of a view.
pub enum ViewDestination<K, A> {
    /// One record for each window.
    Totals(Destination<Totals<K, A>>),
    /// A record for each rank of a window.
    Ranking(Destination<Ranked<K, A>>),
}

impl<K, A> Clone for ViewDestination<K, A> {
    fn clone(&self) -> Self {
        match self {
            Self::Totals(destination) => Self::Totals(destination.clone()),
            Self::Ranking(destination) => Self::Ranking(destination.clone()),
        }
    }
}

/// A key at its rank in a window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranked<K, A> {
    /// The start of the window.
    pub window_start: EventTimeMs,
    /// The rank: 1 for the first key.
    pub rank: u32,
    /// The key.
    pub key: K,
    /// All of the key's events in the window.
    pub aggregate: A,
    /// The revision of the ranking; see [`Totals::revision`]. All ranks of a window have the same.
    pub revision: u32,
}

/// The order by which keys are ranked.
pub type Rank<K, A> = Arc<dyn Fn((&K, &A), (&K, &A)) -> Ordering + Send + Sync>;

impl<K, A> Clone for Summary<K, A> {
    fn clone(&self) -> Self {
        Self {
            top: self.top,
            rank: Arc::clone(&self.rank),
            destination: self.destination.clone(),
        }
    }
}

/// The totals of a window.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Totals<K, A> {
    /// The start of the window.
    pub window_start: EventTimeMs,
    /// The number of distinct keys that have a row.
    pub keys: u64,
    /// The aggregate of all keys.
    pub aggregate: A,
    /// The first keys in the order of the job's ranking.
    pub top: Vec<(K, A)>,
    /// The panes at which late records arrived after the window's end; for sessions, the panes at
    /// which rows were emitted.
    corrections: BTreeSet<EventTimeMs>,
    /// The number of panes in `corrections` that are not corrections: 1 for sessions, whose first
    /// rows count among them; otherwise 0.
    first_emissions: u32,
    /// The first revision of the window on the job's line of history.
    first_revision: u32,
}

/// The contribution of one worker to the totals of a window.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Contribution<K, A> {
    /// The totals over the worker's keys; none if no key has a row.
    totals: Option<Totals<K, A>>,
    /// The panes of [`Totals::corrections`]. They count for keys without a row, too: the revision must
    /// not depend on which worker owns which key.
    corrections: BTreeSet<EventTimeMs>,
}

/// The number of a view in its job, and a window.
pub type ViewWindow = (usize, EventTimeMs);

/// A change of one worker's contributions: the contribution by view and window, the time, and the
/// number of copies.
pub type Change<K, A> = ((ViewWindow, Contribution<K, A>), EventTimeMs, isize);

impl<K, A> Totals<K, A> {
    /// Returns the revision: 0 at first, plus the number of panes at which late records, or further
    /// sessions, changed the totals. If the job lost a checkpoint, it restarts at the next million.
    pub fn revision(&self) -> u32 {
        let changes = u32::try_from(self.corrections.len()).unwrap_or(u32::MAX);
        self.first_revision
            .saturating_add(changes.saturating_sub(self.first_emissions))
    }

    /// Returns the first keys at their ranks.
    fn ranked(&self) -> impl Iterator<Item = Ranked<K, A>>
    where
        K: Clone,
        A: Clone,
    {
        (1..).zip(&self.top).map(|(rank, (key, aggregate))| Ranked {
            window_start: self.window_start,
            rank,
            key: key.clone(),
            aggregate: aggregate.clone(),
            revision: self.revision(),
        })
    }
}

/// The current contributions of one worker, for windows that can still be corrected.
pub struct Contributions<K, A> {
    rules: WindowRules<A>,
    views: Rc<[Summary<K, A>]>,
    current: HashMap<ViewWindow, Contribution<K, A>>,
}

impl<K: Key, A: Aggregate> Contributions<K, A> {
    /// Creates an empty set of contributions.
    pub fn new(rules: WindowRules<A>, views: Rc<[Summary<K, A>]>) -> Self {
        Self {
            rules,
            views,
            current: HashMap::new(),
        }
    }

    /// Returns the changes that result from closing the pane `arrival`.
    pub fn update(
        &mut self,
        arrival: EventTimeMs,
        closed: &Closed<K, A>,
        state: &dyn State<K, A>,
    ) -> Vec<Change<K, A>> {
        let mut changes = Vec::new();
        state.for_each_total(&closed.windows, &mut |window, for_each_key| {
            let corrections = state.corrections(window);
            for (number, view) in Rc::clone(&self.views).iter().enumerate() {
                let rows: &ForEachKey<'_, K, A> = &|each| {
                    for_each_key(&mut |key, aggregate| {
                        if self.rules.has_row(aggregate) {
                            each(key, aggregate);
                        }
                    });
                };
                let totals = totals(view, window, rows);
                if totals.is_none() && corrections.is_empty() {
                    continue;
                }

                let contribution = Contribution {
                    totals,
                    corrections: corrections.clone(),
                };
                changes.extend(self.replace(arrival, (number, window), contribution));
            }
        });

        changes
    }

    /// Returns the changes that a contribution makes in the place of the former one.
    fn replace(
        &mut self,
        arrival: EventTimeMs,
        place: ViewWindow,
        mut contribution: Contribution<K, A>,
    ) -> Vec<Change<K, A>> {
        if let Some(totals) = &mut contribution.totals {
            totals.first_revision = self.rules.revision(place.1, 0);
            totals.first_emissions = u32::from(self.rules.extent.is_some());
        }

        let mut changes = Vec::new();
        if let Some(old) = self.current.insert(place, contribution.clone()) {
            changes.extend(self.during(arrival, place, old, -1));
        }
        changes.extend(self.during(arrival, place, contribution, 1));
        changes
    }

    /// Forgets windows that can no longer be corrected.
    pub fn forget(&mut self, windows: &[EventTimeMs]) {
        for number in 0..self.views.len() {
            for window in windows {
                self.current.remove(&(number, *window));
            }
        }
    }

    /// Adds a contribution from `arrival` on, for as long as its window can be corrected. All
    /// workers' contributions to a window end at the same time. Otherwise, the remaining ones would
    /// look like new totals.
    fn during(
        &self,
        arrival: EventTimeMs,
        place: ViewWindow,
        contribution: Contribution<K, A>,
        copies: isize,
    ) -> impl Iterator<Item = Change<K, A>> + use<K, A> {
        let window = place.1;
        let WindowRules {
            windows,
            lateness_ms,
            ..
        } = &self.rules;
        let last_correction = windows.last_correction(window + windows.size_ms());
        let forgotten_at = last_correction
            .checked_add(*lateness_ms)
            .and_then(|end| end.checked_next_multiple_of(windows.pane_ms()));
        let ending = forgotten_at.map(|at| ((place, contribution.clone()), at, -copies));

        std::iter::once(((place, contribution), arrival, copies)).chain(ending)
    }
}

/// Returns the totals of a window over this worker's keys, without the corrections; none if no key has
/// a row.
fn totals<K: Key, A: Aggregate>(
    summary: &Summary<K, A>,
    window: EventTimeMs,
    for_each_key: &ForEachKey<'_, K, A>,
) -> Option<Totals<K, A>> {
    let mut totals: Option<Totals<K, A>> = None;
    for_each_key(&mut |key, aggregate| {
        let totals = match &mut totals {
            Some(totals) => {
                totals.keys += 1;
                totals.aggregate.merge(aggregate);
                totals
            }
            none => none.insert(Totals {
                window_start: window,
                keys: 1,
                aggregate: aggregate.clone(),
                top: Vec::new(),
                corrections: BTreeSet::new(),
                first_emissions: 0,
                first_revision: 0,
            }),
        };
        summary.offer(&mut totals.top, key, aggregate);
    });

    totals
}

impl<K: Key, A: Aggregate> Summary<K, A> {
    /// Inserts a key into the top keys at its place, if it ranks high enough.
    fn offer(&self, top: &mut Vec<(K, A)>, key: &K, aggregate: &A) {
        let ranks_first = |one: &(K, A)| (self.rank)((&one.0, &one.1), (key, aggregate)).is_lt();
        if top.len() < self.top || top.last().is_some_and(|last| !ranks_first(last)) {
            top.insert(
                top.partition_point(ranks_first),
                (key.clone(), aggregate.clone()),
            );
            top.truncate(self.top);
        }
    }

    /// Merges the workers' contributions to a window; none if no key has a row.
    fn merge<'a>(
        &self,
        parts: impl Iterator<Item = &'a Contribution<K, A>>,
    ) -> Option<Totals<K, A>> {
        let mut merged: Option<Totals<K, A>> = None;
        let mut corrections = BTreeSet::new();
        for part in parts {
            corrections.extend(&part.corrections);
            match (&mut merged, &part.totals) {
                (_, None) => {}
                (None, Some(totals)) => merged = Some(totals.clone()),
                (Some(merged), Some(totals)) => {
                    merged.keys += totals.keys;
                    merged.aggregate.merge(&totals.aggregate);
                    for (key, aggregate) in &totals.top {
                        self.offer(&mut merged.top, key, aggregate);
                    }
                }
            }
        }

        merged.map(|totals| Totals {
            corrections,
            ..totals
        })
    }

    /// Returns the records of a window.
    fn encode(&self, totals: &Totals<K, A>) -> Vec<Outgoing> {
        let is_correction = totals.revision() > 0;
        let group = group_of(hash_bytes(&totals.window_start.to_le_bytes()));
        let record = |topic: &str, fill: &dyn Fn(&mut Output)| {
            let mut output = Output::default();
            fill(&mut output);
            (!output.is_nothing(is_correction)).then(|| Outgoing {
                group,
                topic: topic.to_owned(),
                output,
            })
        };

        match &self.destination {
            ViewDestination::Totals(Destination { topic, encode }) => {
                record(topic, &|output| encode(totals, output))
                    .into_iter()
                    .collect()
            }
            ViewDestination::Ranking(Destination { topic, encode }) => totals
                .ranked()
                .filter_map(|ranked| record(topic, &|output| encode(&ranked, output)))
                .collect(),
        }
    }
}

/// Builds the views: turns the changes of the workers' contributions into records for the sink. Without a view there
/// are no operators and no records.
pub fn summarize<'scope, K: Key, A: Aggregate>(
    changes: StreamVec<'scope, EventTimeMs, Change<K, A>>,
    views: Rc<[Summary<K, A>]>,
) -> StreamVec<'scope, EventTimeMs, Outgoing> {
    if views.is_empty() {
        return empty(changes.scope());
    }

    let merging = Rc::clone(&views);
    let totals = changes
        .as_collection()
        .reduce(move |(number, _window), parts, output| {
            // Equal contributions of several workers, which have no first keys, are copies of one.
            let parts = parts.iter().flat_map(|(contribution, copies)| {
                std::iter::repeat_n(*contribution, usize::try_from(*copies).unwrap_or(0))
            });
            output.extend(
                merging[*number]
                    .merge(parts)
                    .map(|totals| (totals, 1_isize)),
            );
        });

    // Each update is sent at its own time, because differential sends updates of several times
    // under the earliest of them.
    totals.inner.unary(Pipeline, "encode totals", move |_, _| {
        move |input, output| {
            input.for_each(|cap, updates| {
                let Some(earliest) = cap.retain_least(output.output_index()) else {
                    return;
                };
                for (((number, _), totals), time, difference) in updates.drain(..) {
                    if difference > 0 {
                        output
                            .session(&earliest.delayed(&time))
                            .give_iterator(views[number].encode(&totals).into_iter());
                    }
                }
            });
        }
    })
}

#[cfg(test)]
mod tests;
