//! The second factor of an admin: enrolment, log-in, recovery codes, and what a thief cannot do.

use axum::http::{Method, StatusCode};
use chassis::sql::Database;
use serde_json::{Value, json};
use sqlx::Row;
use testbed::CapturedLog;
use totp_rs::{Builder, Secret, Totp};
use users::Config;

use crate::client::{Client, Reply};
use crate::databases::on_each_database;

const ADMIN: &str = "admin@test.com";
const PASSWORD: &str = "correct horse";
const WRONG: &str = "wrong horse";

/// An admin of a shop, with the authenticator app once it is enrolled.
struct Admin {
    client: Client,
    database: Database,
    path: String,
    app: Option<Totp>,
}

impl Admin {
    async fn of(database: Database, config: Config) -> Self {
        let config = Config {
            users_admin_email: Some(ADMIN.parse().unwrap()),
            users_admin_password: Some(PASSWORD.parse().unwrap()),
            ..config
        };
        let client = Client::enforced(database.clone(), &config).await;
        let row = sqlx::query("SELECT user_id FROM admins");
        let id: i64 = row.fetch_one(database.pool()).await.unwrap().get(0);
        Self {
            client,
            database,
            path: format!("/users/{id}"),
            app: None,
        }
    }

    /// Enrols an app, and returns the recovery codes. Whatever session there was has ended by it.
    async fn enrol(&mut self) -> Vec<String> {
        let session = self.client.logged_in(ADMIN, PASSWORD).await;
        let offered = self.offer(&session, PASSWORD).await;
        assert_eq!(offered.status, StatusCode::CREATED, "{}", offered.body);
        let secret = Secret::try_from_base32(offered.body["secret"].as_str().unwrap()).unwrap();
        self.app = Some(Builder::new().with_secret(secret).build().unwrap());

        let confirmed = self.confirm(&session, &self.code(0)).await;
        assert_eq!(confirmed.status, StatusCode::OK, "{}", confirmed.body);
        let codes = confirmed.body["recovery_codes"].as_array().unwrap().iter();
        codes
            .map(|code| code.as_str().unwrap().to_owned())
            .collect()
    }

    async fn offer(&self, session: &Client, password: &str) -> Reply {
        let path = format!("{}/second-factor", self.path);
        let body = json!({ "current_password": password });
        session.send(Method::POST, &path, Some(body)).await
    }

    async fn confirm(&self, session: &Client, code: &str) -> Reply {
        let path = format!("{}/second-factor/confirmation", self.path);
        session
            .send(Method::POST, &path, Some(json!({ "code": code })))
            .await
    }

    /// The app's code of the half minute that comes so many half minutes after this one.
    fn code(&self, steps: u64) -> String {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        self.app
            .as_ref()
            .unwrap()
            .generate(now + 30 * steps)
            .to_string()
    }

    async fn log_in(&self, code: Value) -> Reply {
        let body = json!({"email": ADMIN, "password": PASSWORD, "code": code});
        self.client
            .send(Method::POST, "/users/login", Some(body))
            .await
    }

    /// Returns the client with the session that the reply begins.
    fn session(&self, reply: &Reply) -> Client {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        self.client
            .showing(reply.body["access_token"].as_str().unwrap())
    }
}

async fn check(test: impl AsyncFn(Admin)) {
    on_each_database(async |database| test(Admin::of(database, Config::default()).await).await)
        .await;
}

#[tokio::test]
async fn a_log_in_needs_a_code_where_a_factor_is_set_and_a_code_works_once() {
    check(async |mut admin| {
        admin.client.logged_in(ADMIN, PASSWORD).await;
        admin.enrol().await;
        let enrolled = admin.code(0);

        let without = admin.client.log_in(ADMIN, PASSWORD).await;
        without.assert_problem(401, Some("code"));
        // Without the password, the reply is the same as for an account without a factor.
        let guessed = admin.client.log_in(ADMIN, WRONG).await;
        guessed.assert_problem(401, None);

        // The code that confirmed the app is used up.
        let confirming = admin.log_in(json!(enrolled)).await;
        confirming.assert_problem(401, Some("code"));

        let next = admin.code(1);
        assert_eq!(admin.log_in(json!(next)).await.status, StatusCode::OK);
        for used in [next, enrolled] {
            let again = admin.log_in(json!(used)).await;
            again.assert_problem(401, Some("code"));
        }
        for wrong in ["12345", "abcdef", "1234567"] {
            let refused = admin.log_in(json!(wrong)).await;
            refused.assert_problem(401, Some("code"));
        }
        admin
            .log_in(json!(""))
            .await
            .assert_problem(422, Some("code"));
    })
    .await;
}

