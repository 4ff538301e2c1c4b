//! The keys of one worker under a process function: a pure function of the panes that it is given, in order.
//!
//! Closing a pane handles each of its keys by itself: the key's events in the order of event time, partition and
//! offset, and between them its timers. A timer comes after all events of its time. So the calls of a key's function do
//! not depend on the length of panes, on workers or on restarts.
//!
//! A key that was handled is written as a whole, with its timers and what it has emitted, at that pane. A key
//! that was not is written again when its last writing is as old as the refresh interval. So the newest writing of
//! every key lies within the interval before the newest pane, and [`restore`](Keys::restore) ignores older ones. Their
//! keys were written again or cleared since, even if a merged part still contains them.
//!
//! Invariants: a key with a state or a timer is scheduled for the pane of its first timer or of its next
//! refresh, whichever is earlier.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::function::{ProcessContext, ProcessFunction};
use crate::aggregate::{Aggregate, Value, name_of};
use crate::emitted::Emitted;
use crate::flow::{ClosedPane, Entry};
use crate::output::{Encode, Output};
use crate::pane::EventTimeMs;

/// The content of a key in a pane of a job with a process function: events on their way to the function, or the
/// key's state behind it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Processed<V, S>(Content<V, S>);

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Content<V, S> {
    /// The events of a key in a pane, in order.
    Events(Vec<Event<V>>),
    /// A key after the function has handled its pane.
    Written(Written<S>),
}

/// An event. Events are ordered by their time, then by their place in the log.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Event<V> {
    time_ms: EventTimeMs,
    partition: u32,
    offset: u64,
    value: V,
}

/// The state of a key, its timers in order, and the records that it emitted at the pane.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Written<S> {
    state: Option<S>,
    timers: Vec<EventTimeMs>,
    emitted: Emitted,
}

/// The intervals of a process function, and the encoding of its output.
pub struct FunctionPlan<F: ProcessFunction> {
    pub function: Arc<F>,
    pub encode: Encode<F::Out>,
    pub pane_ms: u64,
    /// A multiple of `pane_ms`.
    pub refresh_ms: u64,
}

/// The keys of one worker.
pub trait Keys<K, A> {
    /// Takes the keys of a pane of a checkpoint at `boundary`. Panes must come in increasing order.
    fn restore(&mut self, pane: &ClosedPane<K, A>, boundary: EventTimeMs);
    /// Closes a pane and returns the keys that are written at it, in order. Panes must come in increasing order.
    fn close(&mut self, pane: EventTimeMs, entries: &[Entry<K, A>]) -> Vec<Entry<K, A>>;
    /// Returns the next pane whose closing may write a key, if no further event comes.
    fn next_due(&self) -> Option<EventTimeMs>;
}

/// The keys of one worker under a function.
pub struct KeyStates<F: ProcessFunction> {
    plan: Arc<FunctionPlan<F>>,
    keys: HashMap<F::Key, Live<F::State>, RandomState>,
    /// The keys that are scheduled, by pane. Some have been handled or scheduled for another pane meanwhile.
    due: BTreeMap<EventTimeMs, BTreeSet<F::Key>>,
}

/// A key with a state or timers.
struct Live<S> {
    state: Option<S>,
    timers: BTreeSet<EventTimeMs>,
    /// The pane at which the key was last written.
    written: EventTimeMs,
    /// The pane for which the key is scheduled.
    scheduled: Option<EventTimeMs>,
}

impl<V: Value, S: Value> Processed<V, S> {
    /// Creates the aggregate of one event.
    pub(crate) fn event(time_ms: EventTimeMs, (partition, offset): (u32, u64), value: V) -> Self {
        Self(Content::Events(vec![Event {
            time_ms,
            partition,
            offset,
            value,
        }]))
    }

    /// Returns the records that the function emitted at the pane; none before it has handled the pane.
    pub(crate) fn emitted_or_none(&self) -> &Emitted {
        match &self.0 {
            Content::Events(_) => Emitted::none(),
            Content::Written(written) => &written.emitted,
        }
    }
}

impl<V: Value, S: Value> Aggregate for Processed<V, S> {
    fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Content::Events(own), Content::Events(others)) => {
                let is_in_order = own.last() <= others.first();
                own.extend_from_slice(others);
                if !is_in_order {
                    own.sort();
                }
            }
            // A key is written once at a pane, so there is nothing to merge.
            (own, others) if *own < *others => *own = others.clone(),
            _ => {}
        }
    }

    fn signature() -> String {
        format!("process function: {} to {}", name_of::<V>(), name_of::<S>())
    }
}

impl<F: ProcessFunction> KeyStates<F> {
    /// Creates the keys of a worker, of which none has a state.
    pub fn new(plan: Arc<FunctionPlan<F>>) -> Self {
        Self {
            plan,
            keys: HashMap::default(),
            due: BTreeMap::new(),
        }
    }

    /// Returns the keys that may be due by `pane`.
    fn take_due(&mut self, pane: EventTimeMs) -> BTreeSet<F::Key> {
        let mut keys = BTreeSet::new();
        while let Some(first) = self.due.first_entry().filter(|first| *first.key() <= pane) {
            keys.extend(first.remove());
        }
        keys
    }

    /// Schedules a key for its first timer or its refresh, but not before `earliest`.
    fn schedule(&mut self, key: &F::Key, earliest: EventTimeMs) {
        let Some(live) = self.keys.get_mut(key) else {
            return;
        };
        let timer = live
            .timers
            .first()
            .map(|time| time - time % self.plan.pane_ms);
        let refresh = live.written.saturating_add(self.plan.refresh_ms);
        let at = timer
            .map_or(refresh, |timer| timer.min(refresh))
            .max(earliest);

        if live.scheduled.is_none_or(|scheduled| at < scheduled) {
            live.scheduled = Some(at);
            self.due.entry(at).or_default().insert(key.clone());
        }
    }

