//! The content of the mailbox.

use aws_sdk_dynamodb::Client;
use serde_json::json;

use crate::{Running, log, order, order_ids, publish_orders};

testbed::on_both_dynamodbs!(
    an_order_is_told_with_its_total,
    the_mailbox_shows_the_newest_first_over_days_and_pages,
    a_users_mailbox_shows_no_other_users,
    queries_that_cannot_be_read_are_refused,
);

async fn an_order_is_told_with_its_total(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let order = order(7, 42, 0);
    publish_orders(&running.log, std::slice::from_ref(&order));
    running.caught_up().await;

    let mailbox = running.mailbox("").await;
    assert_eq!(mailbox.len(), 1);
    let told = &mailbox[0];

    assert_eq!(
        [&told["id"], &told["user_id"], &told["order_id"]],
        [&json!(order.event_id), &json!(42), &json!(7)]
    );

    assert_eq!(
        [&told["channel"], &told["status"]],
        [&json!("simulated"), &json!("sent")]
    );

    assert_eq!(told["created_at"], json!(order.created_at));
    assert_eq!(told["subject"], json!("Your order 7 is in"));
    assert!(
        told["body"].as_str().unwrap().contains("Total: 39.98 USD"),
        "{told}"
    );
    running.stop().await;
}

async fn the_mailbox_shows_the_newest_first_over_days_and_pages(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let orders: Vec<_> = (0..23)
        .map(|number| order(number, 1, number * 7 * 60))
        .collect();
    publish_orders(&running.log, &orders);
    running.caught_up().await;

    let expected: Vec<u64> = (0..23).collect();
    assert_eq!(order_ids(&running.mailbox("limit=5").await), expected);
    assert_eq!(order_ids(&running.mailbox("limit=100").await), expected);
    running.stop().await;
}

async fn a_users_mailbox_shows_no_other_users(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_orders(
        &running.log,
        &[order(1, 1, 3), order(2, 2, 2), order(3, 1, 1)],
    );

    running.caught_up().await;
    assert_eq!(
        order_ids(&running.mailbox("user_id=1&limit=1").await),
        [3, 1]
    );

    assert_eq!(order_ids(&running.mailbox("user_id=3").await), [0; 0]);
    running.stop().await;
}

async fn queries_that_cannot_be_read_are_refused(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    for (query, field) in [
        ("user_id=me", "user_id"),
        ("limit=0", "limit"),
        ("cursor=nonsense", "cursor"),
    ] {
        let refused = running.client.get(&format!("/notifications?{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.blamed()), (400, field));
    }
    running.stop().await;
}
