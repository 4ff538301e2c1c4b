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
//! depend only on what arrived at which pane. The rows of absorbed sessions stay valid until the
//! session that absorbed them is emitted. So the valid rows of a key never count an event twice,
//! and never drop an event that was counted before.
//!
//! What always holds: the valid rows of a key never overlap, and each starts at its session's first
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
use crate::window::state::{Closed, State};

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
    told_at: BTreeSet<EventTimeMs>,
}

/// The current state of a session.
struct Live<A> {
    first_ms: EventTimeMs,
    last_ms: EventTimeMs,
    /// The valid rows for parts of the session, or for all of it.
    told: Vec<Told<A>>,
    /// The events that have arrived and are in none of these rows.
    untold: Option<A>,
}

/// A valid row: emitted, and neither replaced nor retracted.
struct Told<A> {
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
            told: Vec::new(),
            untold: Some(entry.aggregate.clone()),
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

    /// Emits the rows of a key's sessions that are closed by `boundary` and have events that were
    /// not emitted.
    fn tell(
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
                session.tell(key, rows);
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
                let told = rows.len();
                self.tell(boundary, start, &key, &mut rows);
                if rows.len() > told && windows.insert(start) {
                    self.stretches
                        .entry(start)
                        .or_default()
                        .told_at
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

    fn for_each_total(&self, window: EventTimeMs, each: &mut dyn FnMut(&K, &A)) {
        for (key, sessions) in self
            .stretches
            .get(&window)
            .into_iter()
            .flat_map(|stretch| &stretch.keys)
        {
            let mut told = sessions
                .iter()
                .flat_map(|session| &session.told)
                .map(|told| &told.aggregate);

            let Some(mut total) = told.next().cloned() else {
                continue;
            };

            told.for_each(|other| total.merge(other));
            each(key, &total);
        }
    }

    fn corrections(&self, window: EventTimeMs) -> BTreeSet<EventTimeMs> {
        self.stretches
            .get(&window)
            .map(|stretch| stretch.told_at.clone())
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
            told_at: BTreeSet::new(),
        }
    }
}

impl<A: Aggregate> Live<A> {
    fn merge(&mut self, other: Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.told.extend(other.told);

        match (&mut self.untold, other.untold) {
            (Some(untold), Some(others)) => untold.merge(&others),
            (none, others) => *none = none.take().or(others),
        }
    }

