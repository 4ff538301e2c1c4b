//! Messages by an SMS gateway, and its answers.

use aws_sdk_dynamodb::Client;
use events::ORDERS_DEAD_LETTER;
use serde_json::json;

use crate::Running;
use crate::email::{Post, progress};
use crate::mail_server::MailServer;
use crate::order;
use crate::sms_gateway::SmsGateway;

testbed::on_both_dynamodbs!(
    a_text_message_is_sent_once_with_the_token_and_the_id_of_its_event,
    a_gateway_that_is_busy_is_tried_again,
    a_number_that_is_refused_becomes_a_dead_letter,
    a_user_without_a_number_is_told_nothing,
    e_mail_is_preferred,
);

async fn start(dynamodb: &Client, gateway: &SmsGateway) -> (Post, Running) {
    let mut post = Post::by(String::new()).await;
    post.config.notifications_email = None;
    post.config.notifications_sms = gateway.serve().await.parse().ok();
    post.config.notifications_sms_token = "hush".parse().ok();
    let running = post.start(dynamodb).await;
    (post, running)
}

async fn a_text_message_is_sent_once_with_the_token_and_the_id_of_its_event(dynamodb: Client) {
    let gateway = SmsGateway::default();
    let (_, running) = start(&dynamodb, &gateway).await;
    let order = order(7, 42, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;
    running.send().await;

    let requests = gateway.requests();
    assert_eq!(requests.len(), 1);
    let (headers, body) = &requests[0];
    let text = "Tidemark: your order 7 is in. Total: 39.98 USD.";

    assert_eq!(
        *body,
        json!({"id": order.event_id, "to": "+491234500042", "text": text})
    );

    assert_eq!(headers["authorization"], "Bearer hush");
    assert_eq!(
        headers["idempotency-key"],
        order.event_id.to_string().as_str()
    );

    let sent = running.only().await;
    assert_eq!(
        (progress(&sent), &sent["channel"]),
        (("sent", 1, false), &json!("sms"))
    );
    running.stop().await;
}

async fn a_gateway_that_is_busy_is_tried_again(dynamodb: Client) {
    let gateway = SmsGateway::answering(&[429, 503]);
    let (post, running) = start(&dynamodb, &gateway).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert_eq!(progress(&running.only().await), ("pending", 1, true));
    post.time.pass(5);
    running.send().await;
    post.time.pass(10);
    running.send().await;

    assert_eq!(
        (gateway.requests().len(), progress(&running.only().await)),
        (3, ("sent", 3, false))
    );
    running.stop().await;
}

async fn a_number_that_is_refused_becomes_a_dead_letter(dynamodb: Client) {
    let gateway = SmsGateway::answering(&[422]);
    let (post, running) = start(&dynamodb, &gateway).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    let dead = running.only().await;
    assert_eq!(progress(&dead), ("dead", 1, false));
    assert!(
        dead["last_error"].as_str().unwrap().contains("422") && !dead.to_string().contains("hush"),
        "{dead}"
    );

    assert_eq!(post.log.records(ORDERS_DEAD_LETTER).len(), 1);
    running.stop().await;
}

async fn a_user_without_a_number_is_told_nothing(dynamodb: Client) {
    let gateway = SmsGateway::default();
    let (post, running) = start(&dynamodb, &gateway).await;
    post.accounts.set(1, None);
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert_eq!(
        (gateway.requests().len(), progress(&running.only().await)),
        (0, ("skipped", 1, false))
    );
    running.stop().await;
}

async fn e_mail_is_preferred(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let gateway = SmsGateway::default();
    let mut post = Post::by(server.url()).await;
    post.config.notifications_sms = gateway.serve().await.parse().ok();

    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert_eq!((server.mails().len(), gateway.requests().len()), (1, 0));
    assert_eq!(running.only().await["channel"], json!("email"));
    running.stop().await;
}
