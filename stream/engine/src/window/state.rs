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
//! Windows that share panes are computed from [`Partials`]. Those of open windows are kept from slide to slide; those
//! of closed windows that a pane corrects are made for that pane.
//!
//! Invariants: panes are given in increasing order. A pane can be forgotten as soon as no
//! late record can correct a window that contains it. The on-time entries are shared with the
//! closed pane itself, not copied. If each pane belongs to one window, they are [packed](Packed) as
//! soon as that window has closed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::kept::{Arrived, OnTime, PaneState};
use super::packed::Packed;
use super::partials::{Partials, Piece};
use crate::aggregate::{Aggregate, Key};
use crate::flow::{Entry, Row, SharedPane};
use crate::pane::{EventTimeMs, Windows};

/// Calls a function with every key that has rows in a window, and the aggregate of these rows.
pub type ForEachKey<'a, K, A> = dyn Fn(&mut dyn FnMut(&K, &A)) + 'a;

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
    /// Calls `each` with each of `windows`, and with the keys and aggregates of its current rows.
    /// The windows are in order.
    fn for_each_total(
        &self,
        windows: &[EventTimeMs],
        each: &mut dyn FnMut(EventTimeMs, &ForEachKey<'_, K, A>),
    );
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
    /// The partial aggregates of the open windows, if windows share panes.
    partials: Option<Partials<K, A>>,
    /// The ends of windows that have content and have not closed.
    open_ends: BTreeSet<EventTimeMs>,
}

/// The on-time entries of packed panes, unpacked for one use.
type Unpacked<K, A> = BTreeMap<EventTimeMs, Vec<Entry<K, A>>>;

/// The result of closing a pane.
#[derive(Debug, PartialEq)]
pub struct Closed<K, A> {
    /// New and corrected rows.
    pub rows: Vec<Row<K, A>>,
    /// The windows of these rows, in order; for sessions, the windows that they are cut to.
    pub windows: Vec<EventTimeMs>,
}

/// The closed windows that a pane corrects, by key.
type Corrected<K> = BTreeMap<K, BTreeSet<EventTimeMs>>;

impl<K: Key, A: Aggregate> WindowState<K, A> {
    /// Creates a state without windows.
    pub fn new(windows: Windows, allowed_lateness_ms: u64) -> Self {
        Self {
            windows,
            allowed_lateness_ms,
            panes: BTreeMap::new(),
            partials: windows.share_panes().then(|| Partials::new(windows)),
            open_ends: BTreeSet::new(),
        }
    }

    /// Adds the rows of a window that ends now.
    fn first_rows(&self, window: EventTimeMs, rows: &mut Vec<Row<K, A>>) {
        let row = |key: &K, aggregate: A| Row {
            window_start: window,
            key: key.clone(),
            aggregate,
            revision: 0,
            is_gone: false,
        };

        if let Some(entries) = self.only_on_time(window) {
            let row_of = |entry: &Entry<K, A>| row(&entry.key, entry.aggregate.clone());
            return rows.extend(entries.iter().map(row_of));
        }

        let mut push = |key: &K, aggregate: Cow<'_, A>| rows.push(row(key, aggregate.into_owned()));
        if let Some(partials) = self.partials_of(window) {
            return partials.for_each(&mut push);
        }

        let mut fold = Partials::new(self.windows);
        let unpacked = self.unpacked(window);
        fold.sweep_to(window, |panes| self.pieces(panes, &unpacked));
        fold.for_each(&mut push);
    }

