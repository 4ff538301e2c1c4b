//! Sums over all users where the job counts sessions, or windows that are longer than a minute. Its sums of
//! sessions are by day, and the day is not over.

use aws_sdk_dynamodb::Client;
use events::{Timestamp, WindowCount, WindowSummary};
use serde_json::json;

use crate::{Running, amounts, log, publish_counts, publish_summaries, summary};

testbed::on_both_dynamodbs!(
    a_series_by_minute_is_refused_and_one_by_day_is_served,
    the_board_has_the_sum_however_many_sessions_are_newer,
);

const DAY_MS: u64 = 86_400_000;

/// Returns the sum of the sessions of this day.
fn of_today(orders: u64) -> WindowSummary {
    let start_ms = Timestamp::now().as_ms() / DAY_MS * DAY_MS;
    WindowSummary {
        window_start: Timestamp::from_ms(start_ms).unwrap(),
        window_end: Timestamp::from_ms(start_ms + DAY_MS).unwrap(),
        ..summary(0, &[(1, orders)], 0)
    }
}

async fn a_series_by_minute_is_refused_and_one_by_day_is_served(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_summaries(&running.log, &[of_today(25)]);
    running.caught_up().await;

    for step in ["1m", "1h"] {
        let path = format!("/analytics/series?step={step}");
        let refused = running.client.get(&path).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["field"]),
            (409, &json!("step"))
        );
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("1day"), "{detail}");
    }

    let by_user = running.get("/analytics/series?step=1m&user=1").await;
    assert!(!by_user["items"].as_array().unwrap().is_empty());

    let days = running.get("/analytics/series?step=1d").await;
    let today = days["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&today["orders"], &today["is_provisional"]),
        (&json!(25), &json!(true)),
        "the day is not over: {today}"
    );

    running.stop().await;
}

async fn the_board_has_the_sum_however_many_sessions_are_newer(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let today = of_today(25);
    let midnight_ms = today.window_start.as_ms();

    // A window in each of 150 minutes: more than a board has.
    let session = |minute: u64| WindowCount {
        user_id: minute,
        window_start: Timestamp::from_ms(midnight_ms + minute * 60_000 + 7).unwrap(),
        window_end: Timestamp::from_ms(midnight_ms + minute * 60_000 + 30_007).unwrap(),
        order_count: 1,
        amounts: amounts(&[("USD", 100)]),
        revision: 0,
    };
    let sessions: Vec<_> = (1..=150).map(session).collect();
    publish_counts(&running.log, &sessions);
    publish_summaries(&running.log, &[today]);
    running.caught_up().await;

    let board = running.get("/analytics/board").await;
    let items = board["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{board}");
    assert_eq!(items[0]["order_count"], 25);

    let refused = running.client.get("/analytics/series?step=1h").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    running.stop().await;
}
