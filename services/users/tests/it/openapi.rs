//! Tests that the service conforms to its OpenAPI description.

use axum::http::Method;
use serde_json::json;

use crate::client::Client;
use crate::databases::SqliteFile;
use testbed::description::{assert_fields, assert_guarded, assert_routes, description};

#[tokio::test]
async fn routes_and_replies_are_as_described() {
    let sqlite = SqliteFile::new();
    let client = Client::new(sqlite.open()).await;
    let document = description(client.router()).await;
    assert_routes(client.router(), &document).await;

    let new = json!({"name": "Demo", "email": "demo@test.com", "phone": "12345", "password": "correct horse"});
    assert_fields(&document, "NewUser", &new);
    let user = client.post(new).await;
    assert_fields(&document, "User", &user.body);
    assert_fields(&document, "UserPage", &client.get("/users").await.body);

    let mail = client
        .send(Method::POST, "/account-mail/take", None)
        .await
        .body;
    assert_fields(&document, "OutgoingMailList", &mail);
    assert_fields(&document, "OutgoingMail", &mail["items"][0]);

    let log_in = json!({"email": "demo@test.com", "password": "correct horse", "code": null});
    assert_fields(&document, "LogIn", &log_in);
    assert_fields(
        &document,
        "Tokens",
        &client
            .send(Method::POST, "/users/login", Some(log_in))
            .await
            .body,
    );

    let sessions = format!("{}/sessions", user.location.unwrap());
    let sessions = client.get(&sessions).await.body;
    assert_fields(&document, "SessionList", &sessions);
    assert_fields(&document, "Session", &sessions["items"][0]);
    assert_fields(&document, "Problem", &client.post(json!({})).await.body);
}

#[tokio::test]
async fn only_routes_described_as_secured_need_credentials() {
    let sqlite = SqliteFile::new();
    let client = Client::enforced(sqlite.open(), &users::Config::default()).await;
    let document = description(client.router()).await;
    assert_guarded(client.router(), &document).await;
}
