//! Tests of the limits of event times from clocks that may be wrong.

use super::*;

/// Returns a record whose producer set its time, read at `now_ms`.
fn created(offset: Offset, now_ms: u64) -> Reading {
    Reading {
        appended_ms: None,
        ..at(offset, now_ms)
    }
}

fn believes(intake: &mut Intake, offset: Offset, now_ms: u64, event_ms: u64) -> bool {
    let reading = created(offset, now_ms);
    intake.read(&reading);
    let is_believed = intake.believe(&reading, event_ms).is_ok();

    if is_believed {
        intake.admit(&reading, event_ms);
    } else {
        intake.admit_rejected(0, offset);
    }

    is_believed
}

#[test]
fn an_event_is_believed_up_to_its_append_or_the_clock_and_the_skew() {
    let mut intake = intake(0, Start::default());
    let appended = at(0, 10_000);
    assert_eq!(intake.believe(&appended, 11_000), Ok(()));
    assert_eq!(intake.believe(&appended, 11_001), Err(11_000));
    assert!(believes(&mut intake, 1, 10_000, 11_000));
    assert!(!believes(&mut intake, 2, 10_100, 12_000));

    assert!(
        believes(&mut intake, 3, 11_001, 12_001),
        "the clock went on"
    );
}

#[test]
fn no_event_of_a_wrong_clock_moves_event_time() {
    let mut intake = intake(0, Start::default());
    assert!(!believes(&mut intake, 0, 10_000, 86_400_000));
    assert!(believes(&mut intake, 1, 10_000, 10_900));
    let reached = intake.claim(|_| true).reached();
    assert_eq!(reached, Some(9_995), "not beyond the reader's clock");
}

#[test]
fn a_restart_believes_what_was_believed_whatever_its_clock_says() {
    let mut first = intake(0, Start::default());
    let events = [
        (9_000, true),
        (11_500, false),
        (10_900, true),
        (12_001, true),
    ];

    let clocks = [10_000, 10_100, 10_500, 11_500];
    for (offset, ((event_ms, expected), now_ms)) in (0..).zip(events.into_iter().zip(clocks)) {
        assert_eq!(believes(&mut first, offset, now_ms, event_ms), expected);
    }

    let cut = first
        .partitions
        .get(0)
        .unwrap()
        .cut(0, None, Pending::none_below(4));
    for clock_ms in [1, 10_000, 99_000] {
        let start = Start {
            resume: 0,
            cut: 4,
            ceilings: cut.ceilings.clone(),
            ..Start::default()
        };
        let mut again = intake(0, start);

        for (offset, (event_ms, expected)) in (0..).zip(events) {
            let is_believed = believes(&mut again, offset, clock_ms, event_ms);
            assert_eq!(is_believed, expected, "offset {offset} at {clock_ms}");
        }
    }
}

#[test]
fn ceilings_are_few_and_forgotten_with_the_panes_that_need_them() {
    let mut intake = intake(0, Start::default());
    for offset in 0..5_000 {
        let now_ms = 10_000 + offset;
        let event_ms = if offset % 2 == 0 {
            now_ms
        } else {
            u64::MAX / 2
        };
        believes(&mut intake, offset, now_ms, event_ms);
    }

    assert!(intake.partitions.get(0).unwrap().ceilings.len() <= 6);
    advance(&mut intake);
    assert!(intake.partitions.get(0).unwrap().ceilings.len() <= 2);
}

/// Reads one event a second; every third event is of the next day.
fn read_seconds(intake: &mut Intake, offsets: std::ops::Range<Offset>) -> Vec<bool> {
    let believed = offsets.map(|offset| {
        let now_ms = 10_000 + 1_000 * offset;
        let ahead_ms = if offset % 3 == 0 { 86_400_000 } else { 900 };
        believes(intake, offset, now_ms, now_ms + ahead_ms)
    });
    believed.collect()
}

#[test]
fn ceilings_are_kept_for_all_that_a_restart_reads_again() {
    for pending_from in [0, 7, 13, 29] {
        let mut first = intake(0, Start::default());
        let pending = |_, _| Pending::none_below(pending_from);
        let mut believed = Vec::new();
        let mut crossing = None;
        for batch in 0..3 {
            believed.extend(read_seconds(&mut first, batch * 10..batch * 10 + 10));
            let time = first.claim(|_| true).reached().unwrap();
            crossing = first.advance(time, pending);
        }

        let Crossing { to, cuts, .. } = crossing.unwrap();
        assert_eq!(cuts[0].resume(to), pending_from);
        let start = Start {
            resume: pending_from,
            cut: 30,
            ceilings: cuts[0].ceilings.clone(),
            pending: cuts[0].pending.clone(),
            ..Start::default()
        };
        let mut again = intake(to, start);
        for (offset, expected) in (0..30).zip(believed).skip(pending_from as usize) {
            let now_ms = 10_000 + 1_000 * offset;
            let ahead_ms = if offset % 3 == 0 { 86_400_000 } else { 900 };
            let is_believed = believes(&mut again, offset, 1, now_ms + ahead_ms);
            assert_eq!(is_believed, expected, "offset {offset} of {pending_from}");
        }
    }
}
