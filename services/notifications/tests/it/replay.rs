//! Notifications whose delivery was given up are sent again on request.

use aws_sdk_dynamodb::Client;
use serde_json::json;
use uuid::Uuid;

use crate::email::{Post, progress};
use crate::mail_server::{Answer, MailServer};
use crate::order;

testbed::on_both_dynamodbs!(
    a_dead_notification_is_sent_again_when_asked_for,
    all_dead_notifications_are_sent_again_at_once,
    a_user_who_has_a_number_now_can_be_told_after_all,
    only_what_is_not_sent_can_be_sent_again,
);

async fn a_dead_notification_is_sent_again_when_asked_for(dynamodb: Client) {
    let server = MailServer::open(&[Answer::Recipient("550 no")]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let order = order(1, 1, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;

    let reply = running
        .client
        .post(
            &format!("/notifications/{}/retry", order.event_id),
            json!({}),
        )
        .await;

    assert_eq!(
        (reply.status.as_u16(), progress(&reply.body)),
        (200, ("pending", 0, true))
    );

    running.send().await;
    assert_eq!(
        (server.mails().len(), progress(&running.only().await)),
        (1, ("sent", 1, false))
    );
    running.stop().await;
}

async fn all_dead_notifications_are_sent_again_at_once(dynamodb: Client) {
    let server = MailServer::open(&[Answer::Recipient("550 no"); 3]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    running
        .receive(&[order(1, 1, 0), order(2, 2, 0), order(3, 3, 0)])
        .await;
    running.send().await;

    let reply = running.client.post("/notifications/retry", json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), reply.body),
        (200, json!({"retried": 3}))
    );

    running.send().await;
    assert_eq!(server.mails().len(), 3);
    let reply = running.client.post("/notifications/retry", json!({})).await;
    assert_eq!(reply.body, json!({"retried": 0}));
    running.stop().await;
}

async fn a_user_who_has_a_number_now_can_be_told_after_all(dynamodb: Client) {
    let gateway = crate::sms_gateway::SmsGateway::default();
    let mut post = Post::by(String::new()).await;
    post.config.notifications_email = None;
    post.config.notifications_sms = gateway.serve().await.parse().ok();
    post.accounts.set(1, None);

    let running = post.start(&dynamodb).await;
    let order = order(1, 1, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;

    assert_eq!(progress(&running.only().await), ("skipped", 1, false));
    post.accounts.set(1, Some("+49123456"));
    post.time.pass(60);

    let reply = running
        .client
        .post(
            &format!("/notifications/{}/retry", order.event_id),
            json!({}),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    running.send().await;

    assert_eq!(
        (gateway.requests().len(), progress(&running.only().await)),
        (1, ("sent", 1, false))
    );
    running.stop().await;
}

async fn only_what_is_not_sent_can_be_sent_again(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let order = order(1, 1, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;

    for (id, status, field) in [
        (order.event_id.to_string(), 409, "status"),
        (Uuid::now_v7().to_string(), 404, ""),
        (
            format!("errand#{}", order.event_id).replace('#', "%23"),
            400,
            "id",
        ),
    ] {
        let refused = running
            .client
            .post(&format!("/notifications/{id}/retry"), json!({}))
            .await;
        assert_eq!(
            (refused.status.as_u16(), refused.blamed()),
            (status, field),
            "{id}: {}",
            refused.body
        );
    }

    assert_eq!(server.mails().len(), 1);
    running.stop().await;
}
