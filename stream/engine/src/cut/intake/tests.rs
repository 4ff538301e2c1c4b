//! Tests of the decisions about records and of the cuts.

mod arrivals;
mod ceilings;

use std::time::Duration;

use super::*;
use crate::sink::progress::SideProgress;
use crate::watermark::Pace;

fn intake(boundary: u64, start: Start) -> Intake {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let rules = Rules {
        windows,
        allowed_lateness_ms: 40,
        max_future_skew_ms: 1_000,
        pace: Pace {
            disorder_ms: 5,
            max_clock_skew_ms: 0,
            idle_after_ms: 1_000,
        },
    };

    Intake::new(rules, boundary, [(0, start)])
}

/// Returns a record of partition 0 that was appended and read at the same moment.
fn at(offset: Offset, now_ms: u64) -> Reading {
    Reading {
        partition: 0,
        offset,
        appended_ms: Some(now_ms),
        now_ms,
    }
}

fn admit(intake: &mut Intake, offset: Offset, event_ms: u64, now_ms: u64) -> Verdict {
    let reading = at(offset, now_ms);
    intake.read(&reading);
    intake.admit(&reading, event_ms)
}

fn once(intake: &mut Intake, offset: Offset, event_ms: u64, id: Option<EventId>) -> Verdict {
    let reading = at(offset, 0);
    intake.read(&reading);
    intake.admit_once(&reading, event_ms, id)
}

fn rules(windows: Windows, allowed_lateness_ms: u64) -> Rules {
    let pace = Pace {
        disorder_ms: 0,
        max_clock_skew_ms: 0,
        idle_after_ms: 1_000,
    };

    Rules {
        windows,
        allowed_lateness_ms,
        max_future_skew_ms: 0,
        pace,
    }
}

fn none_pending(_partition: u32, cut: Offset) -> Pending {
    Pending::none_below(cut)
}

fn advance(intake: &mut Intake) -> Option<Crossing> {
    let time = intake.claim(|_| true).reached()?;
    intake.advance(time, none_pending)
}

#[test]
fn a_log_whose_clock_is_years_ahead_moves_time_as_any_other() {
    for ahead_ms in [0, 1, 600_000, 1 << 50] {
        let mut intake = intake(0, Start::default());
        let reading = |offset, now_ms| Reading {
            appended_ms: Some(now_ms - 40 + ahead_ms),
            ..at(offset, now_ms)
        };
        let reached = |intake: &Intake| intake.claim(|_| true).reached().unwrap();

        intake.read(&reading(0, 1_100));
        intake.admit(&reading(0, 1_100), 1_000);
        intake.at_end(0, 1_500);
        let lag_ms = if ahead_ms == 0 { 60..=60 } else { 61..=100 };
        assert!(
            lag_ms.contains(&(1_500 - 5 - reached(&intake))),
            "{ahead_ms}"
        );

        // The partition is quiet for longer than a partition that holds back others may be.
        intake.at_end(0, 5_000);
        assert!(!intake.claim(|_| true).is_active(), "{ahead_ms}");

        intake.read(&reading(1, 5_100));
        intake.admit(&reading(1, 5_100), 90_000);
        assert!(reached(&intake) <= 5_100 - 5, "{ahead_ms}");
    }
}

