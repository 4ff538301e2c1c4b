//! Windows of any kind against a fold of every event, for drawn windows and arrivals; and the number
//! of merges that sliding windows cost.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::super::*;
use crate::flow::ClosedPane;

/// A sum that counts how often any sum is merged.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Counting(u64);

thread_local! {
    static MERGES: Cell<u64> = const { Cell::new(0) };
}

impl Aggregate for Counting {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
        MERGES.set(MERGES.get() + 1);
    }
}

/// An event that arrived: the pane to which it belongs, the pane of its arrival, key and amount.
#[derive(Clone, Copy, Debug)]
struct Event {
    pane: u64,
    arrival: u64,
    key: u64,
    amount: u64,
}

/// A state that is driven as the operator drives it, and all that ever arrived.
struct Driven {
    windows: Windows,
    lateness_ms: u64,
    state: WindowState<u64, Counting>,
    panes: BTreeMap<u64, SharedPane<u64, Counting>>,
    events: Vec<Event>,
}

/// The rows of a closing, the windows that it names, and the totals by window and key.
type Outcome = (
    Vec<(u64, u64, u64, u32)>,
    Vec<u64>,
    BTreeMap<(u64, u64), u64>,
);

impl Driven {
    fn new(windows: Windows, lateness_ms: u64) -> Self {
        Self {
            windows,
            lateness_ms,
            state: WindowState::new(windows, lateness_ms),
            panes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Closes all panes before `arrival` at which windows end, and then that pane.
    fn arrive(&mut self, arrival: u64, events: &[Event]) {
        self.close_until(arrival);
        self.events.extend(events);
        let pane = closed_pane(arrival, events);
        self.panes.insert(arrival, SharedPane::clone(&pane));
        self.close(arrival, Some(&pane));
    }

    /// Closes the panes before `arrival` at which windows end.
    fn close_until(&mut self, arrival: u64) {
        while let Some(due) = self.state.next_due().filter(|due| *due < arrival) {
            self.close(due, None);
        }
    }

    fn close(&mut self, arrival: u64, pane: Option<&SharedPane<u64, Counting>>) {
        let outcome = outcome(&mut self.state, arrival, pane);
        assert_eq!(outcome, self.expected(arrival), "pane {arrival}");
        self.state.forget(arrival);
    }

    /// Starts again from the first pane that is still needed.
    fn restart(&mut self) {
        let Some(first) = self.state.panes.first_key_value() else {
            return;
        };
        let kept = self.panes.range(*first.0..);
        let mut state = WindowState::new(self.windows, self.lateness_ms);

        for (arrival, pane) in kept {
            while let Some(due) = state.next_due().filter(|due| due < arrival) {
                outcome(&mut state, due, None);
                state.forget(due);
            }
            outcome(&mut state, *arrival, Some(pane));
            state.forget(*arrival);
        }

        self.state = state;
    }

    /// Returns the outcome of closing a pane, found by trying every window and event.
    fn expected(&self, arrival: u64) -> Outcome {
        let boundary = arrival + self.windows.pane_ms();
        let mut rows = BTreeSet::new();
        let mut windows = BTreeSet::new();

        for event in &self.events {
            for window in self.containing(event.pane) {
                let end = window + self.windows.size_ms();
                let is_corrected = event.arrival == arrival && end <= arrival;
                if end == boundary || is_corrected {
                    windows.insert(window);
                    rows.insert((window, event.key));
                }
            }
        }

        let mut totals = BTreeMap::new();
        for (window, event) in windows
            .iter()
            .flat_map(|window| self.events_of(*window).map(move |event| (*window, event)))
        {
            *totals.entry((window, event.key)).or_default() += event.amount;
        }

        let row = |(window, key)| self.row(window, key);
        (
            rows.into_iter().map(row).collect(),
            windows.into_iter().collect(),
            totals,
        )
    }

    fn row(&self, window: u64, key: u64) -> (u64, u64, u64, u32) {
        let end = window + self.windows.size_ms();
        let own: Vec<_> = self
            .events_of(window)
            .filter(|event| event.key == key)
            .collect();
        let late: BTreeSet<_> = own
            .iter()
            .map(|event| event.arrival)
            .filter(|arrival| *arrival >= end)
            .collect();

        let is_first = own.iter().all(|event| event.arrival >= end);
        let revision = late.len() - usize::from(is_first);
        let sum = own.iter().map(|event| event.amount).sum();
        (window, key, sum, u32::try_from(revision).unwrap())
    }

    fn events_of(&self, window: u64) -> impl Iterator<Item = &Event> {
        let panes = window..window + self.windows.size_ms();
        self.events
            .iter()
            .filter(move |event| panes.contains(&event.pane))
    }

    fn containing(&self, pane: u64) -> impl Iterator<Item = u64> {
        let size_ms = self.windows.size_ms();
        let slide_ms = self.windows.slide_ms();
        let offset_ms = self.windows.offset_ms();
        let skipped = pane.saturating_sub(offset_ms + size_ms) / slide_ms;
        let starts = offset_ms + skipped * slide_ms..=pane;
        starts
            .step_by(usize::try_from(slide_ms).unwrap())
            .filter(move |start| pane < start + size_ms)
    }

    /// Draws a pane for a late event that arrives at `arrival` and is not too late.
    fn late_pane(&self, arrival: u64, random: &mut SmallRng) -> u64 {
        let pane_ms = self.windows.pane_ms();
        let is_too_late = |pane: u64| self.windows.last_end(pane) + self.lateness_ms <= arrival;
        let back = random.random_range(1..=40) * pane_ms;
        let first = self.windows.offset_ms().div_ceil(pane_ms) * pane_ms;
        let mut pane = arrival.saturating_sub(back).max(first);

        while is_too_late(pane) {
            pane += pane_ms;
        }
        pane
    }
}

fn closed_pane(arrival: u64, events: &[Event]) -> SharedPane<u64, Counting> {
    let mut sums: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for event in events {
        *sums.entry((event.pane, event.key)).or_default() += event.amount;
    }

    let entry = |((pane, key), sum)| Entry {
        pane,
        key,
        aggregate: Counting(sum),
    };
    Rc::new(ClosedPane {
        arrival,
        entries: sums.into_iter().map(entry).collect(),
        side_outputs: vec![],
    })
}

fn outcome(
    state: &mut WindowState<u64, Counting>,
    arrival: u64,
    pane: Option<&SharedPane<u64, Counting>>,
) -> Outcome {
    let closed = state.close(arrival, pane);
    let mut totals = BTreeMap::new();
    // Twice, as a job with two views does.
    state.for_each_total(&closed.windows, &mut |window, for_each_key| {
        for_each_key(&mut |key, sum| {
            totals.insert((window, *key), sum.0);
        });
        for_each_key(&mut |key, sum| assert_eq!(totals[&(window, *key)], sum.0));
    });

    let row = |row: Row<u64, Counting>| (row.window_start, row.key, row.aggregate.0, row.revision);
    let rows = closed.rows.into_iter().map(row).collect();
    (rows, closed.windows, totals)
}

/// Draws windows that slide by less than their size, or tumble, of one pane or several.
fn windows(random: &mut SmallRng) -> Windows {
    let ms = |fives: u64| Duration::from_millis(5 * fives);
    let size = random.random_range(1..=16);
    let slide = random.random_range(1..=size);
    let windows = Windows::sliding(ms(size), ms(slide)).unwrap();
    let windows = windows.offset(ms(random.random_range(0..slide)));

    if random.random_bool(0.3) {
        windows.in_panes_of(ms(1)).unwrap()
    } else {
        windows
    }
}

#[test]
fn rows_and_totals_are_those_of_folding_every_event_again() {
    let mut corrections = 0;
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let windows = windows(&mut random);
        let lateness_ms = random.random_range(0..=100);
        println!("seed {seed}: {windows:?}, lateness {lateness_ms}");

        let mut driven = Driven::new(windows, lateness_ms);
        let pane_ms = windows.pane_ms();
        let mut arrival = windows.offset_ms().next_multiple_of(pane_ms) + 20 * pane_ms;
        for _ in 0..60 {
            let late = *[0.0, 0.2, 0.6].choose(&mut random).unwrap();
            let mut event = || Event {
                pane: if random.random_bool(late) {
                    driven.late_pane(arrival, &mut random)
                } else {
                    arrival
                },
                arrival,
                key: random.random_range(0..5),
                amount: random.random_range(1..1_000_000),
            };
            let events: Vec<Event> = (0..5).map(|_| event()).collect();
            let count = random.random_range(1..=events.len());
            driven.arrive(arrival, &events[..count]);

            if random.random_bool(0.05) {
                driven.restart();
            }
            arrival += pane_ms * *[1, 1, 1, 1, 2, 3, 50].choose(&mut random).unwrap();
        }

        driven.close_until(arrival + 100 * pane_ms);
        assert_eq!(driven.state.next_due(), None);
        corrections += driven
            .events
            .iter()
            .filter(|event| windows.last_end(event.pane) <= event.arrival)
            .count();
    }

    assert!(corrections > 500, "late events are drawn: {corrections}");
}

/// Closes panes of 50 keys, each with a late event of a key if there is a delay. Returns the merges for
/// a hundred rows.
fn merges_a_row(windows: Windows, late_by: Option<u64>, reads_totals: bool) -> u64 {
    let pane_ms = windows.pane_ms();
    let mut state = WindowState::new(windows, 10 * windows.size_ms());
    let mut rows = 0;

    for number in 0..240 {
        let arrival = (1_000 + number) * pane_ms;
        let event = |key, pane| Event {
            pane,
            arrival,
            key,
            amount: 1,
        };
        let late = late_by.map(|panes| event(number % 50, arrival - panes * pane_ms));
        let on_time = (0..50).map(|key| event(key, arrival));
        let events: Vec<_> = on_time.chain(late).collect();
        let pane = closed_pane(arrival, &events);
        if number == 120 {
            MERGES.set(0);
            rows = 0;
        }

        let closed = state.close(arrival, Some(&pane));
        rows += closed.rows.len() as u64;
        if reads_totals {
            state.for_each_total(&closed.windows, &mut |_, for_each_key| {
                for_each_key(&mut |_, _| rows += 1);
            });
        }
        state.forget(arrival);
    }

    100 * MERGES.get() / rows
}

#[test]
fn merges_for_a_row_do_not_grow_with_the_slides_of_a_window() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for slides in [10, 40] {
        let windows = Windows::sliding(minutes(slides), minutes(1)).unwrap();
        // Each entry when it arrives and when the turn passes it, and one merge for the row.
        assert!(merges_a_row(windows, None, false) <= 300, "{slides}");
        assert!(merges_a_row(windows, None, true) <= 200, "{slides}");

        // One entry in fifty is late. It is folded with the panes of its key once, for all windows.
        for late_by in [1, slides / 2, slides + slides / 2] {
            let rows = merges_a_row(windows, Some(late_by), false);
            assert!(rows <= 300 + 3 * slides, "{slides}, {late_by}: {rows}");
        }

        // The panes of all windows that a pane corrects are folded once for their totals.
        for late_by in [slides / 2, slides + slides / 2] {
            let totals = merges_a_row(windows, Some(late_by), true);
            assert!(totals <= 500, "{slides}, {late_by}: {totals}");
        }
    }
}

#[test]
fn the_panes_of_a_slide_are_merged_into_one() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let windows = Windows::sliding(minutes(10), minutes(1)).unwrap();
    let finer = windows.in_panes_of(Duration::from_secs(15)).unwrap();
    // Each of four entries when it arrives and when the turn passes it, and one merge for the row.
    let merges = merges_a_row(finer, None, false);
    assert!(merges <= 900, "{merges}");
}

#[test]
fn windows_of_one_pane_are_not_merged_and_those_of_several_once() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let windows = Windows::tumbling(minutes(10)).unwrap();
    assert_eq!(merges_a_row(windows, None, true), 0);

    let windows = windows.in_panes_of(minutes(1)).unwrap();
    // Nine merges of ten panes for the row, and nine for the total.
    assert_eq!(merges_a_row(windows, None, false), 900);
    assert_eq!(merges_a_row(windows, None, true), 900);
}
