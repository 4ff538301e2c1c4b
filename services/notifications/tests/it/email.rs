//! Messages by e-mail, and the answers of mail servers.

use aws_sdk_dynamodb::Client;
use events::ORDERS_DEAD_LETTER;
use notifications::Config;
use record_log::RecordLog;
use record_log::simulated::SimulatedLog;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::accounts::Accounts;
use crate::mail_server::{Answer, MailServer};
use crate::{Running, Time, log, order};

testbed::on_both_dynamodbs!(
    a_message_is_sent_once_with_text_and_html_under_the_id_of_its_event,
    a_server_that_is_busy_is_tried_again_when_its_time_has_come,
    a_message_that_is_refused_for_good_becomes_a_dead_letter_at_once,
    a_server_that_is_away_is_tried_until_it_was_tried_too_often,
    a_server_that_does_not_let_us_in_is_no_fault_of_the_message,
    a_server_without_tls_gets_nothing_where_tls_is_required,
    a_user_who_is_gone_is_told_nothing,
    messages_wait_while_the_users_service_is_away,
    a_user_who_has_confirmed_no_address_is_told_nothing,
);

/// The settings and the users of a service that sends by e-mail.
pub struct Post {
    pub log: SimulatedLog,
    pub time: Time,
    pub accounts: Accounts,
    pub config: Config,
}

impl Post {
    pub async fn by(email: String) -> Self {
        let accounts = Accounts::of_fifty();
        let users_url = accounts.serve().await;
        let config = Config {
            users_url,
            notifications_email: email.parse().ok(),
            ..Config::default()
        };

        Self {
            log: log(),
            time: Time::begin(),
            accounts,
            config,
        }
    }

    pub async fn start(&self, dynamodb: &Client) -> Running {
        self.start_process(dynamodb, self.log.clone()).await
    }

    pub async fn start_process(&self, dynamodb: &Client, process: SimulatedLog) -> Running {
        Running::start_with(
            dynamodb,
            &self.log,
            process,
            &self.config,
            self.time.clock(),
        )
        .await
    }
}

/// Returns the status, the number of attempts, and whether another attempt is planned.
pub fn progress(notification: &Value) -> (&str, u64, bool) {
    let status = notification["status"].as_str().unwrap();
    (
        status,
        notification["attempts"].as_u64().unwrap(),
        notification["next_try_at"].is_string(),
    )
}

async fn a_message_is_sent_once_with_text_and_html_under_the_id_of_its_event(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let order = order(7, 42, 0);
    running.receive(std::slice::from_ref(&order)).await;

    assert_eq!(progress(&running.only().await), ("pending", 0, true));
    running.send().await;
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;

    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].to.as_str()), (1, "user42@test.com"));
    assert_eq!(
        mails[0].header("Message-ID"),
        format!("<{}@tidemark.example>", order.event_id)
    );

    assert_eq!(mails[0].header("Subject"), "Your order 7 is in");
    assert_eq!(mails[0].header("Auto-Submitted"), "auto-generated");
    for part in [
        "multipart/alternative",
        "text/plain",
        "text/html",
        "Total: 39.98 USD",
        "<strong>39.98 USD</strong>",
    ] {
        assert!(mails[0].text.contains(part), "{part}: {}", mails[0].text);
    }

    let sent = running.only().await;
    assert_eq!(
        (progress(&sent), &sent["channel"]),
        (("sent", 1, false), &json!("email"))
    );

    assert_eq!(sent["sent_at"], json!(post.time.clock().now()));
    running.stop().await;
}

async fn a_server_that_is_busy_is_tried_again_when_its_time_has_come(dynamodb: Client) {
    let server = MailServer::open(&[
        Answer::Recipient("450 4.2.1 busy"),
        Answer::Recipient("451 4.3.0 full"),
    ])
    .await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    let waiting = running.only().await;
    assert_eq!(progress(&waiting), ("pending", 1, true));
    assert!(
        waiting["last_error"].as_str().unwrap().contains("(450)"),
        "{waiting}"
    );

    running.send().await;
    assert_eq!(
        progress(&running.only().await),
        ("pending", 1, true),
        "it is not due yet"
    );

    post.time.pass(5);
    running.send().await;
    assert_eq!(progress(&running.only().await), ("pending", 2, true));
    post.time.pass(10);
    running.send().await;

    let sent = running.only().await;
    assert_eq!(
        (progress(&sent), &sent["last_error"]),
        (("sent", 3, false), &Value::Null)
    );

    assert_eq!(server.mails().len(), 1);
    running.stop().await;
}

