//! Tests of session windows.

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
    let values = |row: &Row<u64, Session<Count>>| {
        (
            row.window_start,
            row.aggregate.last_ms,
            row.aggregate.aggregate.0,
            row.revision,
            row.is_gone,
        )
    };

    closed.rows.iter().map(values).collect()
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
fn a_late_event_between_two_sessions_merges_them_and_retracts_one_row() {
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
fn rows_stay_valid_until_the_session_that_absorbs_them_closes() {
    let mut state = state();
    close(&mut state, 0, &[(1, 4)]);
    assert_eq!(close(&mut state, 15, &[(1, 19)]), [(4, 4, 1, 0, false)]);

    assert_eq!(
        close(&mut state, 20, &[(1, 10), (1, 2)]),
        [],
        "the session goes on until 29"
    );

    let mut total = None;
    state.for_each_total(&[0], &mut |_, for_each_key| {
        for_each_key(&mut |_, session| total = Some(session.aggregate));
    });
    assert_eq!(total, Some(Count(1)), "totals are those of the valid rows");

    let mut rows = close(&mut state, 25, &[]);
    rows.sort_unstable();
    assert_eq!(rows, [(2, 19, 4, 0, false), (4, 4, 1, 1, true)]);
}

#[test]
fn a_session_is_cut_at_the_limit_and_forgotten_when_final() {
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
    newest: BTreeMap<(u64, u64), (u64, u64, u32, bool)>,
}

impl History {
    fn apply(&mut self, rows: &[Row<u64, Session<Count>>]) {
        for row in rows {
            let Session {
                last_ms,
                aggregate: Count(count),
                ..
            } = row.aggregate;

            let known = self.newest.insert(
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
        let mut valid: Vec<_> = self.newest.iter().filter(|(_, row)| !row.3).collect();

        for session in self.events.chunk_by(together) {
            let (key, first) = session[0];
            let (_, last) = session[session.len() - 1];
            let within = |((of, start), _): &(&Event, &(u64, u64, u32, bool))| {
                *of == key && (first..=last).contains(start)
            };
            let rows: Vec<_> = valid.extract_if(.., |row| within(row)).collect();

            if last + GAP_MS < boundary || (last / LIMIT_MS + 1) * LIMIT_MS <= boundary {
                let emitted: Vec<_> = rows
                    .iter()
                    .map(|((_, first), row)| (*first, row.0, row.1))
                    .collect();
                assert_eq!(
                    emitted,
                    [(first, last, session.len() as u64)],
                    "key {key} at {boundary}"
                );
            } else {
                let counted: u64 = rows.iter().map(|(_, row)| row.1).sum();
                assert!(
                    counted < session.len() as u64,
                    "key {key} at {boundary}: an open session has the rows {rows:?}"
                );
            }
        }

        assert!(valid.is_empty(), "rows without a session: {valid:?}");
    }
}

#[test]
fn valid_rows_are_the_sorted_and_split_events_at_every_boundary() {
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
        gone += history.newest.values().filter(|row| row.3).count();
    }

    assert!(gone > 100, "only {gone} sessions were absorbed");
}
