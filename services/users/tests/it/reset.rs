//! The reset of a forgotten password.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::mail::{ADA, PASSWORD, Shop, check, pair, token};

const NEW_PASSWORD: &str = "battery staple";

/// Requests a new password for this address, and returns the token in the mail.
async fn forgotten(shop: &Shop, email: &str) -> String {
    assert_eq!(
        shop.forget_password(email).await.status,
        StatusCode::ACCEPTED
    );
    token(&shop.take().await, "reset_password", email)
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_the_link_and_every_session_ends() {
    check(async |shop| {
        let ada = shop.customer(ADA).await;
        let token = forgotten(&shop, ADA).await;
        let reset = shop.reset(&token, NEW_PASSWORD).await;
        assert_eq!(reset.status, StatusCode::NO_CONTENT, "{}", reset.body);

        ada.client.get(&ada.path).await.assert_problem(401, None);
        shop.client
            .log_in(ADA, PASSWORD)
            .await
            .assert_problem(401, None);
        shop.client.logged_in(ADA, NEW_PASSWORD).await;
        assert_eq!(shop.kinds().await, [pair("password_changed", ADA)]);
    })
    .await;
}

#[tokio::test]
async fn a_request_answers_the_same_whether_the_address_has_an_account() {
    check(async |shop| {
        shop.customer(ADA).await;
        shop.sign_up("eve@test.com").await;
        shop.take().await;
        for email in [ADA, "eve@test.com", "nobody@test.com"] {
            let reply = shop.forget_password(email).await;
            assert_eq!(reply.status, StatusCode::ACCEPTED);
            assert!(reply.body.is_null());
        }
        assert_eq!(shop.kinds().await, [pair("reset_password", ADA)]);
    })
    .await;
}

#[tokio::test]
async fn a_link_sets_one_password_even_if_it_is_used_twice_at_once() {
    check(async |shop| {
        shop.customer(ADA).await;
        let token = forgotten(&shop, ADA).await;
        let uses = ["battery staple", "staple of batteries", "horse of courses"];
        let replies = futures::future::join_all(uses.map(|new| shop.reset(&token, new))).await;
        let accepted: Vec<_> = std::iter::zip(uses, &replies)
            .filter(|(_, reply)| reply.status == StatusCode::NO_CONTENT)
            .collect();
        assert_eq!(accepted.len(), 1);

        shop.client.logged_in(ADA, accepted[0].0).await;
        shop.reset(&token, NEW_PASSWORD)
            .await
            .assert_problem(422, Some("token"));
    })
    .await;
}

#[tokio::test]
async fn a_link_ends_with_its_hour_a_new_password_or_another_address() {
    check(async |shop| {
        let ada = shop.customer(ADA).await;
        let old = forgotten(&shop, ADA).await;
        shop.run("UPDATE mail_tokens SET expires_at_ms = 1").await;
        shop.reset(&old, NEW_PASSWORD)
            .await
            .assert_problem(422, Some("token"));

        shop.next_slot().await;
        let before_change = forgotten(&shop, ADA).await;
        let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        let path = format!("{}/password", ada.path);
        let changed = ada.client.send(Method::PUT, &path, Some(change)).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT);
        assert_eq!(shop.kinds().await, [pair("password_changed", ADA)]);
        shop.reset(&before_change, "horse of courses")
            .await
            .assert_problem(422, Some("token"));

        let again = shop.client.logged_in(ADA, NEW_PASSWORD).await;
        let moved = json!({"email": "ada@new.test", "current_password": NEW_PASSWORD});
        assert_eq!(again.patch(&ada.path, moved).await.status, StatusCode::OK);
        let to_new = token(&shop.take().await, "verify_address", "ada@new.test");
        shop.next_slot().await;
        let before_move = forgotten(&shop, ADA).await;
        let path = format!("{}/verification", ada.path);
        let body = json!({ "token": to_new });
        let verified = again.send(Method::POST, &path, Some(body)).await;
        assert_eq!(verified.status, StatusCode::OK, "{}", verified.body);
        shop.reset(&before_move, "horse of courses")
            .await
            .assert_problem(422, Some("token"));
    })
    .await;
}

#[tokio::test]
async fn a_guessed_link_or_one_for_something_else_sets_nothing() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        let to_verify = token(&shop.take().await, "verify_address", ADA);
        for guess in [to_verify.as_str(), "", "0", &"A".repeat(43), "' OR 1=1 --"] {
            shop.reset(guess, NEW_PASSWORD)
                .await
                .assert_problem(422, Some("token"));
        }
        assert_eq!(ada.verify(&to_verify).await.status, StatusCode::OK);

        let to_reset = forgotten(&shop, ADA).await;
        ada.verify(&to_reset)
            .await
            .assert_problem(422, Some("token"));
        shop.reset(&to_reset, "password1")
            .await
            .assert_problem(422, Some("new_password"));
        let reset = shop.reset(&to_reset, NEW_PASSWORD).await;
        assert_eq!(
            reset.status,
            StatusCode::NO_CONTENT,
            "a refused password must not use up the link"
        );
    })
    .await;
}

#[tokio::test]
async fn the_owner_has_a_valid_link_however_often_others_request_one() {
    check(async |shop| {
        shop.customer(ADA).await;
        let first = forgotten(&shop, ADA).await;
        for _ in 0..5 {
            shop.forget_password(ADA).await;
        }
        assert_eq!(shop.kinds().await, [], "the inbox must not be filled");
        assert_eq!(
            shop.reset(&first, NEW_PASSWORD).await.status,
            StatusCode::NO_CONTENT
        );
    })
    .await;
}

#[tokio::test]
async fn the_host_of_a_request_is_in_no_link() {
    check(async |shop| {
        shop.customer(ADA).await;
        let request = axum::http::Request::post("/users/forgotten-password")
            .header("content-type", "application/json")
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("origin", "https://evil.example")
            .body(axum::body::Body::from(json!({ "email": ADA }).to_string()))
            .unwrap();
        let router = shop.client.router().clone();
        let reply = tower::ServiceExt::oneshot(router, request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::ACCEPTED);

        let taken = shop.take().await;
        let link = taken[0]["link"].as_str().unwrap();
        assert!(link.starts_with("https://shop.example/reset#"), "{link}");
    })
    .await;
}