    /// Adds the rows of a session that has events that were not emitted: its own row, and a
    /// retraction for each session that it absorbed.
    fn tell<K: Key>(&mut self, key: &K, rows: &mut Vec<Row<K, A>>) {
        let Some(mut aggregate) = self.untold.take() else {
            return;
        };

        let row = |told: Told<A>, is_gone| {
            let Told {
                first_ms,
                aggregate,
                revision,
            } = told;
            Row {
                window_start: first_ms,
                key: key.clone(),
                aggregate,
                revision,
                is_gone,
            }
        };

        let mut revision = 0;
        for told in self.told.drain(..) {
            aggregate.merge(&told.aggregate);
            let next = told.revision + 1;
            if told.first_ms == self.first_ms {
                revision = next;
            } else {
                rows.push(row(
                    Told {
                        revision: next,
                        ..told
                    },
                    true,
                ));
            }
        }

        let first_ms = self.first_ms;
        rows.push(row(
            Told {
                first_ms,
                aggregate: aggregate.clone(),
                revision,
            },
            false,
        ));

        self.told.push(Told {
            first_ms,
            aggregate,
            revision,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::aggregate::{Count, Session};
    use crate::flow::ClosedPane;
    use crate::pane::SessionWindows;

    const GAP_MS: u64 = 10;
    const LIMIT_MS: u64 = 60;
    const PANE_MS: u64 = 5;
    const LATENESS_MS: u64 = 40;

    /// A key and the time of an event.
    type Event = (u64, u64);

    fn state() -> SessionState<u64, Session<Count>> {
        let ms = Duration::from_millis;
        let sessions = SessionWindows::new(ms(GAP_MS), ms(LIMIT_MS))
            .unwrap()
            .in_panes_of(ms(PANE_MS))
            .unwrap();

        SessionState::new(
            sessions.cut_to(),
            |session| (session.first_ms, session.last_ms),
            LATENESS_MS,
        )
    }

    fn pane(arrival: u64, events: &[Event]) -> SharedPane<u64, Session<Count>> {
        let mut entries: BTreeMap<(u64, u64), Session<Count>> = BTreeMap::new();
        for (key, time) in events {
            let session = Session::of(*time, Count(1));
            let entry = entries.entry((time - time % PANE_MS, *key));
            entry
                .and_modify(|known| known.merge(&session))
                .or_insert(session);
        }

        let entry = |((pane, key), aggregate)| Entry {
            pane,
            key,
            aggregate,
        };

        Rc::new(ClosedPane {
            arrival,
            entries: entries.into_iter().map(entry).collect(),
            side_outputs: vec![],
        })
    }

    /// Closes a pane, and returns its rows: first and last event, count, revision, and whether it
    /// is gone.
    fn close(
        state: &mut SessionState<u64, Session<Count>>,
        arrival: u64,
        events: &[Event],
    ) -> Vec<(u64, u64, u64, u32, bool)> {
        let closed = state.close(arrival, Some(&pane(arrival, events)));
        let told = |row: &Row<u64, Session<Count>>| {
            (
                row.window_start,
                row.aggregate.last_ms,
                row.aggregate.aggregate.0,
                row.revision,
                row.is_gone,
            )
        };

        closed.rows.iter().map(told).collect()
    }

    #[test]
    fn a_session_is_told_with_the_pane_in_which_its_gap_passes() {
        let mut state = state();
        assert_eq!(close(&mut state, 0, &[(1, 3), (1, 4)]), []);
        assert_eq!(close(&mut state, 5, &[(1, 8)]), []);

        assert_eq!(
            state.next_due(),
            Some(10),
            "nothing new, and it would end by 14"
        );

        assert_eq!(close(&mut state, 10, &[]), []);
        assert_eq!(state.next_due(), Some(15));
        assert_eq!(
            close(&mut state, 15, &[]),
            [(3, 8, 3, 0, false)],
            "an event at 18 would have lengthened it"
        );
        assert_eq!(state.next_due(), None);
    }

    #[test]
    fn a_late_event_between_two_sessions_makes_one_of_them_and_tells_that_the_other_is_gone() {
        let mut state = state();
        close(&mut state, 0, &[(1, 0)]);
        assert_eq!(close(&mut state, 20, &[(1, 20)]), [(0, 0, 1, 0, false)]);
        assert_eq!(close(&mut state, 30, &[]), [(20, 20, 1, 0, false)]);

        let merged = [(20, 20, 1, 1, true), (0, 20, 3, 1, false)];
        let mut rows = close(&mut state, 35, &[(1, 10)]);
        rows.sort_by_key(|row| std::cmp::Reverse(row.4));

        assert_eq!(rows, merged);
    }

    #[test]
    fn rows_stand_until_the_session_is_closed_that_swallows_them() {
        let mut state = state();
        close(&mut state, 0, &[(1, 4)]);
        assert_eq!(close(&mut state, 15, &[(1, 19)]), [(4, 4, 1, 0, false)]);

        assert_eq!(
            close(&mut state, 20, &[(1, 10), (1, 2)]),
            [],
            "the session goes on until 29"
        );

        let mut total = None;
        state.for_each_total(0, &mut |_, session| total = Some(session.aggregate));
        assert_eq!(
            total,
            Some(Count(1)),
            "totals are those of the rows that stand"
        );

        let mut rows = close(&mut state, 25, &[]);
        rows.sort_unstable();
        assert_eq!(rows, [(2, 19, 4, 0, false), (4, 4, 1, 1, true)]);
    }

    #[test]
    fn a_session_is_cut_at_the_limit_and_forgotten_when_nothing_can_correct_it() {
        let mut state = state();
        assert_eq!(close(&mut state, 50, &[(1, 54)]), []);
        assert_eq!(close(&mut state, 55, &[(1, 58)]), [(54, 58, 2, 0, false)]);
        assert_eq!(close(&mut state, 60, &[(1, 61)]), []);

        assert_eq!(
            (state.entries(), state.panes(), state.forget(90)),
            (2, 2, vec![])
        );
        assert_eq!((state.forget(95), state.entries()), (vec![0], 1));
    }

    /// Returns a pseudorandom number, from SplitMix64.
    fn chance(seed: &mut u64, below: u64) -> u64 {
        *seed += 1;
        seed.stable_hash() % below
    }

    /// Returns an event of one of three keys that arrives at a pane: on time, or as late as can be
    /// counted.
    fn event(seed: &mut u64, arrival: u64) -> Event {
        let is_correctable = |start: &u64| start + LIMIT_MS + LATENESS_MS > arrival;
        let oldest = (0..=arrival)
            .step_by(LIMIT_MS as usize)
            .find(is_correctable)
            .unwrap();
        let is_late = arrival > oldest && chance(seed, 3) == 0;

        let time = if is_late {
            oldest + chance(seed, arrival - oldest)
        } else {
            arrival + chance(seed, PANE_MS)
        };
        (chance(seed, 3), time)
    }

    /// The valid rows and the events that came, for a job whose panes are closed as the operator
    /// closes them.
    #[derive(Default)]
    struct History {
        events: Vec<Event>,
        /// By key and first event: the last event, the count, the revision, and whether the row is
        /// gone.
        told: BTreeMap<(u64, u64), (u64, u64, u32, bool)>,
    }

    impl History {
        fn apply(&mut self, rows: &[Row<u64, Session<Count>>]) {
            for row in rows {
                let Session {
                    last_ms,
                    aggregate: Count(count),
                    ..
                } = row.aggregate;

                let known = self.told.insert(
                    (row.key, row.window_start),
                    (last_ms, count, row.revision, row.is_gone),
                );

                assert_eq!(
                    row.revision,
                    known.map_or(0, |known| known.2 + 1),
                    "{row:?}"
                );
            }
        }

        /// Compares the valid rows with the sessions that result from sorting and splitting the
        /// events.
        fn check(&mut self, boundary: u64) {
            self.events.sort_unstable();
            let together = |one: &Event, next: &Event| {
                one.0 == next.0 && next.1 - one.1 <= GAP_MS && one.1 / LIMIT_MS == next.1 / LIMIT_MS
            };
            let mut standing: Vec<_> = self.told.iter().filter(|(_, told)| !told.3).collect();

            for session in self.events.chunk_by(together) {
                let (key, first) = session[0];
                let (_, last) = session[session.len() - 1];
                let within = |((of, start), _): &(&Event, &(u64, u64, u32, bool))| {
                    *of == key && (first..=last).contains(start)
                };
                let rows: Vec<_> = standing.extract_if(.., |row| within(row)).collect();

                if last + GAP_MS < boundary || (last / LIMIT_MS + 1) * LIMIT_MS <= boundary {
                    let told: Vec<_> = rows
                        .iter()
                        .map(|((_, first), told)| (*first, told.0, told.1))
                        .collect();
                    assert_eq!(
                        told,
                        [(first, last, session.len() as u64)],
                        "key {key} at {boundary}"
                    );
                } else {
                    let counted: u64 = rows.iter().map(|(_, told)| told.1).sum();
                    assert!(
                        counted < session.len() as u64,
                        "key {key} at {boundary}: {rows:?} stand for an open session"
                    );
                }
            }

            assert!(standing.is_empty(), "{standing:?} stand for nothing");
        }
    }

    #[test]
    fn at_every_boundary_what_stands_is_what_sorting_and_splitting_the_events_gives() {
        let mut gone = 0;
        for seed in 1..=200_u64 {
            let mut state = state();
            let mut history = History::default();
            let mut seed = seed * 1_000_000;

            for arrival in (0..400).step_by(PANE_MS as usize) {
                let events: Vec<Event> = (0..chance(&mut seed, 4))
                    .map(|_| event(&mut seed, arrival))
                    .collect();
                history.events.extend(&events);

                if !events.is_empty() || state.next_due() == Some(arrival) {
                    history.apply(&state.close(arrival, Some(&pane(arrival, &events))).rows);
                    state.forget(arrival);
                }
                history.check(arrival + PANE_MS);
            }
            gone += history.told.values().filter(|told| told.3).count();
        }

        assert!(gone > 100, "sessions are swallowed in this test: {gone}");
    }
}
