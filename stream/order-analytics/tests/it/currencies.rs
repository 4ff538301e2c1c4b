//! Totals are sums by currency, in counts, summaries and sessions.

use serde_json::Value;

use crate::{World, shown};

fn count(second: u64, revision: u32, orders: u64, totals: &str) -> (u64, u32, u64, String) {
    (second, revision, orders, totals.to_owned())
}

#[test]
fn nothing_is_summed_across_currencies() {
    let world = World::new();
    world.order(5, 1, &[(1_999, "USD"), (150_000, "JPY"), (1, "USD")]);
    world.order(6, 2, &[(1_500, "KWD")]);
    world.order(5, 61, &[(7, "JPY")]);
    world.count(&[]);

    let expected = [
        count(0, 0, 3, "150000 JPY, 2000 USD"),
        count(60, 0, 1, "7 JPY"),
    ];
    assert_eq!(world.counts(5), expected);

    let summary = world.summary(0);
    assert_eq!((summary.order_count, summary.user_count), (4, 2));
    assert_eq!(shown(&summary.amounts), "150000 JPY, 1500 KWD, 2000 USD");

    let tops = summary.top_users.iter();
    let tops: Vec<_> = tops.map(|top| (top.user_id, shown(&top.amounts))).collect();
    let expected = [(5, "150000 JPY, 2000 USD"), (6, "1500 KWD")];
    assert_eq!(
        tops,
        expected.map(|(user, totals)| (user, totals.to_owned()))
    );
}

#[test]
fn users_with_equal_counts_rank_by_currency_and_then_by_total() {
    let world = World::new();
    world.order(1, 1, &[(9_000, "USD")]);
    world.order(2, 1, &[(5, "EUR")]);
    world.order(3, 1, &[(6, "EUR")]);
    world.order(4, 1, &[(1, "USD"), (1, "USD")]);
    world.order(5, 1, &[(9_000, "USD")]);
    world.count(&[]);

    let ranked = world.summary(0).top_users;
    let ranked: Vec<_> = ranked.iter().map(|top| top.user_id).collect();
    assert_eq!(ranked, [4, 3, 2, 1, 5]);
}

#[test]
fn the_field_total_cents_is_null_where_there_are_several_currencies() {
    let world = World::new();
    world.order(5, 1, &[(1_999, "USD"), (150_000, "JPY")]);
    world.order(7, 1, &[(1_500, "JPY"), (1_500, "JPY")]);
    world.count(&[]);

    let mut rows: Vec<Value> = world.read(events::ANALYTICS_RESULTS);
    rows.sort_by_key(|row| row["user_id"].as_u64());
    assert_eq!(rows[0]["total_cents"], Value::Null);
    assert_eq!(rows[1]["total_cents"], 3_000);

    let summaries: Vec<Value> = world.read(events::ANALYTICS_SUMMARIES);
    assert_eq!(summaries[0]["total_cents"], Value::Null);
}

#[test]
fn a_late_order_in_another_currency_corrects_the_count() {
    let world = World::new();
    world.order(5, 1, &[(1_999, "USD")]);
    world.order(5, 500, &[(1, "USD")]);
    world.count(&[]);
    world.order(5, 2, &[(150_000, "JPY")]);
    world.count(&[]);

    let expected = [
        count(0, 0, 1, "1999 USD"),
        count(0, 1, 2, "150000 JPY, 1999 USD"),
        count(480, 0, 1, "1 USD"),
    ];
    assert_eq!(world.counts(5), expected);
    assert_eq!(shown(&world.summary(0).amounts), "150000 JPY, 1999 USD");
}

#[test]
fn a_sum_at_its_end_leaves_the_other_currencies_alone() {
    let world = World::new();
    let most = u64::MAX;
    world.order(5, 1, &[(most, "USD"), (most, "USD"), (9, "JPY")]);
    world.count(&[]);
    assert_eq!(
        world.counts(5),
        [count(0, 0, 3, &format!("9 JPY, {most} USD"))]
    );
}

#[test]
fn a_session_and_one_that_became_part_of_it_have_totals_by_currency() {
    let world = World::new();
    world.order(5, 0, &[(1_999, "USD")]);
    world.order(5, 30, &[(150_000, "JPY")]);
    world.order(5, 500, &[(1, "USD")]);
    world.count(&["--session-gap", "20s"]);
    world.order(5, 15, &[(7, "EUR")]);
    world.count(&["--session-gap", "20s"]);

    let expected = [
        count(0, 0, 1, "1999 USD"),
        count(0, 1, 3, "7 EUR, 150000 JPY, 1999 USD"),
        count(30, 0, 1, "150000 JPY"),
        count(30, 1, 0, ""),
        count(500, 0, 1, "1 USD"),
    ];
    assert_eq!(world.counts(5), expected);
}

#[test]
fn an_order_without_a_valid_currency_is_a_dead_letter_with_its_reason() {
    let world = World::new();
    world.order(5, 1, &[(1, "usd"), (2, "USD"), (3, ""), (4, "USDT")]);
    world.count(&[]);
    assert_eq!(world.counts(5), [count(0, 0, 1, "2 USD")]);

    let dead = world.log.records(events::ORDERS_DEAD_LETTER);
    assert_eq!(dead.len(), 3);
    for record in dead {
        let (_, reason) = record
            .headers
            .iter()
            .find(|(name, _)| name == "reason")
            .unwrap();
        let reason = String::from_utf8_lossy(reason);
        assert!(reason.contains("three capital letters"), "{reason}");
    }
}