    /// Returns the kept state of a range of panes, some of which are given in packed form.
    fn pieces<'a>(
        &'a self,
        panes: Range<EventTimeMs>,
        unpacked: &'a Unpacked<K, A>,
    ) -> impl DoubleEndedIterator<Item = Piece<'a, K, A>> {
        let states = self.panes.range(panes);
        states.flat_map(|(pane, state)| {
            let on_time = unpacked
                .get(pane)
                .map_or(state.on_time(), |entries| entries);
            state.pieces(*pane, on_time)
        })
    }

    /// Unpacks the panes of a window.
    fn unpacked(&self, window: EventTimeMs) -> Unpacked<K, A> {
        let states = self.panes.range(self.windows.panes(window));
        let packed = states.filter_map(|(pane, state)| match &state.on_time {
            OnTime::Packed(packed) => Some((*pane, packed)),
            OnTime::None | OnTime::Shared(_) => None,
        });

        let entries = |(pane, packed): (EventTimeMs, &Packed<K, A>)| {
            let entry = |(key, aggregate)| Entry {
                pane,
                key,
                aggregate,
            };
            (pane, packed.iter().map(entry).collect())
        };
        packed.map(entries).collect()
    }

    /// Packs the panes whose windows have closed by `boundary`. Panes that windows share are read
    /// for each of them when late records come, so they stay as they are.
    fn pack_before(&mut self, boundary: EventTimeMs) {
        if self.windows.share_panes() {
            return;
        }

        for (pane, state) in self.panes.range_mut(..boundary) {
            if let OnTime::Shared(closed) = &state.on_time
                && self.windows.last_end(*pane) <= boundary
            {
                let entries = closed.on_time().iter();
                let entries = entries.map(|entry| (&entry.key, &entry.aggregate));
                state.on_time = OnTime::Packed(Packed::of(entries));
            }
        }
    }

    /// Returns the partial aggregates of the open windows if they are those of `window`.
    fn partials_of(&self, window: EventTimeMs) -> Option<&Partials<K, A>> {
        let partials = self.partials.as_ref()?;
        (partials.current() == Some(window)).then_some(partials)
    }

    /// Adds a closed pane, and returns the closed windows that it corrects.
    fn take_in(&mut self, closed: &SharedPane<K, A>) -> Corrected<K> {
        let arrival = closed.arrival;
        let mut corrected = Corrected::new();
        if let Some(partials) = &mut self.partials {
            closed
                .entries
                .iter()
                .for_each(|entry| partials.add(&entry.into()));
        }

        if !closed.on_time().is_empty() {
            self.state_of(arrival).on_time = OnTime::Shared(SharedPane::clone(closed));
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
            let mut closed = self
                .windows
                .containing(entry.pane)
                .filter(|window| window + self.windows.size_ms() <= arrival)
                .peekable();
            if closed.peek().is_some() {
                corrected
                    .entry(entry.key.clone())
                    .or_default()
                    .extend(closed);
            }
        }

        corrected
    }

    /// Moves the partial aggregates to a window that ends now.
    fn reach(&mut self, window: EventTimeMs) {
        let Some(mut partials) = self.partials.take() else {
            return;
        };

        let unpacked = self.unpacked(window);
        let pieces = self.pieces(self.windows.panes(window), &unpacked);
        partials.advance(window, pieces.rev());
        self.partials = Some(partials);
    }

    fn state_of(&mut self, pane: EventTimeMs) -> &mut PaneState<K, A> {
        self.panes.entry(pane).or_insert_with(|| PaneState {
            on_time: OnTime::None,
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
        match &state.on_time {
            OnTime::Shared(closed) => Some(closed.on_time()),
            OnTime::None | OnTime::Packed(_) => None,
        }
    }

    /// Returns the current rows of one key in closed windows.
    fn corrected_rows(&self, key: &K, windows: &BTreeSet<EventTimeMs>) -> Vec<Row<K, A>> {
        let arrived = self.arrived(key, windows);
        let within = |panes: Range<EventTimeMs>| {
            let from = arrived.partition_point(|it| it.pane < panes.start);
            let until = arrived.partition_point(|it| it.pane < panes.end);
            &arrived[from..until]
        };
        let pieces = |panes| within(panes).iter().map(Piece::from);

        let mut rows = Vec::new();
        let mut sweep = Partials::new(self.windows);
        for window in windows {
            sweep.sweep_to(*window, pieces);
            let panes = self.windows.panes(*window);
            let revision = revision(within(panes.clone()), panes.end);
            sweep.for_each(&mut |(), aggregate| {
                rows.push(Row {
                    window_start: *window,
                    key: key.clone(),
                    aggregate: aggregate.into_owned(),
                    revision,
                    is_gone: false,
                });
            });
        }

        rows
    }

    /// Returns all that is kept of a key in the panes of some windows, by pane.
    fn arrived(&self, key: &K, windows: &BTreeSet<EventTimeMs>) -> Vec<Arrived<'_, A>> {
        let mut arrived = Vec::new();
        let mut until = 0;
        for window in windows {
            let panes = self.windows.panes(*window);
            let unread = panes.start.max(until)..panes.end;
            until = unread.end;

            for (pane, state) in self.panes.range(unread) {
                arrived.extend(state.of_key(*pane, key));
            }
        }

        arrived
    }
}

