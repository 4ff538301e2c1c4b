//! The windows of one worker: a pure function of the closed panes that it is given, in order.
//! [`State`] is the interface for any kind of window; [`WindowState`] implements it for windows
//! that tumble or slide.
//!
//! Closing pane `a` emits, at timestamp `a`,
//! - a row for every key of the window that ends with the pane, if one does: revision 0;
//! - a row for every key and window that a late entry of the pane corrects: the next revision.
//!
//! A revision counts the distinct panes at which late entries of the key arrived after the window's
//! end. If all of them arrived after it, the first pane makes revision 0. So rows depend only on
//! the entries and the panes at which they arrived: not on workers, restarts, or the number of panes that close
//! together.
//!
//! Invariants: panes are given in increasing order. A pane can be forgotten as soon as no
//! late record can correct a window that contains it. The on-time entries are shared with the
//! closed pane itself, not copied.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::{Aggregate, Key};
use crate::flow::{Entry, Row, SharedPane};
use crate::pane::{EventTimeMs, Windows};

/// The state that is kept of closed panes, from which rows are computed.
pub trait State<K, A> {
    /// Closes the pane `arrival`, at which `closed` arrived; nothing arrived if it is none. Panes
    /// must come in increasing order.
    fn close(&mut self, arrival: EventTimeMs, closed: Option<&SharedPane<K, A>>) -> Closed<K, A>;
    /// Returns the next pane whose closing may emit rows.
    fn next_due(&self) -> Option<EventTimeMs>;
    /// Forgets the state that no record after the closed pane `arrival` can change, and returns the
    /// windows to which it belonged.
    fn forget(&mut self, arrival: EventTimeMs) -> Vec<EventTimeMs>;
    /// Calls `each` with every key that has rows in a window, and the aggregate of its current
    /// rows.
    fn for_each_total(&self, window: EventTimeMs, each: &mut dyn FnMut(&K, &A));
    /// Returns the panes at which late entries changed rows of a window, over all keys; for
    /// sessions, the panes at which any row was emitted.
    fn corrections(&self, window: EventTimeMs) -> BTreeSet<EventTimeMs>;
    /// The number of entries that are kept.
    fn entries(&self) -> usize;
    /// The number of panes that are kept; for sessions, the number of stretches between cuts.
    fn panes(&self) -> usize;
}

/// The windows that are open, and those that can still be corrected.
pub struct WindowState<K, A> {
    windows: Windows,
    allowed_lateness_ms: u64,
    panes: BTreeMap<EventTimeMs, PaneState<K, A>>,
    /// The ends of windows that contain something and have not closed.
    open_ends: BTreeSet<EventTimeMs>,
}

/// The entries of one pane.
struct PaneState<K, A> {
    /// The pane as it closed; only its on-time entries belong here.
    on_time: Option<SharedPane<K, A>>,
    /// The late entries by key: the pane of arrival and the aggregate.
    late: BTreeMap<K, Vec<(EventTimeMs, A)>>,
}

/// The result of closing a pane.
#[derive(Debug, PartialEq)]
pub struct Closed<K, A> {
    /// New and corrected rows.
    pub rows: Vec<Row<K, A>>,
    /// The windows of these rows, in order; for sessions, the windows that they are cut to.
    pub windows: Vec<EventTimeMs>,
}

/// A row that is being folded: its aggregate, whether some of it arrived before the window's end,
/// and the panes of arrival after it.
struct Folded<A> {
    aggregate: Option<A>,
    in_time: bool,
    corrections: BTreeSet<EventTimeMs>,
}

impl<K: Key, A: Aggregate> WindowState<K, A> {
    /// Creates a state without windows.
    pub fn new(windows: Windows, allowed_lateness_ms: u64) -> Self {
        Self {
            windows,
            allowed_lateness_ms,
            panes: BTreeMap::new(),
            open_ends: BTreeSet::new(),
        }
    }

    /// Calls `each` with every current row of a window.
    fn for_each_row(&self, window: EventTimeMs, mut each: impl FnMut(Row<K, A>)) {
        if let Some(entries) = self.only_on_time(window) {
            let row = |entry: &Entry<K, A>| Row {
                window_start: window,
                key: entry.key.clone(),
                aggregate: entry.aggregate.clone(),
                revision: 0,
                is_gone: false,
            };
            return entries.iter().map(row).for_each(each);
        }

        let mut folded: BTreeMap<K, Folded<A>> = BTreeMap::new();
        let end = window + self.windows.size_ms();
        for state in self
            .panes
            .range(self.windows.panes(window))
            .map(|(_, state)| state)
        {
            for entry in state.on_time() {
                folded
                    .entry(entry.key.clone())
                    .or_default()
                    .in_time(&entry.aggregate);
            }
            for (key, late) in &state.late {
                folded.entry(key.clone()).or_default().late(late, end);
            }
        }

        folded
            .into_iter()
            .filter_map(|(key, folded)| folded.into_row(window, key))
            .for_each(&mut each);
    }

