//! The counts of the security log's events, on which alerts are raised.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chassis::{Health, Metrics, operator};
use http_body_util::BodyExt;
use serde_json::json;
use testbed::Identities;
use tower::ServiceExt;
use users::Config;

use crate::client::Client;
use crate::databases::SqliteFile;

const EMAIL: &str = "ada@test.com";
const ADMIN: &str = "admin@test.com";
const PASSWORD: &str = "correct horse";

/// Returns the counts by event, as they are exported.
async fn counts(metrics: &Metrics) -> BTreeMap<String, u64> {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let routes = operator(&Health::new(), metrics);
    let reply = routes.oneshot(request).await.unwrap();
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();

    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text.lines().filter_map(|line| {
        let labels = line.strip_prefix("security_events_total{event=\"")?;
        let (event, rest) = labels.split_once("\",service=\"users\"} ")?;
        Some((event.to_owned(), rest.parse().unwrap()))
    });
    lines.collect()
}

#[tokio::test]
async fn failed_log_ins_reused_tokens_and_admins_acts_are_counted_from_zero() {
    let file = SqliteFile::new();
    let metrics = Metrics::new("users");
    let config = Config {
        users_admin_email: Some(ADMIN.parse().unwrap()),
        users_admin_password: Some(PASSWORD.parse().unwrap()),
        ..Config::default()
    };
    let client = Client::counted(file.open(), &config, Identities::default().auth, &metrics).await;
    let new = json!({"name": "Ada", "email": EMAIL, "password": PASSWORD});
    let path = client.post(new).await.location.unwrap();
    let before = counts(&metrics).await;
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(before.values().all(|count| *count == 0), "{before:?}");

    for _ in 0..3 {
        client
            .log_in(EMAIL, "wrong horse")
            .await
            .assert_problem(401, None);
    }
    let token = client.log_in(EMAIL, PASSWORD).await.body["refresh_token"].take();
    for status in [200, 401, 401] {
        let body = Some(json!({ "refresh_token": token }));
        let reply = client.send(Method::POST, "/users/refresh", body).await;
        assert_eq!(reply.status, status);
    }

    let admin = client.logged_in(ADMIN, PASSWORD).await;
    assert_eq!(admin.get(&path).await.status, StatusCode::OK);
    let sessions = format!("{path}/sessions");
    let ended = admin.send(Method::DELETE, &sessions, None).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);

    let after = counts(&metrics).await;
    let expected = [
        ("admin_act", 1),
        ("log_in_failed", 3),
        ("refresh_token_reused", 1),
        ("second_factor_refused", 0),
    ];
    let expected = expected.map(|(event, count)| (event.to_owned(), count));
    assert_eq!(after, BTreeMap::from(expected));
}