impl<K: Key, A: Aggregate> State<K, A> for WindowState<K, A> {
    fn close(&mut self, arrival: EventTimeMs, closed: Option<&SharedPane<K, A>>) -> Closed<K, A> {
        let corrected = closed
            .map(|closed| self.take_in(closed))
            .unwrap_or_default();
        let boundary = arrival + self.windows.pane_ms();
        let mut rows = Vec::new();
        let mut touched = BTreeSet::new();
        for (key, windows) in &corrected {
            rows.extend(self.corrected_rows(key, windows));
            touched.extend(windows);
        }
        rows.sort_unstable_by(|one, other| {
            (one.window_start, &one.key).cmp(&(other.window_start, &other.key))
        });

        if self.open_ends.remove(&boundary) {
            let window = boundary - self.windows.size_ms();
            self.reach(window);
            self.first_rows(window, &mut rows);
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
        let windows = self.windows;
        let lateness = self.allowed_lateness_ms;
        let boundary = arrival + windows.pane_ms();
        let last_needed = |pane: EventTimeMs| windows.last_correction(windows.last_end(pane));
        let is_needed = |pane: EventTimeMs| last_needed(pane).saturating_add(lateness) > boundary;
        let mut forgotten = Vec::new();

        if self.open_ends.is_empty() {
            self.partials.iter_mut().for_each(Partials::clear);
        }

        while let Some(entry) = self
            .panes
            .first_entry()
            .filter(|entry| !is_needed(*entry.key()))
        {
            forgotten.extend(windows.containing(*entry.key()));
            entry.remove();
        }
        self.pack_before(boundary);

        forgotten.dedup();
        forgotten
    }

    fn for_each_total(
        &self,
        windows: &[EventTimeMs],
        each: &mut dyn FnMut(EventTimeMs, &ForEachKey<'_, K, A>),
    ) {
        let mut sweep = Partials::new(self.windows);
        for window in windows {
            if let Some(entries) = self.only_on_time(*window) {
                each(*window, &|key| {
                    entries
                        .iter()
                        .for_each(|entry| key(&entry.key, &entry.aggregate));
                });
                continue;
            }

            if let Some(partials) = self.partials_of(*window) {
                each(*window, &|key| {
                    partials.for_each(&mut |of, aggregate| key(of, &aggregate));
                });
                continue;
            }

            let unpacked = self.unpacked(*window);
            sweep.sweep_to(*window, |panes| self.pieces(panes, &unpacked));
            each(*window, &|key| {
                sweep.for_each(&mut |of, aggregate| key(of, &aggregate));
            });
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

impl<'a, K, A> From<&'a Entry<K, A>> for Piece<'a, K, A> {
    fn from(entry: &'a Entry<K, A>) -> Self {
        Self {
            pane: entry.pane,
            key: &entry.key,
            aggregate: &entry.aggregate,
        }
    }
}

/// Returns the revision of a closed window's row, given all entries of its key in the window.
fn revision<A: Clone>(arrived: &[Arrived<'_, A>], window_end: EventTimeMs) -> u32 {
    let is_late = |it: &&Arrived<'_, A>| it.arrival >= window_end;
    let late: BTreeSet<EventTimeMs> = arrived
        .iter()
        .filter(is_late)
        .map(|it| it.arrival)
        .collect();
    let corrections = u32::try_from(late.len()).unwrap_or(u32::MAX);

    if arrived.iter().all(|it| is_late(&it)) {
        corrections.saturating_sub(1)
    } else {
        corrections
    }
}

#[cfg(test)]
mod tests;