    /// Adds a closed pane, and returns the rows of closed windows that it corrects, each once and
    /// in order.
    fn take_in(&mut self, closed: &SharedPane<K, A>) -> BTreeSet<(EventTimeMs, K)> {
        let arrival = closed.arrival;
        let mut corrected = BTreeSet::new();
        if !closed.on_time().is_empty() {
            self.state_of(arrival).on_time = Some(SharedPane::clone(closed));
            self.open_windows_of(arrival, arrival);
        }

        for entry in closed.late() {
            let state = self.state_of(entry.pane);
            state
                .late
                .entry(entry.key.clone())
                .or_default()
                .push((arrival, entry.aggregate.clone()));

            self.open_windows_of(entry.pane, arrival);
            let closed = self
                .windows
                .containing(entry.pane)
                .filter(|window| window + self.windows.size_ms() <= arrival);
            corrected.extend(closed.map(|window| (window, entry.key.clone())));
        }

        corrected
    }

    fn state_of(&mut self, pane: EventTimeMs) -> &mut PaneState<K, A> {
        self.panes.entry(pane).or_insert_with(|| PaneState {
            on_time: None,
            late: BTreeMap::new(),
        })
    }

    fn open_windows_of(&mut self, pane: EventTimeMs, arrival: EventTimeMs) {
        let ends = self
            .windows
            .containing(pane)
            .map(|window| window + self.windows.size_ms());
        self.open_ends.extend(ends.filter(|end| *end > arrival));
    }

    /// Returns the entries of a window that is a single pane without late entries: its rows need no
    /// folding.
    fn only_on_time(&self, window: EventTimeMs) -> Option<&[Entry<K, A>]> {
        let single = self.windows.size_ms() == self.windows.pane_ms();
        let state = self
            .panes
            .get(&window)
            .filter(|state| single && state.late.is_empty())?;
        Some(state.on_time())
    }

    /// Returns the current row of one key.
    fn row(&self, window: EventTimeMs, key: &K) -> Option<Row<K, A>> {
        let end = window + self.windows.size_ms();
        let mut folded = Folded::default();
        for state in self
            .panes
            .range(self.windows.panes(window))
            .map(|(_, state)| state)
        {
            let on_time = state.on_time();
            if let Ok(found) = on_time.binary_search_by(|entry| entry.key.cmp(key)) {
                folded.in_time(&on_time[found].aggregate);
            }

            if let Some(late) = state.late.get(key) {
                folded.late(late, end);
            }
        }

        folded.into_row(window, key.clone())
    }
}

impl<K: Key, A: Aggregate> State<K, A> for WindowState<K, A> {
    fn close(&mut self, arrival: EventTimeMs, closed: Option<&SharedPane<K, A>>) -> Closed<K, A> {
        let corrected = closed
            .map(|closed| self.take_in(closed))
            .unwrap_or_default();
        let boundary = arrival + self.windows.pane_ms();
        let mut rows = Vec::new();
        let mut touched: BTreeSet<EventTimeMs> =
            corrected.iter().map(|(window, _)| *window).collect();

        for (window, key) in &corrected {
            rows.extend(self.row(*window, key));
        }

        if self.open_ends.remove(&boundary) {
            let window = boundary - self.windows.size_ms();
            self.for_each_row(window, |row| rows.push(row));
            touched.insert(window);
        }

        Closed {
            rows,
            windows: touched.into_iter().collect(),
        }
    }

    fn next_due(&self) -> Option<EventTimeMs> {
        self.open_ends
            .first()
            .map(|end| end - self.windows.pane_ms())
    }

    fn forget(&mut self, arrival: EventTimeMs) -> Vec<EventTimeMs> {
        let (windows, lateness, boundary) = (
            self.windows,
            self.allowed_lateness_ms,
            arrival + self.windows.pane_ms(),
        );
        let last_needed = |pane: EventTimeMs| windows.last_correction(windows.last_end(pane));
        let is_needed = |pane: EventTimeMs| last_needed(pane).saturating_add(lateness) > boundary;
        let mut forgotten = Vec::new();

        while let Some(entry) = self
            .panes
            .first_entry()
            .filter(|entry| !is_needed(*entry.key()))
        {
            forgotten.extend(windows.containing(*entry.key()));
            entry.remove();
        }

        forgotten.dedup();
        forgotten
    }

    fn for_each_total(&self, window: EventTimeMs, each: &mut dyn FnMut(&K, &A)) {
        match self.only_on_time(window) {
            Some(entries) => entries
                .iter()
                .for_each(|entry| each(&entry.key, &entry.aggregate)),
            None => self.for_each_row(window, |row| each(&row.key, &row.aggregate)),
        }
    }

    fn corrections(&self, window: EventTimeMs) -> BTreeSet<EventTimeMs> {
        let end = window + self.windows.size_ms();
        let late = self
            .panes
            .range(self.windows.panes(window))
            .flat_map(|(_, state)| state.late.values().flatten());

        late.map(|(arrival, _)| *arrival)
            .filter(|arrival| *arrival >= end)
            .collect()
    }