    /// Handles a key's events and its timers before `end`, and returns the key as it is written; none if there is
    /// nothing to write at `pane`.
    fn handle(
        &mut self,
        key: &F::Key,
        events: &[Event<F::Event>],
        pane: EventTimeMs,
    ) -> Option<Written<F::State>> {
        let end = pane + self.plan.pane_ms;
        let live = self.keys.entry(key.clone()).or_insert_with(|| Live {
            state: None,
            timers: BTreeSet::new(),
            written: pane,
            scheduled: None,
        });
        if live.scheduled.is_some_and(|at| at <= pane) {
            live.scheduled = None;
        }

        let mut call = Call::new(&self.plan, key);
        let mut is_written = live.written.saturating_add(self.plan.refresh_ms) <= pane;
        for event in events {
            is_written = true;
            // A timer comes after the events of its time.
            call.fire(live, event.time_ms);
            call.event(live, event);
        }
        is_written |= call.fire(live, end);

        let written = is_written.then(|| Written {
            state: live.state.clone(),
            timers: live.timers.iter().copied().collect(),
            emitted: call.emitted,
        });
        if is_written {
            live.written = pane;
        }
        if live.state.is_none() && live.timers.is_empty() {
            self.keys.remove(key);
        }
        written
    }
}

impl<F: ProcessFunction> Keys<F::Key, Processed<F::Event, F::State>> for KeyStates<F> {
    fn restore(
        &mut self,
        pane: &ClosedPane<F::Key, Processed<F::Event, F::State>>,
        boundary: EventTimeMs,
    ) {
        if pane.arrival.saturating_add(self.plan.refresh_ms) < boundary {
            return;
        }
        for entry in &pane.entries {
            let Processed(Content::Written(written)) = &entry.aggregate else {
                continue;
            };
            let scheduled = self.keys.remove(&entry.key).and_then(|live| live.scheduled);
            if written.state.is_none() && written.timers.is_empty() {
                continue;
            }

            let live = Live {
                state: written.state.clone(),
                timers: written.timers.iter().copied().collect(),
                written: pane.arrival,
                scheduled,
            };
            self.keys.insert(entry.key.clone(), live);
            self.schedule(&entry.key, boundary);
        }
    }

    fn close(
        &mut self,
        pane: EventTimeMs,
        entries: &[Entry<F::Key, Processed<F::Event, F::State>>],
    ) -> Vec<Entry<F::Key, Processed<F::Event, F::State>>> {
        let mut keys: BTreeMap<F::Key, &[Event<F::Event>]> = BTreeMap::new();
        for key in self.take_due(pane) {
            keys.insert(key, &[]);
        }
        for entry in entries {
            if let Processed(Content::Events(events)) = &entry.aggregate {
                keys.insert(entry.key.clone(), events);
            }
        }

        let mut closed = Vec::new();
        for (key, events) in keys {
            let is_known = self.keys.contains_key(&key);
            if !is_known && events.is_empty() {
                continue;
            }
            let written = self.handle(&key, events, pane);
            self.schedule(&key, pane + self.plan.pane_ms);
            closed.extend(written.map(|written| Entry {
                pane,
                key,
                aggregate: Processed(Content::Written(written)),
            }));
        }
        closed
    }

    fn next_due(&self) -> Option<EventTimeMs> {
        self.due.first_key_value().map(|(pane, _)| *pane)
    }
}

/// The calls of the function for one key at one pane.
struct Call<'a, F: ProcessFunction> {
    plan: &'a FunctionPlan<F>,
    key: &'a F::Key,
    emitted: Emitted,
    output: Output,
}

impl<'a, F: ProcessFunction> Call<'a, F> {
    fn new(plan: &'a FunctionPlan<F>, key: &'a F::Key) -> Self {
        Self {
            plan,
            key,
            emitted: Emitted::at(0),
            output: Output::default(),
        }
    }

    fn event(&mut self, live: &mut Live<F::State>, event: &Event<F::Event>) {
        let plan = self.plan;
        self.with(live, event.time_ms, |context| {
            plan.function.on_event(event.value.clone(), context);
        });
    }

    /// Fires the timers before `end`, in order, and returns whether there were any. A timer may set others.
    fn fire(&mut self, live: &mut Live<F::State>, end: EventTimeMs) -> bool {
        let plan = self.plan;
        let mut has_fired = false;
        while let Some(time_ms) = live.timers.first().copied().filter(|time| *time < end) {
            has_fired = true;
            live.timers.remove(&time_ms);
            self.with(live, time_ms, |context| plan.function.on_timer(context));

            // A timer that the function set for the past comes next, and time goes on.
            while let Some(past) = live.timers.first().copied().filter(|time| *time <= time_ms) {
                live.timers.remove(&past);
                live.timers.insert(time_ms + 1);
            }
        }
        has_fired
    }

    fn with(
        &mut self,
        live: &mut Live<F::State>,
        time_ms: EventTimeMs,
        call: impl FnOnce(&mut ProcessContext<'_, F::Key, F::State, F::Out>),
    ) {
        let Self {
            plan,
            key,
            emitted,
            output,
        } = self;
        let mut emit = |value: F::Out| {
            output.clear();
            (plan.encode)(&value, output);
            if !output.is_nothing(false) {
                emitted.push(0, output);
            }
        };
        call(&mut ProcessContext {
            key,
            time_ms,
            state: &mut live.state,
            timers: &mut live.timers,
            emit: &mut emit,
        });
    }
}

#[cfg(test)]
mod tests;
