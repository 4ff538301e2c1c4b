//! Counts are packed in few items, and each is found again.

use std::collections::BTreeSet;

use analytics::COUNTS;
use aws_sdk_dynamodb::Client;
use events::{Timestamp, WindowCount};
use testbed::Writes;

use crate::{Running, count, essence, log, minute, publish_counts};

testbed::on_both_dynamodbs!(
    a_minute_of_many_users_is_few_items_and_each_is_listed_once,
    a_quiet_shop_writes_an_item_by_the_minute_and_keeps_few,
    a_long_history_is_read_page_by_page_with_its_corrections,
    sessions_are_listed_newest_first_and_corrected,
    what_a_listing_has_shown_is_not_shown_again_after_a_correction,
);

/// (window start, user) of each count, in the order of a list.
fn listed(items: &[serde_json::Value]) -> Vec<(String, u64)> {
    let found = essence(items).into_iter();
    found.map(|(user, start, ..)| (start, user)).collect()
}

async fn a_minute_of_many_users_is_few_items_and_each_is_listed_once(dynamodb: Client) {
    let log = log();
    let minute_of = |window| (1..=900).map(move |user| count(user * 31, window, 1 + user % 4, 0));
    let counts: Vec<_> = (0..2).flat_map(minute_of).collect();
    publish_counts(&log, &counts);

    let (client, writes) = Writes::of(&dynamodb, COUNTS, "chunk");
    let running = Running::start(&client, &log).await;
    running.caught_up().await;
    let items = writes.put().len();
    assert!(
        (32..=256).contains(&items),
        "{items} items for 1,800 counts"
    );

    let all = running.all("/analytics/recent", 100).await;
    let shown = listed(&all);
    assert_eq!(shown.len(), 1_800);
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), 1_800);
    assert!(shown.is_sorted_by(|one, other| one.0 >= other.0));

    let first = running
        .all("/analytics/recent?from=2026-11-22T10:01:00Z", 97)
        .await;
    assert_eq!(listed(&first), shown[..900], "pages of another size");

    let own = essence(&running.all("/analytics/users/3100", 1).await);
    let expected = [1, 0].map(|window| (3_100, minute(window).to_string(), 1, 0));
    assert_eq!(own, expected);
    running.stop().await;
}

async fn a_quiet_shop_writes_an_item_by_the_minute_and_keeps_few(dynamodb: Client) {
    let log = log();
    let running = Running::start(&dynamodb, &log).await;
    for window in 0..12 {
        publish_counts(
            &log,
            &[count(window, window, 1, 0), count(99, window, 2, 0)],
        );
        running.caught_up().await;
    }

    let found = dynamodb.scan().table_name(COUNTS).send().await.unwrap();
    assert_eq!(found.count, 1, "all are of one hour");
    assert_eq!(running.all("/analytics/recent", 5).await.len(), 24);
    assert_eq!(running.all("/analytics/users/99", 5).await.len(), 12);
    running.stop().await;
}

/// The minutes are chunks of one level, more than a page of them, and the corrections of another.
async fn a_long_history_is_read_page_by_page_with_its_corrections(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let minute_of = |window| (1..=150).map(move |user| count(user, window, 1, 0));
    let counts: Vec<_> = (0..45).flat_map(minute_of).collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;
    for window in (0..45).step_by(3) {
        publish_counts(&running.log, &[count(5, window, 7, 1)]);
    }
    running.caught_up().await;

    let own = essence(&running.all("/analytics/users/5", 4).await);
    let corrected = |window: u64| {
        if window.is_multiple_of(3) {
            (7, 1)
        } else {
            (1, 0)
        }
    };
    let expected = (0..45).rev().map(|window| {
        let (orders, revision) = corrected(window);
        (5, minute(window).to_string(), orders, revision)
    });
    assert_eq!(own, expected.collect::<Vec<_>>());
    running.stop().await;
}

async fn sessions_are_listed_newest_first_and_corrected(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let session = |user: u64, second: u64, orders, revision| {
        let start = minute(0).as_ms() + second * 1_000 + user;
        WindowCount {
            window_start: Timestamp::from_ms(start).unwrap(),
            window_end: Timestamp::from_ms(start + 90_000).unwrap(),
            ..count(user, 0, orders, revision)
        }
    };
    let sessions: Vec<_> = (1..=800)
        .map(|user| session(user, user * 7 % 58, user, 0))
        .collect();
    publish_counts(&running.log, &sessions);
    // One begins earlier than was thought, so another has taken its orders.
    publish_counts(&running.log, &[session(9, 1, 10, 0), session(9, 5, 0, 1)]);
    running.caught_up().await;

    let shown = running.all("/analytics/recent", 100).await;
    let starts: Vec<_> = listed(&shown).into_iter().map(|(start, _)| start).collect();
    assert_eq!(starts.len(), 801);
    assert!(
        starts.is_sorted_by(|newer, older| newer >= older),
        "{starts:?}"
    );

    let own = running.all("/analytics/users/9", 9).await;
    let orders: Vec<_> = own
        .iter()
        .map(|item| item["order_count"].as_u64())
        .collect();
    assert_eq!(orders, [Some(0), Some(10)]);
    running.stop().await;
}

async fn what_a_listing_has_shown_is_not_shown_again_after_a_correction(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let counts: Vec<_> = (1..=300).map(|user| count(user, 0, 1, 0)).collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let first = running.get("/analytics/recent?limit=100").await;
    let shown = essence(first["items"].as_array().unwrap());
    let corrected: Vec<_> = [shown[3].0, shown[99].0]
        .map(|user| count(user, 0, 5, 1))
        .into();
    publish_counts(&running.log, &corrected);
    running.caught_up().await;

    let cursor = first["next"].as_str().unwrap();
    let rest = running
        .get(&format!("/analytics/recent?limit=100&cursor={cursor}"))
        .await;
    let rest = essence(rest["items"].as_array().unwrap());
    let users: BTreeSet<_> = shown.iter().chain(&rest).map(|found| found.0).collect();
    assert_eq!(users.len(), 200, "none twice");
    running.stop().await;
}
