//! The interface of process functions.

use std::collections::BTreeSet;

use crate::aggregate::{Key, Value};
use crate::pane::EventTimeMs;

/// A function of the events of a key, with a state and timers (the `KeyedProcessFunction` of Flink).
///
/// The function sees the events of a key in the order of their times, and of their places in the log if times are
/// equal. It sees each of its timers once, after all events of the timer's time. State, timers and output are the same
/// after any crash, and for any number of workers.
///
/// The state of a key is none at first. Set it to none again when the key no longer needs it.
///
/// ```
/// use stream::{ProcessContext, ProcessFunction};
///
/// /// Orders that are not paid within ten minutes.
/// struct Unpaid;
///
/// #[derive(Clone, Debug, serde::Deserialize, Eq, Ord, PartialEq, PartialOrd, serde::Serialize)]
/// enum Step { Ordered, Paid }
///
/// impl ProcessFunction for Unpaid {
///     type Key = u64; // the order
///     type Event = Step;
///     type State = u64; // the time of the timer
///     type Out = u64;
///
///     fn on_event(&self, step: Step, order: &mut ProcessContext<'_, u64, u64, u64>) {
///         match step {
///             Step::Ordered => {
///                 let until_ms = order.time_ms() + 600_000;
///                 order.set_timer(until_ms);
///                 *order.state() = Some(until_ms);
///             }
///             Step::Paid => {
///                 if let Some(until_ms) = order.state().take() {
///                     order.delete_timer(until_ms);
///                 }
///             }
///         }
///     }
///
///     fn on_timer(&self, order: &mut ProcessContext<'_, u64, u64, u64>) {
///         *order.state() = None;
///         order.emit(*order.key());
///     }
/// }
/// ```
pub trait ProcessFunction: Send + Sync + 'static {
    /// The key by which events are grouped.
    type Key: Key;
    /// The value of an event.
    type Event: Value;
    /// The state of a key.
    type State: Value;
    /// The type of emitted values.
    type Out: 'static;

    /// Handles an event.
    fn on_event(
        &self,
        event: Self::Event,
        context: &mut ProcessContext<'_, Self::Key, Self::State, Self::Out>,
    );

    /// Handles a timer, whose time is the context's.
    fn on_timer(&self, context: &mut ProcessContext<'_, Self::Key, Self::State, Self::Out>);
}

/// The key for which a [`ProcessFunction`] is called: its state, its timers, and its output.
pub struct ProcessContext<'a, K, S, O> {
    pub(super) key: &'a K,
    pub(super) time_ms: EventTimeMs,
    pub(super) state: &'a mut Option<S>,
    pub(super) timers: &'a mut BTreeSet<EventTimeMs>,
    pub(super) emit: &'a mut dyn FnMut(O),
}

impl<K, S, O> ProcessContext<'_, K, S, O> {
    /// The key.
    pub fn key(&self) -> &K {
        self.key
    }

    /// The time of the event or of the timer, in milliseconds since the epoch.
    pub fn time_ms(&self) -> EventTimeMs {
        self.time_ms
    }

    /// The state of the key.
    pub fn state(&mut self) -> &mut Option<S> {
        self.state
    }

    /// Sets a timer of the key. It fires when event time has passed `time_ms`, after all events of that time. A
    /// time that is set twice fires once. A timer for the past fires before the next event of a later time; one
    /// that a timer sets for its own time or an earlier one fires a millisecond after it.
    pub fn set_timer(&mut self, time_ms: EventTimeMs) {
        self.timers.insert(time_ms);
    }

    /// Deletes a timer of the key, if it is set.
    pub fn delete_timer(&mut self, time_ms: EventTimeMs) {
        self.timers.remove(&time_ms);
    }

    /// Emits a value to the sink.
    pub fn emit(&mut self, value: O) {
        (self.emit)(value);
    }
}
