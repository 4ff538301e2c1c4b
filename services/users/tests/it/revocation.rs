//! The revocation of access tokens, and the list of sessions.

use axum::http::{Method, StatusCode};
use chassis::sql::Database;
use serde_json::{Value, json};
use users::Config;

use crate::client::{Client, Reply};
use crate::databases::on_each_database;

const EMAIL: &str = "ada@test.com";
const PASSWORD: &str = "correct horse";

struct Ada {
    client: Client,
    database: Database,
    id: i64,
}

/// A session: its access token as a client, and its refresh token.
struct Session {
    client: Client,
    refresh_token: Value,
}

impl Ada {
    async fn log_in(&self) -> Session {
        let mut reply = self.client.log_in(EMAIL, PASSWORD).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        Session {
            client: self
                .client
                .showing(reply.body["access_token"].as_str().unwrap()),
            refresh_token: reply.body["refresh_token"].take(),
        }
    }

    async fn is_let_in(&self, session: &Session) -> bool {
        let reply = session.client.get(&format!("/users/{}", self.id)).await;
        match reply.status.as_u16() {
            200 => true,
            401 => false,
            status => panic!("{status}: {}", reply.body),
        }
    }

    async fn post(&self, path: &str, refresh_token: &Value) -> Reply {
        let body = json!({ "refresh_token": refresh_token });
        self.client.send(Method::POST, path, Some(body)).await
    }

    async fn sessions(&self, session: &Session) -> Vec<Value> {
        let reply = session
            .client
            .get(&format!("/users/{}/sessions", self.id))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        reply.body["items"].as_array().unwrap().clone()
    }

    async fn delete(&self, session: &Session, path: &str) -> Reply {
        let path = format!("/users/{}{path}", self.id);
        session.client.send(Method::DELETE, &path, None).await
    }
}

async fn check(test: impl AsyncFn(Ada)) {
    on_each_database(async |database| {
        let client = Client::enforced(database.clone(), &Config::default()).await;
        let new = json!({"name": "Ada", "email": EMAIL, "password": PASSWORD});
        let id = client.post(new).await.body["id"].as_i64().unwrap();

        // Confirms her address, so that she can log in from any client.
        for statement in [
            "UPDATE users SET email = 'ada@test.com', email_verified_at_ms = 1",
            "DELETE FROM stated_addresses",
        ] {
            sqlx::query(statement)
                .execute(database.pool())
                .await
                .unwrap();
        }

        test(Ada {
            client,
            database,
            id,
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn logging_out_takes_the_access_token_back() {
    check(async |ada| {
        let session = ada.log_in().await;
        assert!(ada.is_let_in(&session).await);
        ada.post("/users/logout", &session.refresh_token).await;
        assert!(!ada.is_let_in(&session).await);
        assert!(ada.is_let_in(&ada.log_in().await).await);
    })
    .await;
}

#[tokio::test]
async fn a_new_password_takes_every_access_token_back() {
    check(async |ada| {
        let here = ada.log_in().await;
        let there = ada.log_in().await;
        let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
        let path = format!("/users/{}/password", ada.id);
        let changed = here.client.send(Method::PUT, &path, Some(change)).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT);
        assert!(!ada.is_let_in(&here).await && !ada.is_let_in(&there).await);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_token_used_twice_takes_the_access_tokens_back() {
    check(async |ada| {
        let session = ada.log_in().await;
        let refreshed = ada.post("/users/refresh", &session.refresh_token).await;
        let thief = ada
            .client
            .showing(refreshed.body["access_token"].as_str().unwrap());
        ada.post("/users/refresh", &session.refresh_token)
            .await
            .assert_problem(401, None);

        assert!(!ada.is_let_in(&session).await);
        thief
            .get(&format!("/users/{}", ada.id))
            .await
            .assert_problem(401, None);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_account_has_no_access_token() {
    check(async |ada| {
        let session = ada.log_in().await;
        let path = format!("/users/{}", ada.id);
        let password = json!({"current_password": PASSWORD});
        let deleted = session
            .client
            .send(Method::DELETE, &path, Some(password))
            .await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        assert!(!ada.is_let_in(&session).await);
    })
    .await;
}

#[tokio::test]
async fn other_services_get_the_epochs_of_revoked_tokens() {
    check(async |ada| {
        let published = || ada.client.get("/.well-known/token-epochs.json");
        let expected = |epochs: Value| json!({"epochs": epochs, "complete_since": 0});
        assert_eq!(published().await.body, expected(json!({})));
        let session = ada.log_in().await;
        ada.post("/users/logout", &session.refresh_token).await;
        let id = ada.id.to_string();
        assert_eq!(published().await.body, expected(json!({id: 1})));
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_at_once() {
    check(async |ada| {
        let elsewhere = ada.client.at("198.51.100.7");
        elsewhere.logged_in(EMAIL, PASSWORD).await;
        let here = ada.log_in().await;
        let listed = ada.sessions(&here).await;
        let addresses: Vec<_> = listed.iter().map(|item| &item["address"]).collect();
        assert_eq!(addresses.len(), 2);
        assert!(addresses.contains(&&json!("198.51.100.7")), "{listed:?}");

        let other = listed.iter().find(|item| item["address"] == "198.51.100.7");
        let path = format!("/sessions/{}", other.unwrap()["id"].as_str().unwrap());
        let ended = ada.delete(&here, &path).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);

        let here = ada.log_in().await;
        ada.delete(&here, &path).await.assert_problem(404, None);
        assert_eq!(ada.sessions(&here).await.len(), 2);

        let ended = ada.delete(&here, "/sessions").await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        assert!(!ada.is_let_in(&here).await);
        ada.post("/users/refresh", &here.refresh_token)
            .await
            .assert_problem(401, None);

        assert_eq!(ada.sessions(&ada.log_in().await).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn sessions_of_others_are_neither_seen_nor_ended() {
    check(async |ada| {
        let hers = ada.log_in().await;
        let new = json!({"name": "Eve", "email": "eve@test.com", "password": PASSWORD});
        let eves = ada.client.post(new).await.location.unwrap();
        let eve = ada.client.logged_in("eve@test.com", PASSWORD).await;
        let path = format!("/users/{}/sessions", ada.id);
        let listed = ada.sessions(&hers).await;
        let one = listed[0]["id"].as_str().unwrap();
        eve.get(&path).await.assert_problem(403, None);

        for path in [path.clone(), format!("{path}/{one}")] {
            eve.send(Method::DELETE, &path, None)
                .await
                .assert_problem(403, None);
        }

        eve.send(Method::DELETE, &format!("{eves}/sessions/{one}"), None)
            .await
            .assert_problem(404, None);

        assert!(ada.is_let_in(&hers).await);
    })
    .await;
}

#[tokio::test]
async fn no_refresh_puts_the_end_of_a_session_off() {
    check(async |ada| {
        let session = ada.log_in().await;
        let mut transaction = ada.database.write().await.unwrap();
        sqlx::query("UPDATE sessions SET began_at_ms = began_at_ms - 91 * 86400000")
            .execute(transaction.connection())
            .await
            .unwrap();

        transaction.commit().await.unwrap();
        ada.post("/users/refresh", &session.refresh_token)
            .await
            .assert_problem(401, None);
    })
    .await;
}
