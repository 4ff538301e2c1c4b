//! Mail about accounts: the mail to an unconfirmed address, and the limits for strangers.

use axum::http::{Method, StatusCode};
use chassis::sql::Database;
use serde_json::{Value, json};
use sqlx::Row;
use testbed::Identities;
use users::Config;

use crate::client::{Client, Reply};
use crate::databases::on_each_database;

pub const PASSWORD: &str = "correct horse";
pub const ADA: &str = "ada@test.com";
const ELSEWHERE: &str = "198.51.100.9";

/// A shop whose callers must authenticate, and its notifications service.
pub struct Shop {
    pub client: Client,
    pub notifications: Client,
    pub database: Database,
}

/// A customer with a session.
pub struct Customer {
    pub client: Client,
    pub path: String,
}

impl Customer {
    /// Closes the account.
    pub async fn close(&self) -> Reply {
        let password = json!({"current_password": PASSWORD});
        self.client
            .send(Method::DELETE, &self.path, Some(password))
            .await
    }
}

impl Shop {
    pub async fn open(database: Database) -> Self {
        let identities = Identities::default();
        let config = Config {
            users_shop_url: Some("https://shop.example".to_owned()),
            ..Config::default()
        };

        let client = Client::of(database.clone(), &config, identities.auth.clone()).await;
        Self {
            notifications: client.showing(&identities.service()),
            client,
            database,
        }
    }

    pub async fn sign_up(&self, email: &str) -> Customer {
        let created = self.post_user(email).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        Customer {
            client: self.client.logged_in(email, PASSWORD).await,
            path: created.location.unwrap(),
        }
    }

    pub async fn post_user(&self, email: &str) -> Reply {
        let new = json!({"name": "Ada", "email": email, "password": PASSWORD});
        self.client.post(new).await
    }

    /// Creates a customer whose address is confirmed.
    pub async fn customer(&self, email: &str) -> Customer {
        let customer = self.sign_up(email).await;
        let token = token(&self.take().await, "verify_address", email);
        let verified = customer.verify(&token).await;
        assert_eq!(verified.status, StatusCode::OK, "{}", verified.body);
        customer
    }

    /// Takes the mail that is due, as the notifications service does, and settles it.
    pub async fn take(&self) -> Vec<Value> {
        let mut taken = self.take_unsettled().await;
        for mail in &taken {
            let path = format!("/account-mail/{}/settled", mail["id"].as_str().unwrap());
            let settled = self.notifications.send(Method::POST, &path, None).await;
            assert_eq!(settled.status, StatusCode::NO_CONTENT);
        }
        taken.sort_by_key(|mail| (mail["to"].to_string(), mail["kind"].to_string()));
        taken
    }

    pub async fn take_unsettled(&self) -> Vec<Value> {
        let reply = self
            .notifications
            .send(Method::POST, "/account-mail/take", None)
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        reply.body["items"].as_array().unwrap().clone()
    }

    /// Takes the mail that is due, and returns its kinds and addresses.
    pub async fn kinds(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let taken = self.take().await;
        taken
            .iter()
            .map(|mail| (text(&mail["kind"]), text(&mail["to"])))
            .collect()
    }

    pub async fn forget_password(&self, email: &str) -> Reply {
        let body = json!({ "email": email });
        self.client
            .send(Method::POST, "/users/forgotten-password", Some(body))
            .await
    }

    pub async fn reset(&self, token: &str, password: &str) -> Reply {
        let body = json!({"token": token, "new_password": password});
        self.client
            .send(Method::POST, "/users/password-reset", Some(body))
            .await
    }

    pub async fn run(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(self.database.pool())
            .await
            .unwrap();
    }

    /// Frees the slots of all mail, as if a quarter of an hour had passed.
    pub async fn next_slot(&self) {
        self.run("UPDATE account_mail SET slot = NULL").await;
    }
}

impl Customer {
    pub async fn verify(&self, token: &str) -> Reply {
        let path = format!("{}/verification", self.path);
        let body = json!({ "token": token });
        self.client.send(Method::POST, &path, Some(body)).await
    }

    pub async fn change_address(&self, email: &str) -> Reply {
        let change = json!({"email": email, "current_password": PASSWORD});
        self.client.patch(&self.path, change).await
    }

    async fn send_again(&self) -> Reply {
        let path = format!("{}/verification-mail", self.path);
        self.client.send(Method::POST, &path, None).await
    }
}

/// Returns the token in the only mail of this kind to this address.
pub fn token(taken: &[Value], kind: &str, to: &str) -> String {
    let mut found = taken
        .iter()
        .filter(|mail| mail["kind"] == kind && mail["to"] == to);
    let mail = found.next().unwrap_or_else(|| panic!("{taken:?}"));
    assert!(found.next().is_none(), "{taken:?}");

    let link = mail["link"].as_str().unwrap();
    let (page, token) = link.split_once('#').unwrap();
    assert!(page.starts_with("https://shop.example/"), "{link}");
    token.to_owned()
}

