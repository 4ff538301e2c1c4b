//! Guessing passwords, and what it costs the others.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::client::Client;
use crate::databases::on_each_database;

const EMAIL: &str = "demo@test.com";
const PASSWORD: &str = "correct horse";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

async fn check(test: impl AsyncFn(Client)) {
    on_each_database(async |database| test(Client::new(database).await).await).await;
}

async fn sign_up(client: &Client) {
    let new = json!({"name": "Demo", "email": EMAIL, "password": PASSWORD});
    assert_eq!(client.post(new).await.status, StatusCode::CREATED);
}

/// How many of `n` guesses at the account are compared with its password.
async fn guess(client: &Client, email: &str, n: usize) -> usize {
    let mut compared = 0;
    for _ in 0..n {
        let reply = client.log_in(email, "wrong horse").await;
        match reply.status.as_u16() {
            401 => compared += 1,
            429 => assert_eq!(reply.body["detail"], "too many attempts to log in"),
            status => panic!("{status}: {}", reply.body),
        }
    }
    compared
}

#[tokio::test]
async fn strangers_who_guess_do_not_lock_the_owner_out() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        for address in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
            guess(&client.at(address), EMAIL, 12).await;
        }
        let stranger = client.at("198.51.100.3").log_in(EMAIL, PASSWORD).await;
        stranger.assert_problem(429, None);
        let owner = client.at(HOME).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn ten_wrong_guesses_at_home_do_not_lock_the_owner_out() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        assert_eq!(guess(&client.at(HOME), EMAIL, 12).await, 12);
        let owner = client.at(HOME).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_not_there_is_limited_alike() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        let there = guess(&client.at(ELSEWHERE), EMAIL, 14).await;
        let not_there = guess(&client.at("198.51.100.9"), "nobody@test.com", 14).await;
        assert_eq!((there, not_there), (10, 10));
    })
    .await;
}

#[tokio::test]
async fn an_address_that_invents_accounts_is_refused_and_no_other() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        let flood = client.at(ELSEWHERE);
        let mut compared = 0;
        for number in 0..45 {
            compared += guess(&flood, &format!("nobody{number}@test.com"), 1).await;
        }
        assert!((30..40).contains(&compared), "{compared}");
        let other = client.at("203.0.113.5").log_in(EMAIL, PASSWORD).await;
        assert_eq!(other.status, StatusCode::OK, "{}", other.body);
    })
    .await;
}

#[tokio::test]
async fn an_address_is_known_once_the_right_password_came_from_it() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        client.at(ELSEWHERE).logged_in(EMAIL, PASSWORD).await;
        guess(&client.at("203.0.113.5"), EMAIL, 12).await;
        let owner = client.at(ELSEWHERE).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn a_known_client_has_a_hundred_guesses_and_no_more() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        let compared = guess(&client.at(HOME), EMAIL, 110).await;
        assert!((100..105).contains(&compared), "{compared}");
        let other = client.at(ELSEWHERE).log_in(EMAIL, PASSWORD).await;
        assert_eq!(other.status, StatusCode::OK, "{}", other.body);
    })
    .await;
}

#[tokio::test]
async fn common_passwords_and_those_made_of_the_account_are_refused() {
    check(async |client| {
        for password in ["password1", "qwertyuiop", "demo@test.com", "Demodemo1"] {
            let new = json!({"name": "Demo", "email": EMAIL, "password": password});
            client.post(new).await.assert_problem(422, Some("password"));
        }
        sign_up(&client).await;
        let change = json!({"current_password": PASSWORD, "new_password": "password1"});
        client
            .send(Method::PUT, "/users/1/password", Some(change))
            .await
            .assert_problem(422, Some("new_password"));
    })
    .await;
}

#[tokio::test]
async fn a_password_is_the_same_from_two_keyboards() {
    check(async |client| {
        let composed = "ma\u{f1}ana-p\u{e4}ssword";
        let new = json!({"name": "Demo", "email": EMAIL, "password": composed});
        assert_eq!(client.post(new).await.status, StatusCode::CREATED);
        for typed in [composed, "man\u{303}ana-pa\u{308}ssword"] {
            assert_eq!(client.log_in(EMAIL, typed).await.status, StatusCode::OK);
        }
    })
    .await;
}