    fn entries(&self) -> usize {
        self.panes.values().map(PaneState::entries).sum()
    }

    fn panes(&self) -> usize {
        self.panes.len()
    }
}

impl<K, A> PaneState<K, A> {
    fn on_time(&self) -> &[Entry<K, A>] {
        self.on_time.as_ref().map_or(&[], |closed| closed.on_time())
    }

    fn entries(&self) -> usize {
        self.on_time().len() + self.late.values().map(Vec::len).sum::<usize>()
    }
}

impl<A: Aggregate> Folded<A> {
    fn in_time(&mut self, aggregate: &A) {
        self.merge(aggregate);
        self.in_time = true;
    }

    fn late(&mut self, late: &[(EventTimeMs, A)], window_end: EventTimeMs) {
        for (arrival, aggregate) in late {
            self.merge(aggregate);
            if *arrival < window_end {
                self.in_time = true;
            } else {
                self.corrections.insert(*arrival);
            }
        }
    }

    fn merge(&mut self, aggregate: &A) {
        match &mut self.aggregate {
            Some(sum) => sum.merge(aggregate),
            none => *none = Some(aggregate.clone()),
        }
    }

    fn into_row<K>(self, window_start: EventTimeMs, key: K) -> Option<Row<K, A>> {
        let corrections = u32::try_from(self.corrections.len()).unwrap_or(u32::MAX);
        let revision = if self.in_time {
            corrections
        } else {
            corrections.saturating_sub(1)
        };

        self.aggregate.map(|aggregate| Row {
            window_start,
            key,
            aggregate,
            revision,
            is_gone: false,
        })
    }
}

impl<A> Default for Folded<A> {
    fn default() -> Self {
        Self {
            aggregate: None,
            in_time: false,
            corrections: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::aggregate::Count;
    use crate::flow::ClosedPane;

    fn state(size: u64, slide: u64) -> WindowState<u64, Count> {
        let ms = Duration::from_millis;
        WindowState::new(Windows::sliding(ms(size), ms(slide)).unwrap(), 40)
    }

    fn pane(arrival: u64, entries: &[(u64, u64, u64)]) -> SharedPane<u64, Count> {
        let entry = |(pane, key, count): &(u64, u64, u64)| Entry {
            pane: *pane,
            key: *key,
            aggregate: Count(*count),
        };

        Rc::new(ClosedPane {
            arrival,
            entries: entries.iter().map(entry).collect(),
            side_outputs: vec![],
        })
    }

    fn rows(closed: &Closed<u64, Count>) -> Vec<(u64, u64, u64, u32)> {
        closed
            .rows
            .iter()
            .map(|row| (row.window_start, row.key, row.aggregate.0, row.revision))
            .collect()
    }

    #[test]
    fn a_window_closes_with_its_last_pane_and_a_late_entry_corrects_it() {
        let mut state = state(10, 10);
        assert_eq!(
            rows(&state.close(10, Some(&pane(10, &[(10, 1, 2), (10, 2, 1)])))),
            [(10, 1, 2, 0), (10, 2, 1, 0)]
        );

        let late = pane(20, &[(10, 2, 5), (10, 3, 1), (20, 1, 1)]);
        assert_eq!(
            rows(&state.close(20, Some(&late))),
            [(10, 2, 6, 1), (10, 3, 1, 0), (20, 1, 1, 0)]
        );

        assert_eq!(
            rows(&state.close(40, Some(&pane(40, &[(10, 2, 1), (10, 3, 1)])))),
            [(10, 2, 7, 2), (10, 3, 2, 1)]
        );
    }

    #[test]
    fn sliding_windows_share_their_panes() {
        let mut state = state(20, 10);
        assert_eq!(
            rows(&state.close(10, Some(&pane(10, &[(10, 1, 2)])))),
            [(0, 1, 2, 0)]
        );

        assert_eq!(state.next_due(), Some(20));
        assert_eq!(
            rows(&state.close(20, Some(&pane(20, &[(20, 1, 3)])))),
            [(10, 1, 5, 0)]
        );

        assert_eq!(rows(&state.close(30, None)), [(20, 1, 3, 0)]);
        assert_eq!(state.next_due(), None);
    }

    #[test]
    fn an_entry_late_for_one_window_is_in_time_for_the_next() {
        let mut state = state(20, 10);
        state.close(10, Some(&pane(10, &[(10, 1, 2)])));
        assert_eq!(
            rows(&state.close(20, Some(&pane(20, &[(10, 1, 1)])))),
            [(0, 1, 3, 1), (10, 1, 3, 0)]
        );
    }

    #[test]
    fn panes_are_forgotten_when_nothing_can_correct_their_windows() {
        let mut state = state(10, 10);
        state.close(10, Some(&pane(10, &[(10, 1, 2)])));
        assert!(state.forget(40).is_empty());
        assert_eq!(state.entries(), 1);
        assert_eq!(state.forget(50), [10]);
        assert_eq!(state.entries(), 0);
    }
}
