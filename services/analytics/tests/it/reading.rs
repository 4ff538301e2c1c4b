//! What is shown of the counts.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};

use crate::{Running, count, essence, log, minute, publish_counts, publish_summaries, summary};

testbed::on_both_dynamodbs!(
    recent_shows_every_count_once_newest_window_first,
    a_users_counts_come_newest_first,
    the_summary_adds_up_the_windows_and_says_how_fresh_it_is,
    nothing_yet_is_empty_and_no_error,
    cursors_and_users_that_cannot_be_read_are_refused,
);

async fn recent_shows_every_count_once_newest_window_first(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let counts: Vec<_> = (0..4)
        .flat_map(|window| (1..=25).map(move |user| count(user * 7, window, user, 0)))
        .collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let shown = running.all("/analytics/recent", 9).await;
    let starts: Vec<&str> = shown
        .iter()
        .map(|item| item["window_start"].as_str().unwrap())
        .collect();

    assert!(
        starts.is_sorted_by(|newer, older| newer >= older),
        "{starts:?}"
    );

    let expected: BTreeSet<_> = counts
        .iter()
        .map(|count| {
            (
                count.user_id,
                count.window_start.to_string(),
                count.order_count,
                0,
            )
        })
        .collect();

    assert_eq!(shown.len(), 100);
    assert_eq!(
        essence(&shown).into_iter().collect::<BTreeSet<_>>(),
        expected
    );

    let first = &running.get("/analytics/recent?limit=1").await["items"][0];
    assert_eq!(
        first["id"],
        json!(format!("{}-{}", first["user_id"], minute(3).as_ms()))
    );

    assert_eq!(first["window_end"], json!(minute(4).to_string()));
    running.stop().await;
}

async fn a_users_counts_come_newest_first(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let counts: Vec<_> = (0..5)
        .flat_map(|window| [count(1, window, window + 1, 0), count(2, window, 1, 0)])
        .collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let shown = running.all("/analytics/users/1", 2).await;
    let expected: Vec<_> = (0..5)
        .rev()
        .map(|window| (1, minute(window).to_string(), window + 1, 0))
        .collect();
    assert_eq!(essence(&shown), expected);

    assert_eq!(
        running.get("/analytics/users/3").await,
        json!({"items": [], "next": null})
    );
    running.stop().await;
}

async fn the_summary_adds_up_the_windows_and_says_how_fresh_it_is(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let newest = summary(60_000, &[(1, 3), (2, 1)], 0);
    let windows = [
        summary(7_200_000, &[(3, 5)], 0),
        summary(600_000, &[(2, 1)], 0),
        newest.clone(),
    ];
    publish_summaries(&running.log, &windows);

    publish_summaries(
        &running.log,
        &[
            summary(600_000, &[(2, 4)], 1),
            summary(600_000, &[(2, 9)], 0),
        ],
    );

    running.caught_up().await;
    let summary = running.get("/analytics/summary").await;
    assert_eq!(
        summary["now"]["window_end"],
        json!(newest.window_end.to_string())
    );

    assert_eq!(
        [&summary["now"]["orders"], &summary["now"]["users"]],
        [&json!(4), &json!(2)]
    );

    assert_eq!(
        [
            &summary["last_hour"]["orders"],
            &summary["last_hour"]["revenue_cents"]
        ],
        [&json!(8), &json!(800)]
    );

    assert_eq!(
        summary["last_hour"]["top_users"][0],
        json!({"user_id": 2, "order_count": 5, "total_cents": 500})
    );

    assert_eq!(
        [
            &summary["last_day"]["orders"],
            &summary["last_day"]["users"]
        ],
        [&json!(13), &json!(3)]
    );

    assert_eq!(
        summary["freshness"]["newest_window_end"],
        json!(newest.window_end.to_string())
    );

    assert_eq!(summary["freshness"]["lag_records"], json!(0));
    running.stop().await;
}

async fn nothing_yet_is_empty_and_no_error(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    running.caught_up().await;
    assert_eq!(
        running.get("/analytics/recent").await,
        json!({"items": [], "next": null})
    );

    let summary = running.get("/analytics/summary").await;
    assert_eq!(
        [&summary["now"], &summary["freshness"]["newest_window_end"]],
        [&Value::Null, &Value::Null]
    );

    assert_eq!(summary["last_day"]["orders"], json!(0));
    running.stop().await;
}

async fn cursors_and_users_that_cannot_be_read_are_refused(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    for (path, field) in [
        ("/analytics/recent?cursor=nonsense", "cursor"),
        ("/analytics/recent?limit=0", "limit"),
        ("/analytics/users/me", "id"),
        ("/analytics/users/-1", "id"),
    ] {
        let refused = running.client.get(path).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("content-type")),
            (400, "application/problem+json")
        );
        assert_eq!(refused.blamed(), field, "{path}: {}", refused.body);
    }
    running.stop().await;
}
