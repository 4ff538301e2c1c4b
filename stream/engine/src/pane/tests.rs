//! Tests of windows and panes.

use super::*;

fn windows(size: u64, slide: u64) -> Windows {
    Windows::sliding(Duration::from_millis(size), Duration::from_millis(slide)).unwrap()
}

#[test]
fn a_pane_of_tumbling_windows_is_part_of_one() {
    let windows = windows(60, 60)
        .in_panes_of(Duration::from_millis(10))
        .unwrap();
    assert_eq!(windows.pane_of(129), 120);
    assert_eq!(windows.containing(170).collect::<Vec<_>>(), [120]);
    assert_eq!(windows.last_end(170), 180);
}

#[test]
fn the_windows_that_contain_a_pane_are_those_that_overlap_it() {
    let windows = windows(60, 20);
    assert_eq!(windows.pane_ms(), 20);
    for pane in (0..400).step_by(20) {
        let expected: Vec<u64> = (0..=400)
            .step_by(20)
            .filter(|start| *start <= pane && pane < start + 60)
            .collect();

        assert_eq!(
            windows.containing(pane).collect::<Vec<_>>(),
            expected,
            "pane {pane}"
        );
        assert_eq!(windows.last_end(pane), expected.last().unwrap() + 60);
    }
}

#[test]
fn windows_with_an_offset_are_those_without_one_moved() {
    for (size, slide, offset) in [(60, 60, 20), (60, 60, 75), (60, 20, 10), (25, 10, 5)] {
        let moved = windows(size, slide).offset(Duration::from_millis(offset));
        let pane_ms = moved.pane_ms();
        assert!([size, slide, offset].iter().all(|ms| ms % pane_ms == 0));

        // Starts, found by stepping from the first.
        let starts: Vec<u64> = (0..60).map(|step| offset % slide + step * slide).collect();
        for pane in (0..400).step_by(usize::try_from(pane_ms).unwrap()) {
            let holds = |start: &&u64| **start <= pane && pane < **start + size;
            let expected: Vec<u64> = starts.iter().filter(holds).copied().collect();
            assert_eq!(moved.containing(pane).collect::<Vec<_>>(), expected);
            if let Some(last) = expected.last() {
                assert_eq!(moved.last_end(pane), last + size);
            }

            let next = starts.iter().find(|start| **start > pane);
            assert_eq!(moved.next_start(pane), *next.unwrap());
            let is_whole = |first: u64| {
                let mut windows = moved.containing(first);
                windows.all(|start| start >= pane)
            };
            let whole = moved.first_whole(pane);
            assert!(is_whole(whole) && (whole == 0 || !is_whole(whole - pane_ms)));
        }
    }
}

#[test]
fn an_offset_keeps_panes_that_divide_it_and_is_less_than_the_slide() {
    let ms = Duration::from_millis;
    let moved = windows(60, 60).offset(ms(80));
    assert_eq!((moved.offset_ms(), moved.pane_ms()), (20, 20));
    assert_eq!(moved.offset(ms(40)).offset_ms(), 0);
    assert_eq!(windows(60, 60).offset(ms(120)), windows(60, 60));

    assert_eq!(moved.in_panes_of(ms(30)), Err(InvalidWindows::Uneven));
    assert_eq!(moved.in_panes_of(ms(10)).unwrap().pane_ms(), 10);
}

#[test]
fn a_slide_that_does_not_divide_the_size_makes_smaller_panes() {
    let windows = windows(60, 45);
    assert_eq!(windows.pane_ms(), 15);
    assert_eq!(windows.containing(45).collect::<Vec<_>>(), [0, 45]);
    assert_eq!(windows.containing(60).collect::<Vec<_>>(), [45]);
}

#[test]
fn a_pane_matters_while_a_record_can_change_its_windows() {
    let tumbling = windows(60, 60)
        .in_panes_of(Duration::from_millis(10))
        .unwrap();

    assert_eq!(
        (tumbling.last_correction(120), tumbling.reach_ms()),
        (120, 60)
    );

    let sliding = windows(60, 20);
    assert_eq!(
        sliding.last_correction(120),
        160,
        "pane 100 is part of the window that ends at 160"
    );

    for pane in (0..200).step_by(20) {
        assert!(sliding.last_correction(sliding.last_end(pane)) <= pane + sliding.reach_ms());
    }
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let ms = Duration::from_millis;
    assert_eq!(Windows::tumbling(ms(0)), Err(InvalidWindows::Zero));
    assert_eq!(Windows::sliding(ms(10), ms(20)), Err(InvalidWindows::Gaps));

    assert_eq!(
        windows(60, 60).in_panes_of(ms(7)),
        Err(InvalidWindows::Uneven)
    );

    assert_eq!(
        SessionWindows::new(ms(0), ms(10)),
        Err(InvalidWindows::Zero)
    );

    assert_eq!(
        SessionWindows::new(ms(20), ms(10)),
        Err(InvalidWindows::Limit)
    );

    let sessions = SessionWindows::new(ms(20), ms(60)).unwrap();
    assert_eq!(sessions.in_panes_of(ms(0)), Err(InvalidWindows::Zero));
    assert_eq!(
        sessions.in_panes_of(ms(30)),
        Err(InvalidWindows::UnevenSessions),
        "longer than the gap"
    );
}

#[test]
fn a_session_ends_the_gap_after_its_last_event_or_where_it_is_cut() {
    let ms = Duration::from_millis;
    let sessions = SessionWindows::new(ms(20), ms(60)).unwrap();
    assert_eq!(
        (
            sessions.end(5, 31),
            sessions.end(61, 70),
            sessions.end(61, 119)
        ),
        (51, 90, 120)
    );

    let day = SessionWindows::new(ms(1_800_000), ms(86_400_000)).unwrap();
    assert_eq!(
        (sessions.cut_to().pane_ms(), day.cut_to().pane_ms()),
        (2, 180_000)
    );

    assert_eq!(
        sessions.cut_to().first_row(61),
        62,
        "a session is emitted before the cut"
    );
    assert_eq!(windows(60, 60).first_row(60), 120);
}
