//! Nothing is missed and no revision goes backwards after any failure.

use analytics::COUNTS;
use aws_sdk_dynamodb::Client;
use events::ANALYTICS_RESULTS;
use record_log::simulated::{Call, Fault};
use serde_json::json;

use crate::{Running, count, essence, log, minute, publish, publish_counts};

testbed::on_both_dynamodbs!(
    a_correction_replaces_and_an_older_revision_does_not,
    a_replay_from_the_beginning_changes_nothing,
    a_crash_between_writing_and_remembering_loses_nothing,
    a_log_that_fails_now_and_then_loses_nothing,
    a_malformed_result_is_left_out_and_the_rest_goes_on,
    a_table_that_is_away_holds_results_up_and_loses_none,
    items_expire_with_their_retention,
);

async fn a_correction_replaces_and_an_older_revision_does_not(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_counts(&running.log, &[count(1, 0, 3, 0), count(1, 0, 4, 1)]);
    running.caught_up().await;
    publish_counts(&running.log, &[count(1, 0, 9, 0), count(1, 0, 9, 1)]);
    running.caught_up().await;

    assert_eq!(
        essence(&running.all("/analytics/recent", 20).await),
        [(1, minute(0).to_string(), 4, 1)]
    );
    running.stop().await;
}

async fn a_replay_from_the_beginning_changes_nothing(dynamodb: Client) {
    let log = log();
    let running = Running::start(&dynamodb, &log).await;
    publish_counts(
        &log,
        &[
            count(1, 0, 3, 0),
            count(2, 0, 1, 0),
            count(1, 0, 5, 1),
            count(1, 1, 1, 0),
        ],
    );

    running.caught_up().await;
    let before = running.all("/analytics/recent", 20).await;
    running.stop().await;

    record_log::RecordLog::commit(
        &log,
        "analytics",
        ANALYTICS_RESULTS,
        &[(0, 0), (1, 0), (2, 0)],
    )
    .unwrap();

    let running = Running::start(&dynamodb, &log).await;
    running.caught_up().await;
    assert_eq!(running.all("/analytics/recent", 20).await, before);
    running.stop().await;
}

async fn a_crash_between_writing_and_remembering_loses_nothing(dynamodb: Client) {
    let log = log();
    publish_counts(
        &log,
        &(1..=40)
            .map(|user| count(user, 0, 1, 0))
            .collect::<Vec<_>>(),
    );

    let dying = log.process(|call| match call {
        Call::CommitPositions {
            topic: ANALYTICS_RESULTS,
            ..
        } => Fault::CrashBefore,
        _ => Fault::None,
    });
    let running = Running::start_process(&dynamodb, &log, dying.clone()).await;
    assert!(running.work.await.unwrap_err().is_panic());
    running.shutdown.0.request();
    dying.expel();

    let running = Running::start(&dynamodb, &log).await;
    running.caught_up().await;
    assert_eq!(running.all("/analytics/recent", 100).await.len(), 40);
    running.stop().await;
}

async fn a_log_that_fails_now_and_then_loses_nothing(dynamodb: Client) {
    let log = log();
    publish_counts(
        &log,
        &(1..=40)
            .map(|user| count(user, user % 3, 1, 0))
            .collect::<Vec<_>>(),
    );

    let flaky = testbed::failing_now_and_then(&log);
    let running = Running::start_process(&dynamodb, &log, flaky).await;
    running.caught_up().await;

    assert_eq!(running.all("/analytics/recent", 100).await.len(), 40);
    running.stop().await;
}

async fn a_malformed_result_is_left_out_and_the_rest_goes_on(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish(
        &running.log,
        &[(ANALYTICS_RESULTS, "1".to_owned(), b"{not json".to_vec())],
    );

    publish_counts(&running.log, &[count(1, 0, 1, 0)]);
    running.caught_up().await;
    assert_eq!(running.all("/analytics/recent", 20).await.len(), 1);
    running.stop().await;
}

async fn a_table_that_is_away_holds_results_up_and_loses_none(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    dynamodb
        .delete_table()
        .table_name(COUNTS)
        .send()
        .await
        .unwrap();

    publish_counts(&running.log, &[count(1, 0, 1, 0), count(2, 0, 1, 0)]);
    let refused = running.client.get("/analytics/users/1").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (503, "1")
    );

    let second = Running::start(&dynamodb, &running.log).await;
    running.caught_up().await;
    assert_eq!(running.all("/analytics/recent", 20).await.len(), 2);
    second.stop().await;
    running.stop().await;
}

async fn items_expire_with_their_retention(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_counts(&running.log, &[count(1, 0, 1, 0)]);
    running.caught_up().await;

    let items = dynamodb
        .scan()
        .table_name(COUNTS)
        .send()
        .await
        .unwrap()
        .items
        .unwrap();
    let expires_at: u64 = items[0]["expires_at"].as_n().unwrap().parse().unwrap();

    assert_eq!(
        json!(expires_at),
        json!(minute(1).as_ms() / 1_000 + 30 * 24 * 3_600)
    );

    let expiry = dynamodb
        .describe_time_to_live()
        .table_name(COUNTS)
        .send()
        .await
        .unwrap();

    assert_eq!(
        expiry
            .time_to_live_description
            .unwrap()
            .attribute_name
            .as_deref(),
        Some("expires_at")
    );
    running.stop().await;
}