pub fn pair(kind: &str, to: &str) -> (String, String) {
    (kind.to_owned(), to.to_owned())
}

pub async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

/// Returns a reply without the parts that differ between any two sign-ups.
fn visible(mut reply: Reply) -> (StatusCode, Value) {
    for field in ["id", "created_at"] {
        if let Some(value) = reply.body.get_mut(field) {
            *value = Value::Null;
        }
    }
    (reply.status, reply.body)
}

#[tokio::test]
async fn an_address_is_confirmed_by_the_link_that_was_sent_there() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        let before = ada.client.get(&ada.path).await.body;
        assert_eq!(before["email"], ADA);
        assert_eq!(before["verified_email"], Value::Null);

        let taken = shop.take().await;
        assert_eq!(taken.len(), 1);
        let verified = ada.verify(&token(&taken, "verify_address", ADA)).await;
        assert_eq!(verified.body["verified_email"], ADA, "{}", verified.body);
        assert_eq!(ada.client.get(&ada.path).await.body, verified.body);

        shop.client.at(ELSEWHERE).logged_in(ADA, PASSWORD).await;
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_answers_the_same_whether_the_address_has_an_account() {
    check(async |shop| {
        shop.customer(ADA).await;
        shop.sign_up("eve@test.com").await;
        let rename = |(status, mut body): (StatusCode, Value)| {
            body["email"] = Value::Null;
            (status, body)
        };

        let fresh = rename(visible(shop.post_user("nobody@test.com").await));
        for email in [ADA, "ADA@test.com", "eve@test.com"] {
            assert_eq!(rename(visible(shop.post_user(email).await)), fresh);
            let again = shop.client.log_in(email, PASSWORD).await;
            assert_eq!(
                again.status,
                StatusCode::OK,
                "it must be able to log in from the client that signed up"
            );
            let elsewhere = shop.client.at(ELSEWHERE).log_in(email, "wrong horse").await;
            elsewhere.assert_problem(401, None);
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_learns_of_a_second_sign_up() {
    check(async |shop| {
        let ada = shop.customer(ADA).await;
        shop.next_slot().await;
        let eve = shop.sign_up(ADA).await;

        let taken = shop.take().await;
        assert_eq!(taken[0]["kind"], "address_in_use");
        assert_eq!(taken[0]["link"], "https://shop.example/forgot");
        assert_eq!(
            eve.client.get(&eve.path).await.body["verified_email"],
            Value::Null
        );
        assert_eq!(ada.client.get(&ada.path).await.body["verified_email"], ADA);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_address_answers_the_same_and_warns_the_old_address() {
    check(async |shop| {
        shop.customer(ADA).await;
        let bob = shop.customer("bob@test.com").await;
        let mut seen = Vec::new();
        for email in [ADA, "nobody@test.com"] {
            shop.next_slot().await;
            let changed = bob.change_address(email).await;
            assert_eq!(changed.body["email"], email);
            assert_eq!(changed.body["verified_email"], "bob@test.com");
            seen.push(changed.status);

            let to_new = if email == ADA {
                "address_in_use"
            } else {
                "verify_address"
            };
            let mut told = shop.kinds().await;
            told.sort();
            let mut expected = vec![
                pair("address_changing", "bob@test.com"),
                pair(to_new, email),
            ];
            expected.sort();
            assert_eq!(told, expected);
        }
        assert_eq!(seen, [StatusCode::OK; 2]);

        let back = bob.change_address("bob@test.com").await;
        assert_eq!(back.body["verified_email"], back.body["email"]);
        assert_eq!(shop.kinds().await, [], "no address is left to confirm");
    })
    .await;
}

#[tokio::test]
async fn an_address_gets_one_mail_in_a_while_however_often_it_is_stated() {
    check(async |shop| {
        let victim = "stranger@test.com";
        let ada = shop.sign_up(victim).await;
        for _ in 0..3 {
            shop.sign_up(victim).await;
            assert_eq!(ada.send_again().await.status, StatusCode::ACCEPTED);
        }

        // The mail stays when the account is deleted. Otherwise the next account would send it again.
        let deleted = ada.close().await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        shop.sign_up(victim).await;
        assert_eq!(shop.kinds().await, [pair("verify_address", victim)]);

        for _ in 0..3 {
            assert_eq!(
                shop.forget_password(victim).await.status,
                StatusCode::ACCEPTED
            );
        }
        assert_eq!(
            shop.kinds().await,
            [],
            "no account has verified the address"
        );
    })
    .await;
}

#[tokio::test]
async fn parallel_sign_ups_send_one_mail() {
    check(async |shop| {
        let sign_ups = (0..6).map(|_| shop.post_user(ADA));
        for created in futures::future::join_all(sign_ups).await {
            assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        }
        assert_eq!(shop.kinds().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_network_that_requests_mail_for_many_addresses_is_stopped() {
    check(async |shop| {
        let mut refused = 0;
        for number in 0..20 {
            let reply = shop.forget_password(&format!("a{number}@test.com")).await;
            refused += usize::from(reply.status == StatusCode::TOO_MANY_REQUESTS);
        }
        assert!((9..=10).contains(&refused), "{refused}");

        let elsewhere = shop.client.at(ELSEWHERE);
        let body = json!({ "email": ADA });
        let other = elsewhere
            .send(Method::POST, "/users/forgotten-password", Some(body))
            .await;
        assert_eq!(other.status, StatusCode::ACCEPTED);
    })
    .await;
}

#[tokio::test]
async fn a_link_confirms_once_and_only_the_address_that_got_it() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        let bob = shop.sign_up("bob@test.com").await;
        let taken = shop.take().await;
        let hers = token(&taken, "verify_address", ADA);
        let his = token(&taken, "verify_address", "bob@test.com");

        for wrong in [his.as_str(), "", "AAAA", &hers[..42], &format!("{hers}A")] {
            ada.verify(wrong).await.assert_problem(422, Some("token"));
        }
        assert_eq!(ada.verify(&hers).await.status, StatusCode::OK);
        ada.verify(&hers).await.assert_problem(422, Some("token"));

        let moved = bob.change_address("bob@other.test").await;
        assert_eq!(moved.status, StatusCode::OK);
        bob.verify(&his).await.assert_problem(422, Some("token"));
    })
    .await;
}

#[tokio::test]
async fn who_opens_the_link_of_a_strangers_sign_up_confirms_nothing() {
    check(async |shop| {
        let eve = shop.sign_up(ADA).await;
        let token = token(&shop.take().await, "verify_address", ADA);
        let ada = shop.sign_up("ada@home.test").await;
        let path = format!("{}/verification", eve.path);
        let body = || Some(json!({ "token": token }));

        let anonymous = shop.client.send(Method::POST, &path, body()).await;
        anonymous.assert_problem(401, None);
        let other = ada.client.send(Method::POST, &path, body()).await;
        other.assert_problem(403, None);

        // The mailbox is hers, so the mail that the stranger requested confirms her own account, too.
        ada.change_address(ADA).await;
        let own = ada.verify(&token).await;
        assert_eq!(own.body["verified_email"], ADA, "{}", own.body);
        assert_eq!(
            eve.client.get(&eve.path).await.body["verified_email"],
            Value::Null
        );
    })
    .await;
}

#[tokio::test]
async fn a_link_that_is_too_old_confirms_nothing() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        let token = token(&shop.take().await, "verify_address", ADA);
        shop.run("UPDATE mail_tokens SET expires_at_ms = 1").await;
        ada.verify(&token).await.assert_problem(422, Some("token"));
    })
    .await;
}

#[tokio::test]
async fn only_a_hash_of_a_token_is_stored() {
    check(async |shop| {
        shop.sign_up(ADA).await;
        let token = token(&shop.take().await, "verify_address", ADA);
        let rows = sqlx::query("SELECT token_hash FROM mail_tokens")
            .fetch_all(shop.database.pool())
            .await
            .unwrap();
        assert_eq!(rows.len(), 1);
        let stored: String = rows[0].try_get(0).unwrap();
        assert!(stored.len() == 64 && !stored.contains(&token));
    })
    .await;
}

#[tokio::test]
async fn an_earlier_account_keeps_its_address_until_another_confirms() {
    check(async |shop| {
        let old = shop.sign_up(ADA).await;
        let bob = shop.sign_up("bob@test.com").await;
        shop.take().await;
        // In earlier versions, an account held its address from the sign-up on.
        shop.run(
            "UPDATE users SET email = (SELECT email FROM stated_addresses WHERE user_id = users.id)",
        )
        .await;
        shop.run("DELETE FROM stated_addresses").await;
        assert_eq!(
            old.client.get(&old.path).await.body["verified_email"],
            Value::Null
        );
        shop.client.at(ELSEWHERE).logged_in(ADA, PASSWORD).await;

        shop.next_slot().await;
        assert_eq!(bob.send_again().await.status, StatusCode::ACCEPTED);
        let his = token(&shop.take().await, "verify_address", "bob@test.com");
        let verified = bob.verify(&his).await;
        assert_eq!(verified.body["verified_email"], "bob@test.com");

        let owner = shop.sign_up(ADA).await;
        let hers = token(&shop.take().await, "verify_address", ADA);
        assert_eq!(owner.verify(&hers).await.status, StatusCode::OK);
        let yielded = old.client.get(&old.path).await.body;
        assert_eq!(yielded["email"], ADA);
        assert_eq!(yielded["verified_email"], Value::Null);
    })
    .await;
}
