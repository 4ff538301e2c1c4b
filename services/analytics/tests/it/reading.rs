//! Reading the counts.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use events::WindowCount;
use serde_json::{Value, json};

use crate::earlier;
use crate::{
    Running, amounts, count, essence, log, minute, publish_counts, publish_summaries, summary,
};

testbed::on_both_dynamodbs!(
    recent_shows_every_count_once_newest_window_first,
    a_users_counts_come_newest_first,
    the_summary_adds_up_the_windows_and_says_how_fresh_it_is,
    money_of_several_currencies_is_never_one_number,
    items_from_before_there_were_totals_are_read,
    recent_counts_are_those_of_the_range_and_the_user,
    a_summary_is_of_the_range_the_user_and_the_limit,
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
        json!({"user_id": 2, "order_count": 5, "total_cents": 500, "totals": [{"currency": "USD", "minor_units": 500}]})
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

async fn money_of_several_currencies_is_never_one_number(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let both = amounts(&[("USD", 1_999), ("JPY", 150_000)]);
    let mut count = count(5, 0, 2, 0);
    count.amounts.clone_from(&both);
    publish_counts(&running.log, &[count]);

    let mut window = summary(60_000, &[(5, 2)], 0);
    window.amounts.clone_from(&both);
    window.top_users[0].amounts = both;
    publish_summaries(&running.log, &[window]);
    running.caught_up().await;

    let totals = json!([{"currency": "JPY", "minor_units": 150_000}, {"currency": "USD", "minor_units": 1_999}]);
    for path in ["/analytics/recent", "/analytics/users/5"] {
        let count = &running.get(path).await["items"][0];
        assert_eq!(
            [&count["total_cents"], &count["totals"]],
            [&Value::Null, &totals]
        );
    }

    let summary = running.get("/analytics/summary").await;
    for span in ["now", "last_hour", "last_day"] {
        let span = &summary[span];
        assert_eq!(
            [&span["revenue_cents"], &span["revenue"]],
            [&Value::Null, &totals]
        );
        let top = &span["top_users"][0];
        assert_eq!(
            [&top["total_cents"], &top["totals"]],
            [&Value::Null, &totals]
        );
    }
    running.stop().await;
}

/// An earlier version wrote a number without its currency.
async fn items_from_before_there_were_totals_are_read(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    earlier::write(&dynamodb, &[count(5, 0, 2, 0)]).await;
    publish_summaries(&running.log, &[summary(60_000, &[(5, 2)], 0)]);
    running.caught_up().await;
    for table in [analytics::RESULTS, analytics::WINDOWS] {
        forget_totals(&dynamodb, table).await;
    }

    let totals = json!([{"currency": "XXX", "minor_units": 200}]);
    let count = &running.get("/analytics/recent").await["items"][0];
    assert_eq!(
        [&count["total_cents"], &count["totals"]],
        [&json!(200), &totals]
    );

    let now = &running.get("/analytics/summary").await["now"];
    assert_eq!(
        [&now["revenue_cents"], &now["revenue"]],
        [&json!(200), &totals]
    );
    assert_eq!(now["top_users"][0]["totals"], totals);
    running.stop().await;
}

/// Takes the totals out of all items of a table.
async fn forget_totals(dynamodb: &Client, table: &str) {
    let found = dynamodb.scan().table_name(table).send().await.unwrap();
    for mut item in found.items.unwrap() {
        item.remove("totals");
        if let Some(AttributeValue::L(users)) = item.get_mut("top_users") {
            for user in users {
                let AttributeValue::M(user) = user else {
                    panic!("{user:?}")
                };
                user.remove("totals").unwrap();
            }
        }
        let put = dynamodb.put_item().table_name(table);
        put.set_item(Some(item)).send().await.unwrap();
    }
}

async fn recent_counts_are_those_of_the_range_and_the_user(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let counts: Vec<_> = (0..6)
        .flat_map(|window| [1, 2, 9].map(|user| count(user, window, window + 1, 0)))
        .collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let found = async |query: String| {
        let shown = running.all(&format!("/analytics/recent?{query}"), 2).await;
        let found = essence(&shown).into_iter();
        found
            .map(|(user, start, ..)| (user, start))
            .collect::<BTreeSet<_>>()
    };
    let expected = |users: &[u64], windows: std::ops::Range<u64>| {
        let of = |window| {
            users
                .iter()
                .map(move |user| (*user, minute(window).to_string()))
        };
        windows.flat_map(of).collect::<BTreeSet<_>>()
    };

    let [two, four] = [minute(2), minute(4)];
    let all = &[1, 2, 9];
    assert_eq!(found(format!("from={two}")).await, expected(all, 2..6));
    assert_eq!(found(format!("to={four}")).await, expected(all, 0..4));
    assert_eq!(
        found(format!("from={two}&to={four}")).await,
        expected(all, 2..4)
    );
    assert_eq!(found("user=9".to_owned()).await, expected(&[9], 0..6));
    assert_eq!(
        found(format!("user=9&from={two}&to={four}")).await,
        expected(&[9], 2..4)
    );
    assert_eq!(
        found(format!("user=9&from={two}")).await,
        expected(&[9], 2..6)
    );
    assert!(found("user=7".to_owned()).await.is_empty());
    running.stop().await;
}

async fn a_summary_is_of_the_range_the_user_and_the_limit(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let windows = [
        summary(7_200_000, &[(3, 5)], 0),
        summary(600_000, &[(1, 4), (2, 1)], 0),
        summary(60_000, &[(1, 3), (2, 1)], 0),
    ];
    publish_summaries(&running.log, &windows);
    let counts: Vec<_> = windows
        .iter()
        .flat_map(|window| {
            window.top_users.iter().map(|top| WindowCount {
                user_id: top.user_id,
                window_start: window.window_start,
                window_end: window.window_end,
                order_count: top.order_count,
                amounts: top.amounts.clone(),
                revision: 0,
            })
        })
        .collect();
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let all = running.get("/analytics/summary").await;
    assert_eq!(all["range"], Value::Null);
    assert_eq!(all["last_hour"]["top_users"].as_array().unwrap().len(), 2);

    let range = format!(
        "from={}&to={}",
        windows[0].window_start, windows[2].window_start
    );
    let ranged = running
        .get(&format!("/analytics/summary?{range}&limit=1"))
        .await;
    assert_eq!(ranged["range"]["from"], json!(windows[0].window_start));
    assert_eq!(ranged["range"]["orders"], json!(10));
    assert_eq!(ranged["range"]["users"], json!(3));
    for span in ["range", "now", "last_hour", "last_day"] {
        let named = ranged[span]["top_users"].as_array().unwrap();
        assert_eq!(named.len(), 1, "{span}");
    }

    let own = running
        .get(&format!("/analytics/summary?{range}&user=1"))
        .await;
    assert_eq!(
        [&own["now"]["orders"], &own["last_hour"]["orders"]],
        [&json!(3), &json!(7)]
    );
    assert_eq!(
        [&own["range"]["orders"], &own["range"]["users"]],
        [&json!(4), &json!(1)]
    );
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
        ("/analytics/recent?from=yesterday", "from"),
        ("/analytics/recent?user=me", "user"),
        ("/analytics/recent?user=9223372036854775808", "user"),
        ("/analytics/recent?user_id=1", "user_id"),
        (
            "/analytics/recent?from=2026-11-22T10:00:00Z&to=2026-11-22T10:00:00Z",
            "to",
        ),
        ("/analytics/summary?limit=11", "limit"),
        ("/analytics/summary?limit=0", "limit"),
        ("/analytics/summary?user=-1", "user"),
        ("/analytics/summary?user=9223372036854775808", "user"),
        (
            "/analytics/summary?from=2026-11-22T10:00:00Z&to=2026-11-22T09:00:00Z",
            "to",
        ),
        (
            "/analytics/summary?from=2026-11-22T10:00:00Z&to=2026-11-23T10:00:01Z",
            "from",
        ),
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

    // The + of this offset arrives as a space.
    let refused = running
        .client
        .get("/analytics/recent?from=2026-11-30T00:00:00+01:00")
        .await;
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("write the + of the offset as %2B"),
        "{detail}"
    );
    running.stop().await;
}