#[test]
fn a_copy_is_left_out_for_as_long_as_its_window_can_change() {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut intake =
        Intake::new(rules(windows, 20), 0, [(0, Start::default())]).holding_ids_within(1 << 20);
    let counted = |arrival, pane| Verdict::Counted { arrival, pane };
    assert_eq!(once(&mut intake, 0, 5, Some(7)), counted(0, 0));
    assert_eq!(once(&mut intake, 1, 5, Some(7)), Verdict::Copy);
    assert_eq!(once(&mut intake, 2, 5, None), counted(0, 0));
    assert_eq!(once(&mut intake, 3, 25, Some(8)), counted(20, 20));

    let crossing = intake.advance(20, none_pending).unwrap();
    assert_eq!(crossing.cuts[0].ids_from, Some(0));
    assert_eq!(once(&mut intake, 4, 5, Some(7)), Verdict::Copy);
    assert_eq!(once(&mut intake, 5, 5, Some(9)), counted(20, 0));

    once(&mut intake, 6, 45, Some(10));
    let crossing = intake.advance(40, none_pending).unwrap();
    assert_eq!(
        crossing.cuts[0].ids_from,
        Some(0),
        "the cut holds before 30, too"
    );

    let too_late = Verdict::TooLate { horizon: 20 };
    assert_eq!(once(&mut intake, 7, 5, Some(7)), too_late);
    once(&mut intake, 8, 65, Some(11));

    let crossing = intake.advance(60, none_pending).unwrap();
    assert_eq!(crossing.cuts[0].ids_from, Some(3), "pane 0 is settled");
}

#[test]
fn a_restart_knows_the_ids_of_what_the_checkpoint_has_counted() {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let start = Start {
        resume: 0,
        cut: 2,
        ..Start::default()
    };
    let mut intake = Intake::new(rules(windows, 20), 10, [(0, start)]).holding_ids_within(1 << 20);
    assert_eq!(once(&mut intake, 0, 5, Some(7)), Verdict::SeenBefore);

    let counted = Verdict::Counted {
        arrival: 10,
        pane: 10,
    };
    assert_eq!(once(&mut intake, 1, 15, Some(8)), counted);
    assert_eq!(once(&mut intake, 2, 5, Some(7)), Verdict::Copy);
    assert_eq!(once(&mut intake, 3, 15, Some(8)), Verdict::Copy);
}

#[test]
fn a_record_is_too_late_if_its_windows_begin_before_the_memory() {
    let ms = Duration::from_millis;
    let windows = Windows::sliding(ms(30), ms(10)).unwrap();
    let mut intake =
        Intake::new(rules(windows, 1000), 100, [(0, Start::default())]).remembering_from(41);
    let too_late = Verdict::TooLate { horizon: 70 };

    assert_eq!(
        admit(&mut intake, 0, 65, 0),
        too_late,
        "a window begins at 40"
    );

    let counted = Verdict::Counted {
        arrival: 100,
        pane: 70,
    };
    assert_eq!(admit(&mut intake, 1, 75, 0), counted);

    let on_time = Verdict::Counted {
        arrival: 100,
        pane: 100,
    };
    assert_eq!(admit(&mut intake, 2, 105, 0), on_time);
}

/// Returns whether a record of `pane` can still change one of its windows, by the definition.
fn corrects(intake: &Intake, pane: EventTimeMs) -> bool {
    let last_end = intake.windows.last_end(pane);
    let first_start = intake.windows.containing(pane).next().unwrap();
    last_end + intake.allowed_lateness_ms > intake.capability
        && (pane >= intake.capability || first_start >= intake.complete_from)
}

#[test]
fn the_horizon_is_the_first_pane_that_can_change_a_window() {
    for (size, slide, offset, lateness) in [
        (10, 10, 0, 0),
        (30, 10, 0, 40),
        (25, 10, 0, 7),
        (60, 20, 0, 5),
        (30, 30, 20, 0),
        (30, 10, 5, 40),
    ] {
        let ms = Duration::from_millis;
        let windows = Windows::sliding(ms(size), ms(slide)).unwrap();
        let windows = windows.offset(ms(offset));
        let step = usize::try_from(windows.pane_ms()).unwrap();

        for complete_from in [0, 1, 10, 41, 130, 1_000] {
            for capability in (0..400).step_by(step) {
                let intake = Intake::new(rules(windows, lateness), capability, [])
                    .remembering_from(complete_from);
                // Events before the first window are rejected.
                let panes = (offset..=400).step_by(step);
                let late: Vec<_> = panes.filter(|pane| *pane < intake.horizon).collect();
                let expected: Vec<_> = (offset..=400)
                    .step_by(step)
                    .filter(|pane| !corrects(&intake, *pane))
                    .collect();
                assert_eq!(late, expected, "{windows:?} {lateness} {complete_from}");
            }
        }
    }
}

