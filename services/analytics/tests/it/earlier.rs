//! Tables as versions before the chunks have filled them: an item for each count, and an index of shelves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use analytics::{RESULTS, WINDOWS};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use events::WindowCount;

use crate::{Running, amounts, count, essence, log, minute, publish_counts};

testbed::on_both_dynamodbs!(
    counts_of_earlier_versions_are_read_with_those_of_this_one,
    sessions_of_earlier_versions_are_read,
);

/// Writes counts as the versions before the chunks did.
pub async fn write(dynamodb: &Client, counts: &[WindowCount]) {
    let mut shards: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for count in counts {
        let start_ms = count.window_start.as_ms();
        let shard = count.user_id % 8;
        shards.entry(start_ms).or_default().insert(shard);

        let mut item: HashMap<String, AttributeValue> = serde_dynamo::to_item(count).unwrap();
        let shelf = format!("{start_ms}#{shard}");
        item.insert("shelf".to_owned(), AttributeValue::S(shelf));
        for (name, ms) in [
            ("window_start", start_ms),
            ("window_end", count.window_end.as_ms()),
        ] {
            item.insert(name.to_owned(), number(ms));
        }
        let put = dynamodb.put_item().table_name(RESULTS);
        put.set_item(Some(item)).send().await.unwrap();
    }

    for (start_ms, shards) in shards {
        let shards = shards.iter().map(u64::to_string).collect();
        let attributes = [
            ("series", AttributeValue::S("all".to_owned())),
            ("window_start", number(start_ms)),
            ("window_end", number(start_ms + 60_000)),
            ("shards", AttributeValue::Ns(shards)),
        ];
        let item = attributes
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let put = dynamodb.put_item().table_name(WINDOWS);
        put.set_item(Some(item)).send().await.unwrap();
    }
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

async fn counts_of_earlier_versions_are_read_with_those_of_this_one(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let mut earlier: Vec<_> = (0..3)
        .flat_map(|window| (1..=20).map(move |user| count(user, window, user, 0)))
        .collect();
    earlier[4].amounts = amounts(&[("EUR", 5), ("JPY", 70)]);
    earlier[6].revision = 2;
    write(&dynamodb, &earlier).await;

    // A correction, a replay, a lower revision and a new user of an old window; and a new window.
    let later = [
        count(4, 1, 9, 1),
        count(5, 1, 5, 0),
        count(7, 0, 1, 1),
        count(21, 1, 1, 0),
        count(4, 3, 2, 0),
    ];
    publish_counts(&running.log, &later);
    running.caught_up().await;

    let mut expected = earlier.clone();
    expected[20 + 3] = later[0].clone();
    expected.extend([later[3].clone(), later[4].clone()]);
    for limit in [7, 100] {
        let shown = running.all("/analytics/recent", limit).await;
        let of = |count: &WindowCount| {
            let start = count.window_start.to_string();
            (
                count.user_id,
                start,
                count.order_count,
                count.revision.into(),
            )
        };
        let mut found = essence(&shown);
        assert!(
            found.is_sorted_by(|one, other| one.1 >= other.1),
            "{found:?}"
        );
        found.sort();
        let mut expected: Vec<_> = expected.iter().map(of).collect();
        expected.sort();
        assert_eq!(found, expected, "{limit} a page");
    }

    let own = essence(&running.all("/analytics/users/4", 2).await);
    let orders: Vec<_> = own.iter().map(|(_, _, orders, _)| *orders).collect();
    assert_eq!(orders, [2, 4, 9, 4]);
    let two = &running.get("/analytics/users/5").await["items"][2];
    assert_eq!(two["totals"].as_array().unwrap().len(), 2, "{two}");

    let range = format!("from={}&to={}", minute(1), minute(3));
    let ranged = running
        .all(&format!("/analytics/recent?user=4&{range}"), 1)
        .await;
    assert_eq!(ranged.len(), 2);
    running.stop().await;
}

/// A session begins at its first order, so each had a window of its own.
async fn sessions_of_earlier_versions_are_read(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let session = |user: u64, second: u64| {
        let mut count = count(user, 0, user, 0);
        let start = count.window_start.as_ms() + second * 1_000;
        count.window_start = events::Timestamp::from_ms(start).unwrap();
        count.window_end = events::Timestamp::from_ms(start + 5_000).unwrap();
        count
    };
    // More windows in a minute than a page of windows has.
    let earlier: Vec<_> = (0..59)
        .map(|second| session(100 + second, second))
        .collect();
    write(&dynamodb, &earlier).await;
    let mut moved = session(130, 30);
    moved.order_count = 0;
    moved.revision = 1;
    publish_counts(&running.log, &[moved, session(7, 30), count(8, 1, 1, 0)]);
    running.caught_up().await;

    let shown = essence(&running.all("/analytics/recent", 8).await);
    assert_eq!(shown.len(), 61);
    assert!(
        shown.is_sorted_by(|one, other| one.1 >= other.1),
        "{shown:?}"
    );
    let own = running.all("/analytics/users/130", 8).await;
    assert_eq!(own[0]["order_count"], 0);
    assert_eq!(own.len(), 1);
    running.stop().await;
}
