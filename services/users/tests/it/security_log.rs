//! The security log: it contains each event once, with its fields, but no secret and no e-mail address.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use testbed::{CapturedLog, Identities};
use users::Config;

use crate::client::{Client, Reply};
use crate::databases::on_each_database;
use crate::mail::{ADA, Customer, PASSWORD, check, token};

const HOME: &str = "198.51.100.7";
const WRONG: &str = "wrong horse";
const NEW_PASSWORD: &str = "battery staple";
const ADMIN: &str = "admin@test.com";

/// The fields of an event that differ in each run or belong to its request.
const OF_EACH_LINE: [&str; 4] = ["timestamp", "level", "target", "span"];

/// A log that is read in pieces.
struct Read {
    log: CapturedLog,
    seen: usize,
}

impl Read {
    fn begin() -> Self {
        Self {
            log: CapturedLog::begin(),
            seen: 0,
        }
    }

    /// Returns the events since the last call, with their own fields.
    fn news(&mut self) -> Vec<Value> {
        let events = self.log.security();
        let news = events[self.seen..].iter().map(own_fields).collect();
        self.seen = events.len();
        news
    }
}

fn own_fields(event: &Value) -> Value {
    let fields = event.as_object().unwrap().iter();
    let own = fields.filter(|(name, _)| !OF_EACH_LINE.contains(&name.as_str()));
    let own: Map<_, _> = own
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    own.into()
}

fn refused(status: u16, reason: &str) -> Value {
    json!({"event": "request_refused", "service": "users", "status": status, "reason": reason})
}

fn user_id(customer: &Customer) -> i64 {
    customer.path.rsplit('/').next().unwrap().parse().unwrap()
}

/// Returns the refresh token of a new session.
async fn refresh_token(client: &Client, password: &str) -> String {
    let reply = client.log_in(ADA, password).await;
    reply.body["refresh_token"].as_str().unwrap().to_owned()
}

async fn refresh(client: &Client, token: &str) -> Reply {
    let body = json!({ "refresh_token": token });
    client
        .send(Method::POST, "/users/refresh", Some(body))
        .await
}

#[tokio::test]
async fn log_ins_are_logged_with_account_and_network() {
    check(async |shop| {
        let id = user_id(&shop.customer(ADA).await);
        let home = shop.client.at(HOME);
        let mut log = Read::begin();

        home.log_in(ADA, PASSWORD).await;
        let logged_in = json!({"event": "logged_in", "user_id": id, "network": HOME});
        assert_eq!(log.news(), [logged_in]);

        home.log_in(ADA, WRONG).await.assert_problem(401, None);
        let refusal = refused(401, "the e-mail address or the password is not right");
        let failed = json!({"event": "log_in_failed", "user_id": id, "network": HOME});
        assert_eq!(log.news(), [failed, refusal.clone()]);

        home.log_in("nobody@test.com", WRONG)
            .await
            .assert_problem(401, None);
        let failed = json!({"event": "log_in_failed", "network": HOME});
        assert_eq!(log.news(), [failed, refusal]);
    })
    .await;
}

#[tokio::test]
async fn a_closed_account_is_logged_and_so_is_a_refused_closing() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        let id = user_id(&ada);
        let thief = ada.client.at(HOME);
        let mut log = Read::begin();
        let refusal = json!({"event": "closing_refused", "user_id": id, "network": HOME});

        let stolen = thief.send(Method::DELETE, &ada.path, None).await;
        stolen.assert_problem(422, Some("current_password"));
        assert_eq!(log.news(), std::slice::from_ref(&refusal));

        let guess = json!({ "current_password": WRONG });
        let guessed = thief.send(Method::DELETE, &ada.path, Some(guess)).await;
        guessed.assert_problem(403, Some("current_password"));
        let reason = refused(403, "the current password is not right");
        assert_eq!(log.news(), [refusal, reason]);

        let missing = format!("/users/{}", id + 1);
        let other = thief.send(Method::DELETE, &missing, None).await;
        assert_eq!(other.status, StatusCode::FORBIDDEN);
        let news = log.news();
        assert!(
            news.iter().all(|event| event["event"] == "request_refused"),
            "{news:?}"
        );

        assert_eq!(ada.close().await.status, StatusCode::NO_CONTENT);
        let closed = json!({"event": "account_closed", "user_id": id});
        assert_eq!(log.news(), [closed]);
    })
    .await;
}

#[tokio::test]
async fn passwords_and_addresses_are_logged_when_they_change() {
    check(async |shop| {
        let mut log = Read::begin();
        let ada = shop.sign_up(ADA).await;
        let id = user_id(&ada);
        let mail = token(&shop.take().await, "verify_address", ADA);
        log.news();

        ada.verify("guessed")
            .await
            .assert_problem(422, Some("token"));
        let guessed = json!({"event": "mail_token_refused", "user_id": id});
        assert_eq!(log.news(), [guessed]);

        assert_eq!(ada.verify(&mail).await.status, StatusCode::OK);
        let verified = json!({"event": "address_verified", "user_id": id});
        assert_eq!(log.news(), [verified]);

        let moved = ada.change_address("ada@new.test").await;
        assert_eq!(moved.status, StatusCode::OK);
        let stated = json!({"event": "address_stated", "user_id": id});
        assert_eq!(log.news(), [stated]);

        let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        let path = format!("{}/password", ada.path);
        let changed = ada.client.send(Method::PUT, &path, Some(change)).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT);
        let changed = json!({"event": "password_changed", "user_id": id});
        assert_eq!(log.news(), [changed]);

        assert_no_secret(&log.log, &[PASSWORD, NEW_PASSWORD, &mail, "guessed"]);
    })
    .await;
}

