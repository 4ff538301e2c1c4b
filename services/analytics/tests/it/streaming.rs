//! The live feed over HTTP.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES};
use record_log::RecordLog;
use serde_json::Value;
use testbed::{Events, ServerSentEvent};

use crate::{Running, count, log, publish_counts, publish_summaries, summary};

testbed::on_both_dynamodbs!(
    a_listener_hears_of_counts_corrections_and_windows,
    a_listener_that_returns_hears_what_it_missed,
    a_listener_of_one_user_hears_of_no_other,
    a_stream_begins_at_once_with_an_id_to_resume_from,
    a_shutdown_ends_the_stream,
);

async fn listen(running: &Running, query: &str, last_id: Option<&str>) -> Events {
    let headers: Vec<_> = last_id
        .map(|id| ("last-event-id", id))
        .into_iter()
        .collect();
    let path = format!("/analytics/stream{query}");
    running.client.listen(&path, &headers).await
}

/// Listens from now on, and skips the first event of the stream.
async fn listen_on(running: &Running, query: &str) -> Events {
    let mut events = listen(running, query, None).await;
    assert_eq!(heard(&mut events).await.name, "ready");
    events
}

/// Waits until every record was written and sent to listeners, so that the stream begins at the ends of the topics.
async fn caught_up(running: &Running) {
    running.caught_up().await;
    let ends = |letter: &str, topic: &str| {
        let ranges = (0_u32..).zip(running.log.offsets(topic).unwrap());
        let ends: Vec<_> = ranges
            .map(|(partition, range)| format!("{letter}{partition}-{}", range.end))
            .collect();
        ends.join(".")
    };
    let counts = ends("c", ANALYTICS_RESULTS);
    let expected = format!("{counts}.{}", ends("w", ANALYTICS_SUMMARIES));

    let fed = tokio::time::timeout(Duration::from_secs(20), async {
        while heard(&mut listen(running, "", None).await).await.id != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    fed.await.expect("listeners get what was written");
}

async fn heard(events: &mut Events) -> ServerSentEvent {
    let next = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
    next.expect("an event in time").expect("the stream goes on")
}

fn body(event: &ServerSentEvent) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

async fn a_listener_hears_of_counts_corrections_and_windows(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    caught_up(&running).await;
    let mut events = listen_on(&running, "").await;
    publish_counts(&running.log, &[count(1, 0, 3, 0)]);
    publish_counts(&running.log, &[count(1, 0, 4, 1)]);

    let first = heard(&mut events).await;
    let second = heard(&mut events).await;
    assert_eq!(
        [first.name.as_str(), second.name.as_str()],
        ["count", "count"]
    );

    assert_eq!(
        [&body(&first)["order_count"], &body(&second)["order_count"]],
        [3, 4]
    );

    publish_summaries(&running.log, &[summary(60_000, &[(1, 4)], 0)]);
    let window = heard(&mut events).await;
    assert_eq!(
        (window.name.as_str(), &body(&window)["user_count"]),
        ("window", &Value::from(1))
    );

    assert!(body(&window)["id"].is_string());
    running.stop().await;
}

async fn a_listener_that_returns_hears_what_it_missed(dynamodb: Client) {
    let log = log();
    let running = Running::start(&dynamodb, &log).await;
    caught_up(&running).await;

    let mut events = listen_on(&running, "").await;
    publish_counts(&log, &[count(1, 0, 1, 0)]);
    let seen = heard(&mut events).await.id;
    drop(events);
    publish_counts(&log, &[count(1, 1, 2, 0), count(1, 2, 3, 0)]);
    caught_up(&running).await;

    let mut events = listen(&running, "", Some(&seen)).await;
    let ready = heard(&mut events).await;
    assert_eq!((ready.name.as_str(), &ready.id), ("ready", &seen));
    assert_eq!(
        [
            &body(&heard(&mut events).await)["order_count"],
            &body(&heard(&mut events).await)["order_count"]
        ],
        [2, 3]
    );

    running.stop().await;
    let restarted = Running::start(&dynamodb, &log).await;
    publish_counts(&log, &[count(1, 3, 4, 0)]);
    caught_up(&restarted).await;

    let mut events = listen(&restarted, "", Some(&seen)).await;
    assert_eq!(heard(&mut events).await.name, "reset");
    restarted.stop().await;
}

async fn a_listener_of_one_user_hears_of_no_other(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    caught_up(&running).await;
    let mut events = listen_on(&running, "?user_id=2").await;
    publish_counts(&running.log, &[count(1, 0, 1, 0)]);
    publish_counts(&running.log, &[count(2, 0, 1, 0)]);

    assert_eq!(body(&heard(&mut events).await)["user_id"], 2);
    running.stop().await;
}

async fn a_stream_begins_at_once_with_an_id_to_resume_from(dynamodb: Client) {
    let log = log();
    let running = Running::start(&dynamodb, &log).await;
    publish_counts(&log, &[count(1, 0, 1, 0)]);
    caught_up(&running).await;

    // Only the first event is received; the events after it are received by the next stream.
    let mut events = listen(&running, "", None).await;
    let ready = heard(&mut events).await;
    assert_eq!((ready.name.as_str(), ready.data.as_str()), ("ready", "{}"));
    drop(events);
    publish_counts(&log, &[count(1, 1, 2, 0)]);
    caught_up(&running).await;

    let mut events = listen(&running, "", Some(&ready.id)).await;
    assert_eq!(heard(&mut events).await.id, ready.id);
    assert_eq!(body(&heard(&mut events).await)["order_count"], 2);

    // A client that had to read the lists again then receives the later events.
    let mut events = listen(&running, "", Some("nonsense")).await;
    let reset = heard(&mut events).await;
    assert_eq!(reset.name, "reset");
    publish_counts(&log, &[count(1, 2, 3, 0)]);
    let mut events = listen(&running, "", Some(&reset.id)).await;
    assert_eq!(heard(&mut events).await.name, "ready");
    assert_eq!(body(&heard(&mut events).await)["order_count"], 3);
    running.stop().await;
}

async fn a_shutdown_ends_the_stream(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let mut events = listen_on(&running, "").await;
    running.stop().await;
    assert!(events.next().await.is_none());
}