#[test]
fn a_record_below_the_cut_is_counted_and_one_after_it_is_late() {
    let mut intake = intake(0, Start::default());
    assert_eq!(
        admit(&mut intake, 0, 12, 2_000),
        Verdict::Counted {
            arrival: 10,
            pane: 10
        }
    );

    admit(&mut intake, 1, 26, 2_000);
    let crossing = advance(&mut intake).unwrap();
    assert_eq!((crossing.from, crossing.to), (0, 20));
    assert_eq!(crossing.cuts[0].next_offset, 2);

    assert_eq!(
        admit(&mut intake, 2, 13, 2_000),
        Verdict::Counted {
            arrival: 20,
            pane: 10
        }
    );

    admit(&mut intake, 3, 95, 2_000);
    advance(&mut intake);
    assert_eq!(
        admit(&mut intake, 4, 13, 2_000),
        Verdict::TooLate { horizon: 50 }
    );
}

#[test]
fn a_restart_reads_from_the_least_record_of_an_open_pane() {
    let mut intake = intake(0, Start::default());
    for (offset, time) in [12, 27, 14, 33, 21].into_iter().enumerate() {
        admit(&mut intake, offset as u64, time, 2_000);
    }

    let crossing = advance(&mut intake).unwrap();
    assert_eq!(crossing.to, 20);
    let cut = &crossing.cuts[0];
    assert_eq!((cut.resume(20), cut.next_offset), (1, 5));
    assert_eq!(cut.resume(40), 5, "no record of a later pane was read");
}

#[test]
fn what_the_checkpoint_holds_is_not_counted_again() {
    let mut intake = intake(
        20,
        Start {
            resume: 1,
            cut: 5,
            pending: Pending::none_below(5),
            ..Start::default()
        },
    );

    assert_eq!(
        admit(&mut intake, 1, 27, 2_000),
        Verdict::Counted {
            arrival: 20,
            pane: 20
        }
    );

    assert_eq!(admit(&mut intake, 2, 14, 2_000), Verdict::SeenBefore);
    assert!(!intake.admit_rejected(0, 3));
    assert_eq!(advance(&mut intake), None, "no cut below the restored one");

    assert_eq!(
        admit(&mut intake, 4, 48, 2_000),
        Verdict::Counted {
            arrival: 40,
            pane: 40
        }
    );

    assert_eq!(advance(&mut intake).unwrap().to, 40);
    assert!(intake.admit_rejected(0, 5));
}

#[test]
fn pending_side_outputs_below_the_cut_are_published_once() {
    let mut published = SideProgress {
        published: 3,
        ..SideProgress::default()
    };

    published.horizons.raise(2, 10);
    let start = Start {
        resume: 1,
        cut: 8,
        pending: Pending {
            from: 2,
            late: vec![2, 5],
        },
        published,
        ..Start::default()
    };

    let mut intake = intake(70, start);
    assert!(!intake.admit_rejected(0, 1), "not pending");
    assert_eq!(
        admit(&mut intake, 2, 3, 2_000),
        Verdict::SeenBefore,
        "published"
    );

    assert!(intake.admit_rejected(0, 4));
    assert_eq!(
        admit(&mut intake, 5, 3, 2_000),
        Verdict::TooLate { horizon: 30 }
    );

    assert_eq!(
        admit(&mut intake, 6, 3, 2_000),
        Verdict::SeenBefore,
        "counted"
    );

    assert_eq!(
        admit(&mut intake, 9, 3, 2_000),
        Verdict::TooLate { horizon: 30 }
    );
}