#[tokio::test]
async fn two_log_ins_with_one_code_at_the_same_time_are_one() {
    check(async |mut admin| {
        admin.enrol().await;
        let next = json!(admin.code(1));
        let log_ins = (0..4).map(|_| admin.log_in(next.clone()));
        let replies = futures::future::join_all(log_ins).await;
        let let_in = replies
            .iter()
            .filter(|reply| reply.status == StatusCode::OK);
        assert_eq!(let_in.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_works_once_and_only_its_hash_is_stored() {
    check(async |mut admin| {
        let codes = admin.enrol().await;
        let rows = sqlx::query("SELECT code_hash FROM recovery_codes");
        let rows = rows.fetch_all(admin.database.pool()).await.unwrap();
        let stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(stored.len(), 10);
        assert!(codes.iter().all(|code| !stored.contains(code)));

        let grouped = format!("{}-{}", &codes[0][..8], &codes[0][8..]).to_lowercase();
        let reply = admin.log_in(json!(grouped)).await;
        let session = admin.session(&reply);
        let again = admin.log_in(json!(codes[0])).await;
        again.assert_problem(401, Some("code"));

        let shown = session.get(&format!("{}/second-factor", admin.path)).await;
        assert_eq!(shown.body["recovery_codes_left"], 9);
        let fields = shown.body.as_object().unwrap().keys();
        assert_eq!(
            fields.collect::<Vec<_>>(),
            ["confirmed_at", "recovery_codes_left"]
        );
    })
    .await;
}

#[tokio::test]
async fn each_recovery_code_is_good_for_its_own_account_only() {
    check(async |mut admin| {
        let new = json!({"name": "Eve", "email": "eve@test.com", "password": PASSWORD});
        admin.client.post(new).await;
        let codes = admin.enrol().await;
        let give_to_eve = "UPDATE recovery_codes SET user_id = (SELECT MAX(id) FROM users)";
        let given = sqlx::query(give_to_eve).execute(admin.database.pool());
        assert_eq!(given.await.unwrap().rows_affected(), 10);
        let state = admin.log_in(json!(admin.code(1))).await;
        let state = admin.session(&state);
        let state = state.get(&format!("{}/second-factor", admin.path)).await;
        assert_eq!(state.body["recovery_codes_left"], 0, "they are Eve's now");

        let refused = admin.log_in(json!(codes[0])).await;
        refused.assert_problem(401, Some("code"));
    })
    .await;
}

#[tokio::test]
async fn all_recovery_codes_are_accepted_and_none_of_a_removed_factor() {
    check(async |mut admin| {
        let old = admin.enrol().await;
        // Right codes do not use up the allowance of guesses.
        for code in &old[1..] {
            let reply = admin.log_in(json!(code)).await;
            admin.session(&reply);
        }
        let reply = admin.log_in(json!(admin.code(1))).await;
        let session = admin.session(&reply);

        let path = format!("{}/second-factor", admin.path);
        let lost = sqlx::query("UPDATE second_factors SET last_step = 0");
        lost.execute(admin.database.pool()).await.unwrap();
        let body = json!({"current_password": PASSWORD, "code": admin.code(1)});
        let removed = session.send(Method::DELETE, &path, Some(body)).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT, "{}", removed.body);

        admin.enrol().await;
        let unused = admin.log_in(json!(old[0])).await;
        unused.assert_problem(401, Some("code"));
    })
    .await;
}

#[tokio::test]
async fn codes_are_not_guessed_without_end_although_the_password_is_known() {
    check(async |mut admin| {
        let codes = admin.enrol().await;
        for _ in 0..9 {
            let wrong = admin.log_in(json!("WRONG")).await;
            wrong.assert_problem(401, Some("code"));
        }
        for code in ["WRONG", codes[0].as_str(), codes[1].as_str()] {
            admin.log_in(json!(code)).await.assert_problem(429, None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_factor_is_set_by_its_owner_with_the_password_and_ends_every_session() {
    check(async |mut admin| {
        let old = admin.client.logged_in(ADMIN, PASSWORD).await;
        let stolen = admin.offer(&old, WRONG).await;
        stolen.assert_problem(403, Some("current_password"));
        let path = format!("{}/second-factor", admin.path);
        let without = old.send(Method::POST, &path, Some(json!({}))).await;
        without.assert_problem(422, Some("current_password"));

        // An offer that was not confirmed changes nothing, and the next one replaces it.
        let first = admin.offer(&old, PASSWORD).await.body["secret"].take();
        assert_ne!(admin.offer(&old, PASSWORD).await.body["secret"], first);
        let unconfirmed = admin.confirm(&old, "000000").await;
        unconfirmed.assert_problem(422, Some("code"));
        admin.client.logged_in(ADMIN, PASSWORD).await;
        assert_eq!(old.get(&path).await.body["confirmed_at"], Value::Null);

        admin.enrol().await;
        old.get(&path).await.assert_problem(401, None);
        let reply = admin.log_in(json!(admin.code(1))).await;
        let session = admin.session(&reply);
        assert_eq!(session.get(&path).await.status, StatusCode::OK);
        let again = admin.offer(&session, PASSWORD).await;
        again.assert_problem(409, None);
    })
    .await;
}

#[tokio::test]
async fn a_factor_is_removed_with_password_and_code_or_by_another_admin() {
    check(async |mut admin| {
        let codes = admin.enrol().await;
        let reply = admin.log_in(json!(codes[0])).await;
        let session = admin.session(&reply);
        let path = format!("{}/second-factor", admin.path);
        let removals = [
            (json!({}), 422, "current_password"),
            (json!({"current_password": PASSWORD}), 401, "code"),
            (
                json!({"current_password": PASSWORD, "code": "WRONG"}),
                401,
                "code",
            ),
            (
                json!({"current_password": WRONG, "code": codes[1]}),
                403,
                "current_password",
            ),
        ];
        for (body, status, field) in removals {
            let refused = session.send(Method::DELETE, &path, Some(body)).await;
            refused.assert_problem(status, Some(field));
        }

        let body = json!({"current_password": PASSWORD, "code": codes[1]});
        let removed = session.send(Method::DELETE, &path, Some(body)).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT, "{}", removed.body);
        admin.client.logged_in(ADMIN, PASSWORD).await;
        let gone = session.send(
            Method::DELETE,
            &path,
            Some(json!({"current_password": PASSWORD})),
        );
        gone.await.assert_problem(409, None);
    })
    .await;
}

#[tokio::test]
async fn an_admin_sets_no_factor_for_another_and_removes_one() {
    check(async |admin| {
        let session = admin.client.logged_in(ADMIN, PASSWORD).await;
        let new = json!({"name": "Ada", "email": "ada@test.com", "password": PASSWORD});
        let path = admin.client.post(new).await.location.unwrap();
        let path = format!("{path}/second-factor");
        for rest in ["", "/confirmation"] {
            let path = format!("{path}{rest}");
            let body = json!({"code": "1"});
            let body = if rest.is_empty() { json!({}) } else { body };
            session
                .send(Method::POST, &path, Some(body))
                .await
                .assert_problem(403, None);
        }

        let ada = admin.client.logged_in("ada@test.com", PASSWORD).await;
        let offered = ada.send(
            Method::POST,
            &path,
            Some(json!({"current_password": PASSWORD})),
        );
        assert_eq!(offered.await.status, StatusCode::CREATED);
        let removed = session.send(Method::DELETE, &path, None).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT);
        let foreign = format!("{}/second-factor", admin.path);
        ada.get(&foreign).await.assert_problem(403, None);
    })
    .await;
}

#[tokio::test]
async fn where_admins_need_a_factor_one_without_it_is_no_admin() {
    on_each_database(async |database| {
        let config = Config {
            users_admins_need_second_factor: true,
            ..Config::default()
        };
        let mut admin = Admin::of(database, config).await;
        let session = admin.client.logged_in(ADMIN, PASSWORD).await;
        session.get("/users").await.assert_problem(403, None);
        assert_eq!(session.get(&admin.path).await.status, StatusCode::OK);

        admin.enrol().await;
        let reply = admin.log_in(json!(admin.code(1))).await;
        let session = admin.session(&reply);
        assert_eq!(session.get("/users").await.status, StatusCode::OK);

        let body = json!({"refresh_token": reply.body["refresh_token"]});
        let renewed = admin
            .client
            .send(Method::POST, "/users/refresh", Some(body));
        let renewed = admin.session(&renewed.await);
        assert_eq!(renewed.get("/users").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn what_happens_to_a_factor_is_logged_without_a_secret() {
    check(async |mut admin| {
        let log = CapturedLog::begin();
        let codes = admin.enrol().await;
        admin.log_in(json!("WRONG")).await;
        let reply = admin.log_in(json!(codes[0])).await;
        let session = admin.session(&reply);
        let path = format!("{}/second-factor", admin.path);
        let body = json!({"current_password": PASSWORD, "code": codes[1]});
        session.send(Method::DELETE, &path, Some(body)).await;

        let events = log.security();
        let of_factor = events.iter().filter_map(|event| event["event"].as_str());
        let of_factor =
            of_factor.filter(|name| name.contains("second_factor") || name.contains("recovery"));
        let expected = [
            "second_factor_set",
            "second_factor_refused",
            "recovery_code_used",
            "recovery_code_used",
            "second_factor_removed",
        ];
        assert_eq!(of_factor.collect::<Vec<_>>(), expected);

        let secret = admin.app.as_ref().unwrap().secret().to_base32();
        let text = log.text();
        for secret in codes.iter().chain([&secret]) {
            assert!(!text.contains(secret), "{text}");
        }
    })
    .await;
}
