//! Tests of windows: their rows and corrections, and the kept state of panes.

mod sliding;

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
