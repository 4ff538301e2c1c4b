//! The sessions of one worker: a pure function of the closed panes that it is given, in order.
//!
//! ```text
//! event time   ──●─●──●──────────●●─────●──┃──●─────▶     ┃ a cut
//! sessions       [──────gap)     [─────────┃[──gap)
//! ```
//!
//! No pane is longer than the gap, so all events of a key in a pane belong to one session, and an
//! entry is part of a [`Session`]. Entries that lie at most the gap apart are merged here. Closing
//! a pane emits, at its timestamp,
//! - the sessions that no on-time event can lengthen any more, or that are cut: revision 0;
//! - the sessions that late entries changed, once these are closed as well: the next revision;
//! - with such a session, a retraction of each session that it absorbed: the next revision of that
//!   session.
//!
//! Each entry is emitted once: when it has arrived and its session is closed. So the emitted rows
//! depend only on the entries and the panes at which they arrived. The rows of absorbed sessions stay valid until the
//! session that absorbed them is emitted. So the valid rows of a key never count an event twice,
//! and never drop an event that was counted before.
//!
//! Invariants: the valid rows of a key never overlap, and each starts at its session's first
//! event. Between two cuts, a session is kept for as long as it can be corrected, as an emitted and
//! a not yet emitted aggregate: no single event is kept.
//!
//! [`Session`]: crate::aggregate::Session

use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::aggregate::{Aggregate, Key};
use crate::flow::{Entry, Row, SharedPane};
use crate::pane::{EventTimeMs, Windows};
use crate::window::state::{Closed, ForEachKey, State};

/// Returns the times of the first and the last event of an aggregate.
pub type Extent<A> = fn(&A) -> (EventTimeMs, EventTimeMs);

/// The sessions that are open, and those that can still be corrected.
pub struct SessionState<K, A> {
    windows: Windows,
    gap_ms: u64,
    extent: Extent<A>,
    allowed_lateness_ms: u64,
    stretches: BTreeMap<EventTimeMs, Stretch<K, A>>,
    /// The stretches and keys whose sessions each pane may close. Some of the sessions have been
    /// lengthened meanwhile.
    due: BTreeMap<EventTimeMs, Vec<(EventTimeMs, K)>>,
}

/// The sessions between two cuts.
struct Stretch<K, A> {
    /// The sessions of each key, in order.
    keys: HashMap<K, Vec<Live<A>>, RandomState>,
    /// The number of sessions over all keys.
    sessions: usize,
    /// The panes at which rows were emitted.
    emitted_at: BTreeSet<EventTimeMs>,
}

/// The current state of a session.
struct Live<A> {
    first_ms: EventTimeMs,
    last_ms: EventTimeMs,
    /// The valid rows for parts of the session, or for all of it.
    emitted: Vec<Emitted<A>>,
    /// The events that have arrived and are in none of these rows.
    pending: Option<A>,
}

/// A valid row: emitted, and neither replaced nor retracted.
struct Emitted<A> {
    first_ms: EventTimeMs,
    aggregate: A,
    revision: u32,
}

