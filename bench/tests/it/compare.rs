//! Tests that the comparison finds every way in which results can be wrong.

use bench::compare::{Verdict, compare};
use bench::oracle::{self, Expected};
use bench::orders::{OrderSettings, Spread, Value};
use events::{Timestamp, WindowCount, WindowSummary};

use crate::{dollars, settings};

const MINUTE_MS: u64 = 60_000;

fn result(expected: &Expected) -> WindowCount {
    WindowCount {
        user_id: expected.user_id,
        window_start: Timestamp::from_ms(expected.window_start_ms).unwrap(),
        window_end: Timestamp::from_ms(expected.window_start_ms + MINUTE_MS).unwrap(),
        order_count: expected.order_count,
        amounts: dollars(expected.total_cents),
        revision: 0,
    }
}

fn expected() -> Vec<Expected> {
    oracle::counts(settings(2_000).good(), MINUTE_MS)
}

fn verdict_after(change: impl FnOnce(&mut Vec<WindowCount>)) -> Verdict {
    let expected = expected();
    let mut read = expected.iter().map(result).rev().collect();
    change(&mut read);
    compare(&expected, read, MINUTE_MS)
}

#[test]
fn the_right_results_are_exact_in_any_order() {
    let verdict = verdict_after(|_| ());
    assert!(verdict.is_exact(), "{verdict}");
    assert_eq!(
        (verdict.orders_expected, verdict.orders_counted),
        (2_000, 2_000)
    );
}

#[test]
fn a_missing_result_is_found_wherever_it_lies() {
    for at in [0, 100, expected().len() - 1] {
        let verdict = verdict_after(|read| {
            read.remove(at);
        });
        assert_eq!((verdict.missing, verdict.is_exact()), (1, false));
    }
}

#[test]
fn a_result_without_an_order_is_found() {
    let verdict = verdict_after(|read| {
        read.push(WindowCount {
            user_id: 0,
            ..read[0].clone()
        });
    });
    assert_eq!((verdict.unexpected, verdict.is_exact()), (1, false));
}

#[test]
fn a_wrong_count_total_or_window_end_is_found() {
    let verdict = verdict_after(|read| {
        read[0].order_count += 1;
        let total = read[1].amounts.total_cents().unwrap();
        read[1].amounts = dollars(total - 1);
        read[2].window_end = read[2].window_start;
    });
    assert_eq!((verdict.wrong, verdict.is_exact()), (3, false));
}

#[test]
fn a_result_that_comes_twice_is_found() {
    let verdict = verdict_after(|read| read.push(read[7].clone()));
    assert_eq!(
        (
            verdict.duplicated,
            verdict.orders_counted,
            verdict.is_exact()
        ),
        (1, 2_000, false)
    );
}

#[test]
fn a_higher_revision_replaces_a_lower_one() {
    let verdict = verdict_after(|read| {
        let newest = WindowCount {
            revision: 1,
            ..read[7].clone()
        };
        read[7].order_count += 1;
        read.push(newest);
    });

    assert!(verdict.is_exact(), "{verdict}");
}

fn summaries(expected: &[Expected]) -> Vec<WindowSummary> {
    let windows = expected.chunk_by(|a, b| a.window_start_ms == b.window_start_ms);
    let summary = |window: &[Expected]| WindowSummary {
        window_start: Timestamp::from_ms(window[0].window_start_ms).unwrap(),
        window_end: Timestamp::from_ms(window[0].window_start_ms + MINUTE_MS).unwrap(),
        order_count: window.iter().map(|row| row.order_count).sum(),
        user_count: window.len() as u64,
        amounts: dollars(window.iter().map(|row| row.total_cents).sum()),
        top_users: Vec::new(),
        revision: 0,
    };

    windows.map(summary).collect()
}

#[test]
fn the_newest_summary_of_each_window_must_add_up() {
    let expected = expected();
    let faults = |change: fn(&mut Vec<WindowSummary>)| {
        let mut read = summaries(&expected);
        change(&mut read);
        let mut verdict = Verdict::default();
        verdict.compare_summaries(&expected, read);
        verdict.summaries_wrong
    };
    assert_eq!(faults(|_| ()), 0);
    assert_eq!(faults(|read| drop(read.remove(3))), 1);
    assert_eq!(faults(|read| read[3].user_count += 1), 1);

    assert_eq!(
        faults(|read| read.insert(
            0,
            WindowSummary {
                revision: 1,
                order_count: 0,
                ..read[3].clone()
            }
        )),
        1
    );
}

#[test]
fn the_oracle_counts_by_user_and_minute() {
    let mut orders: Vec<_> = settings(3).good().collect();
    for (order, (user, at, total)) in
        orders
            .iter_mut()
            .zip([(1, 119_999, 5), (1, 120_000, 7), (1, 60_000, 11)])
    {
        (order.user_id, order.created_at, order.total_cents) =
            (user, Timestamp::from_ms(at).unwrap(), total);
    }

    let row = |window_start_ms, order_count, total_cents| Expected {
        window_start_ms,
        user_id: 1,
        order_count,
        total_cents,
    };

    assert_eq!(
        oracle::counts(orders.into_iter(), MINUTE_MS),
        [row(60_000, 2, 16), row(120_000, 1, 7)]
    );
}

#[test]
fn the_same_seed_makes_the_same_records_and_another_seed_others() {
    let settings = OrderSettings {
        malformed: 0.1,
        late: 0.1,
        spread: Spread::Zipf,
        ..settings(1_000)
    };
    let again = settings.clone();
    assert!(settings.records().eq(again.records()));

    let other = OrderSettings {
        seed: 2,
        ..settings.clone()
    };
    assert!(!settings.records().eq(other.records()));
}

#[test]
fn no_order_lies_further_back_than_the_disorder() {
    let settings = OrderSettings {
        orders: 5_000,
        ..settings(5_000)
    };

    let mut newest = 0;
    for order in settings.good() {
        let at = order.created_at.as_ms();
        newest = newest.max(at);
        assert!(at >= settings.start.as_ms() && newest - at <= 5_000);
    }

    assert!(newest - settings.start.as_ms() > 590_000);
}

#[test]
fn the_set_share_is_late_or_malformed() {
    let settings = OrderSettings {
        late: 0.2,
        malformed: 0.3,
        ..settings(10_000)
    };

    let malformed = settings
        .records()
        .filter(|made| matches!(made.value, Value::Malformed(_)))
        .count();
    assert!((2_700..3_300).contains(&malformed), "{malformed}");

    let mut newest = 0;
    let is_late = |order: &events::OrderCreated| {
        newest = order.created_at.as_ms().max(newest);
        newest - order.created_at.as_ms() > 60_000
    };
    let late = settings.good().filter(is_late).count();
    assert!((1_200..1_600).contains(&late), "{late}");
}

#[test]
fn an_order_takes_about_300_bytes() {
    let bytes: usize = settings(1_000)
        .good()
        .map(|order| serde_json::to_vec(&order).unwrap().len())
        .sum();
    assert!((270_000..330_000).contains(&bytes), "{bytes}");
}

#[test]
fn no_malformed_record_can_be_read_as_an_order() {
    let settings = OrderSettings {
        malformed: 1.0,
        ..settings(1_000)
    };

    for made in settings.records() {
        let Value::Malformed(bytes) = made.value else {
            panic!("all are to be malformed")
        };
        assert!(
            serde_json::from_slice::<events::OrderCreated>(&bytes.unwrap_or_default()).is_err()
        );
    }
}