async fn a_message_that_is_refused_for_good_becomes_a_dead_letter_at_once(dynamodb: Client) {
    let server = MailServer::open(&[Answer::Recipient("550 5.1.1 no such box")]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    let order = order(1, 1, 0);
    running.receive(std::slice::from_ref(&order)).await;
    running.send().await;

    let dead = running.only().await;
    assert_eq!(progress(&dead), ("dead", 1, false));
    let letters = post.log.records(ORDERS_DEAD_LETTER);
    assert_eq!(letters.len(), 1);

    assert_eq!(
        letters[0].value.as_deref(),
        Some(serde_json::to_vec(&order).unwrap().as_slice())
    );

    let header = |wanted: &str| {
        let found = letters[0].headers.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default()
    };

    assert!(
        header("reason").contains("550") && header("reason").contains("no such box"),
        "{}",
        header("reason")
    );

    assert_eq!(header("reason"), dead["last_error"].as_str().unwrap());
    assert_eq!(
        [header("reported_by"), header("ce_type")],
        ["notifications", "order.created"]
    );

    post.time.pass(7_200);
    running.send().await;
    assert!(server.mails().is_empty());
    running.stop().await;
}

async fn a_server_that_is_away_is_tried_until_it_was_tried_too_often(dynamodb: Client) {
    let mut post = Post::by(format!("smtp://{}", nobody().await)).await;
    post.config.notifications_attempts = 3;
    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;

    for attempt in 1..3 {
        running.send().await;
        assert_eq!(progress(&running.only().await), ("pending", attempt, true));
        post.time.pass(3_600);
    }

    running.send().await;
    let dead = running.only().await;
    assert_eq!(progress(&dead), ("dead", 3, false));

    assert!(
        dead["last_error"]
            .as_str()
            .unwrap()
            .starts_with("given up after 3 attempts: "),
        "{dead}"
    );

    assert_eq!(post.log.records(ORDERS_DEAD_LETTER).len(), 1);
    running.stop().await;
}

/// Returns an address without a listener.
async fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

async fn a_server_that_does_not_let_us_in_is_no_fault_of_the_message(dynamodb: Client) {
    let server = MailServer::open(&[Answer::LogIn("535 5.7.8 who are you?")]).await;
    let mut post = Post::by(server.url()).await;
    post.config.notifications_email_user = Some("shop".to_owned());
    post.config.notifications_email_password = "hush".parse().ok();

    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    let waiting = running.only().await;
    assert_eq!(progress(&waiting), ("pending", 1, true));
    assert!(!waiting.to_string().contains("hush"), "{waiting}");
    post.time.pass(5);
    running.send().await;

    assert_eq!(progress(&running.only().await), ("sent", 2, false));
    assert_eq!(server.logins(), 1);
    running.stop().await;
}

async fn a_server_without_tls_gets_nothing_where_tls_is_required(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(format!("{}?tls=required", server.url())).await;
    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    let waiting = running.only().await;
    assert_eq!(progress(&waiting), ("pending", 1, true));
    assert!(
        waiting["last_error"].as_str().unwrap().contains("STARTTLS"),
        "{waiting}"
    );

    assert!(server.mails().is_empty());
    running.stop().await;
}

async fn a_user_who_has_confirmed_no_address_is_told_nothing(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    post.accounts.unconfirm(1);
    let running = post.start(&dynamodb).await;
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert!(server.mails().is_empty());
    let skipped = running.only().await;
    assert_eq!(progress(&skipped), ("skipped", 1, false));
    assert!(
        skipped["last_error"]
            .as_str()
            .unwrap()
            .contains("confirmed")
    );

    // Once the address is confirmed, the next order's message is sent at once.
    post.accounts.set(1, None);
    running.receive(&[order(2, 1, 1)]).await;
    running.send().await;
    assert_eq!(server.mails().len(), 1);
    running.stop().await;
}

async fn a_user_who_is_gone_is_told_nothing(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    post.accounts.remove(1);
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    let skipped = running.only().await;
    assert_eq!(progress(&skipped), ("skipped", 1, false));
    assert_eq!(
        skipped["last_error"],
        json!("there is no such user any more")
    );

    post.time.pass(7_200);
    running.send().await;
    assert!(server.mails().is_empty());

    assert!(
        post.log.offsets(ORDERS_DEAD_LETTER).is_err(),
        "there is no dead letter, and so the topic was not created"
    );
    running.stop().await;
}

async fn messages_wait_while_the_users_service_is_away(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let post = Post::by(server.url()).await;
    let running = post.start(&dynamodb).await;
    post.accounts.set_away(true);
    running.receive(&[order(1, 1, 0)]).await;
    running.send().await;

    assert_eq!(progress(&running.only().await), ("pending", 1, true));
    post.accounts.set_away(false);
    post.time.pass(5);
    running.send().await;
    running.receive(&[order(2, 1, 0), order(3, 1, 0)]).await;
    running.send().await;

    assert_eq!(server.mails().len(), 3);
    assert!(
        post.accounts.asked() <= 4,
        "addresses are cached, not requested for each message: {}",
        post.accounts.asked()
    );
    running.stop().await;
}