impl<K: Key, A: Aggregate> SessionState<K, A> {
    /// Creates a state without sessions. They end after the gap of `windows`, and are cut to
    /// `windows`.
    pub fn new(windows: Windows, extent: Extent<A>, allowed_lateness_ms: u64) -> Self {
        let gap_ms = windows.gap_ms().unwrap_or(0);
        Self {
            windows,
            gap_ms,
            extent,
            allowed_lateness_ms,
            stretches: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    /// Adds an entry, and schedules its session for the pane that closes it: this one, if the
    /// session has ended already.
    fn take_in(&mut self, arrival: EventTimeMs, entry: &Entry<K, A>) {
        let end = self.windows.last_end(entry.pane);
        let start = end - self.windows.size_ms();
        let (first_ms, last_ms) = (self.extent)(&entry.aggregate);

        let live = Live {
            first_ms,
            last_ms,
            emitted: Vec::new(),
            pending: Some(entry.aggregate.clone()),
        };

        let stretch = self.stretches.entry(start).or_default();
        let last_ms = stretch.take_in(&entry.key, live, self.gap_ms);
        let closing = self
            .windows
            .pane_of(last_ms + self.gap_ms)
            .min(end - self.windows.pane_ms());

        self.due
            .entry(closing.max(arrival))
            .or_default()
            .push((start, entry.key.clone()));
    }

    /// Calls `each` with every key that has rows between two cuts, and the aggregate of these rows.
    fn for_each_key(&self, start: EventTimeMs, each: &mut dyn FnMut(&K, &A)) {
        let stretch = self.stretches.get(&start).into_iter();
        for (key, sessions) in stretch.flat_map(|stretch| &stretch.keys) {
            let mut emitted = sessions
                .iter()
                .flat_map(|session| &session.emitted)
                .map(|emitted| &emitted.aggregate);

            let Some(mut total) = emitted.next().cloned() else {
                continue;
            };

            emitted.for_each(|other| total.merge(other));
            each(key, &total);
        }
    }

    /// Emits the rows of a key's sessions that are closed by `boundary` and have events that were
    /// not emitted.
    fn emit(
        &mut self,
        boundary: EventTimeMs,
        start: EventTimeMs,
        key: &K,
        rows: &mut Vec<Row<K, A>>,
    ) {
        let gap_ms = self.gap_ms;
        let is_cut = start + self.windows.size_ms() <= boundary;
        let sessions = self
            .stretches
            .get_mut(&start)
            .and_then(|stretch| stretch.keys.get_mut(key));

        for session in sessions.into_iter().flatten() {
            if is_cut || session.last_ms + gap_ms < boundary {
                session.emit(key, rows);
            }
        }
    }
}

impl<K: Key, A: Aggregate> State<K, A> for SessionState<K, A> {
    fn close(&mut self, arrival: EventTimeMs, closed: Option<&SharedPane<K, A>>) -> Closed<K, A> {
        for entry in closed.iter().flat_map(|closed| &closed.entries) {
            self.take_in(arrival, entry);
        }

        let boundary = arrival + self.windows.pane_ms();
        let mut rows = Vec::new();
        let mut windows = BTreeSet::new();

        while let Some(first) = self
            .due
            .first_entry()
            .filter(|first| *first.key() <= arrival)
        {
            for (start, key) in first.remove() {
                let rows_before = rows.len();
                self.emit(boundary, start, &key, &mut rows);
                if rows.len() > rows_before && windows.insert(start) {
                    self.stretches
                        .entry(start)
                        .or_default()
                        .emitted_at
                        .insert(arrival);
                }
            }
        }

        Closed {
            rows,
            windows: windows.into_iter().collect(),
        }
    }

    fn next_due(&self) -> Option<EventTimeMs> {
        self.due.first_key_value().map(|(pane, _)| *pane)
    }

    fn forget(&mut self, arrival: EventTimeMs) -> Vec<EventTimeMs> {
        let boundary = arrival + self.windows.pane_ms();
        let kept_ms = self
            .windows
            .size_ms()
            .saturating_add(self.allowed_lateness_ms);

        let mut forgotten = Vec::new();
        while let Some(first) = self
            .stretches
            .first_entry()
            .filter(|first| first.key().saturating_add(kept_ms) <= boundary)
        {
            forgotten.push(first.remove_entry().0);
        }

        forgotten
    }

    fn for_each_total(
        &self,
        windows: &[EventTimeMs],
        each: &mut dyn FnMut(EventTimeMs, &ForEachKey<'_, K, A>),
    ) {
        for window in windows {
            each(*window, &|key| self.for_each_key(*window, key));
        }
    }

    fn corrections(&self, window: EventTimeMs) -> BTreeSet<EventTimeMs> {
        self.stretches
            .get(&window)
            .map(|stretch| stretch.emitted_at.clone())
            .unwrap_or_default()
    }

    fn entries(&self) -> usize {
        self.stretches
            .values()
            .map(|stretch| stretch.sessions)
            .sum()
    }

    fn panes(&self) -> usize {
        self.stretches.len()
    }
}

impl<K: Key, A: Aggregate> Stretch<K, A> {
    /// Merges a new session with those that are close to it, and returns the time of the last
    /// event.
    fn take_in(&mut self, key: &K, mut session: Live<A>, gap_ms: u64) -> EventTimeMs {
        let known = self.keys.entry(key.clone()).or_default();
        let first_ms = session.first_ms;
        let last_ms = session.last_ms;
        let is_close = |other: &mut Live<A>| {
            other.first_ms <= last_ms + gap_ms && first_ms <= other.last_ms + gap_ms
        };
        let before = known.len();
        known
            .extract_if(.., is_close)
            .for_each(|other| session.merge(other));

        let last_ms = session.last_ms;
        known.insert(
            known.partition_point(|other| other.first_ms < session.first_ms),
            session,
        );

        self.sessions = self.sessions + known.len() - before;
        last_ms
    }
}

impl<K, A> Default for Stretch<K, A> {
    fn default() -> Self {
        Self {
            keys: HashMap::default(),
            sessions: 0,
            emitted_at: BTreeSet::new(),
        }
    }
}

impl<A: Aggregate> Live<A> {
    fn merge(&mut self, other: Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.emitted.extend(other.emitted);

        match (&mut self.pending, other.pending) {
            (Some(pending), Some(others)) => pending.merge(&others),
            (none, others) => *none = none.take().or(others),
        }
    }

    /// Adds the rows of a session that has events that were not emitted: its own row, and a
    /// retraction for each session that it absorbed.
    fn emit<K: Key>(&mut self, key: &K, rows: &mut Vec<Row<K, A>>) {
        let Some(mut aggregate) = self.pending.take() else {
            return;
        };

        let row = |emitted: Emitted<A>, is_gone| {
            let Emitted {
                first_ms,
                aggregate,
                revision,
            } = emitted;
            Row {
                window_start: first_ms,
                key: key.clone(),
                aggregate,
                revision,
                is_gone,
            }
        };

        let mut revision = 0;
        for emitted in self.emitted.drain(..) {
            aggregate.merge(&emitted.aggregate);
            let next = emitted.revision + 1;
            if emitted.first_ms == self.first_ms {
                revision = next;
            } else {
                rows.push(row(
                    Emitted {
                        revision: next,
                        ..emitted
                    },
                    true,
                ));
            }
        }

        let first_ms = self.first_ms;
        rows.push(row(
            Emitted {
                first_ms,
                aggregate: aggregate.clone(),
                revision,
            },
            false,
        ));

        self.emitted.push(Emitted {
            first_ms,
            aggregate,
            revision,
        });
    }
}

#[cfg(test)]
mod tests;
