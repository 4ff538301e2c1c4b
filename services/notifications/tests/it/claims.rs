//! One message for each event, if processes die and if several send.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use events::{ORDERS, ORDERS_DEAD_LETTER};
use notifications::NOTIFICATIONS;
use record_log::RecordLog;
use record_log::simulated::{Call, Fault};

use crate::email::{Post, progress};
use crate::mail_server::{Answer, MailServer};
use crate::order;

testbed::on_both_dynamodbs!(
    two_replicas_that_consume_and_send_at_once_do_not_double,
    a_sender_that_dies_at_any_step_sends_under_one_id,
    a_message_not_recorded_is_sent_again_under_the_same_id,
    a_crash_before_the_errand_is_written_loses_nothing,
    a_replay_from_the_beginning_sends_nothing_twice,
    a_message_is_given_up_only_when_its_dead_letter_is_published,
    the_sender_wakes_up_by_itself,
);

async fn two_replicas_that_consume_and_send_at_once_do_not_double(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let first = post.start(&dynamodb).await;
    let second = post.start(&dynamodb).await;
    let orders: Vec<_> = (1..=40)
        .map(|number| order(number, number, number))
        .collect();
    first.receive(&orders).await;
    second.caught_up().await;
    tokio::join!(first.send(), second.send());

    let ids: BTreeSet<String> = server
        .mails()
        .iter()
        .map(|mail| mail.header("Message-ID").to_owned())
        .collect();
    assert_eq!((server.mails().len(), ids.len()), (40, 40));
    for notification in second.mailbox("limit=100").await {
        assert_eq!(progress(&notification), ("sent", 1, false));
    }
    first.stop().await;
    second.stop().await;
}

async fn a_sender_that_dies_at_any_step_sends_under_one_id(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;

    for steps in [0, 1, 2, 3, 4, 5, 6, 8, 11, 15] {
        let order = order(steps, 1, 0);
        running.receive(std::slice::from_ref(&order)).await;
        die_after(steps, Box::pin(running.service.send_due())).await;
        post.time.pass(60);
        running.send().await;

        let mailbox = running.mailbox("limit=100").await;
        let told = mailbox
            .iter()
            .find(|notification| notification["id"] == order.event_id.to_string())
            .unwrap();
        assert_eq!(told["status"], "sent", "after {steps} steps: {told}");

        let id = format!("<{}@tidemark.example>", order.event_id);
        let copies = server
            .mails()
            .iter()
            .filter(|mail| mail.header("Message-ID") == id)
            .count() as u64;

        assert!(
            (1..=told["attempts"].as_u64().unwrap()).contains(&copies),
            "after {steps} steps: {copies} copies"
        );
    }
    running.stop().await;
}

/// Polls the work `steps` times, and drops it if it is not done by then.
async fn die_after(steps: u64, mut work: impl Future + Unpin) {
    let mut left = steps;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        Pin::new(&mut work).poll(context).map(drop)
    })
    .await;
}

async fn a_message_not_recorded_is_sent_again_under_the_same_id(dynamodb: Client) {
    let server = MailServer::open(&[Answer::TakeSilently]).await;
    let post = Post::by(server.url()).await;
    let dying = post.start(&dynamodb).await;
    dying.receive(&[order(1, 1, 0)]).await;

    let service = Arc::clone(&dying.service);
    let sending = tokio::spawn(async move { service.send_due().await });
    tokio::time::timeout(Duration::from_secs(30), server.has_taken(1))
        .await
        .unwrap();
    sending.abort();

    assert!(sending.await.unwrap_err().is_cancelled());
    assert_eq!(progress(&dying.only().await), ("sending", 1, true));
    dying.stop().await;

    let running = post.start(&dynamodb).await;
    post.time.pass(59);
    running.send().await;

    assert_eq!(server.mails().len(), 1, "the lease holds");
    post.time.pass(1);
    running.send().await;

    assert_eq!(progress(&running.only().await), ("sent", 2, false));
    let mails = server.mails();
    assert_eq!(
        (mails.len(), mails[0].header("Message-ID")),
        (2, mails[1].header("Message-ID"))
    );
    running.stop().await;
}

async fn a_crash_before_the_errand_is_written_loses_nothing(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let order = order(1, 1, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.stop().await;

    let errand = AttributeValue::S(format!("errand#{}", order.event_id));
    dynamodb
        .delete_item()
        .table_name(NOTIFICATIONS)
        .key("id", errand)
        .send()
        .await
        .unwrap();

    post.log
        .commit("notifications", ORDERS, &[(0, 0), (1, 0)])
        .unwrap();

    let running = post.start(&dynamodb).await;
    running.caught_up().await;
    running.send().await;

    assert_eq!(
        (server.mails().len(), progress(&running.only().await)),
        (1, ("sent", 1, false))
    );
    running.stop().await;
}

async fn a_replay_from_the_beginning_sends_nothing_twice(dynamodb: Client) {
    let server = MailServer::open(&[Answer::Recipient("550 no")]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0), order(2, 2, 0)]).await;
    running.send().await;

    let before = running.mailbox("").await;
    running.stop().await;
    post.log
        .commit("notifications", ORDERS, &[(0, 0), (1, 0)])
        .unwrap();

    let running = post.start(&dynamodb).await;
    running.caught_up().await;
    post.time.pass(7_200);
    running.send().await;

    assert_eq!(running.mailbox("").await, before);
    assert_eq!(
        (
            server.mails().len(),
            post.log.records(ORDERS_DEAD_LETTER).len()
        ),
        (1, 1)
    );
    running.stop().await;
}

async fn a_message_is_given_up_only_when_its_dead_letter_is_published(dynamodb: Client) {
    let server = MailServer::open(&[Answer::Recipient("550 no"); 2]).await;
    let post = Post::by(server.url()).await;
    let failures = AtomicUsize::new(0);

    let flaky = post.log.process(move |call| match call {
        Call::OpenPublisher { .. } if failures.fetch_add(1, Ordering::SeqCst) == 0 => {
            Fault::Unavailable
        }
        _ => Fault::None,
    });
    let running = post.start_process(&dynamodb, flaky).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert_eq!(progress(&running.only().await), ("pending", 1, true));
    post.time.pass(5);
    running.send().await;

    assert_eq!(progress(&running.only().await), ("dead", 2, false));
    assert_eq!(post.log.records(ORDERS_DEAD_LETTER).len(), 1);
    running.stop().await;
}

async fn the_sender_wakes_up_by_itself(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let service = Arc::clone(&running.service);
    let sending = tokio::spawn(async move { service.send().await });
    running.receive(&[order(1, 1, 0), order(2, 2, 0)]).await;
    tokio::time::timeout(Duration::from_secs(30), server.has_taken(2))
        .await
        .unwrap();
    running.shutdown.0.request();
    sending.await.unwrap();

    let sent = running.mailbox("").await;
    assert!(
        sent.iter()
            .all(|notification| progress(notification) == ("sent", 1, false)),
        "{sent:?}"
    );
    running.stop().await;
}
