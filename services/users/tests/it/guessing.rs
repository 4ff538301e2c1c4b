//! Limits on guessing passwords, and their effect on other users.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::client::Client;
use crate::databases::on_each_database;

const EMAIL: &str = "demo@test.com";
const PASSWORD: &str = "correct horse";
/// More guesses than any allowance permits, even if they are made slowly.
const MOST_GUESSES: usize = 400;
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

async fn check(test: impl AsyncFn(Client)) {
    on_each_database(async |database| test(Client::new(database).await).await).await;
}

/// Signs up and confirms the address. Returns the path of the account.
async fn sign_up(client: &Client) -> String {
    let new = json!({"name": "Demo", "email": EMAIL, "password": PASSWORD});
    let created = client.post(new).await;
    assert_eq!(created.status, StatusCode::CREATED);

    // An account with an unconfirmed address can log in only from the client that signed up.
    let take = client.send(Method::POST, "/account-mail/take", None).await;
    let link = take.body["items"][0]["link"].as_str().unwrap().to_owned();
    let account = created.location.unwrap();
    let path = format!("{account}/verification");
    let token = json!({"token": link.split_once('#').unwrap().1});
    let verified = client.send(Method::POST, &path, Some(token)).await;
    assert_eq!(verified.status, StatusCode::OK, "{}", verified.body);
    account
}

/// Guesses until a guess is refused. Returns the number of guesses before it, and the time that they took.
async fn guess(client: &Client, mut email: impl FnMut(usize) -> String) -> (usize, Duration) {
    let began = Instant::now();
    for compared in 0..MOST_GUESSES {
        let reply = client.log_in(&email(compared), "wrong horse").await;
        match reply.status.as_u16() {
            401 => {}
            429 => {
                assert_eq!(reply.body["detail"], "too many attempts to log in");
                return (compared, began.elapsed());
            }
            status => panic!("{status}: {}", reply.body),
        }
    }
    panic!("none of {MOST_GUESSES} guesses was refused");
}

/// Asserts that the allowance gives this number of guesses: `burst` at once, and one more after each `seconds`.
fn assert_allowed((compared, took): (usize, Duration), burst: usize, seconds: u64) {
    let more = usize::try_from(took.as_secs() / seconds).unwrap() + 1;
    let allowed = burst..=burst + more;
    assert!(allowed.contains(&compared), "{compared} of {allowed:?}");
}

fn at_the_account(_: usize) -> String {
    EMAIL.to_owned()
}

#[tokio::test]
async fn strangers_who_guess_do_not_lock_the_owner_out() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        for address in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
            guess(&client.at(address), at_the_account).await;
        }
        let owner = client.at(HOME).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn ten_wrong_guesses_at_home_do_not_lock_the_owner_out() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        for _ in 0..12 {
            let reply = client.at(HOME).log_in(EMAIL, "wrong horse").await;
            reply.assert_problem(401, None);
        }

        let owner = client.at(HOME).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_not_there_is_limited_alike() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        assert_allowed(guess(&client.at(ELSEWHERE), at_the_account).await, 10, 6);
        let nobody = |_| "nobody@test.com".to_owned();
        assert_allowed(guess(&client.at("198.51.100.9"), nobody).await, 10, 6);
    })
    .await;
}

#[tokio::test]
async fn an_address_that_invents_accounts_is_refused_and_no_other() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        let invented = |number| format!("nobody{number}@test.com");
        assert_allowed(guess(&client.at(ELSEWHERE), invented).await, 30, 2);
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
        guess(&client.at("203.0.113.5"), at_the_account).await;
        let owner = client.at(ELSEWHERE).log_in(EMAIL, PASSWORD).await;
        assert_eq!(owner.status, StatusCode::OK, "{}", owner.body);
    })
    .await;
}

#[tokio::test]
async fn a_known_client_has_a_hundred_guesses_and_no_more() {
    check(async |client| {
        sign_up(&client.at(HOME)).await;
        assert_allowed(guess(&client.at(HOME), at_the_account).await, 100, 36);
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

        let path = format!("{}/password", sign_up(&client).await);
        let change = json!({"current_password": PASSWORD, "new_password": "password1"});
        client
            .send(Method::PUT, &path, Some(change))
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