#[test]
fn what_an_earlier_attempt_published_as_late_is_never_counted() {
    let mut published = SideProgress {
        published: 4,
        ..SideProgress::default()
    };

    published.horizons.raise(1, 60);
    let start = Start {
        published,
        ..Start::default()
    };
    // The earlier attempt had reached 100; this one begins at 0.
    let mut intake = intake(0, start);
    let counted = |pane| Verdict::Counted {
        arrival: pane,
        pane,
    };

    assert_eq!(admit(&mut intake, 0, 45, 2_000), counted(40));
    assert_eq!(admit(&mut intake, 1, 45, 2_000), Verdict::SeenBefore);
    assert_eq!(
        admit(&mut intake, 2, 65, 2_000),
        counted(60),
        "it was counted then"
    );

    assert_eq!(
        admit(&mut intake, 4, 45, 2_000),
        counted(40),
        "it was not read then"
    );
}

#[test]
fn a_copy_of_what_an_earlier_attempt_published_as_late_is_counted_once() {
    let mut published = SideProgress {
        published: 4,
        ..SideProgress::default()
    };
    published.horizons.raise(1, 60);
    let start = Start {
        published,
        ..Start::default()
    };
    let id = 7;

    // The source decides by one of two functions.
    for asks_first in [true, false] {
        let mut intake = intake(0, start.clone()).holding_ids_within(1_000);
        let mut decide = |offset| {
            let reading = at(offset, 2_000);
            intake.read(&reading);
            let on_time = intake.on_time(&reading, 45).filter(|_| asks_first);
            match on_time {
                Some(pane) => intake.admit_on_time(reading.partition, offset, pane, id),
                None => intake.admit_once(&reading, 45, Some(id)),
            }
        };

        assert_eq!(decide(1), Verdict::SeenBefore);
        let counted = Verdict::Counted {
            arrival: 40,
            pane: 40,
        };
        assert_eq!(decide(4), counted, "the copy was not read then");
        assert_eq!(decide(5), Verdict::Copy);
    }
}

#[test]
fn what_is_read_again_does_not_hold_event_time_back() {
    let newest = Some(Newest {
        event_ms: 17,
        read_at_ms: 1_000,
        lag_ms: Some(900),
    });

    let start = Start {
        resume: 4,
        cut: 5,
        newest,
        ..Start::default()
    };
    let mut intake = intake(20, start);

    let again = Reading {
        appended_ms: None,
        ..at(4, 61_000)
    };
    intake.read(&again);

    assert_eq!(intake.admit(&again, 17), Verdict::SeenBefore);
    intake.at_end(0, 61_000);
    assert_eq!(
        intake.claim(|_| true).reached(),
        Some(60_095),
        "it was read a minute ago"
    );
    assert!(!intake.claim(|_| true).is_active(), "and nothing since");
}

#[test]
fn a_worker_whose_partitions_are_empty_claims_nothing() {
    let mut intake = intake(0, Start::default());
    assert_eq!(intake.claim(|_| true), Claim::Unread);
    intake.at_end(0, 1);
    assert_ne!(intake.claim(|_| true), Claim::Unread);
    assert_eq!(intake.claim(|_| true).reached(), None);
}

#[test]
fn a_partition_without_a_record_at_its_anchor_is_another_one() {
    let anchor = Anchor {
        offset: 4,
        log_time_ms: 1_000,
    };

    let start = || Start {
        resume: 4,
        cut: 5,
        anchor: Some(anchor),
        ..Start::default()
    };
    let mut same = intake(20, start());
    assert!(same.recognizes(0, anchor));
    same.skip_to(0, 5);

    assert!(!same.misses_anchor(0));

    let mut other = intake(20, start());
    let later = Anchor {
        log_time_ms: 2_000,
        ..anchor
    };
    assert!(!other.recognizes(0, later));

    let mut marker = intake(20, start());
    assert!(!marker.misses_anchor(0), "it was not read yet");
    marker.skip_to(0, 5);

    assert!(marker.misses_anchor(0));
}
