//! After any failure an event has one notification. A record that cannot be decoded does not stop the others.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use events::{ORDER_CHANGES, ORDERS, ORDERS_DEAD_LETTER};
use notifications::NOTIFICATIONS;
use record_log::RecordLog;
use record_log::simulated::{Call, Fault};
use serde_json::json;

use crate::{Running, changed, log, order, order_ids, publish, publish_orders};

testbed::on_both_dynamodbs!(
    an_event_that_is_delivered_twice_is_told_once,
    a_replay_from_the_beginning_tells_nothing_twice,
    a_crash_before_the_position_is_stored_loses_nothing,
    a_log_that_fails_now_and_then_loses_nothing,
    two_replicas_do_not_double,
    a_malformed_order_becomes_a_dead_letter_and_the_rest_goes_on,
    a_dead_letter_is_not_lost_while_its_topic_is_away,
    an_event_of_another_type_is_passed_over,
    each_state_of_an_order_is_told_once,
    a_table_that_is_away_holds_notifications_up_and_loses_none,
);

async fn an_event_that_is_delivered_twice_is_told_once(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let order = order(1, 1, 0);
    publish_orders(&running.log, &[order.clone(), order.clone()]);
    running.caught_up().await;
    publish_orders(&running.log, &[order]);
    running.caught_up().await;

    assert_eq!(order_ids(&running.mailbox("").await), [1]);
    running.stop().await;
}

async fn a_replay_from_the_beginning_tells_nothing_twice(dynamodb: Client) {
    let log = log();
    let running = Running::start(&dynamodb, &log).await;
    publish_orders(&log, &[order(1, 1, 1), order(2, 2, 0)]);
    running.caught_up().await;

    let before = running.mailbox("").await;
    running.stop().await;
    log.commit("notifications", ORDERS, &[(0, 0), (1, 0)])
        .unwrap();

    let running = Running::start(&dynamodb, &log).await;
    running.caught_up().await;
    assert_eq!(running.mailbox("").await, before);
    running.stop().await;
}

async fn a_crash_before_the_position_is_stored_loses_nothing(dynamodb: Client) {
    let log = log();
    publish_orders(
        &log,
        &(0..30)
            .map(|number| order(number, 1, number))
            .collect::<Vec<_>>(),
    );

    let dying = log.process(|call| match call {
        Call::CommitPositions { .. } => Fault::CrashBefore,
        _ => Fault::None,
    });
    let running = Running::start_process(&dynamodb, &log, dying.clone()).await;
    assert!(running.work.await.unwrap_err().is_panic());
    dying.expel();

    let running = Running::start(&dynamodb, &log).await;
    running.caught_up().await;
    assert_eq!(
        order_ids(&running.mailbox("limit=100").await),
        (0..30).collect::<Vec<_>>()
    );
    running.stop().await;
}

async fn a_log_that_fails_now_and_then_loses_nothing(dynamodb: Client) {
    let log = log();
    publish_orders(
        &log,
        &(0..30)
            .map(|number| order(number, 1, number))
            .collect::<Vec<_>>(),
    );

    let flaky = testbed::failing_now_and_then(&log);
    let running = Running::start_process(&dynamodb, &log, flaky).await;
    running.caught_up().await;

    assert_eq!(running.mailbox("limit=100").await.len(), 30);
    running.stop().await;
}

async fn two_replicas_do_not_double(dynamodb: Client) {
    let log = log();
    let first = Running::start(&dynamodb, &log).await;
    let second = Running::start(&dynamodb, &log).await;

    publish_orders(
        &log,
        &(0..30)
            .map(|number| order(number, 1, number))
            .collect::<Vec<_>>(),
    );

    first.caught_up().await;
    assert_eq!(
        order_ids(&second.mailbox("limit=100").await),
        (0..30).collect::<Vec<_>>()
    );

    first.stop().await;
    second.stop().await;
}

async fn a_malformed_order_becomes_a_dead_letter_and_the_rest_goes_on(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let half = br#"{"event_type":"order.created","order_id":1}"#.to_vec();
    publish(
        &running.log,
        &[Some(b"{not json".to_vec()), Some(half.clone()), None],
    );

    publish_orders(&running.log, &[order(1, 1, 0)]);
    running.caught_up().await;
    assert_eq!(order_ids(&running.mailbox("").await), [1]);

    let letters = running.log.records(ORDERS_DEAD_LETTER);
    assert_eq!(letters.len(), 3);
    let letter = letters
        .iter()
        .find(|letter| letter.value.as_deref() == Some(&half))
        .unwrap();

    let header = |wanted: &str| {
        let found = letter.headers.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default()
    };

    assert!(
        header("reason").contains("missing field `event_id`"),
        "{}",
        header("reason")
    );

    assert_eq!(
        [header("ce_type"), header("reported_by")],
        ["order.created", "notifications"]
    );

    assert!(
        header("source_partition").parse::<u32>().is_ok()
            && header("source_offset").parse::<u64>().is_ok()
    );
    running.stop().await;
}

async fn a_dead_letter_is_not_lost_while_its_topic_is_away(dynamodb: Client) {
    let log = log();
    publish(&log, &[Some(b"{not json".to_vec())]);
    let failures = AtomicUsize::new(0);

    let flaky = log.process(move |call| match call {
        Call::OpenPublisher { .. } | Call::Send { .. } | Call::Commit { .. }
            if failures.fetch_add(1, Ordering::SeqCst) < 3 =>
        {
            Fault::Unavailable
        }
        _ => Fault::None,
    });
    let running = Running::start_process(&dynamodb, &log, flaky).await;
    running.caught_up().await;

    assert_eq!(log.records(ORDERS_DEAD_LETTER).len(), 1);
    running.stop().await;
}

async fn an_event_of_another_type_is_passed_over(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish(
        &running.log,
        &[Some(br#"{"event_type":"order.admired"}"#.to_vec())],
    );

    publish_orders(&running.log, &[order(1, 1, 0)]);
    running.caught_up().await;
    assert_eq!(order_ids(&running.mailbox("").await), [1]);
    running.stop().await;
}

async fn each_state_of_an_order_is_told_once(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let changes: Vec<_> = (1..)
        .zip(ORDER_CHANGES)
        .map(|(order_id, event_type)| changed(order_id, event_type))
        .collect();
    let values: Vec<_> = changes
        .iter()
        .map(|change| Some(serde_json::to_vec(change).unwrap()))
        .collect();

    publish(&running.log, &values);
    running.caught_up().await;
    publish(&running.log, &values);
    running.caught_up().await;

    let mut told: Vec<_> = running
        .mailbox("")
        .await
        .iter()
        .map(|item| (item["order_id"].clone(), item["id"].clone()))
        .collect();
    told.sort_by_key(|(order_id, _)| order_id.as_u64());
    let expected: Vec<_> = changes
        .iter()
        .map(|change| (json!(change.order_id), json!(change.event_id)))
        .collect();
    assert_eq!(told, expected);
    running.stop().await;
}

async fn a_table_that_is_away_holds_notifications_up_and_loses_none(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    dynamodb
        .delete_table()
        .table_name(NOTIFICATIONS)
        .send()
        .await
        .unwrap();

    publish_orders(&running.log, &[order(1, 1, 0)]);
    let refused = running.client.get("/notifications").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (503, "1")
    );

    let second = Running::start(&dynamodb, &running.log).await;
    running.caught_up().await;
    assert_eq!(order_ids(&running.mailbox("").await), [1]);
    second.stop().await;
    running.stop().await;
}
