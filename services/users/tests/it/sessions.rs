//! Log-in, refreshed sessions, and log-out.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::databases::on_each_database;

const PASSWORD: &str = "correct horse";

async fn check(test: impl AsyncFn(Client)) {
    on_each_database(async |database| test(Client::new(database).await).await).await;
}

async fn sign_up(client: &Client) -> i64 {
    let new = json!({"name": "Demo", "email": "demo@test.com", "password": PASSWORD});
    client.post(new).await.body["id"].as_i64().unwrap()
}

async fn log_in(client: &Client, password: &str) -> Reply {
    let body = json!({"email": "Demo@test.com", "password": password});
    client.send(Method::POST, "/users/login", Some(body)).await
}

async fn refresh(client: &Client, token: &Value) -> Reply {
    client
        .send(
            Method::POST,
            "/users/refresh",
            Some(json!({ "refresh_token": token })),
        )
        .await
}

async fn set_password(client: &Client, id: i64, body: Value) -> Reply {
    client
        .send(Method::PUT, &format!("/users/{id}/password"), Some(body))
        .await
}

#[tokio::test]
async fn an_access_token_is_verified_with_only_the_published_keys() {
    check(async |client| {
        let id = sign_up(&client).await;
        let tokens = log_in(&client, PASSWORD).await;
        assert_eq!(
            (tokens.status, &tokens.body["token_type"]),
            (StatusCode::OK, &json!("Bearer"))
        );

        assert_eq!(tokens.body["expires_in"], 900);
        let access = tokens.body["access_token"].as_str().unwrap();
        let header = decode_header(access).unwrap();

        assert_eq!(
            (header.alg, header.typ.as_deref()),
            (Algorithm::EdDSA, Some("at+jwt"))
        );

        let keys = client.get("/.well-known/jwks.json").await.body;
        assert!(
            keys["keys"][0].get("d").is_none(),
            "the private part must not be published"
        );

        let keys: JwkSet = serde_json::from_value(keys).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["tidemark"]);
        validation.set_issuer(&["tidemark-users"]);

        let claims = decode::<HashMap<String, Value>>(access, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], id.to_string());
    })
    .await;
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_look_the_same() {
    check(async |client| {
        let unknown = log_in(&client, PASSWORD).await;
        sign_up(&client).await;
        let wrong = log_in(&client, "correct house").await;
        client
            .post(json!({"name": "Open", "email": "open@test.com"}))
            .await;

        let body = json!({"email": "open@test.com", "password": PASSWORD});
        let without = client.send(Method::POST, "/users/login", Some(body)).await;
        for reply in [&unknown, &wrong, &without] {
            reply.assert_problem(401, None);
            assert_eq!(reply.body, unknown.body);
        }
    })
    .await;
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_used_twice_ends_the_session() {
    check(async |client| {
        sign_up(&client).await;
        let first = log_in(&client, PASSWORD).await.body["refresh_token"].take();
        let second = refresh(&client, &first).await.body["refresh_token"].take();
        assert!(second.is_string() && second != first);

        let other_session = log_in(&client, PASSWORD).await.body["refresh_token"].take();
        refresh(&client, &first).await.assert_problem(401, None);
        refresh(&client, &second).await.assert_problem(401, None);

        assert_eq!(
            refresh(&client, &other_session).await.status,
            StatusCode::OK
        );

        refresh(&client, &json!("made up"))
            .await
            .assert_problem(401, None);
    })
    .await;
}

#[tokio::test]
async fn logging_out_ends_the_session_and_may_be_said_twice() {
    check(async |client| {
        sign_up(&client).await;
        let token = log_in(&client, PASSWORD).await.body["refresh_token"].take();
        for _ in 0..2 {
            let body = json!({ "refresh_token": token });
            let reply = client.send(Method::POST, "/users/logout", Some(body)).await;
            assert_eq!(reply.status, StatusCode::NO_CONTENT);
        }
        refresh(&client, &token).await.assert_problem(401, None);
    })
    .await;
}

#[tokio::test]
async fn a_new_password_wants_the_old_one_and_ends_every_session() {
    check(async |client| {
        let id = sign_up(&client).await;
        let token = log_in(&client, PASSWORD).await.body["refresh_token"].take();
        let new = "battery staple";
        set_password(&client, id, json!({"new_password": new}))
            .await
            .assert_problem(422, Some("current_password"));

        let wrong = json!({"current_password": "wrong horse", "new_password": new});
        set_password(&client, id, wrong)
            .await
            .assert_problem(403, Some("current_password"));

        let short = json!({"current_password": PASSWORD, "new_password": "short"});
        set_password(&client, id, short)
            .await
            .assert_problem(422, Some("new_password"));

        let right = json!({"current_password": PASSWORD, "new_password": new});
        assert_eq!(
            set_password(&client, id, right).await.status,
            StatusCode::NO_CONTENT
        );

        refresh(&client, &token).await.assert_problem(401, None);
        log_in(&client, PASSWORD).await.assert_problem(401, None);
        assert_eq!(log_in(&client, new).await.status, StatusCode::OK);
        set_password(&client, id + 1, json!({"new_password": new}))
            .await
            .assert_problem(404, None);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_user_has_no_session() {
    check(async |client| {
        let id = sign_up(&client).await;
        let token = log_in(&client, PASSWORD).await.body["refresh_token"].take();
        let password = json!({"current_password": PASSWORD});
        let closed = client
            .send(Method::DELETE, &format!("/users/{id}"), Some(password))
            .await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT);
        refresh(&client, &token).await.assert_problem(401, None);
    })
    .await;
}