#[tokio::test]
async fn resets_of_a_password_are_logged() {
    check(async |shop| {
        let id = user_id(&shop.customer(ADA).await);
        let home = shop.client.at(HOME);
        let mut log = Read::begin();
        let forgotten = json!({ "email": ADA });
        let path = "/users/forgotten-password";
        let requested = json!({"event": "password_reset_requested", "network": HOME});

        home.send(Method::POST, path, Some(forgotten.clone())).await;
        assert_eq!(log.news(), std::slice::from_ref(&requested));
        home.send(Method::POST, path, Some(forgotten)).await;
        let held = json!({"event": "account_mail_held_back", "kind": "reset_password"});
        assert_eq!(log.news(), [requested, held]);

        let mail = token(&shop.take().await, "reset_password", ADA);
        log.news();
        shop.reset("guessed", NEW_PASSWORD)
            .await
            .assert_problem(422, Some("token"));
        assert_eq!(log.news(), [json!({"event": "mail_token_refused"})]);

        let body = json!({ "token": mail, "new_password": NEW_PASSWORD });
        let reset = home.send(Method::POST, "/users/password-reset", Some(body));
        assert_eq!(reset.await.status, StatusCode::NO_CONTENT);
        let reset = json!({"event": "password_reset", "user_id": id, "network": HOME});
        assert_eq!(log.news(), [reset]);

        assert_no_secret(&log.log, &[NEW_PASSWORD, &mail]);
    })
    .await;
}

#[tokio::test]
async fn tokens_used_twice_and_refused_requests_are_logged() {
    check(async |shop| {
        let ada = shop.customer(ADA).await;
        let id = user_id(&ada);
        let bob = shop.sign_up("bob@test.com").await;
        let mut log = Read::begin();
        let first = refresh_token(&shop.client, PASSWORD).await;
        let renewed = refresh(&shop.client, &first).await;
        log.news();

        refresh(&shop.client, &first)
            .await
            .assert_problem(401, None);
        let news = log.news();
        let reused = json!({"event": "refresh_token_reused", "user_id": id});
        assert_eq!(news[0], reused);
        assert_eq!(
            (&news[1]["event"], &news[1]["status"], news.len()),
            (&json!("request_refused"), &json!(401), 2)
        );

        bob.client.get(&ada.path).await.assert_problem(403, None);
        let refusal = refused(403, "this belongs to another user");
        assert_eq!(log.news(), [refusal]);

        let mut replies = Vec::new();
        for number in 0..11 {
            let email = format!("stranger{number}@test.com");
            replies.push(shop.forget_password(&email).await.status);
        }
        assert_eq!(replies[10], StatusCode::TOO_MANY_REQUESTS);
        let last = refused(429, "too many requests for mail");
        assert_eq!(log.news().last(), Some(&last));

        let access = renewed.body["access_token"].as_str().unwrap();
        let second = renewed.body["refresh_token"].as_str().unwrap();
        assert_no_secret(&log.log, &[&first, access, second]);
    })
    .await;
}

#[tokio::test]
async fn the_acts_of_an_admin_are_logged_and_what_it_reads_is_not() {
    on_each_database(async |database| {
        let config = Config {
            users_admin_email: Some(ADMIN.parse().unwrap()),
            users_admin_password: Some(PASSWORD.parse().unwrap()),
            ..Config::default()
        };
        let client = Client::of(database, &config, Identities::default().auth).await;
        let new = json!({"name": "Ada", "email": ADA, "password": PASSWORD});
        let path = client.post(new).await.location.unwrap();
        let admin = client.logged_in(ADMIN, PASSWORD).await;
        let id = admin.get("/users").await.body["items"][0]["id"].clone();
        let mut log = Read::begin();

        assert_eq!(admin.get(&path).await.status, StatusCode::OK);
        assert_eq!(log.news(), Vec::<Value>::new());

        let sessions = format!("{path}/sessions");
        let ended = admin.send(Method::DELETE, &sessions, None).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        let act = |method, path: &str| json!({"event": "admin_act", "user_id": id, "method": method, "path": path});
        assert_eq!(log.news(), [act("DELETE", &sessions)]);

        let mine = client.logged_in(ADA, PASSWORD).await;
        log.news();
        mine.patch(&path, json!({"name": "Ada L."})).await;
        assert_eq!(log.news(), Vec::<Value>::new(), "she must not be an admin");
    })
    .await;
}

/// Asserts that the log contains none of these secrets, and the security log no e-mail address.
fn assert_no_secret(log: &CapturedLog, secrets: &[&str]) {
    let text = log.text();
    assert!(!text.is_empty());
    for secret in secrets.iter().chain(&["$argon2"]) {
        assert!(!text.contains(secret), "{secret} is in the log");
    }

    for event in log.security() {
        assert!(!event.to_string().contains('@'), "{event}");
    }
}
