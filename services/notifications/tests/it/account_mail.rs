//! Mail about accounts, fetched from the users service.

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::email::Post;
use crate::mail_server::{Answer, MailServer};

testbed::on_both_dynamodbs!(
    a_mail_about_an_account_is_sent_with_its_link_and_settled,
    account_mail_is_retried_unless_it_is_refused_for_good,
    without_a_mail_server_mail_is_shown_and_stored_nowhere,
    a_mail_of_an_unknown_kind_holds_up_no_other,
);

const LINK: &str = "https://shop.example/reset#t0ken";

fn mail(kind: &str) -> Value {
    json!({"id": Uuid::new_v4(), "to": "ada@test.com", "kind": kind, "link": LINK})
}

fn id(mail: &Value) -> String {
    mail["id"].as_str().unwrap().to_owned()
}

async fn a_mail_about_an_account_is_sent_with_its_link_and_settled(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let reset = mail("reset_password");
    post.accounts.put_mail(reset.clone());

    running.service.send_due_account_mail().await.unwrap();
    running.service.send_due_account_mail().await.unwrap();

    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, "ada@test.com");
    assert_eq!(mails[0].header("Subject"), "Set another password");
    assert!(mails[0].text.contains(LINK), "{}", mails[0].text);
    assert_eq!(post.accounts.settled(), [id(&reset)]);
    running.stop().await;
}

async fn account_mail_is_retried_unless_it_is_refused_for_good(dynamodb: Client) {
    let server = MailServer::open(&[
        Answer::Recipient("450 4.2.1 busy"),
        Answer::Recipient("550 5.1.1 no such mailbox"),
    ])
    .await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let verify = mail("verify_address");
    post.accounts.put_mail(verify.clone());

    running.service.send_due_account_mail().await.unwrap();
    assert!(post.accounts.settled().is_empty());
    running.service.send_due_account_mail().await.unwrap();
    assert_eq!(post.accounts.settled(), [id(&verify)]);
    assert!(server.mails().is_empty());

    post.accounts.set_away(true);
    let refused = running.service.send_due_account_mail().await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    running.stop().await;
}

async fn without_a_mail_server_mail_is_shown_and_stored_nowhere(dynamodb: Client) {
    let mut post = Post::by("smtp://127.0.0.1:1".to_owned()).await;
    post.config.notifications_email = None;
    let running = post.start(&dynamodb).await;
    post.accounts.put_mail(mail("verify_address"));
    post.accounts.put_mail(mail("reset_password"));
    running.service.send_due_account_mail().await.unwrap();

    let shown = running.client.get("/notifications/account-mail").await.body;
    let items = shown["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["link"]), (2, &json!(LINK)));
    assert!(items[0]["text"].as_str().unwrap().contains(LINK));
    assert_eq!(post.accounts.settled().len(), 2);

    let stored = dynamodb.scan().table_name("notifications").send().await;
    assert_eq!(stored.unwrap().count, 0);
    running.stop().await;
}

async fn a_mail_of_an_unknown_kind_holds_up_no_other(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    post.accounts.put_mail(mail("advertisement"));
    post.accounts.put_mail(mail("password_changed"));
    running.service.send_due_account_mail().await.unwrap();
    assert_eq!(server.mails().len(), 1);
    assert_eq!(post.accounts.settled().len(), 2);
    running.stop().await;
}
